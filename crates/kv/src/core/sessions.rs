//! Which requests were applied, and what was answered: a coordinator may hand one request to
//! several owners, and it takes effect once (Ongaro's dissertation, 2014, section 6.3).
//!
//! The table is a part of the replicated state, so every replica would answer the same.
//! Coordinators that are gone for good leave it when an owner has logged that they are
//! ([`Roll`]); what they asked for and comes late is not applied any more.

mod roll;

use std::collections::BTreeMap;

use atoll_base::id::ReplicaId;

pub use roll::Roll;

use super::numbered::Numbered;

/// A coordinator, from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    /// Who coordinates.
    pub replica: ReplicaId,
    /// How many times it was started; an older start's requests are not applied any more.
    pub boot: u64,
}

/// One request of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Whose it is.
    pub session: Session,
    /// Its number, from 1; never used for another request.
    pub sequence: u64,
    /// Everything below this number is answered: nobody asks again.
    pub answered_below: u64,
}

impl Origin {
    /// Of what an owner logs by itself: nobody asks again, so it is not remembered.
    pub fn own(replica: ReplicaId) -> Origin {
        Origin {
            session: Session { replica, boot: 0 },
            sequence: 0,
            answered_below: 0,
        }
    }

    /// Of an owner's own that is no operation, but a [`Roll`].
    pub fn roll(replica: ReplicaId) -> Origin {
        Origin {
            answered_below: 1,
            ..Origin::own(replica)
        }
    }

    /// Whether it is an owner's own.
    pub fn is_own(&self) -> bool {
        self.sequence == 0
    }

    /// Whether it is an owner's own, and a [`Roll`].
    pub fn is_roll(&self) -> bool {
        self.is_own() && self.answered_below == 1
    }
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Known<R> {
    /// It is to be applied.
    New,
    /// It was applied; this was the reply.
    Applied(R),
    /// Nobody waits for it any more: it must not be applied.
    Stale,
}

/// The table: of each coordinator's newest session, the replies that may be asked for again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sessions<R> {
    sessions: BTreeMap<ReplicaId, Replies<R>>,
    roll: Roll,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Replies<R> {
    boot: u64,
    answered_below: u64,
    replies: Numbered<R>,
}

impl<R> Default for Sessions<R> {
    fn default() -> Self {
        Sessions {
            sessions: BTreeMap::new(),
            roll: Roll::default(),
        }
    }
}

impl<R: Clone> Sessions<R> {
    /// What is known of a request.
    pub fn look(&self, origin: &Origin) -> Known<R> {
        if self.roll.is_gone(origin.session.replica) {
            return Known::Stale;
        }
        let Some(session) = self.sessions.get(&origin.session.replica) else {
            return Known::New;
        };
        if origin.session.boot > session.boot {
            return Known::New;
        }
        if origin.session.boot < session.boot || origin.sequence < session.answered_below {
            return Known::Stale;
        }
        match session.replies.get(origin.sequence) {
            Some(reply) => Known::Applied(reply.clone()),
            None => Known::New,
        }
    }

    /// Keeps the reply of a request that was just applied.
    pub fn keep(&mut self, origin: &Origin, reply: R) {
        let new = || Replies {
            boot: origin.session.boot,
            answered_below: 0,
            replies: Numbered::default(),
        };
        let session = self
            .sessions
            .entry(origin.session.replica)
            .or_insert_with(new);
        if session.boot < origin.session.boot {
            *session = new();
        }
        session.replies.insert(origin.sequence, reply);
        if origin.answered_below > session.answered_below {
            session.answered_below = origin.answered_below;
            session.replies.remove_below(origin.answered_below);
        }
    }

    /// Whether it remembers anybody who, as this tells, is gone for good.
    pub fn remembers_gone(&self, roll: &Roll) -> bool {
        self.sessions.keys().any(|replica| roll.is_gone(*replica))
    }

    /// Forgets who is gone for good, for good.
    pub fn call(&mut self, roll: &Roll) {
        self.roll.learn(roll);
        let roll = &self.roll;
        self.sessions.retain(|replica, _| !roll.is_gone(*replica));
    }

