//! Exec and attach: one process and its streams.

mod channels;
mod spdy;

pub use self::{channels::ChannelExec, spdy::SpdyExec};

use serde_json::Value;

/// How the end of a process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndForm {
    /// As a Status (since version 4 of the protocol).
    Status,
    /// In words, and only if it failed.
    Text,
}

impl EndForm {
    fn write(self, status: &Value) -> Option<String> {
        match self {
            EndForm::Status => Some(status.to_string()),
            EndForm::Text => super::status::text(status).map(str::to_owned),
        }
    }
}

/// What is told of a process whose end nobody told.
fn lost() -> Value {
    super::status::failed("the connection to the container was lost")
}

#[cfg(test)]
mod tests;
