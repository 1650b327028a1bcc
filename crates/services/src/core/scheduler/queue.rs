//! Pods that wait for a node: whose turn it is, who rests after a try in vain, and who waits for
//! a change that may help. Who tried in vain rests 1 s, twice as long each time, at most 10 s; and
//! nobody waits longer than 5 minutes for a change ("Scheduler queue", KEP-4247).
//!
//! Invariant: each pod is in exactly one of the three.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::pod::{Key, Pod};

const BACKOFF_MS_MIN: u64 = 1_000;
const BACKOFF_MS_MAX: u64 = 10_000;
/// After so long a pod is tried again although nothing happened.
pub(super) const PARKED_MS_MAX: u64 = 300_000;

/// The order of turns.
type Rank = (Reverse<i32>, u64, Key);

/// Where a pod waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active,
    Resting,
    /// At the latest it is tried again then.
    Parked {
        until_ms: u64,
        minds_company: bool,
    },
}

/// A pod that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) pod: Arc<Pod>,
    /// How often it was tried in vain.
    tries: u32,
    /// It rests until then.
    rests_until_ms: u64,
    place: Place,
}

/// What changed that may help.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// There may be more room, or a node may take what it did not take.
    pub(super) room: bool,
    /// There are other pods around.
    pub(super) company: bool,
}

/// All pods that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<Key, Waiting>,
    active: BTreeSet<Rank>,
    resting: BTreeSet<(u64, Rank)>,
    /// By until when; apart are those that other pods around may help.
    parked: [BTreeSet<(u64, Rank)>; 2],
}

impl Queue {
    /// A pod waits, or the object of one that waits has changed; if it `starts_anew`, then as if
    /// it had never been tried.
    pub(super) fn put(&mut self, pod: Arc<Pod>, starts_anew: bool) {
        let known = self.remove(&pod.key);
        self.insert(match known {
            Some(known) if !starts_anew => Waiting { pod, ..known },
            _ => Waiting {
                pod,
                tries: 0,
                rests_until_ms: 0,
                place: Place::Active,
            },
        });
    }

    /// A pod comes back after a try in vain, to rest.
    pub(super) fn put_resting(&mut self, pod: Arc<Pod>, tries: u32, now_ms: u64) {
        self.remove(&pod.key);
        let tries = tries.saturating_add(1);
        self.insert(Waiting {
            pod,
            tries,
            rests_until_ms: now_ms + backoff_ms(tries),
            place: Place::Resting,
        });
    }

    /// A pod was tried in vain, and waits for what may help.
    pub(super) fn park(&mut self, mut waiting: Waiting, now_ms: u64, until_ms: u64) {
        waiting.tries = waiting.tries.saturating_add(1);
        waiting.rests_until_ms = now_ms + backoff_ms(waiting.tries);
        self.park_until(waiting, until_ms);
    }

    /// A pod was not tried, since it is known that it has to wait.
    pub(super) fn park_until(&mut self, mut waiting: Waiting, until_ms: u64) {
        waiting.place = Place::Parked {
            until_ms,
            minds_company: waiting.pod.terms.is_some(),
        };
        self.insert(waiting);
    }

    fn insert(&mut self, waiting: Waiting) {
        let rank = rank(&waiting.pod);
        match waiting.place {
            Place::Active => self.active.insert(rank),
            Place::Resting => self.resting.insert((waiting.rests_until_ms, rank)),
            Place::Parked {
                until_ms,
                minds_company,
            } => self.parked[usize::from(minds_company)].insert((until_ms, rank)),
        };
        self.waiting.insert(waiting.pod.key.clone(), waiting);
    }

