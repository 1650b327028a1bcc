//! Who leads, in writing: one key, which every leader overwrites before it hears anybody. Pods of a
//! node that was given up are deleted only as long as it is as this leader has written it.
//!
//! A node that leads no more learns of it a moment late, and its writes get through by the next
//! leader. Meanwhile that one may have heard a node, and so renewed its lease, which the one before
//! takes for silent; what it deletes then as if nothing of it ran does run, and is made anew
//! elsewhere. That the deletion compares what it is about does not help: the pod has not changed.

use atoll_base::id::NodeId;
use atoll_control::api::ControlApi;

use super::store::{Change, Store, To};
use crate::core::status::{Failure, Reason};

/// Who has begun to lead last: a node's id.
const KEY: &str = "/atoll/services/leader";

/// Writes that a node leads; what its writes are to compare from now on.
///
/// # Errors
/// Those of the cluster.
pub(crate) async fn take<C: ControlApi>(store: &Store<C>, node: NodeId) -> Result<Change, Failure> {
    let taken = Change {
        key: KEY.into(),
        expected: None,
        to: To::Value(node.to_string().into()),
    };
    let written = store.commit(&[taken]).await?;
    Ok(Change {
        key: KEY.into(),
        expected: Some(written.ok_or_else(broken)?),
        to: To::Same,
    })
}

/// That it is still as a leader has written it.
///
/// # Errors
/// It is not; those of the cluster.
pub(crate) async fn check<C: ControlApi>(store: &Store<C>, fence: &Change) -> Result<(), Failure> {
    let found = store.value(fence.key.clone()).await?;
    match found.map(|kv| kv.mod_revision) == fence.expected {
        true => Ok(()),
        false => Err(broken()),
    }
}

fn broken() -> Failure {
    Failure::new(Reason::Conflict, "another node has begun to lead")
}
