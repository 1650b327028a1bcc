//! What is decided, without doing it: no async, clock, thread, I/O or hash order. Time comes in
//! as milliseconds or microseconds of one clock that does not go back, chance as a number.

pub mod balance;
pub mod basic;
pub mod breaker;
pub mod bucket;
pub mod budget;
mod checks;
pub mod config;
pub mod fields;
pub mod file;
pub mod health;
pub mod jwt;
pub mod limiter;
pub mod outlier;
pub mod paths;
pub mod proxy_header;
pub mod reach;
pub mod route;
pub mod services;
pub mod sources;
pub mod strict;
pub mod trace;
