//! The pure part: what a partition holds and what commands do to it.

pub mod command;
pub mod data;
pub mod reply;
