use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Set(u8, u8),
    Keep(u8, u8),
    Remove(u8),
    Expire(u8, Option<Milliseconds>),
    Pass(Milliseconds),
}

fn step() -> impl Strategy<Value = Step> {
    let field = 0_u8..12;
    prop_oneof![
        // A value of 80 bytes is too long for a small hash.
        (field.clone(), prop_oneof![20 => 0_u8..20, 1 => Just(80)])
            .prop_map(|(field, value)| Step::Set(field, value)),
        (field.clone(), 0_u8..20).prop_map(|(field, value)| Step::Keep(field, value)),
        field.clone().prop_map(Step::Remove),
        (field, proptest::option::of(0_u64..50)).prop_map(|(field, at)| Step::Expire(field, at)),
        (1_u64..9).prop_map(Step::Pass),
    ]
}

fn value(length: u8) -> Vec<u8> {
    vec![length; usize::from(length)]
}

proptest! {
    /// A hash is a map whose fields end; what is stored and what is seen differ only by
    /// fields that have ended, and the earliest end is always known.
    #[test]
    fn a_hash_is_a_map_with_ends(steps in proptest::collection::vec(step(), 0..80)) {
        let mut model: BTreeMap<Vec<u8>, (Vec<u8>, Option<Milliseconds>)> = BTreeMap::new();
        let (mut hash, mut again) = (Hash::default(), Hash::default());
        let mut now_ms = 0;
        for step in steps {
            for hash in [&mut hash, &mut again] {
                hash.remove_ended(now_ms);
                match step {
                    Step::Set(field, length) => {
                        let new = hash.set(&[field], &value(length));
                        prop_assert_eq!(new, !model.contains_key(&[field][..]));
                    }
                    Step::Keep(field, length) => {
                        let new = hash.set_value(&[field], &value(length));
                        prop_assert_eq!(new, !model.contains_key(&[field][..]));
                    }
                    Step::Remove(field) => {
                        prop_assert_eq!(hash.remove(&[field]), model.contains_key(&[field][..]));
                    }
                    Step::Expire(field, at) if model.contains_key(&[field][..]) => {
                        hash.expire_at(&[field], at);
                    }
                    Step::Expire(..) | Step::Pass(_) => {}
                }
            }
            match step {
                Step::Set(field, length) => {
                    model.insert(vec![field], (value(length), None));
                }
                Step::Keep(field, length) => {
                    model.entry(vec![field]).or_default().0 = value(length);
                }
                Step::Remove(field) => {
                    model.remove(&[field][..]);
                }
                Step::Expire(field, at) => {
                    if let Some((_, place)) = model.get_mut(&[field][..]) {
                        *place = at;
                    }
                }
                Step::Pass(ms) => now_ms += ms,
            }
            let earliest = model.values().filter_map(|(_, at)| *at).min();
            prop_assert_eq!(hash.reindex().1, earliest);
            again.reindex();
            prop_assert_eq!(hash.stored(), model.len());
            model.retain(|_, (_, at)| at.is_none_or(|at| at >= now_ms));
            prop_assert_eq!(hash.len(now_ms), model.len());
            let mut seen: Vec<_> = hash
                .iter(now_ms)
                .map(|(field, value)| (field.to_vec(), value.to_vec()))
                .collect();
            seen.sort();
            let there: Vec<_> = model
                .iter()
                .map(|(field, (value, _))| (field.clone(), value.clone()))
                .collect();
            prop_assert_eq!(seen, there);
            for (field, (value, at)) in &model {
                prop_assert_eq!(hash.get(field, now_ms), Some(value.as_slice()));
                prop_assert_eq!(hash.expires_at(field), *at);
            }
            // The same history gives the same order.
            prop_assert!(hash.iter_stored().eq(again.iter_stored()));
        }
    }
}

#[test]
fn a_hash_is_rebuilt_as_it_was() {
    let mut hash = Hash::default();
    for field in 0..=PACKED_FIELDS_MAX {
        hash.set(field.to_string().as_bytes(), b"v");
    }
    for field in 0..100 {
        hash.remove(field.to_string().as_bytes());
    }
    hash.expire_at(b"128", Some(5));
    let mut again = Hash::default();
    again.unpack();
    for (field, value) in hash.iter_stored() {
        again.set(field, value);
        again.expire_at(field, hash.expires_at(field));
    }
    for hash in [&mut hash, &mut again] {
        hash.remove(b"110");
    }
    assert!(again.iter_stored().eq(hash.iter_stored()));
    assert_eq!(again, hash);
}

#[test]
fn a_hash_grows_out_of_its_pack_in_order() {
    let mut hash = Hash::default();
    for field in 0..=PACKED_FIELDS_MAX {
        assert_eq!(hash.encoding(), "listpack");
        hash.set(field.to_string().as_bytes(), b"v");
    }
    assert_eq!(hash.encoding(), "hashtable");
    assert!(
        hash.iter_stored()
            .enumerate()
            .all(|(at, (field, _))| field == at.to_string().as_bytes())
    );
    let mut long = Hash::default();
    long.set(b"f", &[0; PACKED_BYTES_MAX]);
    assert_eq!(long.encoding(), "listpack");
    long.expire_at(b"f", Some(1));
    assert_eq!(long.encoding(), "listpackex");
    long.set(b"f", &[0; PACKED_BYTES_MAX + 1]);
    assert_eq!(long.encoding(), "hashtable");
}
