//! Items are a semilattice, and their bytes and pieces are they.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::core::{
    codec::{CodecError, Reader, Writer},
    eventual::DecodeError,
};

/// One write of one replica, at one time.
#[derive(Clone, Debug)]
enum Write {
    Set(u8),
    SetNumber(i8),
    Delete,
    /// A write on a key that ended before.
    CutAtEnd(u8),
    Expire(Option<u8>),
    Increment(i64),
    Member(u8, bool),
    Field(u8, Option<u8>),
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        1 => any::<u8>().prop_map(Write::Set),
        1 => any::<i8>().prop_map(Write::SetNumber),
        1 => Just(Write::Delete),
        1 => (0..40_u8).prop_map(Write::CutAtEnd),
        2 => prop::option::of(0..60_u8).prop_map(Write::Expire),
        6 => any::<i64>().prop_map(Write::Increment),
        6 => (0..4_u8, any::<bool>()).prop_map(|(member, there)| Write::Member(member, there)),
        6 => (0..4_u8, prop::option::of(any::<u8>())).prop_map(|(field, value)| Write::Field(field, value)),
    ]
}

/// Writes of up to three replicas as deltas, each made from what its replica had written before
/// and, now and then, what others had.
fn history() -> impl Strategy<Value = Vec<Item>> {
    vec((1..4_u64, write(), any::<bool>()), 1..24).prop_map(|writes| {
        let mut clocks =
            [1, 2, 3].map(|id| crate::core::eventual::Clock::new(Author::first(id), Stamp::ZERO));
        let mut states: Vec<Item> = vec![Item::default(); 3];
        let mut deltas: Vec<Item> = Vec::new();
        for (time, (replica, write, hears)) in writes.into_iter().enumerate() {
            let at = replica as usize - 1;
            if hears {
                for delta in &deltas {
                    states[at].merge(delta, Stamp::ZERO);
                    clocks[at].see(delta.newest());
                }
            }
            let stamp = clocks[at].stamp(time as u64 * 2);
            let delta = delta(&states[at], Author::first(replica), stamp, &write);
            states[at].merge(&delta, Stamp::ZERO);
            deltas.push(delta);
        }
        deltas
    })
}

fn delta(state: &Item, author: Author, stamp: Stamp, write: &Write) -> Item {
    let mut delta = Item::default();
    match *write {
        Write::Set(value) => delta.cut_at(stamp, Some(Key::from(&[b'x', value])), stamp),
        Write::SetNumber(number) => {
            delta.cut_at(stamp, Some(number.to_string().into_bytes().into()), stamp);
        }
        Write::Delete => delta.cut_at(stamp, None, stamp),
        Write::CutAtEnd(ms) => {
            let end = Stamp::of_moment(u64::from(ms).max(1).min(stamp.ms()));
            if !end.is_zero() {
                delta.cut_at(end, None, stamp);
            }
        }
        Write::Expire(at_ms) => delta.expire(Expiry {
            stamp,
            at_ms: at_ms.map(|ms| stamp.ms() + 1 + u64::from(ms)),
        }),
        Write::Increment(by) => {
            let part = state.live(0).part(author);
            let (since, total) = part.map_or((stamp, 0), |part| (part.since, part.total));
            delta.count(
                author,
                Part {
                    since,
                    stamp,
                    total: total + i128::from(by),
                },
            );
        }
        Write::Member(name, there) => {
            let value = there.then(Key::default);
            delta
                .members_mut()
                .put(Key::from(&[name]), Slot { stamp, value });
        }
        Write::Field(name, value) => {
            let value = value.map(|value| Key::from(&[value]));
            delta
                .fields_mut()
                .put(Key::from(&[name]), Slot { stamp, value });
        }
    }
    delta
}

fn join<'a>(items: impl IntoIterator<Item = &'a Item>) -> Item {
    let mut joined = Item::default();
    for item in items {
        joined.merge(item, Stamp::ZERO);
    }
    joined
}

fn bytes(item: &Item) -> Bytes {
    let mut to = Writer::default();
    item.write(&mut to);
    to.finish()
}

fn read(bytes: Bytes) -> Result<Item, DecodeError> {
    let mut from = Reader::new(bytes);
    let item = Item::read(&mut from)?;
    from.finish()?;
    Ok(item)
}

