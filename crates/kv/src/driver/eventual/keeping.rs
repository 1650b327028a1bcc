//! What of rooms is on disk: where each begins in the journal, and files of large states.
//!
//! A room whose beginning is in an old segment begins anew: with its whole state in the journal
//! where that is small, with a file where it is not. When that is durable the old segment can be
//! freed, and an older file be removed.

use std::collections::BTreeSet;

use atoll_world::{disk::DiskError, journal::Position as Place, random, task};
use bytes::Bytes;

use super::{Eventual, HeldRoom};
use crate::{
    core::{
        eventual::{
            Life,
            bundle::RoomId,
            noted::{Noted, Past},
        },
        wire::FileMark,
    },
    driver::{shard::Urgent, snapshots::SUFFIX},
};

/// A state of no more bytes is written to the journal, or of no more than a part of a segment.
const WHOLE_BYTES_MAX: u64 = 256 << 10;
const SEGMENT_FRACTION: u64 = 4;
/// States of so many bytes are written to the journal in one turn.
const CARRY_TURN_BYTES: usize = 1 << 20;
/// That a room was let go takes about so many bytes.
const LEFT_BYTES: usize = 32;
/// So many files are on their way to the disk at a time.
const SAVES_MAX: usize = 2;
/// What could not be saved is tried again after so long.
const SAVE_RETRY_MS: u64 = 1_000;
/// States in the journal let it grow to so many times what they take: were it shorter, they would
/// be written again and again. The journal grows to a quarter of what it is told.
const WHOLE_SHARE: u64 = 4 * 2;

/// What is so once a record is durable.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) enum Settling {
    /// The room begins here.
    Whole,
    /// It begins here once the file of this number is durable, and that is noted.
    Mark(u64),
    /// That is noted.
    Based(u64),
    /// The copy of this life was let go.
    Left(Life),
}

/// What of a room is on disk, or on its way there.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Where the journal begins to tell of it; none until that is durable.
    head: Option<Place>,
    /// It begins anew, and that is not durable yet.
    is_moving: bool,
    /// Where the mark of a file is that is not the beginning yet.
    mark: Option<(u64, Place)>,
    /// The file that this copy's state is on its way to.
    saving: Option<u64>,
    /// Its files, by their numbers.
    files: BTreeSet<u64>,
    /// What the last state took, in the journal and in a file.
    whole_bytes: u64,
    file_bytes: u64,
}

impl Kept {
    pub(super) fn of(held: &HeldRoom) -> Kept {
        Kept {
            head: Some(held.head),
            files: held.file.into_iter().collect(),
            whole_bytes: held.whole_bytes,
            file_bytes: held.file_bytes,
            ..Kept::default()
        }
    }

    /// It begins with a state of so many bytes in the journal.
    pub(super) fn begins(&mut self, bytes: usize) {
        self.is_moving = true;
        self.whole_bytes = bytes as u64;
    }
}

/// What is left of a room that was let go, and may become one again.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) past: Past,
    /// Where the journal begins to tell of it: of the copy that it had, until it is durable that
    /// that was let go.
    head: Option<Place>,
    /// A record that says so is on its way to the disk.
    is_moving: bool,
    /// Files of the copy, until that is durable.
    files: BTreeSet<u64>,
}

impl Gone {
    /// It is about to be let go.
    pub(super) fn of(kept: Kept, past: Past) -> Gone {
        Gone {
            past,
            head: kept.head,
            is_moving: true,
            files: kept.files,
        }
    }

    /// As the journal told of it.
    pub(super) fn held(past: Past, head: Place) -> Gone {
        Gone {
            past,
            head: Some(head),
            is_moving: false,
            files: BTreeSet::new(),
        }
    }

    /// What the next copy begins with: what is on disk of the one before goes once its own
    /// beginning is durable, which stands after the record that let the other go.
    pub(super) fn end(self) -> Kept {
        Kept {
            head: self.head,
            files: self.files,
            ..Kept::default()
        }
    }
}

/// What came of saving a state.
pub(in crate::driver) struct Saved {
    room: RoomId,
    number: u64,
    mark: FileMark,
    result: Result<(), DiskError>,
}

/// States of no more bytes go to a journal with segments of so many.
pub(super) fn whole_bytes_max(segment_bytes: u64) -> usize {
    let bytes_max = WHOLE_BYTES_MAX.min(segment_bytes / SEGMENT_FRACTION);
    usize::try_from(bytes_max).unwrap_or(usize::MAX)
}

/// The name of a room's file.
pub(super) fn file_name(room: RoomId, number: u64) -> String {
    let RoomId {
        keyspace,
        partition,
    } = room;
    format!("eventual-{keyspace}-{}-{number:016x}{SUFFIX}", partition.0)
}

impl Eventual {
    /// Where the oldest beginning of a room is.
    pub(in crate::driver) fn oldest(&self) -> Option<Place> {
        self.heads.first().map(|(head, _)| *head)
    }

    /// Whether it has rooms, so that there are beginnings or there will be.
    pub(in crate::driver) fn holds_any(&self) -> bool {
        !self.rooms.is_empty() || !self.gone.is_empty()
    }

    /// What its states count for where the journal's length is decided, in bytes.
    pub(in crate::driver) fn snapshot_bytes(&self) -> u64 {
        let rooms = self.rooms.values();
        let bytes = rooms.map(|room| room.kept.file_bytes + WHOLE_SHARE * room.kept.whole_bytes);
        bytes.sum()
    }

