//! Whole partitions under everything that may happen to them, and their messages as bytes.

mod client;
mod clocks;
mod model;
mod search;
mod story;
mod wire;
mod world;