proptest! {
    /// Any order, any repetition, any grouping.
    #[test]
    fn merging_is_a_join(
        deltas in history(),
        order in vec(any::<prop::sample::Index>(), 0..48),
        split in any::<prop::sample::Index>(),
    ) {
        let whole = join(&deltas);
        let shuffled = order.iter().map(|index| index.get(&deltas));
        let repeated = join(shuffled.chain(deltas.iter().rev()));
        prop_assert_eq!(&repeated, &whole);
        prop_assert_eq!(repeated.digest(), whole.digest());
        prop_assert_eq!(bytes(&repeated), bytes(&whole));

        let (left, right) = deltas.split_at(split.index(deltas.len()));
        let (left, right) = (join(left), join(right));
        prop_assert_eq!(join([&left, &right]), join([&right, &left]));
        prop_assert_eq!(join([&left, &right]), whole.clone());
        prop_assert_eq!(join([&whole, &left, &whole]), whole);
    }

    /// What is seen is what the writes say, told in another way.
    #[test]
    fn what_is_seen_follows_from_the_writes(deltas in history(), moment_ms in 0..120_u64) {
        let whole = join(&deltas);
        let cut = deltas.iter().map(|delta| delta.cut).max().expect("some");
        let expiry = deltas.iter().filter_map(|delta| delta.expiry).filter(|expiry| expiry.stamp >= cut).max();
        let end = expiry.and_then(|expiry| expiry.at_ms).filter(|at_ms| *at_ms <= moment_ms);
        let cut = end.map_or(Stamp::ZERO, Stamp::of_moment).max(cut);
        let live = whole.live(moment_ms);
        for member in 0..4_u8 {
            let slots = deltas.iter().filter_map(|delta| delta.members.get(&[member]));
            let last = slots.filter(|slot| slot.stamp >= cut).max_by_key(|slot| slot.stamp);
            prop_assert_eq!(live.has_member(&[member]), last.is_some_and(|slot| slot.value.is_some()));
            let slots = deltas.iter().filter_map(|delta| delta.fields.get(&[member]));
            let last = slots.filter(|slot| slot.stamp >= cut).max_by_key(|slot| slot.stamp);
            prop_assert_eq!(live.field(&[member]), last.and_then(|slot| slot.value.as_ref()));
        }
        prop_assert_eq!(live.members_len(), live.members().count());
        prop_assert_eq!(live.fields_len(), live.fields().count());
        let mut sum = 0;
        for replica in (1..4).map(Author::first) {
            let parts = deltas.iter().filter_map(|delta| delta.parts.get(&replica));
            sum += parts.filter(|part| part.since >= cut).max_by_key(|part| part.stamp).map_or(0, |part| part.total);
        }
        let base = deltas.iter().find(|delta| delta.cut == cut).and_then(|delta| delta.base.as_ref());
        match base.map(|base| crate::core::data::parse_integer(base)) {
            Some(None) => prop_assert_eq!(live.string(), base.cloned()),
            base => prop_assert_eq!(live.sum(), Some(sum + i128::from(base.flatten().unwrap_or(0)))),
        }
    }

    #[test]
    fn items_come_back(deltas in history()) {
        for item in deltas.iter().chain([&join(&deltas)]) {
            prop_assert_eq!(&read(bytes(item)).expect("it was written"), item);
        }
    }

    #[test]
    fn noise_is_refused_or_written_the_same(noise in vec(any::<u8>(), 0..200), deltas in history(), at: usize, byte: u8) {
        let mut damaged = bytes(&join(&deltas)).to_vec();
        let length = damaged.len();
        damaged[at % length] = byte;
        for noise in [noise, damaged] {
            let noise = Bytes::from(noise);
            let mut from = Reader::new(noise.clone());
            if let Ok(item) = Item::read(&mut from) {
                let written = bytes(&item);
                prop_assert!(written.len() <= noise.len());
                prop_assert_eq!(read(written).expect("it was written"), item);
            }
        }
    }

    /// Pieces of any size, in any order, are the whole.
    #[test]
    fn pieces_are_the_whole(deltas in history(), bytes_max in 0..400_usize) {
        let whole = join(&deltas);
        let mut pieces = Vec::new();
        let mut after = None;
        loop {
            let (piece, next) = whole.piece(after.as_ref(), bytes_max);
            pieces.push(piece);
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
            prop_assert!(pieces.len() < 100);
        }
        prop_assert_eq!(join(pieces.iter().rev()), whole);
    }

    /// Once all have everything up to a stamp, tombstones from before it say nothing: whoever
    /// collected goes on like whoever did not, and what comes late brings nothing back.
    #[test]
    fn collecting_changes_nothing_that_is_seen(
        deltas in history(),
        known in any::<prop::sample::Index>(),
        late in vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let known = known.get(&deltas).newest();
        let (old, new): (Vec<&Item>, Vec<&Item>) = deltas.iter().partition(|delta| delta.newest() <= known);
        let mut collected = join(old.iter().copied());
        collected.collect(known);
        prop_assert!(collected.due().is_none_or(|due| due > known));
        for delta in new {
            collected.merge(delta, known);
        }
        for index in late {
            collected.merge(index.get(&deltas), known);
        }
        let whole = join(&deltas);
        prop_assert_eq!(whole.live(0).kind(), collected.live(0).kind());
        prop_assert_eq!(whole.live(0).string(), collected.live(0).string());
        prop_assert!(whole.live(0).members().eq(collected.live(0).members()));
        prop_assert!(whole.live(0).fields().eq(collected.live(0).fields()));
        prop_assert_eq!(whole.live(0).expires_at_ms(), collected.live(0).expires_at_ms());
        let mut whole = whole;
        let end = deltas.iter().map(Item::newest).max().expect("some");
        whole.collect(end);
        collected.collect(end);
        prop_assert_eq!(whole, collected);
    }
}

#[test]
fn what_nobody_writes_is_refused() {
    let stamp = crate::core::eventual::Clock::new(Author::first(1), Stamp::ZERO).stamp(1);
    let mut old = Item::default();
    old.cut_at(Stamp::of_moment(9), None, Stamp::of_moment(9));
    // Put there behind its back.
    old.expiry = Some(Expiry { stamp, at_ms: None });
    assert_eq!(
        read(bytes(&old)),
        Err(DecodeError::Impossible("something from before the cut"))
    );
    let mut foreign = Item::default();
    foreign.count(
        Author::first(2),
        Part {
            since: stamp,
            stamp,
            total: 1,
        },
    );
    assert_eq!(
        read(bytes(&foreign)),
        Err(DecodeError::Impossible(
            "a part of a counter that nobody writes"
        ))
    );
    let lengths = Bytes::from_static(&[1 << 6, 0xff, 0xff, 3]);
    assert_eq!(
        read(lengths),
        Err(DecodeError::Codec(CodecError::Length { length: 65_535 }))
    );
}
