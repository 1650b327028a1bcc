//! The partitions of a shard, and those of them that have something to do.

use std::collections::VecDeque;

use atoll_base::id::PartitionId;

use super::Room;

/// Rooms by the numbers of their partitions. They are boxed: a room is taken out while there is
/// work in it, and put back.
#[derive(Default)]
pub(super) struct Rooms(Vec<Option<Box<Room>>>);

impl Rooms {
    pub(super) fn get(&self, id: PartitionId) -> Option<&Room> {
        self.0.get(place(id))?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: PartitionId) -> Option<&mut Room> {
        self.0.get_mut(place(id))?.as_deref_mut()
    }

    /// Takes a room out, to be [put back](Self::put).
    pub(super) fn take(&mut self, id: PartitionId) -> Option<Box<Room>> {
        self.0.get_mut(place(id))?.take()
    }

    pub(super) fn put(&mut self, id: PartitionId, room: Box<Room>) {
        let place = place(id);
        if self.0.len() <= place {
            self.0.resize_with(place + 1, || None);
        }
        self.0[place] = Some(room);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PartitionId, &Room)> + Clone {
        let rooms = (0..).map(PartitionId).zip(&self.0);
        rooms.filter_map(|(id, room)| Some((id, room.as_deref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PartitionId, &mut Room)> {
        let rooms = (0..).map(PartitionId).zip(&mut self.0);
        rooms.filter_map(|(id, room)| Some((id, room.as_deref_mut()?)))
    }
}

fn place(id: PartitionId) -> usize {
    usize::from(id.0)
}

/// Partitions with something to do, each once, in the order in which that came up.
#[derive(Default)]
pub(super) struct Touched {
    waiting: VecDeque<PartitionId>,
    is_waiting: Vec<bool>,
}

impl Touched {
    pub(super) fn insert(&mut self, id: PartitionId) {
        let place = place(id);
        if self.is_waiting.len() <= place {
            self.is_waiting.resize(place + 1, false);
        }
        if !std::mem::replace(&mut self.is_waiting[place], true) {
            self.waiting.push_back(id);
        }
    }

    pub(super) fn pop(&mut self) -> Option<PartitionId> {
        let id = self.waiting.pop_front()?;
        self.is_waiting[place(id)] = false;
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_twice_waits_once() {
        let mut touched = Touched::default();
        for id in [7, 2, 7, 9, 2] {
            touched.insert(PartitionId(id));
        }
        assert_eq!(touched.pop(), Some(PartitionId(7)));
        touched.insert(PartitionId(7));
        let rest: Vec<_> = std::iter::from_fn(|| touched.pop()).collect();
        assert_eq!(rest, [2, 9, 7].map(PartitionId));
        touched.insert(PartitionId(2));
        assert_eq!(touched.pop(), Some(PartitionId(2)));
        assert_eq!(touched.pop(), None);
    }
}
