//! What one framework wants: all that it has not declined.

use std::collections::BTreeMap;

use super::{DECLINE_MS_MAX, OFFERS_MAX, Offer};
use crate::core::scheduler::amounts::Amounts;

#[derive(Clone, Debug)]
struct Declined {
    until_ms: u64,
    room: Amounts,
}

#[derive(Clone, Debug)]
pub(super) struct Framework {
    pub(super) weight: u32,
    /// By node: what it does not want, unless there is more.
    declined: BTreeMap<String, Declined>,
}

impl Framework {
    /// One that wants everything.
    pub(super) fn new(weight: u32) -> Framework {
        Framework {
            weight,
            declined: BTreeMap::new(),
        }
    }

    pub(super) fn wants(&self, node: &str, room: &Amounts, now_ms: u64) -> bool {
        let declined = self
            .declined
            .get(node)
            .filter(|declined| declined.until_ms > now_ms);
        declined.is_none_or(|declined| !declined.room.has_room(&Amounts::default(), room))
    }

    pub(super) fn decline(&mut self, offer: &Offer, room: Amounts, for_ms: u64, now_ms: u64) {
        self.declined
            .retain(|_, declined| declined.until_ms > now_ms);
        if for_ms == 0 || self.declined.len() >= OFFERS_MAX {
            return;
        }
        let until_ms = now_ms + for_ms.min(DECLINE_MS_MAX);
        self.declined
            .insert(offer.node.clone(), Declined { until_ms, room });
    }

    /// It wants everything again.
    pub(super) fn revive(&mut self) {
        self.declined.clear();
    }
}
