//! Commands on a part of the data, as cluster clients ask them of single nodes.

use atoll_base::id::PartitionId;

use super::{
    Answer, AskKind, Call, Dealer, Kv, Pending, error_reply, is_read, merged, one, operation,
    search,
};
use crate::{
    api::Part,
    core::route::{self, Plan},
};

/// What to say to a command that can't be had of a part: our own mistake.
const UNFIT: &str = "ERR this command can't be asked of a part of the data";

pub(super) fn begin_within(
    kv: &Kv,
    dealer: &mut Dealer<'_>,
    part: Part,
    database: usize,
    call: Call,
) -> Pending {
    let partitions = kv.0.partitions;
    if !is_read(call.command) {
        return Pending::Ready(error_reply(UNFIT.to_owned()));
    }
    if let Part::Slot(slot) = part {
        let operation = operation(database, call.words);
        return Pending::One(dealer.deal(partitions.of_slot(slot), AskKind::Read, operation));
    }
    let owned = kv.0.owners.shown_here();
    let is_owned = move |partition: PartitionId| owned.contains(&partition);
    match route::plan_some(call.command, &call.words, partitions.count()) {
        Some(Ok(Plan::Every(merge))) => {
            let operation = operation(database, call.words);
            let receivers = partitions
                .ids()
                .filter(|partition| is_owned(*partition))
                .map(|partition| dealer.deal(partition, AskKind::Read, operation.clone()))
                .collect();
            Pending::Later(Box::pin(merged(receivers, None, merge)))
        }
        Some(Ok(Plan::Search)) => {
            let (kv, is_stale) = (kv.clone(), dealer.is_stale);
            let order = partitions.ids().filter(|it| is_owned(*it)).collect();
            let search = async move { search(&kv, is_stale, order, database, call.words).await };
            Pending::Alone(Box::pin(search))
        }
        Some(Ok(Plan::Scan(mut scan))) => {
            let (kv, is_stale) = (kv.clone(), dealer.is_stale);
            Pending::Alone(Box::pin(async move {
                loop {
                    if let Some(reply) = scan.skip(&is_owned) {
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
        Some(Err(error)) => Pending::Ready(error_reply(error.to_string())),
        Some(Ok(_)) | None => Pending::Ready(error_reply(UNFIT.to_owned())),
    }
}
