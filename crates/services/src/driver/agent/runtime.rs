//! What the agent asks of whatever runs containers. One driver runs them as processes of the
//! machine; another one runs nothing and reports as if it did.

use std::{collections::BTreeMap, future::Future, net::Ipv4Addr, sync::Arc, time::Duration};

use atoll_world::{clock, net::Stream};
use bytes::Bytes;
use ipnet::Ipv4Net;
use serde_json::Value;

use crate::{
    api::{Ends, LogQuery},
    core::{
        agent::{AttemptId, Exit, Found, StartFailure, environment::ContainerRun},
        image::ImageFailure,
        status::Failure,
        streams::{FromContainer, ToContainer, options::ExecOptions},
    },
    driver::images::Image,
};

/// A pod's volumes or network could not be made.
#[derive(Clone, Debug)]
pub(crate) struct PrepareFailure {
    /// As `FailedMount`.
    pub(crate) reason: &'static str,
    /// In words.
    pub(crate) message: String,
}

/// Finds an object of the pod's namespace by its kind and name.
pub(crate) type Objects = Arc<dyn Fn(&str, &str) -> Option<Arc<Value>> + Send + Sync>;

/// A piece of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogPiece {
    /// What was written.
    pub(crate) text: Bytes,
    /// Where the next piece begins, in the runtime's own words.
    pub(crate) position: String,
    /// There is more right now.
    pub(crate) more: bool,
    /// The container has ended: nothing comes after what is there.
    pub(crate) is_over: bool,
}

/// What a container has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// Processor time, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Memory in use now, in bytes.
    pub(crate) memory_bytes: u64,
}

/// The end of a lease, by both clocks of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    /// The one that stands still while the machine is suspended.
    pub(crate) instant: clock::Instant,
    /// The one that goes on.
    pub(crate) boot: Duration,
}

/// Runs containers.
pub(crate) trait Runtime: Clone + Send + Sync + 'static {
    /// Lets what it runs go on until then and no longer, whatever becomes of this process.
    ///
    /// # Errors
    /// Why it can't be relied on that what runs ends in time.
    fn renew(&self, until: Until) -> impl Future<Output = Result<(), String>> + Send;

    /// What it has from before the agent was started.
    fn found(&self) -> impl Future<Output = Vec<Found>> + Send;

    /// Makes a pod's volumes and network, with an address of the node's range if it has one of its
    /// own; its addresses, none for the node's.
    fn prepare(
        &self,
        pod: Arc<Value>,
        range: Option<Ipv4Net>,
        objects: Objects,
    ) -> impl Future<Output = Result<Vec<String>, PrepareFailure>> + Send;

    /// Has pods of other machines' nodes reached: their ranges, and by which addresses; beside the
    /// node's own range.
    ///
    /// # Errors
    /// Which can't be, and why.
    fn route(
        &self,
        own: Option<Ipv4Net>,
        ranges: BTreeMap<Ipv4Net, Ipv4Addr>,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Connects to a port of a pod that runs here.
    ///
    /// # Errors
    /// Nobody listens, in words.
    fn connect(
        &self,
        pod: Arc<Value>,
        port: u16,
    ) -> impl Future<Output = Result<Stream, String>> + Send;

    /// The image of a container, fetched if need be; none if its program is one of the machine's.
    ///
    /// # Errors
    /// Why it can't have it.
    fn image(
        &self,
        pod: Arc<Value>,
        container: String,
        objects: Objects,
    ) -> impl Future<Output = Result<Option<Image>, ImageFailure>> + Send;

    /// Starts an attempt; since when it runs.
    fn start(
        &self,
        id: AttemptId,
        pod: Arc<Value>,
        run: ContainerRun,
        image: Option<Image>,
    ) -> impl Future<Output = Result<u64, (StartFailure, String)>> + Send;

    /// Waits until an attempt that was started has ended, with all its processes.
    fn ended(&self, id: AttemptId) -> impl Future<Output = Exit> + Send;

    /// Asks an attempt to end, by a signal's name; empty: the one that its image says.
    fn stop(&self, id: AttemptId, signal: String) -> impl Future<Output = ()> + Send;

    /// Ends an attempt with all its processes, also one that is about to start; whether it had
    /// never been started, and never will be.
    fn kill(&self, id: AttemptId) -> impl Future<Output = bool> + Send;

    /// Runs a program beside an attempt.
    ///
    /// # Errors
    /// What was wrong, in words.
    fn exec(
        &self,
        id: AttemptId,
        argv: Vec<String>,
        timeout_ms: u64,
    ) -> impl Future<Output = Result<(), String>> + Send;

    /// Runs a program beside the one of a pod's container that runs now, or attaches to that if
    /// there is no command.
    ///
    /// # Errors
    /// It does not run, or there are too many already.
    fn process(
        &self,
        uid: String,
        options: ExecOptions,
    ) -> impl Future<Output = Result<Ends<ToContainer, FromContainer>, Failure>> + Send;

    /// What the containers that run have used since they were started.
    fn used(&self) -> impl Future<Output = Vec<(AttemptId, Used)>> + Send;

    /// Nothing of a pod is needed any more.
    fn cleanup(&self, uid: String) -> impl Future<Output = ()> + Send;

    /// Reads a log from a position on; empty is the beginning, as the query has it.
    ///
    /// # Errors
    /// There is no such log.
    fn log(
        &self,
        uid: String,
        query: LogQuery,
        position: String,
    ) -> impl Future<Output = Result<LogPiece, Failure>> + Send;
}
