//! Who is next: the one whose largest share of any resource is the smallest, by its weight.

use std::collections::BTreeMap;

use super::super::amounts::Amounts;

/// Parts of all there is, in which shares are compared.
const WHOLE: u128 = 1 << 40;

#[derive(Debug)]
struct Party {
    weight: u32,
    has: Amounts,
    share: u128,
}

/// What each has of all there is.
#[derive(Debug)]
pub(super) struct Fairness {
    all: Amounts,
    parties: BTreeMap<String, Party>,
}

impl Fairness {
    /// Nobody has anything of so much.
    pub(super) fn of(all: Amounts) -> Fairness {
        Fairness {
            all,
            parties: BTreeMap::new(),
        }
    }

    /// One more, who has so much.
    pub(super) fn joins(&mut self, name: &str, weight: u32, has: Amounts) {
        let share = share(&has, &self.all, weight);
        self.parties
            .insert(name.to_owned(), Party { weight, has, share });
    }

    /// One gets more.
    pub(super) fn gives(&mut self, name: &str, more: &Amounts) {
        if let Some(party) = self.parties.get_mut(name) {
            party.has.add(more);
            party.share = share(&party.has, &self.all, party.weight);
        }
    }

    /// Who has the least of those that want more.
    pub(super) fn first(&self, wants: impl Fn(&str) -> bool) -> Option<String> {
        let wanting = self.parties.iter().filter(|(name, _)| wants(name));
        let first = wanting.min_by_key(|(name, party)| (party.share, *name));
        first.map(|(name, _)| name.clone())
    }
}

/// The largest part of any resource, by a weight.
fn share(has: &Amounts, all: &Amounts, weight: u32) -> u128 {
    let part = |has: u64, all: u64| match all {
        0 => 0,
        all => u128::from(has) * WHOLE / u128::from(all),
    };
    let others = has
        .others
        .iter()
        .map(|(name, has)| part(*has, all.other(name)));
    let parts = [
        part(has.milli_cpu, all.milli_cpu),
        part(has.memory_bytes, all.memory_bytes),
        part(has.storage_bytes, all.storage_bytes),
    ];
    parts.into_iter().chain(others).max().unwrap_or(0) / u128::from(weight.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(milli_cpu: u64, memory_bytes: u64) -> Amounts {
        Amounts {
            milli_cpu,
            memory_bytes,
            ..Amounts::default()
        }
    }

    #[test]
    fn the_dominant_shares_become_equal() {
        // The example of the paper: 9 cores and 18 of memory; tasks of (1, 4) and of (3, 1).
        let mut fairness = Fairness::of(amounts(9, 18));
        fairness.joins("a", 1, Amounts::default());
        fairness.joins("b", 1, Amounts::default());
        let tasks = BTreeMap::from([("a", amounts(1, 4)), ("b", amounts(3, 1))]);
        let mut left = amounts(9, 18);
        let mut counts = BTreeMap::from([("a", 0), ("b", 0)]);
        while let Some(name) =
            fairness.first(|name| left.has_room(&Amounts::default(), &tasks[name]))
        {
            left.subtract(&tasks[name.as_str()]);
            fairness.gives(&name, &tasks[name.as_str()]);
            *counts.get_mut(name.as_str()).expect("one of two") += 1;
        }
        assert_eq!(counts, BTreeMap::from([("a", 3), ("b", 2)]));
    }

    #[test]
    fn who_weighs_more_gets_more() {
        let mut fairness = Fairness::of(amounts(100, 100));
        fairness.joins("a", 3, Amounts::default());
        fairness.joins("b", 1, amounts(0, 0));
        let mut counts = [0, 0];
        for _ in 0..80 {
            let name = fairness.first(|_| true).expect("both want more");
            fairness.gives(&name, &amounts(1, 1));
            counts[usize::from(name == "b")] += 1;
        }
        assert_eq!(counts, [60, 20]);
        assert_eq!(fairness.first(|name| name == "b").as_deref(), Some("b"));
        assert_eq!(fairness.first(|_| false), None);
    }
}
