//! Rooms as the journal and files tell of them when a node starts.

use std::collections::BTreeMap;

use atoll_base::id::PartitionId;
use atoll_world::journal::Position as Place;

use super::{keeping::file_name, run_of, settings};
use crate::{
    core::eventual::{
        bundle::RoomId,
        noted::{Astray, Base, Noted, Past, Told},
        partition::Partition,
    },
    driver::{StartError, snapshots::Files},
};

/// A room as it was.
pub(in crate::driver) struct HeldRoom {
    pub(super) partition: Partition,
    /// Where the journal begins to tell of it.
    pub(super) head: Place,
    /// The file that it begins with.
    pub(super) file: Option<u64>,
    /// What its state takes in the journal, and in the file.
    pub(super) whole_bytes: u64,
    pub(super) file_bytes: u64,
}

/// What the journal says of a room.
enum Known {
    Told(Told<Place>),
    /// It was let go, and where that stands.
    Left(Past, Place),
}

impl Default for Known {
    fn default() -> Self {
        Known::Told(Told::new())
    }
}

/// What was found of a room.
pub(in crate::driver) enum Found {
    /// It is here.
    Held(Box<HeldRoom>),
    /// It was let go, and where the journal says so.
    Left(Past, Place),
}

impl Found {
    /// The name of the file that it begins with.
    pub(in crate::driver) fn file_name(&self, room: RoomId) -> Option<String> {
        match self {
            Found::Held(held) => held.file.map(|number| file_name(room, number)),
            Found::Left(..) => None,
        }
    }
}

/// What was read so far.
#[derive(Default)]
pub(in crate::driver) struct Recovery(BTreeMap<RoomId, Known>);

impl Recovery {
    /// Goes on with a record.
    ///
    /// # Errors
    /// It follows nothing that came before.
    pub(in crate::driver) fn take(
        &mut self,
        room: RoomId,
        noted: Noted,
        place: Place,
    ) -> Result<(), Astray> {
        let known = self.0.entry(room).or_default();
        match (known, noted) {
            (known, Noted::Left(past)) => {
                *known = Known::Left(past, place);
                Ok(())
            }
            (Known::Told(told), noted) => told.take(noted, place),
            // It begins anew.
            (known, noted) => {
                let mut told = Told::new();
                let taken = told.take(noted, place);
                *known = Known::Told(told);
                taken
            }
        }
    }

    /// A partition of a room that the journal begins in the middle of.
    pub(in crate::driver) fn headless(&self) -> Option<PartitionId> {
        let mut rooms = self.0.iter();
        let headless = rooms.find(|(_, known)| match known {
            Known::Told(told) => told.base().is_none(),
            Known::Left(..) => false,
        });
        headless.map(|(room, _)| room.partition)
    }

    /// The rooms, with what files hold of them. Waits for the disk.
    ///
    /// # Errors
    /// Something can't be read.
    pub(in crate::driver) fn load(
        self,
        files: &Files,
        boot: u64,
    ) -> Result<BTreeMap<RoomId, Found>, StartError> {
        let mut rooms = BTreeMap::new();
        for (room, known) in self.0 {
            let told = match known {
                Known::Told(told) => told,
                Known::Left(past, place) => {
                    rooms.insert(room, Found::Left(past, place));
                    continue;
                }
            };
            let Some((base, head)) = told.base().cloned() else {
                continue;
            };
            let (file, mark) = match &base {
                Base::Whole(_) => (None, None),
                Base::File(number, mark) => (Some(*number), Some(*mark)),
            };
            let name = file.map(|number| file_name(room, number));
            let faulty = |reason| StartError::Snapshot {
                partition: room.partition,
                file: name.clone().unwrap_or_default().into(),
                reason,
            };
            let snapshot = match (base, &name, mark) {
                (Base::Whole(snapshot), ..) => snapshot,
                (Base::File(..), Some(name), Some(mark)) => {
                    files.read(name, mark).map_err(faulty)?
                }
                (Base::File(..), ..) => continue,
            };
            let whole_bytes = if file.is_none() {
                snapshot.len() as u64
            } else {
                0
            };
            let restored = told.restore(snapshot, run_of(boot), settings());
            let held = HeldRoom {
                partition: restored.map_err(|error| faulty(error.into()))?,
                head,
                file,
                whole_bytes,
                file_bytes: mark.map_or(0, |mark| mark.bytes),
            };
            rooms.insert(room, Found::Held(Box::new(held)));
        }
        Ok(rooms)
    }
}