    /// Lets rooms begin anew that begin before a segment.
    pub(in crate::driver) fn carry(&mut self, segment: u64, now_ms: u64) {
        let heads = self
            .heads
            .iter()
            .take_while(|(head, _)| head.segment < segment);
        let behind: Vec<RoomId> = heads.map(|(_, id)| *id).collect();
        let mut bytes = 0;
        for id in behind {
            if bytes >= CARRY_TURN_BYTES {
                return;
            }
            bytes += self.carry_one(id, now_ms);
        }
    }

    fn carry_one(&mut self, id: RoomId, now_ms: u64) -> usize {
        if let Some(gone) = self.gone.get_mut(&id).filter(|gone| !gone.is_moving) {
            gone.is_moving = true;
            let past = gone.past;
            self.put(id, &Noted::Left(past), Settling::Left(past.life));
            return LEFT_BYTES;
        }
        let is_free = self.rooms.get(&id).is_some_and(|room| !room.kept.is_moving);
        if !is_free {
            return 0;
        }
        // The state holds all that was recorded, and nothing else.
        self.work_in(id);
        let Some(room) = self.rooms.get_mut(&id) else {
            return 0;
        };
        let is_large = room.partition.replica().bytes() > whole_bytes_max(self.tools.segment_bytes);
        if is_large && (self.saves >= SAVES_MAX || now_ms < self.save_at_ms) {
            return 0;
        }
        let snapshot = room.partition.encode();
        let bytes = snapshot.len();
        room.kept.begins(0);
        if is_large {
            let number = random::u64();
            self.put(id, &Noted::Mark(number), Settling::Mark(number));
            self.save(id, number, snapshot);
        } else {
            room.kept.begins(bytes);
            self.put(id, &Noted::Whole(snapshot), Settling::Whole);
        }
        bytes
    }

    /// Has a state written to its file, away from this task.
    fn save(&mut self, room: RoomId, number: u64, snapshot: Bytes) {
        self.saves += 1;
        if let Some(room) = self.rooms.get_mut(&room) {
            room.kept.files.insert(number);
            room.kept.saving = Some(number);
        }
        let (files, urgent) = (self.tools.files.clone(), self.tools.urgent.clone());
        task::spawn(async move {
            let mark = FileMark::of(&snapshot);
            let save = move || files.save(&file_name(room, number), &[snapshot]);
            let result = task::blocking(save).await;
            let saved = Saved {
                room,
                number,
                mark,
                result,
            };
            // A shard that is gone needs to know nothing.
            let _ = urgent.send(Urgent::EventualSaved(saved));
        });
    }

    /// Hears that a state is on disk, or is not.
    pub(in crate::driver) fn saved(&mut self, saved: Saved, now_ms: u64) {
        self.saves -= 1;
        let Saved {
            room: id,
            number,
            mark,
            result,
        } = saved;
        let room = self.rooms.get_mut(&id);
        let room = room.filter(|room| room.kept.saving == Some(number));
        let Some(room) = room else {
            // It was let go meanwhile, and may be here again: the state is of the copy before, and
            // that copy's other files are removed with it, or were.
            self.remove(id, BTreeSet::from([number]));
            return;
        };
        room.kept.saving = None;
        if let Err(error) = result {
            tracing::warn!(keyspace = %id.keyspace, partition = %id.partition, %error, "a state could not be saved");
            room.kept.is_moving = false;
            room.kept.files.remove(&number);
            self.save_at_ms = now_ms + SAVE_RETRY_MS;
            return;
        }
        room.kept.file_bytes = mark.bytes;
        self.put(id, &Noted::Based { number, mark }, Settling::Based(number));
    }

    /// A record is durable; whether a beginning moved.
    pub(in crate::driver) fn settled(
        &mut self,
        id: RoomId,
        settling: Settling,
        place: Place,
    ) -> bool {
        if let Settling::Left(life) = settling {
            self.left(id, life, place);
            return true;
        }
        let Some(room) = self.rooms.get_mut(&id) else {
            return false;
        };
        let kept = &mut room.kept;
        let (head, number) = match settling {
            Settling::Mark(number) => {
                kept.mark = Some((number, place));
                return false;
            }
            Settling::Whole => (place, None),
            Settling::Based(number) => match kept.mark.take() {
                Some((marked, place)) if marked == number => (place, Some(number)),
                // It is of a life before this one.
                _ => return false,
            },
            Settling::Left(_) => return false,
        };
        kept.is_moving = false;
        let before = kept.head.replace(head);
        let old: BTreeSet<u64> = kept
            .files
            .iter()
            .copied()
            .filter(|it| Some(*it) != number)
            .collect();
        kept.files.retain(|it| Some(*it) == number);
        if number.is_none() {
            kept.file_bytes = 0;
        }
        if let Some(before) = before {
            self.heads.remove(&(before, id));
        }
        self.heads.insert((head, id));
        self.remove(id, old);
        true
    }

    /// That a room was let go is durable.
    fn left(&mut self, id: RoomId, life: Life, place: Place) {
        let gone = self.gone.get_mut(&id);
        // It may be here again, or have been and been let go.
        let Some(gone) = gone.filter(|gone| gone.past.life == life) else {
            return;
        };
        gone.is_moving = false;
        let (before, files) = (gone.head.replace(place), std::mem::take(&mut gone.files));
        if let Some(before) = before {
            self.heads.remove(&(before, id));
        }
        self.heads.insert((place, id));
        self.remove(id, files);
    }

    fn remove(&self, id: RoomId, files: BTreeSet<u64>) {
        if files.is_empty() {
            return;
        }
        let folder = self.tools.files.clone();
        task::spawn(task::blocking(move || {
            for number in files {
                folder.remove(&file_name(id, number));
            }
        }));
    }
}
