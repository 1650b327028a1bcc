//! What an agent keeps of one of its nodes: the pods, and who carries out what they need.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Told, registration::Machine, runtime::Runtime, works::Works};
use crate::{core::agent::Pods, driver::mirror::Mirror};

/// One node.
pub(super) struct House<R> {
    pub(super) pods: Pods,
    pub(super) works: Works<R>,
    /// When its pods have something to do although nothing happens.
    pub(super) due_ms: Option<u64>,
}

impl<R: Runtime> House<R> {
    /// Begins with what the runtime has from before.
    pub(super) async fn open(
        machine: &Machine,
        runtime: R,
        inputs: mpsc::Sender<Told>,
        mirror: Mirror,
    ) -> House<R> {
        let found = runtime.found().await;
        let node = Arc::new(machine.node());
        let works = Works::new(runtime, inputs, mirror, node.clone());
        for one in found.iter().filter(|one| one.state.is_ok()) {
            works.watch(one.id.clone());
        }
        House {
            pods: Pods::new((*node).clone(), found),
            works,
            due_ms: None,
        }
    }
}
