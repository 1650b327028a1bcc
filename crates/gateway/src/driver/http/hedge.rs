//! A second attempt beside a first one that takes long ("The Tail at Scale", CACM 56(2), 2013):
//! who answers first is heard, and the other one is broken off. It costs from the budget of
//! retries, so that a cluster that is slow because it has too much to do does not get twice as
//! much.

use std::{pin::pin, time::Duration};

use atoll_world::clock::{self, Instant};
use futures_util::future::{Either, select};
use hyper::{Request, header::UPGRADE};

use super::{
    body::Outgoing,
    send::{Attempt, Sending, head_of},
};

/// One attempt, or two side by side.
pub(super) struct Attempts {
    /// The one that counts.
    pub(super) ended: Attempt,
    /// Who else was asked.
    pub(super) beside: Option<usize>,
}

impl From<Attempt> for Attempts {
    fn from(ended: Attempt) -> Self {
        Attempts {
            ended,
            beside: None,
        }
    }
}

impl Sending<'_> {
    /// The same request for a second attempt, if there may be one. A WebSocket is opened once.
    pub(super) fn hedge(
        &self,
        request: &Request<Outgoing>,
        may_repeat: bool,
    ) -> Option<Request<Outgoing>> {
        let is_wanted = self.cluster.config.hedge.is_some() && may_repeat;
        (is_wanted && !request.headers().contains_key(UPGRADE)).then(|| head_of(request))
    }

    /// Asks one endpoint, and after a while another one as well.
    pub(super) async fn hedged(
        &self,
        place: usize,
        [request, second]: [Request<Outgoing>; 2],
        deadline: Instant,
        tried: &[usize],
    ) -> Attempts {
        let hedge = self.cluster.config.hedge;
        let after = Duration::from_millis(hedge.map_or(0, |it| it.after_ms));
        let mut first = pin!(self.once(place, request, deadline));
        if let Ok(ended) = clock::timeout(after, first.as_mut()).await {
            return ended.into();
        }
        let Some(other) = self.other(place, tried) else {
            return first.await.into();
        };
        self.shared.stats.hedges.add_one();
        let second = pin!(self.once(other, second, deadline));
        let (ended, beside) = match select(first, second).await {
            Either::Left((ended, rest)) if ended.result.is_err() => {
                let later = rest.await;
                match later.result.is_ok() {
                    true => (later, place),
                    false => (ended, other),
                }
            }
            Either::Left((ended, _)) => (ended, other),
            Either::Right((ended, rest)) if ended.result.is_err() => (rest.await, other),
            Either::Right((ended, _)) => (ended, place),
        };
        Attempts {
            ended,
            beside: Some(beside),
        }
    }

    /// Another endpoint, if there is one that was not asked, and the budget allows it.
    fn other(&self, place: usize, tried: &[usize]) -> Option<usize> {
        let mut asked = tried.to_vec();
        asked.push(place);
        let now_ms = self.shared.start.elapsed_ms();
        let other = self.cluster.pick(self.key, &asked, now_ms)?;
        let retries = &self.cluster.config.retries;
        let is_new = !asked.contains(&other);
        let may = is_new && self.cluster.load.budget.withdraw(retries, now_ms);
        may.then_some(other)
    }
}
