//! A gateway between real sockets of the loopback interface.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod access;
mod clients;
mod endpoints;
mod health;
mod http;
mod limits;
mod listeners;
mod retries;
mod rig;
mod smuggling;
mod streams;
mod tcp;
