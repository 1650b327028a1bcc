//! Sorted sets against a sorted vector.

use proptest::prelude::*;

use super::*;

#[test]
fn forms_change_where_redis_changes_them() {
    let mut set = SortedSet::default();
    for number in 0..128 {
        set.insert(format!("m{number}").as_bytes(), f64::from(number));
    }
    set.insert(b"m5", -1.0);
    assert_eq!(set.encoding(), "listpack");
    set.insert(b"m128", 128.0);
    assert_eq!(set.encoding(), "skiplist");
    assert_eq!((set.rank(b"m5"), set.score(b"m5")), (Some(0), Some(-1.0)));

    for (length, encoding) in [(64, "listpack"), (65, "skiplist")] {
        let mut set = SortedSet::default();
        set.insert(&vec![b'x'; length], 1.0);
        assert_eq!(set.encoding(), encoding, "{length}");
        let set = SortedSet::expecting(&vec![b'x'; length], 1);
        assert_eq!(set.encoding(), encoding, "{length}");
    }
    assert_eq!(SortedSet::expecting(b"a", 128).encoding(), "listpack");
    assert_eq!(SortedSet::expecting(b"a", 129).encoding(), "skiplist");
}

#[test]
fn minus_nothing_is_nothing() {
    for members in [1, 200] {
        let mut set = SortedSet::expecting(b"b", members);
        for member in [b"b", b"a", b"c"] {
            set.insert(member, -0.0);
        }
        let in_order: Vec<(&[u8], u64)> = set
            .iter()
            .map(|(member, score)| (member, score.to_bits()))
            .collect();
        let expected: [(&[u8], u64); 3] = [(b"a", 0), (b"b", 0), (b"c", 0)];
        assert_eq!(in_order, expected);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, f64),
    Remove(u16),
    RemoveRange(usize, usize),
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-3..4_i32).prop_map(f64::from),
        4 => (0..1_000_i32).prop_map(|score| f64::from(score) / 8.0),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(-0.0),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0..700_u16;
    prop_oneof![
        40 => (member.clone(), score()).prop_map(|(member, score)| Step::Insert(member, score)),
        16 => member.prop_map(Step::Remove),
        1 => (any::<usize>(), 0..40_usize).prop_map(|(from, count)| Step::RemoveRange(from, count)),
    ]
}

/// The model: members with scores, sorted.
type Model = Vec<(f64, Vec<u8>)>;

fn put(model: &mut Model, member: &[u8], score: f64) {
    let before = |(at, other): &(f64, Vec<u8>)| (*at, other.as_slice()) < (score, member);
    let rank = model.partition_point(before);
    model.insert(rank, (score, member.to_vec()));
}

fn take(model: &mut Model, member: &[u8]) -> Option<f64> {
    let at = model.iter().position(|(_, other)| other == member)?;
    Some(model.remove(at).0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn is_as_a_sorted_vector(
        // Small ones stay small half of the time.
        large in any::<bool>(),
        steps in proptest::collection::vec(step(), 0..900),
        low in score(),
    ) {
        let (mut set, mut model) = (SortedSet::default(), Model::new());
        for step in steps {
            match step {
                Step::Insert(member, score) => {
                    let member = if large { member } else { member % 100 };
                    let member = format!("member:{member}").into_bytes();
                    let before = set.insert(&member, score);
                    let expected = take(&mut model, &member);
                    prop_assert_eq!(before, expected);
                    put(&mut model, &member, score);
                }
                Step::Remove(member) => {
                    let member = format!("member:{member}").into_bytes();
                    prop_assert_eq!(set.remove(&member), take(&mut model, &member));
                }
                Step::RemoveRange(from, count) => {
                    let from = from % (model.len() + 1);
                    let to = (from + count).min(model.len());
                    set.remove_range(from..to);
                    model.drain(from..to);
                }
            }
        }
        prop_assert_eq!(set.len(), model.len());
        let (from, to) = (model.len() / 4, model.len() - model.len() / 4);
        let expected: Vec<(&[u8], f64)> =
            model.iter().map(|(score, member)| (member.as_slice(), *score)).collect();
        prop_assert!(set.iter().eq(expected.iter().copied()));
        prop_assert!(set.range(from..to).rev().eq(expected[from..to].iter().rev().copied()));
        for (rank, (member, score)) in expected.iter().enumerate() {
            prop_assert_eq!(set.rank(member), Some(rank));
            prop_assert_eq!(set.score(member), Some(*score));
        }
        prop_assert_eq!(set.rank(b"no member"), None);
        let below = model.iter().filter(|(score, _)| *score < low).count();
        let up_to = model.iter().filter(|(score, _)| *score <= low).count();
        prop_assert_eq!(set.count_by_score(|score| score < low), below);
        prop_assert_eq!(set.count_by_score(|score| score <= low), up_to);
        // Scans meet each member once.
        let mut scanned: Vec<_> = (0..set.len()).map(|place| set.at(place).unwrap()).collect();
        prop_assert_eq!(set.at(set.len()), None);
        scanned.sort_by(|(member, a), (other, b)| {
            a.partial_cmp(b).unwrap().then(member.cmp(other))
        });
        prop_assert_eq!(scanned, expected);
    }

    #[test]
    fn members_of_one_score_are_found_by_bytes(
        members in proptest::collection::btree_set("[a-d]{0,4}", 0..300),
        bound in "[a-d]{0,4}",
    ) {
        let mut set = SortedSet::default();
        for member in &members {
            set.insert(member.as_bytes(), 0.0);
        }
        let below = members.iter().filter(|member| **member < bound).count();
        prop_assert_eq!(set.count_by_member(|member| member < bound.as_bytes()), below);
    }
}