    /// Who is known to be gone for good.
    pub fn roll(&self) -> &Roll {
        &self.roll
    }

    /// Each session with its mark and replies, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Session, u64, impl Iterator<Item = (u64, &R)>)> {
        self.sessions.iter().map(|(replica, session)| {
            let replies = session.replies.iter();
            (
                Session {
                    replica: *replica,
                    boot: session.boot,
                },
                session.answered_below,
                replies,
            )
        })
    }

    /// Puts a session back, as [`iter`](Self::iter) told of it.
    pub fn restore(
        &mut self,
        session: Session,
        answered_below: u64,
        replies: impl IntoIterator<Item = (u64, R)>,
    ) {
        self.sessions.insert(
            session.replica,
            Replies {
                boot: session.boot,
                answered_below,
                replies: replies.into_iter().collect(),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(boot: u64, sequence: u64, answered_below: u64) -> Origin {
        Origin {
            session: Session {
                replica: ReplicaId(1),
                boot,
            },
            sequence,
            answered_below,
        }
    }

    #[test]
    fn a_reply_is_kept_until_it_was_heard() {
        let mut sessions = Sessions::default();
        sessions.keep(&origin(1, 2, 1), "two");
        sessions.keep(&origin(1, 1, 1), "one");
        assert_eq!(sessions.look(&origin(1, 2, 1)), Known::Applied("two"));
        assert_eq!(sessions.look(&origin(1, 3, 1)), Known::New);
        sessions.keep(&origin(1, 4, 3), "four");
        assert_eq!(sessions.look(&origin(1, 2, 1)), Known::Stale);
        assert_eq!(sessions.look(&origin(1, 3, 3)), Known::New);
        assert_eq!(sessions.look(&origin(1, 4, 3)), Known::Applied("four"));
    }

    #[test]
    fn a_new_start_ends_the_one_before() {
        let mut sessions = Sessions::default();
        sessions.keep(&origin(1, 9, 9), ());
        assert_eq!(sessions.look(&origin(2, 1, 1)), Known::New);
        sessions.keep(&origin(2, 1, 1), ());
        assert_eq!(sessions.look(&origin(1, 10, 9)), Known::Stale);
    }

    #[test]
    fn who_is_gone_is_forgotten_and_not_heard_again() {
        let mut sessions = Sessions::default();
        sessions.keep(&origin(1, 9, 9), "nine");
        let here = Roll::new(3, [1, 2, 3].map(ReplicaId));
        assert!(!sessions.remembers_gone(&here));
        sessions.call(&here);
        assert_eq!(sessions.look(&origin(1, 9, 9)), Known::Applied("nine"));
        let left = Roll::new(3, [2, 3].map(ReplicaId));
        assert!(sessions.remembers_gone(&left));
        sessions.call(&left);
        assert!(!sessions.remembers_gone(&left));
        assert_eq!(sessions.iter().count(), 0);
        // Neither what was applied nor what comes late, of whatever boot.
        assert_eq!(sessions.look(&origin(1, 9, 9)), Known::Stale);
        assert_eq!(sessions.look(&origin(2, 1, 1)), Known::Stale);
        // An owner that has not heard of it changes nothing.
        sessions.call(&here);
        assert_eq!(sessions.look(&origin(1, 9, 9)), Known::Stale);
        let mut newcomer = origin(1, 1, 1);
        newcomer.session.replica = ReplicaId(4);
        assert_eq!(sessions.look(&newcomer), Known::New);
    }

    #[test]
    fn a_table_can_be_told_and_put_back() {
        let mut sessions = Sessions::default();
        sessions.keep(&origin(3, 7, 5), "seven");
        let mut restored = Sessions::default();
        for (session, answered_below, replies) in sessions.iter() {
            let replies = replies.map(|(sequence, reply)| (sequence, *reply));
            restored.restore(session, answered_below, replies);
        }
        assert_eq!(restored, sessions);
    }
}
