//! What is pure: objects and what they mean, patches, controllers, the scheduler, the agent's
//! state machine. No async, clock, I/O, chance or hash order.

pub mod agent;
pub mod binding;
pub mod controllers;
pub mod defaults;
pub mod discovery;
pub mod dns;
pub mod eviction;
pub mod image;
pub mod kinds;
pub mod lifecycle;
pub mod names;
pub mod nodes;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod pod_network;
pub mod ports;
pub mod priority;
pub mod quantity;
pub mod scheduler;
pub mod schema;
pub mod selector;
pub mod status;
pub mod streams;
pub mod table;
pub mod time;
pub mod tolerations;
pub mod usage;
pub mod validate;
pub mod versions;
