//! Transactions that are decided outside: hot data takes part in them as one among others, and
//! holds what it has voted for until it is told how that ends. Whoever decides here never dies,
//! and tells any node that listens.

use std::{sync::Arc, time::Duration};

use atoll_txn::{
    core::global::{Branch, Order, Place, Report, TransactionId},
    driver::global::Call,
    outside::hot::{NAME, work::Work},
    proto::RedisCommand,
};
use atoll_world::{clock, random::Stream};
use bytes::Bytes;

use super::{
    Planted,
    clients::call_of,
    cluster::{Cluster, NODES},
    history::{History, KEYS, Op},
};

/// Between two transactions it rests, at the most for so long.
const REST_MS_MAX: u64 = 60;
/// It decides at the most so long after the vote: others wait for it meanwhile.
const DECIDES_WITHIN_MS: u64 = 60;
/// So often a vote is asked for.
const VOTES_MAX: u32 = 3;
/// Before somebody is told again.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) struct Decider {
    pub(super) number: usize,
    pub(super) cluster: Arc<Cluster>,
    pub(super) history: Arc<History>,
    pub(super) chance: Stream,
    pub(super) planted: Option<Planted>,
}

/// What is enlisted.
fn payload(ops: &[Op]) -> Bytes {
    let commands = ops.iter().map(|op| RedisCommand {
        raw: call_of(*op).words,
        ..RedisCommand::default()
    });
    Work::new(commands.collect()).encode()
}

impl Decider {
    /// Works until then, and brings what it has begun to its end.
    pub(super) async fn work(mut self, ends_at: clock::Instant) {
        let mut count = 0;
        while clock::now() < ends_at {
            let rest_ms = self.chance.range(0..REST_MS_MAX);
            clock::sleep(Duration::from_millis(rest_ms)).await;
            count += 1;
            let id = self.number as u128 * 1_000_000 + count;
            let branch = Branch {
                transaction: TransactionId(id),
                place: Place(0),
            };
            let value = (self.number as u64 + 1) * 1_000_000 + count as u64 * 10;
            self.transact(branch, value).await;
        }
    }

    fn draw(&mut self, value: u64) -> Vec<Op> {
        let one = self.chance.range(0..KEYS);
        let other = (one + self.chance.range(1..KEYS)) % KEYS;
        match self.chance.range(0..5) {
            0 => vec![Op::Take(one), Op::Set(other, value)],
            1 => vec![Op::Rename(one, other)],
            2 => vec![Op::SetNew(one, other, value)],
            3 => vec![Op::Set(one, value), Op::Copy(one, other)],
            _ => vec![Op::Set(one, value), Op::Set(other, value + 1)],
        }
    }

    async fn transact(&mut self, branch: Branch, value: u64) {
        let ops = self.draw(value);
        let prepare = Order::Prepare {
            payload: payload(&ops),
            peers: Vec::new(),
        };
        let number = self.history.begin(self.number, ops);
        let mut vote = None;
        for attempt in 1..=VOTES_MAX {
            vote = self.tell(branch, attempt, prepare.clone()).await;
            if vote.is_some() {
                break;
            }
        }
        let decides_ms = self.chance.range(0..DECIDES_WITHIN_MS);
        clock::sleep(Duration::from_millis(decides_ms)).await;
        let commits = vote == Some(Report::Yes) && self.chance.chance(0.7);
        let (order, wanted) = match commits {
            true => (Order::Commit, Report::Committed),
            false => (Order::Abort, Report::Aborted),
        };
        for attempt in 1.. {
            let told = self.tell(branch, attempt, order.clone()).await;
            match told {
                Some(report) if report == wanted => break,
                Some(report) => {
                    return self.history.violate(format!(
                        "who decides is obeyed: {branch} voted {vote:?}, was told {order:?}, and \
                         says {report:?}"
                    ));
                }
                None => clock::sleep(PAUSE).await,
            }
        }
        match commits || self.planted == Some(Planted::BelievesAborts) {
            true => self.history.end_silently(number),
            false => self.history.refuse(number),
        }
        // An order that comes late changes nothing.
        if self.chance.chance(0.3) {
            let late = self.tell(branch, VOTES_MAX + 1, prepare).await;
            let fits = match commits {
                true => Report::Committed,
                false => Report::No,
            };
            if late.is_some_and(|late| late != fits) {
                self.history.violate(format!(
                    "what has ended stays so: {branch} says {late:?} after {order:?}"
                ));
            }
        }
    }

    /// Gives an order to any node; what it reports, if it does.
    async fn tell(&mut self, branch: Branch, attempt: u32, order: Order) -> Option<Report> {
        let at = self.chance.range(0..NODES);
        let call = Call {
            branch,
            name: NAME.to_owned(),
            attempt,
            order,
        };
        self.cluster.tell(at, call).await
    }
}
