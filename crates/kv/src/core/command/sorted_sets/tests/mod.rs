//! Stories of sorted sets. Answers are those of a Redis server, in RESP3.

mod algebra;
mod members;
mod model;
mod pops;
mod ranges;
