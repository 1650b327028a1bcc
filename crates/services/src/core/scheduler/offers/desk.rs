//! Where frameworks ask for what is new of their offers. Each asks again and again, in a session
//! that tells it apart from others of its name, and says how much it has seen: an answer that was
//! lost is told again. While there is nothing to tell, its question is kept for a while.
//!
//! Invariants: whoever has not asked for [`SILENT_MS`] has left, and its offers are others'. A
//! session hears of every offer that was made to it, and of its end unless it has ended it itself.
//! What waits to be told is bounded: who takes nothing of it has left, too.

use std::collections::{BTreeMap, VecDeque};

use super::{OFFERS_MAX, Offer, OfferError};
use crate::core::scheduler::Scheduler;

/// Who has not asked for so long has left.
pub const SILENT_MS: u64 = 10_000;
/// For so long a question is kept while there is nothing to tell.
pub const POLL_MS: u64 = 4_000;
/// So much is told at once.
pub const TOLD_MAX: usize = 256;
/// So soon after the last round there may be another one, where something has changed.
const ROUND_MS: u64 = 100;
/// So soon there is one where nothing has.
const QUIET_MS: u64 = 1_000;
/// The more there is to look at, the more time is between rounds, so that they take about a tenth
/// of it: each node is held against what each framework wants, ten times as often in a millisecond.
const LOOKS_PER_MS: usize = 400;
/// So much may wait to be told to one framework.
const NEWS_MAX: usize = 2 * OFFERS_MAX;

/// What is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferNews {
    /// There is room.
    Offered(Offer),
    /// The offer of this id is not valid any more.
    Withdrawn(u64),
}

/// A framework asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// What it is called.
    pub framework: String,
    /// Who asks in its name.
    pub user: String,
    /// Its weight, where it comes new.
    pub weight: u32,
    /// Its session; 0: it wants a new one, in place of the one that there may be.
    pub session: u64,
    /// So much it has seen in this session.
    pub seen: u64,
}

/// What a framework is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its session.
    pub session: u64,
    /// Whether that has just begun: no offer from before it is valid.
    pub is_new: bool,
    /// With this it has seen so much.
    pub seen: u64,
    /// What is new, in order.
    pub news: Vec<OfferNews>,
}

/// Answers, and whom they are for.
pub type Answers<W> = Vec<(W, Result<Told, OfferError>)>;

/// All sessions; `W` is who waits for an answer.
#[derive(Debug)]
pub struct Desk<W> {
    sessions: BTreeMap<String, Session<W>>,
    last_round_ms: Option<u64>,
    /// So long after it there is no other.
    rest_ms: u64,
    has_changed: bool,
}

#[derive(Debug)]
struct Session<W> {
    id: u64,
    user: String,
    /// When it asked last, or was answered.
    heard_ms: u64,
    /// A question, and until when it is kept.
    waiting: Option<(W, u64)>,
    /// What it may not have seen yet.
    news: VecDeque<OfferNews>,
    /// How much came before that.
    seen: u64,
}

impl<W> Default for Desk<W> {
    fn default() -> Self {
        Desk {
            sessions: BTreeMap::new(),
            last_round_ms: None,
            rest_ms: 0,
            has_changed: false,
        }
    }
}

impl<W> Session<W> {
    fn told(&self, is_new: bool) -> Told {
        let news: Vec<OfferNews> = self.news.iter().take(TOLD_MAX).cloned().collect();
        Told {
            session: self.id,
            is_new,
            seen: self.seen + u64::try_from(news.len()).unwrap_or(0),
            news,
        }
    }

    /// It has seen so much.
    fn has_seen(&mut self, seen: u64) {
        let more = usize::try_from(seen.saturating_sub(self.seen)).unwrap_or(usize::MAX);
        let gone = self.news.drain(..more.min(self.news.len())).count();
        self.seen += u64::try_from(gone).unwrap_or(0);
    }

    fn is_silent(&self, now_ms: u64) -> bool {
        let is_away = self.waiting.is_none() && now_ms.saturating_sub(self.heard_ms) >= SILENT_MS;
        is_away || self.news.len() > NEWS_MAX
    }

    /// The answer to its question, if there is something to tell or it was kept for long enough.
    fn answer(&mut self, now_ms: u64) -> Option<(W, Result<Told, OfferError>)> {
        let is_due = |until_ms: u64| !self.news.is_empty() || until_ms <= now_ms;
        if !self
            .waiting
            .as_ref()
            .is_some_and(|(_, until_ms)| is_due(*until_ms))
        {
            return None;
        }
        let (waiter, _) = self.waiting.take()?;
        self.heard_ms = now_ms;
        Some((waiter, Ok(self.told(false))))
    }
}

