//! Records, requests, and what is told.

mod codec;
mod desk;
mod requests;
