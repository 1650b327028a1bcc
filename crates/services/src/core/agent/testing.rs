//! Tests of the whole agent: stories and random ones.

mod properties;
mod script;
mod show;
mod stories;
mod world;
