//! What the crate asks of those who put it together, and what it offers them.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::core::{
    object::Name,
    status::Failure,
    streams::{Forward, FromContainer, ToContainer, options::ExecOptions},
    usage::{PodUsage, Usage},
};

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
    /// Secrets, which may hold their certificates.
    pub secrets: Vec<Arc<Value>>,
    /// Pods of this node that have host ports, as they run.
    pub pods: Vec<Arc<Value>>,
}

/// A log that is being opened.
pub type OpeningLog = Pin<Box<dyn Future<Output = Result<Box<dyn LogStream>, Failure>> + Send>>;

/// What containers wrote, wherever they run.
pub trait Logs: Send + Sync + 'static {
    /// Opens the log of a pod's container, which runs on this node.
    fn open(&self, pod: Name, uid: String, node: String, query: LogQuery) -> OpeningLog;
}

/// One side's ends of a session: what it says, and what is said to it. Dropping them ends the
/// session.
#[derive(Debug)]
pub struct Ends<H, S> {
    /// For what is said from here.
    pub heard: mpsc::Sender<H>,
    /// What is said to here; its end is the end of the session.
    pub said: mpsc::Receiver<S>,
}

/// A session that is being opened.
pub type Opening<H, S> = Pin<Box<dyn Future<Output = Result<Ends<H, S>, Failure>> + Send>>;

/// A pod that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The node it runs on.
    pub node: String,
}

/// Sessions with pods, wherever they run.
pub trait Sessions: Send + Sync + 'static {
    /// Runs a program in a container, or attaches to its own if there is no command.
    fn process(&self, pod: Running, options: ExecOptions) -> Opening<ToContainer, FromContainer>;

    /// Forwards connections to ports of a pod.
    fn forward(&self, pod: Running) -> Opening<Forward, Forward>;
}

/// A piece of an archive that is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What comes next.
    Bytes(Bytes),
    /// It is whole.
    End,
}

/// What is asked of a node's images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageCall {
    /// To add those of an archive, whose pieces come.
    Import {
        /// What a single one is called, or what tags without a name belong to.
        name: Option<String>,
    },
    /// Which there are.
    List,
    /// To take one away.
    Remove {
        /// Its name.
        name: String,
    },
}

/// The images of all nodes.
pub trait ImageShelves: Send + Sync + 'static {
    /// Asks a node, or this one. It takes pieces of an archive if it was asked to, and answers
    /// once.
    fn open(&self, node: Option<&str>, call: ImageCall) -> Opening<Piece, Result<Value, Failure>>;
}

/// What a node has measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// What all of it uses; none if it does not answer, or not yet.
    pub node: Option<Usage>,
    /// What its pods use.
    pub pods: Vec<Arc<PodUsage>>,
}

/// What is measured of all nodes, by their names.
pub type Measuring = Pin<Box<dyn Future<Output = BTreeMap<String, Measured>> + Send>>;

/// Measures.
pub trait Meter: Send + Sync + 'static {
    /// What nodes use, and their pods: of these nodes, or of all.
    fn measure(&self, node: Option<String>) -> Measuring;
}

/// Where a node's gateway listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doors {
    /// At the own ports of Services of type LoadBalancer, too.
    pub balances: bool,
    /// For Ingresses.
    pub http_port: u16,
    /// For Ingresses with TLS.
    pub https_port: u16,
}
