//! Who belongs to the cluster: joins, promotions, removals, all carried out by the leader.
//!
//! A new node is a learner first. Votes are given in steps that keep the number of voters
//! odd: a second node stays a learner until a third has caught up, then both vote
//! ([`plan_votes`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_world::{clock, peers::Peers};
use prost::Message as _;

use super::{
    leader::{self, Patience},
    replica::Replicated,
    services::MEMBER,
};
use crate::{
    api::Member,
    core::{error::Error, level::LevelRange},
    log::{Log, LogError, types},
    proto::raft::{self as pb, member_request::Change, member_response},
};

/// Voters there are at most; everybody else is a learner.
const VOTERS_MAX: usize = 5;

/// A learner that lacks no more entries than this has caught up.
const CAUGHT_UP_ENTRIES: u64 = 1_000;

/// How long a change of membership may take before its caller hears of it.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long leadership may take to move.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(3);

/// How often the leader looks whether a learner can vote.
const PROMOTE_INTERVAL: Duration = Duration::from_millis(500);

/// How long the leader may take for a change before it is asked again (moving leadership takes
/// longest), and how long a request rests when nobody led.
const PATIENCE: Patience = Patience {
    call: Duration::from_secs(4),
    rest: Duration::from_millis(50),
};

/// Carries out changes of membership, here or at the leader.
pub(crate) struct Members {
    log: Log,
    peers: Arc<dyn Peers>,
    replica: Arc<Replicated>,
}

impl Members {
    pub(crate) fn new(log: Log, peers: Arc<dyn Peers>, replica: Arc<Replicated>) -> Self {
        Members {
            log,
            peers,
            replica,
        }
    }

    /// How a member is reached, as the newest membership has it.
    pub(crate) fn find(&self, node: NodeId) -> Option<pb::Node> {
        self.log.members().get_node(&node.0).cloned()
    }

    /// Every member, in order of id.
    pub(crate) fn list(&self) -> Vec<Member> {
        list(&self.log.members())
    }

    /// Has the leader change something, wherever it is.
    pub(crate) async fn change(&self, change: Change) -> Result<(), Error> {
        let request = pb::MemberRequest {
            change: Some(change),
        };
        match clock::timeout(CHANGE_TIMEOUT, self.change_at_leader(request)).await {
            Ok(done) => done,
            Err(_) => Err(Error::Timeout),
        }
    }

    async fn change_at_leader(&self, request: pb::MemberRequest) -> Result<(), Error> {
        let mut asked = 0;
        let answer = leader::ask(self.log.node(), self.log.leadership(), PATIENCE, |leader| {
            asked += 1;
            self.ask(leader, request.clone())
        })
        .await?;
        match answer {
            Err(error) if asked > 1 && is_done_already(request.change.as_ref(), error) => Ok(()),
            answer => answer,
        }
    }

    async fn ask(&self, leader: NodeId, request: pb::MemberRequest) -> Option<Result<(), Error>> {
        let answer = if leader == self.log.node() {
            self.answer(request).await
        } else {
            let bytes = self
                .peers
                .call(leader, MEMBER, request.encode_to_vec().into())
                .await
                .ok()?;
            pb::MemberResponse::decode(bytes).ok()?
        };
        match answer.result() {
            member_response::Result::Done => Some(Ok(())),
            member_response::Result::Refused => Some(Err(refusal(&answer.reason))),
            member_response::Result::NotLeader => None,
        }
    }

    /// Carries out a change as the leader.
    pub(crate) async fn answer(&self, request: pb::MemberRequest) -> pb::MemberResponse {
        let outcome = match request.change {
            None => Err(Outcome::Refused(Error::MemberNotFound)),
            Some(change) => self.carry_out(change).await,
        };
        let (result, reason) = match outcome {
            Ok(()) => (member_response::Result::Done, String::new()),
            Err(Outcome::NotLeader) => (member_response::Result::NotLeader, String::new()),
            Err(Outcome::Refused(error)) => {
                (member_response::Result::Refused, error.text().to_owned())
            }
        };
        pb::MemberResponse {
            result: result.into(),
            reason,
        }
    }

