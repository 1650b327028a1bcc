//! Finding the leader, and asking again when it changes.

use std::time::Duration;

use atoll_base::id::NodeId;
use atoll_world::clock;

use crate::{core::error::Error, log::Log};

/// Asks whoever leads, this node or another, until there is an answer; none means that the one
/// asked does not lead or was not reached. Asks anew when the leader changes, and otherwise
/// every `rest`. The caller has a timeout.
///
/// # Errors
/// `Stopped`.
pub(crate) async fn ask<T, F>(
    log: &Log,
    rest: Duration,
    mut ask: impl FnMut(NodeId) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Option<T>>,
{
    let mut leadership = log.leadership();
    loop {
        let leader = leadership.borrow_and_update().leader;
        if let Some(leader) = leader
            && let Some(answer) = ask(leader).await
        {
            return Ok(answer);
        }
        tokio::select! {
            biased;
            changed = leadership.changed() => changed.map_err(|_| Error::Stopped)?,
            () = clock::sleep(rest), if leader.is_some() => {}
        }
    }
}
