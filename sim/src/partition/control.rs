//! The control plane, as far as a partition sees it: it decides who holds the partition, one
//! step at a time, and tells everybody until they know.

use atoll_base::id::ReplicaId;
use atoll_kv::core::paxos::{Ballot, Configuration, LogIndex, Members, Position, Proof, Voters};

/// What the control plane has recorded.
pub(super) struct Control {
    pub(super) configuration: Configuration,
    /// Where the partition is to be, while it is not there.
    pub(super) target: Option<Members>,
    /// Finished moves.
    pub(super) moves: usize,
    /// Everything that was recorded, in order: a node may see any of it, and after a start
    /// something older than before.
    pub(super) recorded: Vec<Recorded>,
    leaves_early: bool,
}

/// What stood in the control plane at one time.
#[derive(Clone)]
pub(super) struct Recorded {
    pub(super) configuration: Configuration,
    /// Who is to have the log, voters first.
    pub(super) holders: Vec<ReplicaId>,
}

/// What the owner tells.
pub(super) struct Report {
    /// The configuration that its ballot stands under.
    pub(super) configuration: u64,
    pub(super) commit: LogIndex,
    pub(super) matched: Vec<(ReplicaId, LogIndex)>,
    pub(super) proof: Option<Proof>,
}

impl Control {
    pub(super) fn new(members: Members, leaves_early: bool) -> Self {
        let mut control = Control {
            configuration: Configuration::first(members),
            target: None,
            moves: 0,
            recorded: Vec::new(),
            leaves_early,
        };
        control.record();
        control
    }

    fn record(&mut self) {
        self.recorded.push(Recorded {
            configuration: self.configuration.clone(),
            holders: self.holders(),
        });
    }

    fn holders(&self) -> Vec<ReplicaId> {
        let mut holders: Vec<ReplicaId> = self.configuration.voters().iter().collect();
        for replica in self.learners() {
            if !holders.contains(&replica) {
                holders.push(replica);
            }
        }
        holders
    }

    pub(super) fn learners(&self) -> Vec<ReplicaId> {
        match (&self.configuration.voters, &self.target) {
            (Voters::Stable { .. }, Some(target)) => target
                .iter()
                .filter(|replica| !self.configuration.is_voter(*replica))
                .collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn wish(&mut self, members: Members) {
        let is_idle = self.target.is_none();
        if is_idle && self.configuration.voters() != members {
            self.target = Some(members);
            // Each step has a number of its own, also the one that changes no votes.
            self.configuration.number += 1;
            self.record();
        }
    }

    /// Takes a step, if what the owner tells allows one.
    pub(super) fn step(&mut self, report: &Report) {
        let Some(target) = &self.target else {
            return;
        };
        match &self.configuration.voters {
            Voters::Stable { .. } => {
                let caught_up = |replica: ReplicaId| {
                    let matched = report.matched.iter().find(|(it, _)| *it == replica);
                    matched.is_some_and(|(_, matched)| matched.0 + 8 >= report.commit.0)
                };
                let most = target.iter().filter(|it| caught_up(*it)).count() > target.count() / 2;
                if report.configuration == self.configuration.number && most {
                    let joint = self.configuration.joint(target.clone());
                    self.configuration = joint.expect("it was stable");
                    self.record();
                }
            }
            Voters::Joint { .. } => {
                let early = Proof {
                    committed: Position {
                        birth: Ballot {
                            configuration: self.configuration.number,
                            ..Ballot::default()
                        },
                        index: report.commit,
                    },
                };
                let proof = match report.proof {
                    Some(proof) if report.configuration == self.configuration.number => Some(proof),
                    _ => self.leaves_early.then_some(early),
                };
                if let Some(proof) = proof {
                    let new = self.configuration.finish(proof);
                    self.configuration = new.expect("it was joint, and the proof is of it");
                    self.target = None;
                    self.moves += 1;
                    self.record();
                }
            }
        }
    }
}