    /// A pod waits no more.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Waiting> {
        let waiting = self.waiting.remove(key)?;
        let rank = rank(&waiting.pod);
        match waiting.place {
            Place::Active => self.active.remove(&rank),
            Place::Resting => self.resting.remove(&(waiting.rests_until_ms, rank)),
            Place::Parked {
                until_ms,
                minds_company,
            } => self.parked[usize::from(minds_company)].remove(&(until_ms, rank)),
        };
        Some(waiting)
    }

    /// A pod that waits.
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Pod>> {
        self.waiting.get(key).map(|waiting| &waiting.pod)
    }

    /// What names all that wait.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.waiting.keys()
    }

    /// Whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let (.., key) = self.active.first()?.clone();
        self.remove(&key)
    }

    /// Something changed, and time has passed: who may try again does.
    pub(super) fn wake(&mut self, news: News, now_ms: u64) {
        let mut woken = Vec::new();
        for (minds_company, parked) in self.parked.iter().enumerate() {
            let is_helped = news.room || news.company && minds_company == 1;
            let all = parked.iter();
            let helped = all.take_while(|(until_ms, _)| is_helped || *until_ms <= now_ms);
            woken.extend(helped.map(|(_, (.., key))| key.clone()));
        }
        for key in woken {
            if let Some(mut waiting) = self.remove(&key) {
                waiting.place = Place::Resting;
                self.insert(waiting);
            }
        }
        let rested = self
            .resting
            .iter()
            .take_while(|(until_ms, _)| *until_ms <= now_ms);
        let rested: Vec<Key> = rested.map(|(_, (.., key))| key.clone()).collect();
        for key in rested {
            if let Some(mut waiting) = self.remove(&key) {
                waiting.place = Place::Active;
                self.insert(waiting);
            }
        }
    }

    /// When somebody's turn comes if nothing changes; 0 if it has.
    pub(super) fn next_ms(&self) -> Option<u64> {
        if !self.active.is_empty() {
            return Some(0);
        }
        let rested = self.resting.first().map(|(until_ms, _)| *until_ms);
        let parked = self.parked.iter().filter_map(BTreeSet::first);
        let woken = parked.map(|(until_ms, _)| *until_ms);
        rested.into_iter().chain(woken).min()
    }

    /// Whether news would wake anybody.
    pub(super) fn minds(&self, news: News) -> bool {
        news.room && self.parked.iter().any(|parked| !parked.is_empty())
            || news.company && !self.parked[1].is_empty()
    }

    /// How many wait, and how many of them may be tried now.
    pub(super) fn lengths(&self) -> (usize, usize) {
        (self.waiting.len(), self.active.len())
    }
}

impl Waiting {
    /// How often it was tried in vain.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }
}

fn rank(pod: &Pod) -> Rank {
    (Reverse(pod.priority), pod.created_ms, pod.key.clone())
}

fn backoff_ms(tries: u32) -> u64 {
    let doublings = tries.saturating_sub(1).min(16);
    (BACKOFF_MS_MIN << doublings).min(BACKOFF_MS_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROOM: News = News {
        room: true,
        company: false,
    };
    const COMPANY: News = News {
        room: false,
        company: true,
    };
    const NOTHING: News = News {
        room: false,
        company: false,
    };

    fn pod(name: &str, priority: i32, created: &str) -> Arc<Pod> {
        Arc::new(Pod::read(Arc::new(json!({
            "metadata": {"name": name, "namespace": "n", "uid": name, "creationTimestamp": created},
            "spec": {"priority": priority},
        }))))
    }

    fn turns(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop())
            .map(|it| it.pod.key.name.clone())
            .collect()
    }

    #[test]
    fn turns_go_by_priority_then_age_then_name() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
        let mut queue = Queue::default();
        for it in [
            pod("d", 0, late),
            pod("b", 0, early),
            pod("a", 0, late),
            pod("c", 9, late),
        ] {
            queue.put(it, true);
        }
        assert_eq!(turns(&mut queue), ["c", "b", "a", "d"]);
        assert_eq!(queue.next_ms(), None);
    }

    #[test]
    fn who_tried_in_vain_rests_ever_longer_and_waits_for_news() {
        let mut queue = Queue::default();
        queue.put(pod("a", 0, ""), true);
        let mut now_ms = 1_000_000;
        for rest_ms in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            let waiting = queue.pop().expect("it is its turn");
            queue.park(waiting, now_ms, now_ms + PARKED_MS_MAX);
            queue.wake(NOTHING, now_ms + 60_000);
            queue.wake(COMPANY, now_ms + 60_000);
            assert!(queue.pop().is_none(), "nothing helped");
            assert!(queue.minds(ROOM) && !queue.minds(COMPANY));
            queue.wake(ROOM, now_ms + 1);
            assert_eq!(queue.next_ms(), Some(now_ms + rest_ms));
            queue.wake(NOTHING, now_ms + rest_ms - 1);
            assert!(queue.pop().is_none(), "it rests");
            now_ms += rest_ms;
            queue.wake(NOTHING, now_ms);
            assert_eq!(queue.next_ms(), Some(0));
        }
        let waiting = queue.pop().expect("it is its turn");
        queue.park(waiting, now_ms, now_ms + PARKED_MS_MAX);
        assert_eq!(queue.next_ms(), Some(now_ms + PARKED_MS_MAX));
        queue.wake(NOTHING, now_ms + PARKED_MS_MAX);
        assert_eq!(turns(&mut queue), ["a"]);
    }

    #[test]
    fn a_pod_that_changed_keeps_its_rest_unless_it_starts_anew() {
        let mut queue = Queue::default();
        queue.put_resting(pod("a", 0, ""), 0, 0);
        queue.put(pod("a", 0, ""), false);
        assert_eq!(queue.next_ms(), Some(1_000));
        queue.put(pod("a", 3, ""), true);
        assert_eq!((queue.next_ms(), queue.lengths()), (Some(0), (1, 1)));
        assert_eq!(
            queue.remove(&pod("a", 0, "").key).map(|it| it.pod.priority),
            Some(3)
        );
        assert_eq!((queue.next_ms(), queue.lengths()), (None, (0, 0)));
    }
}
