//! Attempts of branches, which are decided outside: in the place of a decision, home is asked to
//! hold them.

use atoll_kv::core::{
    machine::{Answered, Transact, Transacted},
    partition::Given,
};

use super::{End, Execution, Phase};

impl Execution {
    /// Asks home to keep what is prepared until whoever decides outside says how it ends.
    pub(super) fn hold(&mut self) {
        let branch = self.purpose.as_ref().map(|purpose| purpose.branch);
        if let Some(branch) = branch {
            let id = self.id;
            self.step(self.program.home(), Transact::Hold { id, branch });
        }
    }

    pub(super) fn held(&mut self, given: Given<Answered>) {
        match given {
            Given::Reply(Answered::Transacted(Transacted::Held(id))) if id == self.id => {
                self.phase = Phase::Ending;
                self.end = Some(End::Held);
            }
            // Another attempt is; this one is not needed.
            Given::Reply(Answered::Transacted(Transacted::Held(_))) => {
                self.finish(false, End::Held);
            }
            // This one may have been held, and its branch has ended since: it ends alike.
            Given::Reply(Answered::Transacted(Transacted::Settled { commits, id, .. })) => {
                self.finish(commits && id == Some(self.id), End::Settled(commits));
            }
            // Somebody took the coordinator for dead.
            Given::Reply(Answered::Transacted(Transacted::Decided { commits, .. })) => {
                let home = self.program.home();
                self.holders.remove(&home);
                self.is_remembered = true;
                let end = match commits {
                    true => End::Settled(true),
                    false => End::Conflict,
                };
                self.finish(commits, end);
            }
            // Home has no room for more of them.
            Given::Reply(Answered::Transacted(Transacted::Conflict(_))) => {
                self.finish(false, End::Conflict);
            }
            // It may be held: to let go now would be to break a promise.
            _ => match self.learns_again() {
                true => self.hold(),
                false => self.leave(),
            },
        }
    }
}
