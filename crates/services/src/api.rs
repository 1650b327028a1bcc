//! What the crate asks of those who put it together, and what it offers them.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use serde_json::Value;

use crate::core::{object::Name, status::Failure};

/// What somebody wants to read of what a container wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// The container; empty: the only one.
    pub container: String,
    /// Of the life before this one.
    pub previous: bool,
    /// Go on as more is written.
    pub follow: bool,
    /// Not what is older, milliseconds since the epoch.
    pub since_ms: Option<u64>,
    /// So many lines from the end.
    pub tail_lines: Option<u64>,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// Each line begins with its time.
    pub timestamps: bool,
}

/// Bytes of a log as they come: none is the end.
pub trait LogStream: Send {
    /// The next bytes.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Bytes>> + Send + '_>>;
}

/// What a gateway has to know: how Services are reached, and who answers for them.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Services, in order of namespace and name.
    pub services: Vec<Arc<Value>>,
    /// Their EndpointSlices.
    pub slices: Vec<Arc<Value>>,
    /// Ingresses.
    pub ingresses: Vec<Arc<Value>>,
}

/// A log that is being opened.
pub type OpeningLog = Pin<Box<dyn Future<Output = Result<Box<dyn LogStream>, Failure>> + Send>>;

/// What containers wrote, wherever they run.
pub trait Logs: Send + Sync + 'static {
    /// Opens the log of a pod's container, which runs on this node.
    fn open(&self, pod: Name, uid: String, node: String, query: LogQuery) -> OpeningLog;
}
