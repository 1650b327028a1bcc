//! What runs on a node in one life.

use std::sync::Arc;

use atoll_control::driver::control::Control;
use atoll_world::{peers::Peers, task};

/// A running control plane, and the group of tasks that dies with it.
#[derive(Clone)]
pub struct Running {
    /// The control plane.
    pub control: Control,
    /// Its links to the other nodes.
    pub peers: Arc<dyn Peers>,
    /// Its tasks.
    pub group: task::Group,
    /// Which start of the node it is.
    pub boot: u64,
}

impl Running {
    /// Runs a call as a part of the node: none if the node dies meanwhile.
    pub async fn call<F>(&self, call: impl FnOnce(Control) -> F) -> Option<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let call = call(self.control.clone());
        task::scope_sync(self.group.clone(), || task::spawn(call))
            .await
            .ok()
    }
}
