//! Finding the leader, and asking again when it changes.

use std::{pin::pin, time::Duration};

use atoll_base::id::NodeId;
use atoll_world::{clock, watch};

use crate::{core::error::Error, log::Leadership};

/// How a request is brought to the leader.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// How long another node may take to answer before it is asked again: it may be cut off
    /// without a sign, and lead no more.
    pub(crate) call: Duration,
    /// How long to rest after an answer that was none, where no change of leader comes first.
    pub(crate) rest: Duration,
}

/// Asks whoever leads, this node (`own`) or another, until there is an answer; none means that
/// the one asked does not lead or was not reached. Asks anew when the leader changes, when
/// another node does not answer in time, and otherwise every `rest`; so what is asked may be
/// done more than once. The caller has a timeout for the whole.
///
/// # Errors
/// `Stopped`.
pub(crate) async fn ask<T, F>(
    own: NodeId,
    mut leadership: watch::Receiver<Leadership>,
    patience: Patience,
    mut ask: impl FnMut(NodeId) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Option<T>>,
{
    loop {
        let leader = leadership.borrow_and_update().leader;
        if let Some(leader) = leader {
            let mut answer = pin!(ask(leader));
            let answer = if leader == own {
                answer.await
            } else {
                tokio::select! {
                    biased;
                    answer = &mut answer => answer,
                    changed = leadership.changed() => {
                        changed.map_err(|_| Error::Stopped)?;
                        continue;
                    }
                    () = clock::sleep(patience.call) => None,
                }
            };
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
        tokio::select! {
            biased;
            changed = leadership.changed() => changed.map_err(|_| Error::Stopped)?,
            () = clock::sleep(patience.rest), if leader.is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending};

    use super::*;

    const OWN: NodeId = NodeId(1);
    const PATIENCE: Patience = Patience {
        call: Duration::from_millis(500),
        rest: Duration::from_millis(20),
    };

    fn led_by(leader: Option<u64>) -> Leadership {
        Leadership {
            leader: leader.map(NodeId),
            ..Leadership::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_silent_is_asked_again() {
        let (_leadership, receiver) = watch::channel(led_by(Some(2)));
        let asked = RefCell::new(0);
        let begin = clock::now();
        let answer = ask(OWN, receiver, PATIENCE, |_| {
            *asked.borrow_mut() += 1;
            let silent = *asked.borrow() < 3;
            async move { if silent { pending().await } else { Some(7) } }
        });
        assert_eq!(answer.await, Ok(7));
        let waited = clock::now() - begin;
        assert!(waited >= PATIENCE.call * 2 && waited < PATIENCE.call * 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_leader_is_left_when_there_is_another() {
        let (leadership, receiver) = watch::channel(led_by(Some(2)));
        let asked = RefCell::new(Vec::new());
        let begin = clock::now();
        let answer = ask(OWN, receiver, PATIENCE, |leader| {
            asked.borrow_mut().push(leader.0);
            leadership.send_replace(led_by(Some(3)));
            async move {
                if leader == NodeId(2) {
                    pending().await
                } else {
                    Some(leader)
                }
            }
        });
        assert_eq!(answer.await, Ok(NodeId(3)));
        assert_eq!(*asked.borrow(), [2, 3]);
        assert_eq!(clock::now(), begin, "nothing was waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn this_node_is_not_hurried() {
        let (_leadership, receiver) = watch::channel(led_by(Some(OWN.0)));
        let begin = clock::now();
        let slow = PATIENCE.call * 4;
        let answer = ask(OWN, receiver, PATIENCE, |_| async move {
            clock::sleep(slow).await;
            Some(())
        });
        assert_eq!(answer.await, Ok(()));
        assert_eq!(clock::now() - begin, slow);
    }
}
