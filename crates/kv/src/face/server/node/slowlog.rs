//! SLOWLOG: the last slow commands (Redis: "SLOWLOG").
//!
//! Measured is the time from when a command was handed over to when its answer came, so that
//! agreement and disk count. Commands that came together with others in one read are not
//! measured: the time of each is not known. What a command waits for other clients is not its
//! time. AUTH, HELLO and CLIENT are not kept.

use std::{collections::VecDeque, time::Duration};

use atoll_world::clock;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{core::reply::Reply, face::server::monitor::secret_from};

/// So many entries can be kept: the most that `slowlog-max-len` can be.
pub(super) const ENTRIES_MAX: i64 = 65_536;
/// So many words of a command are kept, and so many bytes of each, as in Redis.
const WORDS_MAX: usize = 32;
const WORD_BYTES_MAX: usize = 128;
/// So many are told unless another number is asked for.
const TOLD_DEFAULT: usize = 10;

struct Entry {
    id: i64,
    at_s: i64,
    took: Duration,
    words: Vec<Bytes>,
    address: String,
    name: Bytes,
}

/// Slow commands, the last one first.
#[derive(Default)]
pub(in crate::face::server) struct Slowlog(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    next_id: i64,
    entries: VecDeque<Entry>,
}

impl Slowlog {
    /// Keeps a command, and no more than so many.
    pub(in crate::face::server) fn add(
        &self,
        words: &[Bytes],
        took: Duration,
        address: &str,
        name: Bytes,
        entries_max: usize,
    ) {
        let mut ring = self.0.lock();
        let entry = Entry {
            id: ring.next_id,
            at_s: i64::try_from(clock::wall_ms() / 1000).unwrap_or(i64::MAX),
            took,
            words: shortened(words),
            address: address.to_owned(),
            name,
        };
        ring.next_id += 1;
        ring.entries.push_front(entry);
        ring.entries.truncate(entries_max);
    }

    pub(super) fn len(&self) -> Reply {
        Reply::count(self.0.lock().entries.len())
    }

    pub(super) fn reset(&self) {
        self.0.lock().entries.clear();
    }

    /// The last ones, all if -1.
    pub(super) fn tell(&self, count: Option<i64>) -> Reply {
        let count = count.map_or(TOLD_DEFAULT, |count| {
            usize::try_from(count).unwrap_or(usize::MAX)
        });
        let ring = self.0.lock();
        let entries = ring.entries.iter().take(count).map(|entry| {
            let took_us = i64::try_from(entry.took.as_micros()).unwrap_or(i64::MAX);
            let words = entry.words.iter().cloned().map(Reply::Bulk).collect();
            Reply::Array(vec![
                Reply::Integer(entry.id),
                Reply::Integer(entry.at_s),
                Reply::Integer(took_us),
                Reply::Array(words),
                Reply::bulk(&entry.address),
                Reply::Bulk(entry.name.clone()),
            ])
        });
        Reply::Array(entries.collect())
    }
}

/// Copies, so that what is kept does not keep alive all that came with it.
fn shortened(words: &[Bytes]) -> Vec<Bytes> {
    let shorten = |word: &Bytes| match word.len().checked_sub(WORD_BYTES_MAX) {
        None | Some(0) => Bytes::copy_from_slice(word),
        Some(more) => {
            let note = format!("... ({more} more bytes)");
            [&word[..WORD_BYTES_MAX], note.as_bytes()].concat().into()
        }
    };
    let secret_from = secret_from(words);
    let words: Vec<Bytes> = words
        .iter()
        .enumerate()
        .map(|(place, word)| match place < secret_from {
            true => word.clone(),
            false => Bytes::from_static(b"(redacted)"),
        })
        .collect();
    if words.len() <= WORDS_MAX {
        return words.iter().map(shorten).collect();
    }
    let kept = WORDS_MAX - 1;
    let note = format!("... ({} more arguments)", words.len() - kept);
    let kept = words[..kept].iter().map(shorten);
    kept.chain([note.into()]).collect()
}
