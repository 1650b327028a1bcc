//! Who leads, in writing: one key, which every leader overwrites before it looks at anything. What
//! a leader writes compares it, so that nothing is written that follows from what was so before
//! another one began.
//!
//! A node that leads no more learns of it a moment late, and its writes get through by the next
//! leader. To compare what a write is about does not help: both may make a pod that is missing,
//! and a pod of a node that one of them takes for silent has not changed when the other hears that
//! node, and so renews its lease.

use std::sync::Arc;

use atoll_base::id::NodeId;
use atoll_control::api::ControlApi;

use super::{Change, Store, To};
use crate::core::status::{Failure, Reason};

/// Who has begun to lead last: a node's id.
const KEY: &str = "/atoll/services/leader";

impl<C: ControlApi> Store<C> {
    /// Writes that a node leads; the store whose writes are refused with `Conflict` as soon as
    /// another one does.
    ///
    /// # Errors
    /// Those of the cluster.
    pub(crate) async fn lead(&self, node: NodeId) -> Result<Self, Failure> {
        let taken = Change {
            key: KEY.into(),
            expected: None,
            to: To::Value(node.to_string().into()),
        };
        let written = self.commit(&[taken]).await?;
        let fence = Change {
            key: KEY.into(),
            expected: Some(written.ok_or_else(broken)?),
            to: To::Same,
        };
        Ok(Store {
            fence: Some(Arc::new(fence)),
            ..self.clone()
        })
    }

    /// That the fence stands, if there is one.
    ///
    /// # Errors
    /// `Conflict` if it does not; those of the cluster.
    pub(crate) async fn check_fence(&self) -> Result<(), Failure> {
        let Some(fence) = &self.fence else {
            return Ok(());
        };
        let found = self.value(fence.key.clone()).await?;
        match found.map(|kv| kv.mod_revision) == fence.expected {
            true => Ok(()),
            false => Err(broken()),
        }
    }
}

fn broken() -> Failure {
    Failure::new(Reason::Conflict, "another node has begun to lead")
}
