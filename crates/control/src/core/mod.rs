//! The pure state machine of the control plane.

pub mod error;
