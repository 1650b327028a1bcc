//! A gateway between real sockets of the loopback interface.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod access;
mod backend_tls;
mod bad_input;
mod balancing;
mod clients;
mod cluster_rate;
mod encodings;
mod endpoints;
mod floods;
mod frames;
mod health;
mod hedge;
mod http;
mod limits;
mod listeners;
mod objects;
mod policies;
mod proxies;
mod retries;
mod rig;
mod smuggling;
mod streams;
mod tcp;
mod tls;
mod traces;
