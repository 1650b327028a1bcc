//! Raising the cluster's feature level, on the leader.
//!
//! Nothing is asked of anybody: who serves what is in the membership, which every node brings
//! up to date when it starts. The state machine looks again when it applies the entry, so a
//! leader that knows too little does no harm.

use std::{sync::Arc, time::Duration};

use atoll_world::clock;

use super::{
    propose::Proposer,
    replica::{Replicated, levels_of},
};
use crate::{
    core::level::highest_common,
    log::Log,
    proto::internal::{RaiseFeatureLevel, command::Op},
};

/// How long a refused raise rests, where no change of membership or leader comes first.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Raises the level whenever this node leads and every member serves a higher one.
pub(crate) async fn raise(log: Log, replica: Arc<Replicated>, proposer: Proposer) {
    let (mut leadership, mut membership) = (log.leadership(), log.membership());
    loop {
        let now = *leadership.borrow_and_update();
        let members = levels_of(&membership.borrow_and_update());
        let common = highest_common(members.into_values());
        let target = common.filter(|level| now.leads && *level > replica.feature_level());
        let mut unfinished = false;
        if let Some(level) = target {
            let op = Op::RaiseFeatureLevel(RaiseFeatureLevel { level: level.0 });
            match proposer.propose_in(now.term, op).await {
                Ok(_) => {
                    tracing::info!(%level, "every member serves it: the cluster is at this feature level")
                }
                Err(error) => {
                    tracing::debug!(%level, %error, "the feature level was not raised");
                    unfinished = true;
                }
            }
        }
        tokio::select! {
            biased;
            changed = leadership.changed() => if changed.is_err() { return },
            changed = membership.changed() => if changed.is_err() { return },
            () = clock::sleep(RETRY_INTERVAL), if unfinished => {}
        }
    }
}
