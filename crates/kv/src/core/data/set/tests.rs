//! Sets against a simple model, and when they change form.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn members(set: &Set) -> Vec<String> {
    set.iter()
        .map(|member| String::from_utf8(member.into_owned()).unwrap())
        .collect()
}

#[test]
fn numbers_are_in_order_and_others_as_they_came() {
    let mut set = Set::default();
    for member in ["10", "-3", "70000", "9223372036854775807", "2"] {
        assert!(set.insert(member.as_bytes()));
    }
    assert!(!set.insert(b"10"));
    assert_eq!(set.encoding(), "intset");
    assert_eq!(
        members(&set),
        ["-3", "2", "10", "70000", "9223372036854775807"]
    );
    assert!(set.insert(b"010"));
    assert_eq!(set.encoding(), "listpack");
    assert!(set.remove(b"2"));
    assert_eq!(
        members(&set),
        ["-3", "10", "70000", "9223372036854775807", "010"]
    );
}

#[test]
fn forms_change_where_redis_changes_them() {
    let mut numbers = Set::default();
    for number in 0..512 {
        numbers.insert(number.to_string().as_bytes());
    }
    assert_eq!(numbers.encoding(), "intset");
    numbers.insert(b"512");
    assert_eq!(numbers.encoding(), "hashtable");

    let mut words = Set::default();
    for number in 0..128 {
        words.insert(format!("w{number}").as_bytes());
    }
    assert_eq!(words.encoding(), "listpack");
    words.insert(b"w0");
    assert_eq!(words.encoding(), "listpack");
    words.insert(b"w128");
    assert_eq!(words.encoding(), "hashtable");

    for (length, encoding) in [(64, "listpack"), (65, "hashtable")] {
        let mut set = Set::default();
        set.insert(b"1");
        set.insert(&vec![b'x'; length]);
        assert_eq!(set.encoding(), encoding, "{length}");
    }
    for (count, encoding) in [(127, "listpack"), (128, "hashtable")] {
        let mut set = Set::default();
        for number in 0..count {
            set.insert(number.to_string().as_bytes());
        }
        set.insert(b"word");
        assert_eq!(set.encoding(), encoding, "{count}");
    }
    for (first, count, encoding) in [
        ("1", 512, "intset"),
        ("1", 513, "hashtable"),
        ("a", 128, "listpack"),
        ("a", 129, "hashtable"),
    ] {
        let set = Set::expecting(first.as_bytes(), count);
        assert_eq!(set.encoding(), encoding, "{first} {count}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<u8>),
    Remove(Vec<u8>),
    RemoveAt(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let member = prop_oneof![
        8 => (-200..200_i64).prop_map(|number| number.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        1 => "[a-c]{0,3}".prop_map(String::into_bytes),
        1 => (60..70_usize).prop_map(|length| vec![b'y'; length]),
    ];
    let step = prop_oneof![
        4 => member.clone().prop_map(Step::Insert),
        2 => member.prop_map(Step::Remove),
        1 => any::<usize>().prop_map(Step::RemoveAt),
    ];
    // Half of the runs know numbers only, so that they stay in that form.
    (any::<bool>(), proptest::collection::vec(step, 0..300)).prop_map(|(numbers, mut steps)| {
        if numbers {
            steps.retain(|step| match step {
                Step::Insert(member) => parse_integer(member).is_some(),
                Step::Remove(_) | Step::RemoveAt(_) => true,
            });
        }
        steps
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn is_as_a_set_should_be(steps in steps()) {
        let (mut set, mut model) = (Set::default(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Insert(member) => {
                    prop_assert_eq!(set.insert(&member), model.insert(member));
                }
                Step::Remove(member) => {
                    prop_assert_eq!(set.remove(&member), model.remove(&member));
                }
                Step::RemoveAt(place) => {
                    let place = place % (model.len() + 1);
                    let there = set.at(place).map(Cow::into_owned);
                    let removed = set.remove_at(place);
                    prop_assert_eq!(&removed, &there);
                    prop_assert_eq!(removed.is_some(), place < model.len());
                    if let Some(member) = removed {
                        prop_assert!(model.remove(&member));
                    }
                }
            }
            prop_assert_eq!(set.len(), model.len());
        }
        for (place, member) in set.iter().enumerate() {
            prop_assert!(model.contains(&*member));
            prop_assert!(set.contains(&member));
            prop_assert_eq!(set.at(place).unwrap(), member);
        }
        prop_assert_eq!(set.iter().map(Cow::into_owned).collect::<BTreeSet<_>>(), model);
    }
}