    async fn carry_out(&self, change: Change) -> Result<(), Outcome> {
        if !self.log.leadership().borrow().leads {
            return Err(Outcome::NotLeader);
        }
        let members = self.log.members();
        let known: BTreeMap<u64, &pb::Node> =
            members.nodes().map(|(id, node)| (*id, node)).collect();
        let voters: BTreeSet<u64> = members.voter_ids().collect();
        match change {
            Change::AddLearner(add) => {
                let node = add.node.ok_or(Outcome::Refused(Error::MemberBadURLs))?;
                if known.get(&add.id).is_some_and(|known| **known == node) {
                    return Ok(());
                }
                if known.contains_key(&add.id) {
                    return Err(Outcome::Refused(Error::MemberExist));
                }
                if known.values().any(|known| {
                    known
                        .peer_urls
                        .iter()
                        .any(|url| node.peer_urls.contains(url))
                }) {
                    return Err(Outcome::Refused(Error::PeerURLExist));
                }
                let cluster = self.replica.feature_level();
                if LevelRange::announced(&node).is_some_and(|levels| !levels.contains(cluster)) {
                    return Err(Outcome::Refused(Error::FeatureLevel));
                }
                self.log.add_learner(NodeId(add.id), node).await?;
            }
            Change::Promote(id) => {
                if !known.contains_key(&id) {
                    return Err(Outcome::Refused(Error::MemberNotFound));
                }
                if voters.contains(&id) {
                    return Err(Outcome::Refused(Error::MemberNotLearner));
                }
                if !self.caught_up().contains(&id) {
                    return Err(Outcome::Refused(Error::LearnerNotReady));
                }
                self.log.promote(BTreeSet::from([NodeId(id)])).await?;
            }
            Change::Remove(id) => {
                if !known.contains_key(&id) {
                    return Err(Outcome::Refused(Error::MemberNotFound));
                }
                if voters.len() == 1 && voters.contains(&id) {
                    return Err(Outcome::Refused(Error::MemberNotEnoughStarted));
                }
                self.log.remove(NodeId(id), voters.contains(&id)).await?;
            }
            Change::Update(update) => {
                let node = update.node.ok_or(Outcome::Refused(Error::MemberBadURLs))?;
                if !known.contains_key(&update.id) {
                    return Err(Outcome::Refused(Error::MemberNotFound));
                }
                self.log.update(NodeId(update.id), node).await?;
            }
            Change::TransferTo(id) => {
                if !voters.contains(&id) {
                    return Err(Outcome::Refused(Error::BadLeaderTransferee));
                }
                if id != self.log.node().0 {
                    let moved = self.log.transfer_leader(NodeId(id), TRANSFER_TIMEOUT).await;
                    moved.map_err(|_| Outcome::Refused(Error::TimeoutDueToLeaderFail))?;
                }
            }
        }
        Ok(())
    }

    /// Members that have (nearly) everything, as the leader knows.
    fn caught_up(&self) -> BTreeSet<u64> {
        let last = self.log.progress().last_index;
        let matched = self.log.matched().into_iter();
        matched
            .filter(|(_, index)| index + CAUGHT_UP_ENTRIES >= last && *index > 0)
            .map(|(node, _)| node.0)
            .collect()
    }

    /// Tells the links where members are reached, and who is none any more.
    pub(crate) async fn follow_addresses(self: Arc<Self>) {
        let mut known: BTreeMap<u64, String> = BTreeMap::new();
        let mut membership = self.log.membership();
        loop {
            let now: BTreeMap<u64, String> = {
                let members = membership.borrow_and_update();
                members
                    .nodes()
                    .filter_map(|(id, node)| Some((*id, peer_address(node)?)))
                    .collect()
            };
            for (id, address) in now
                .iter()
                .filter(|(id, address)| known.get(id) != Some(address))
            {
                self.peers.set_address(NodeId(*id), address.clone());
            }
            for id in known.keys().filter(|id| !now.contains_key(id)) {
                self.peers.forget(NodeId(*id));
            }
            known = now;
            if membership.changed().await.is_err() {
                return;
            }
        }
    }