impl<W> Desk<W> {
    /// A framework asks. It is answered at once if there is something to tell, and otherwise by
    /// [`Desk::turn`]. `fresh` is the number of a session that may begin: not 0, and no other one
    /// ever had it.
    pub fn poll(
        &mut self,
        scheduler: &mut Scheduler,
        poll: Poll,
        fresh: u64,
        waiter: W,
        now_ms: u64,
    ) -> Answers<W> {
        let Some(session) = self.sessions.get_mut(&poll.framework) else {
            return self.begin(scheduler, poll, fresh, waiter, now_ms);
        };
        if session.user != poll.user {
            return vec![(waiter, Err(OfferError::Foreign(poll.framework)))];
        }
        if poll.session == 0 {
            return self.begin(scheduler, poll, fresh, waiter, now_ms);
        }
        if session.id != poll.session {
            return vec![(waiter, Err(OfferError::Superseded(poll.framework)))];
        }
        session.has_seen(poll.seen);
        session.heard_ms = now_ms;
        // Nobody listens to the answer of a question that was asked again.
        session.waiting = Some((waiter, now_ms + POLL_MS));
        session.answer(now_ms).into_iter().collect()
    }

    fn begin(
        &mut self,
        scheduler: &mut Scheduler,
        poll: Poll,
        fresh: u64,
        waiter: W,
        now_ms: u64,
    ) -> Answers<W> {
        let mut answers = self.end(scheduler, &poll.framework);
        if let Err(error) = scheduler.framework_joins(&poll.framework, poll.weight) {
            answers.push((waiter, Err(error)));
            return answers;
        }
        let session = Session {
            id: fresh,
            user: poll.user,
            heard_ms: now_ms,
            waiting: None,
            news: VecDeque::new(),
            seen: 0,
        };
        answers.push((waiter, Ok(session.told(true))));
        self.sessions.insert(poll.framework, session);
        self.has_changed = true;
        answers
    }

    /// Ends a session, if there is one: its offers are others'.
    fn end(&mut self, scheduler: &mut Scheduler, framework: &str) -> Answers<W> {
        let Some(session) = self.sessions.remove(framework) else {
            return Vec::new();
        };
        scheduler.framework_leaves(framework);
        self.has_changed = true;
        let waiting = session.waiting.into_iter();
        waiting
            .map(|(waiter, _)| (waiter, Err(OfferError::Superseded(framework.to_owned()))))
            .collect()
    }

    /// Whether somebody may answer offers in a framework's name now. Offers change by that.
    ///
    /// # Errors
    /// There is no such framework, or it is somebody else's, or has another session.
    pub fn admit(&mut self, framework: &str, user: &str, session: u64) -> Result<(), OfferError> {
        let name = || framework.to_owned();
        let known = self.sessions.get(framework);
        let known = known.ok_or_else(|| OfferError::NoFramework(name()))?;
        if known.user != user {
            return Err(OfferError::Foreign(name()));
        }
        if known.id != session {
            return Err(OfferError::Superseded(name()));
        }
        self.has_changed = true;
        Ok(())
    }

    /// Makes offers if it is time, and answers those who wait. `has_changed`: nodes or pods have,
    /// since the last time.
    pub fn turn(
        &mut self,
        scheduler: &mut Scheduler,
        has_changed: bool,
        now_ms: u64,
    ) -> Answers<W> {
        self.has_changed |= has_changed;
        let silent =
            |(name, it): (&String, &Session<W>)| it.is_silent(now_ms).then(|| name.clone());
        let silent: Vec<String> = self.sessions.iter().filter_map(silent).collect();
        let mut answers = Vec::new();
        for framework in silent {
            answers.extend(self.end(scheduler, &framework));
        }
        if self.round_ms().is_none_or(|at_ms| at_ms <= now_ms) {
            self.make_round(scheduler, now_ms);
        }
        let sessions = self.sessions.values_mut();
        answers.extend(sessions.filter_map(|session| session.answer(now_ms)));
        answers
    }

    fn make_round(&mut self, scheduler: &mut Scheduler, now_ms: u64) {
        let looks = scheduler.snapshot().node_count() * self.sessions.len();
        self.rest_ms = u64::try_from(looks / LOOKS_PER_MS).unwrap_or(u64::MAX);
        self.last_round_ms = Some(now_ms);
        self.has_changed = false;
        let round = scheduler.offer(now_ms);
        for offer in round.withdrawn {
            if let Some(session) = self.sessions.get_mut(&offer.framework) {
                session.news.push_back(OfferNews::Withdrawn(offer.id));
            }
        }
        for offer in round.made {
            if let Some(session) = self.sessions.get_mut(&offer.framework) {
                session.news.push_back(OfferNews::Offered(offer));
            }
        }
    }

    /// When the next round is; none: now.
    fn round_ms(&self) -> Option<u64> {
        let after_ms = match self.has_changed {
            true => ROUND_MS,
            false => QUIET_MS,
        };
        let after_ms = after_ms.max(self.rest_ms);
        self.last_round_ms.map(|last_ms| last_ms + after_ms)
    }

    /// When there is something to do, even if nothing changes and nobody asks; none if nobody is
    /// there.
    pub fn next_ms(&self) -> Option<u64> {
        let sessions = self.sessions.values();
        let waiting = sessions.filter_map(|it| it.waiting.as_ref().map(|(_, until_ms)| *until_ms));
        let round = self.round_ms().unwrap_or(0);
        let next = waiting.fold(round, u64::min);
        (!self.sessions.is_empty()).then_some(next)
    }
}
