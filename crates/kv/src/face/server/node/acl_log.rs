//! ACL LOG: what clients of this node were not allowed (Redis: "ACL LOG").

use std::{collections::VecDeque, time::Duration};

use atoll_world::clock::{self, Instant};
use parking_lot::Mutex;

use crate::{core::reply::Reply, face::session::Denial};

/// So many entries can be kept: the most that `acllog-max-len` can be.
pub(super) const ENTRIES_MAX: i64 = 65_536;

/// The same refusal within this time is counted, not told again.
const SAME_WITHIN: Duration = Duration::from_secs(60);

/// An entry that was not looked for among so many is a new one.
const LOOKED_AT_MAX: usize = 10;

/// So many are told unless another number is asked for.
const TOLD_DEFAULT: usize = 10;

struct Entry {
    id: i64,
    count: i64,
    denial: Denial,
    client: String,
    created_ms: u64,
    updated_ms: u64,
    updated: Instant,
}

/// Refusals, the last one first.
#[derive(Default)]
pub(in crate::face::server) struct AclLog(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    next_id: i64,
    entries: VecDeque<Entry>,
}

impl AclLog {
    /// Keeps a refusal of a client, and no more than so many.
    pub(in crate::face::server) fn add(&self, denial: Denial, client: String, entries_max: usize) {
        let (now, now_ms) = (clock::now(), clock::wall_ms());
        let mut ring = self.0.lock();
        let is_same = |entry: &Entry| {
            entry.denial == denial && now.duration_since(entry.updated) <= SAME_WITHIN
        };
        let mut latest = ring.entries.iter().take(LOOKED_AT_MAX);
        let known = latest.position(is_same);
        let entry = match known.and_then(|place| ring.entries.remove(place)) {
            Some(known) => Entry {
                count: known.count + 1,
                client,
                updated_ms: now_ms,
                updated: now,
                ..known
            },
            None => {
                let id = ring.next_id;
                ring.next_id += 1;
                Entry {
                    id,
                    count: 1,
                    denial,
                    client,
                    created_ms: now_ms,
                    updated_ms: now_ms,
                    updated: now,
                }
            }
        };
        ring.entries.push_front(entry);
        ring.entries.truncate(entries_max);
    }

    pub(super) fn reset(&self) {
        self.0.lock().entries.clear();
    }

    /// The last ones.
    pub(super) fn tell(&self, count: Option<usize>) -> Reply {
        let now = clock::now();
        let ring = self.0.lock();
        let entries = ring.entries.iter().take(count.unwrap_or(TOLD_DEFAULT));
        Reply::Array(entries.map(|entry| entry.tell(now)).collect())
    }
}

impl Entry {
    fn tell(&self, now: Instant) -> Reply {
        let ms = |ms: u64| Reply::Integer(i64::try_from(ms).unwrap_or(i64::MAX));
        let age_ms = now.duration_since(self.updated).as_millis();
        let facts = [
            ("count", Reply::Integer(self.count)),
            ("reason", Reply::bulk(self.denial.reason)),
            ("context", Reply::bulk(self.denial.context)),
            ("object", Reply::Bulk(self.denial.object.clone())),
            ("username", Reply::Bulk(self.denial.user.clone())),
            ("age-seconds", Reply::Double(age_ms as f64 / 1000.0)),
            ("client-info", Reply::bulk(&self.client)),
            ("entry-id", Reply::Integer(self.id)),
            ("timestamp-created", ms(self.created_ms)),
            ("timestamp-last-updated", ms(self.updated_ms)),
        ];
        let facts = facts.map(|(name, fact)| (Reply::bulk(name), fact));
        Reply::Map(facts.into())
    }
}
