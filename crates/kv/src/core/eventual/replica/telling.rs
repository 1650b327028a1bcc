//! What an exchange tells of a replica's items.

use super::{Cursor, Delta, KeyPlace, Replica};
use crate::core::eventual::merkle::Node;

impl Replica {
    /// The places of a leaf's keys from `from` on with their digests, in order; at most so many,
    /// and the place after them if there may be more.
    pub fn places(
        &self,
        leaf: Node,
        from: u64,
        places_max: usize,
    ) -> (Vec<(u64, u64)>, Option<u64>) {
        let (first, last) = leaf.places();
        let mut places: Vec<(u64, u64)> = Vec::new();
        if from > last {
            return (places, None);
        }
        let from = KeyPlace::first(from.max(first));
        for (at, entry) in self.entries.range(from..) {
            if at.place > last {
                break;
            }
            let count = places.len();
            match places.last_mut() {
                Some((place, digest)) if *place == at.place => {
                    *digest = digest.wrapping_add(entry.digest);
                }
                _ if count >= places_max => return (places, Some(at.place)),
                _ => places.push((at.place, entry.digest)),
            }
        }
        (places, None)
    }

    /// The items of these places, after the cursor if it is one of the first place's: of about so
    /// many bytes, and at least a part of one. How many places that covers whole, and the cursor
    /// in the next.
    pub fn pieces(
        &self,
        places: &[u64],
        after: Option<&Cursor>,
        bytes_max: usize,
    ) -> (Delta, usize, Option<Cursor>) {
        let mut delta = Delta::new();
        let mut room = bytes_max;
        for (done, place) in places.iter().enumerate() {
            let mut cursor = after.filter(|_| done == 0).cloned();
            let from = match &cursor {
                Some(cursor) => KeyPlace {
                    place: *place,
                    key: cursor.key.clone(),
                },
                None => KeyPlace::first(*place),
            };
            let keys = self
                .entries
                .range(from..)
                .take_while(|(at, _)| at.place == *place);
            for (at, entry) in keys {
                let begun = cursor.take().filter(|cursor| cursor.key == at.key);
                // It was told to its end.
                if begun.as_ref().is_some_and(|begun| begun.place.is_none()) {
                    continue;
                }
                let mut within = begun.and_then(|begun| begun.place);
                loop {
                    let (piece, next) = entry.item.piece(within.as_ref(), room);
                    room = room.saturating_sub(at.key.len() + piece.bytes());
                    delta.push((at.key.clone(), piece));
                    let is_whole = next.is_none();
                    if room == 0 {
                        let key = at.key.clone();
                        return (delta, done, Some(Cursor { key, place: next }));
                    }
                    if is_whole {
                        break;
                    }
                    within = next;
                }
            }
        }
        (delta, places.len(), None)
    }

    /// A key's item whole, in deltas of about so many bytes each.
    pub fn deltas_of(&self, key: &[u8], bytes_max: usize) -> Vec<Delta> {
        let Some(item) = self.item(key) else {
            return Vec::new();
        };
        let mut deltas = Vec::new();
        let mut after = None;
        loop {
            let (piece, next) = item.piece(after.as_ref(), bytes_max);
            deltas.push(vec![(key.into(), piece)]);
            match next {
                Some(next) => after = Some(next),
                None => return deltas,
            }
        }
    }
}
