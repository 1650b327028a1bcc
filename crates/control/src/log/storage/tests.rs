//! A replay gives the log that was written, wherever the front of the journal was freed.

use atoll_world::journal::Position;
use openraft::EntryPayload;
use proptest::prelude::*;

use super::{Kind, index::Index};
use crate::log::types::{self, DecodeError, Entry, Vote};

/// Entries of the tests weigh nothing: none is dropped from memory.
const BYTES: usize = 0;

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    /// Cuts off so many of the newest entries, never below what was purged.
    Truncate(u64),
    /// Purges so many of the oldest entries, or, as after a received snapshot, beyond the last.
    Purge(u64),
    Vote,
}

/// A journal of records, and the index that a running log keeps of it.
#[derive(Default)]
struct Story {
    records: Vec<Kind>,
    live: Index,
    term: u64,
}

impl Story {
    fn write(&mut self, kind: Kind) -> Position {
        let offset = self.records.len() as u64;
        self.records.push(kind);
        Position { segment: 0, offset }
    }

    fn next_index(&self) -> u64 {
        self.live.last().map_or(0, |id| id.index + 1)
    }

    fn append(&mut self) {
        let entry = Entry {
            log_id: types::log_id(self.term, self.next_index()),
            payload: EntryPayload::Blank,
        };
        let position = self.write(Kind::Entry(types::entry_to_proto(&entry)));
        self.live.push(entry, position, BYTES);
    }

    fn vote(&mut self) {
        self.term += 1;
        let vote = Vote::new(self.term, 1);
        let position = self.write(Kind::Vote(types::vote_to_proto(&vote)));
        self.live.vote = Some((vote, position));
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Append(count) => (0..count).for_each(|_| self.append()),
            Step::Vote => self.vote(),
            Step::Truncate(count) => {
                let end = self.next_index();
                let kept = end.saturating_sub(count).max(self.live.first_index() + 1);
                let Some(after) = kept.checked_sub(1).filter(|_| kept < end) else {
                    return;
                };
                let after = self.live.slot(after).expect("it is in the log").id;
                self.write(Kind::TruncatedAfter(types::log_id_to_proto(&after)));
                self.live.truncate_after(Some(&after));
                self.term += 1;
            }
            Step::Purge(count) => {
                let upto = self.live.first_index() + count;
                let term = self
                    .live
                    .slot(upto)
                    .map_or(self.term, |slot| slot.id.committed_leader_id().term);
                let upto = types::log_id(term, upto);
                let position = self.write(Kind::Purged(types::log_id_to_proto(&upto)));
                self.live.purge(upto, position);
                if let Some((vote, _)) = self.live.vote {
                    let position = self.write(Kind::Vote(types::vote_to_proto(&vote)));
                    self.live.vote = Some((vote, position));
                }
            }
        }
    }

    /// The log as a node finds it that starts with the records from `cut` on.
    fn replay(&self, cut: usize) -> Result<Index, DecodeError> {
        let mut index = Index::default();
        for (offset, record) in self.records.iter().enumerate().skip(cut) {
            let position = Position {
                segment: 0,
                offset: offset as u64,
            };
            index.replay(position, record.clone(), BYTES)?;
        }
        Ok(index)
    }
}

fn content(index: &Index) -> impl PartialEq + std::fmt::Debug + use<> {
    let end = index.last().map_or(0, |id| id.index + 1);
    let ids: Vec<_> = (index.first_index()..end)
        .map(|at| index.slot(at).map(|slot| (slot.id, slot.position)))
        .collect();
    (ids, index.purged, index.vote, index.last().copied())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..12_u64).prop_map(Step::Append),
        1 => (1..6_u64).prop_map(Step::Truncate),
        2 => (0..20_u64).prop_map(Step::Purge),
        1 => Just(Step::Vote),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #[test]
    fn a_replay_gives_what_was_written_wherever_the_front_was_freed(steps in steps()) {
        let mut story = Story { term: 1, ..Story::default() };
        for step in &steps {
            story.step(step);
        }
        let oldest = story.live.oldest_needed().map_or(0, |position| position.offset as usize);
        for cut in 0..=oldest {
            let replayed = story.replay(cut).map_err(|error| {
                TestCaseError::fail(format!("cut at {cut}: {error}"))
            })?;
            prop_assert!(replayed.is_whole(), "cut at {}", cut);
            prop_assert_eq!(content(&replayed), content(&story.live), "cut at {}", cut);
        }
    }
}

/// The node had purged up to 149 while entries up to 180 were in the journal, then up to 209;
/// the segments before entry 181 were freed, and the older of the two records was still there.
#[test]
fn an_old_purge_may_stand_before_a_hole_that_a_later_one_covers() {
    let mut story = Story {
        term: 1,
        ..Story::default()
    };
    story.step(&Step::Append(181));
    let freed = story.records.len();
    story.step(&Step::Purge(149));
    story.step(&Step::Append(40));
    story.step(&Step::Purge(59));
    let replayed = story.replay(freed).expect("a log like any other");
    assert!(replayed.is_whole());
    assert_eq!(content(&replayed), content(&story.live));
}

#[test]
fn a_log_whose_front_is_missing_is_found_out() {
    let mut story = Story {
        term: 1,
        ..Story::default()
    };
    story.step(&Step::Append(10));
    let replayed = story.replay(4).expect("each record is in order");
    assert!(!replayed.is_whole());
    assert_eq!(replayed.first_index(), 4);
}

#[test]
fn an_entry_out_of_order_is_refused() {
    let mut story = Story {
        term: 1,
        ..Story::default()
    };
    story.step(&Step::Append(3));
    story.records.remove(1);
    let error = story.replay(0).err().map(|error| error.to_string());
    assert_eq!(
        error.as_deref(),
        Some("entry 2 cannot follow entry 0 in a log")
    );
}
