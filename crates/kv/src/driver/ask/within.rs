//! Commands on a part of the data, as cluster clients ask them of single nodes.

use atoll_base::id::PartitionId;

use super::{AskKind, Call, Dealer, Kv, Pending, error_reply, is_read, many, operation};
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
            let owned = partitions.ids().filter(|partition| is_owned(*partition));
            many::begin_every(dealer, owned, AskKind::Read, database, call.words, merge)
        }
        Some(Ok(Plan::Search)) => {
            let owned = partitions.ids().filter(|partition| is_owned(*partition));
            many::begin_search(dealer, owned.collect(), database, call.words)
        }
        Some(Ok(Plan::Scan(scan))) => many::begin_scan(dealer, scan, is_owned, database),
        Some(Err(error)) => Pending::Ready(error_reply(error.to_string())),
        Some(Ok(_)) | None => Pending::Ready(error_reply(UNFIT.to_owned())),
    }
}
