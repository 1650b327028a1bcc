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
    leaves_early: bool,
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
        Control {
            configuration: Configuration::first(members),
            target: None,
            moves: 0,
            leaves_early,
        }
    }

    /// Who is to have the log, voters first.
    pub(super) fn holders(&self) -> Vec<ReplicaId> {
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
                }
            }
        }
    }
}