    /// While this node leads, gives votes to learners that have caught up.
    pub(crate) async fn promote_learners(self: Arc<Self>) {
        let mut leadership = self.log.leadership();
        loop {
            if leadership.wait_for(|now| now.leads).await.is_err() {
                return;
            }
            let members = self.log.members();
            let voters: BTreeSet<u64> = members.voter_ids().collect();
            let ready: BTreeSet<u64> = self.caught_up().difference(&voters).copied().collect();
            let promoted = plan_votes(voters.len(), &ready);
            if !promoted.is_empty() && members.get_joint_config().len() == 1 {
                let nodes = promoted.iter().map(|id| NodeId(*id)).collect();
                match self.log.promote(nodes).await {
                    Ok(()) => {
                        tracing::info!(?promoted, "learners have caught up and vote from now on")
                    }
                    Err(error) => tracing::warn!(%error, "learners could not be given a vote"),
                }
            }
            clock::sleep(PROMOTE_INTERVAL).await;
        }
    }
}

/// `host:port` of a member's peer listener; none if it has not told a URL.
pub fn peer_address(node: &pb::Node) -> Option<String> {
    let url = node.peer_urls.first()?;
    Some(
        url.trim_start_matches("https://")
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned(),
    )
}

/// Every member of a membership, in order of id.
pub(crate) fn list(members: &types::Members) -> Vec<Member> {
    let voters: BTreeSet<u64> = members.voter_ids().collect();
    members
        .nodes()
        .map(|(id, node)| Member {
            node: NodeId(*id),
            name: node.name.clone(),
            peer_urls: node.peer_urls.clone(),
            client_urls: node.client_urls.clone(),
            learner: !voters.contains(id),
            levels: LevelRange::announced(node),
        })
        .collect()
}

/// Which learners are to vote next: as many as lead to the next odd number of voters, or none.
fn plan_votes(voters: usize, ready: &BTreeSet<u64>) -> BTreeSet<u64> {
    let target = (voters + ready.len()).min(VOTERS_MAX);
    // With an even number of voters (one was removed) a single learner helps at once.
    let target = if target.is_multiple_of(2) {
        target - 1
    } else {
        target
    };
    ready
        .iter()
        .copied()
        .take(target.saturating_sub(voters))
        .collect()
}

enum Outcome {
    NotLeader,
    Refused(Error),
}

impl From<LogError> for Outcome {
    fn from(error: LogError) -> Self {
        match error {
            LogError::NotLeader => Outcome::NotLeader,
            // The asking node tries again, as it does while nobody leads.
            LogError::Busy(reason) => {
                tracing::debug!(%reason, "a change of membership has to wait");
                Outcome::NotLeader
            }
            LogError::Membership(reason) => {
                tracing::warn!(%reason, "a change of membership was refused");
                Outcome::Refused(Error::MemberNotEnoughStarted)
            }
            LogError::Stopped(_) => Outcome::Refused(Error::Stopped),
        }
    }
}

/// Whether a refusal says that the change was made. Told apart from a mistake only by its
/// having been asked for before: that answer may have been lost.
fn is_done_already(change: Option<&Change>, refused: Error) -> bool {
    matches!(
        (change, refused),
        (Some(Change::Promote(_)), Error::MemberNotLearner)
            | (Some(Change::Remove(_)), Error::MemberNotFound)
    )
}

/// The error behind the text in which a leader refused.
fn refusal(text: &str) -> Error {
    Error::ALL
        .iter()
        .copied()
        .find(|error| error.text() == text)
        .unwrap_or(Error::Unhealthy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_come_in_odd_numbers() {
        let ready = |n: u64| (0..n).map(|id| id + 10).collect::<BTreeSet<_>>();
        for (voters, learners, promoted) in [
            (1, 0, 0),
            (1, 1, 0),
            (1, 2, 2),
            (1, 3, 2),
            (1, 4, 4),
            (1, 9, 4),
            (2, 1, 1),
            (3, 1, 0),
            (3, 2, 2),
            (4, 1, 1),
            (5, 3, 0),
        ] {
            assert_eq!(
                plan_votes(voters, &ready(learners)).len(),
                promoted,
                "{voters} voters, {learners} learners"
            );
        }
    }
}
