//! Commands that go to many partitions: to all at once, to one after the other, or along a cursor.

use atoll_base::id::PartitionId;
use bytes::Bytes;

use super::{Answer, AskKind, Dealer, Kv, Pending, Receiver, answer, operation};
use crate::core::{
    reply::Reply,
    route::{Merge, Part, Scan},
};

/// Asks all of these the same.
pub(super) fn begin_every(
    dealer: &mut Dealer<'_>,
    partitions: impl Iterator<Item = PartitionId>,
    kind: AskKind,
    database: usize,
    words: Vec<Bytes>,
    merge: Merge,
) -> Pending {
    let operation = operation(database, words);
    let receivers = partitions
        .map(|partition| dealer.deal(partition, kind, operation.clone()))
        .collect();
    Pending::Later(Box::pin(merged(receivers, None, merge)))
}

/// Asks these in random order, until one answers something.
pub(super) fn begin_search(
    dealer: &Dealer<'_>,
    partitions: Vec<PartitionId>,
    database: usize,
    words: Vec<Bytes>,
) -> Pending {
    let (kv, is_stale) = (dealer.kv.clone(), dealer.is_stale);
    let search = async move { search(&kv, is_stale, partitions, database, words).await };
    Pending::Alone(Box::pin(search))
}

/// Asks those that are wanted, one after the other, for as much as a SCAN wants.
pub(super) fn begin_scan(
    dealer: &Dealer<'_>,
    mut scan: Scan,
    is_wanted: impl Fn(PartitionId) -> bool + Send + 'static,
    database: usize,
) -> Pending {
    let (kv, is_stale) = (dealer.kv.clone(), dealer.is_stale);
    Pending::Alone(Box::pin(async move {
        loop {
            if let Some(reply) = scan.skip(&is_wanted) {
                return Answer::Reply(reply);
            }
            let (partition, words) = scan.ask();
            match one(&kv, is_stale, partition, operation(database, words)).await {
                Answer::Reply(reply) => {
                    if let Some(reply) = scan.take(reply) {
                        return Answer::Reply(reply);
                    }
                }
                refused => return refused,
            }
        }
    }))
}

/// Asks one partition for something to read.
async fn one(kv: &Kv, is_stale: bool, partition: PartitionId, operation: Bytes) -> Answer {
    let mut dealer = Dealer::new(kv);
    dealer.is_stale = is_stale;
    let receiver = dealer.deal(partition, AskKind::Read, operation);
    dealer.hand_over();
    answer(receiver.await)
}

pub(super) async fn merged(
    receivers: Vec<Receiver>,
    parts: Option<Vec<Part>>,
    merge: Merge,
) -> Answer {
    let mut replies = Vec::with_capacity(receivers.len());
    for receiver in receivers {
        match answer(receiver.await) {
            Answer::Reply(reply) => replies.push(reply),
            refused => return refused,
        }
    }
    Answer::Reply(match parts {
        Some(parts) => merge.of_parts(&parts, replies),
        None => merge.of_all(replies),
    })
}

/// One of these partitions after the other, in random order, until one answers something.
async fn search(
    kv: &Kv,
    is_stale: bool,
    mut order: Vec<PartitionId>,
    database: usize,
    words: Vec<Bytes>,
) -> Answer {
    for at in (1..order.len()).rev() {
        order.swap(at, atoll_world::random::range(0..=at));
    }
    let operation = operation(database, words);
    for partition in order {
        match one(kv, is_stale, partition, operation.clone()).await {
            Answer::Reply(Reply::Null) => {}
            found => return found,
        }
    }
    Answer::Reply(Reply::Null)
}
