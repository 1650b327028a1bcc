//! Tests: a table is a list of pairs, and knows what it takes.

use proptest::prelude::*;

use super::*;

/// As values are changed in place.
impl Heap for Vec<u8> {
    fn heap_bytes(&self) -> usize {
        allocation_bytes(self.capacity())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, usize),
    Change(u16, usize),
    Replace(usize, usize),
    Remove(u16),
    RemoveAt(usize),
    Swap(usize, usize),
    Clone,
}

fn step() -> impl Strategy<Value = Step> {
    // More keys than a few rows hold.
    let (key, bytes) = (0_u16..300, 0_usize..90);
    prop_oneof![
        6 => (key.clone(), bytes.clone()).prop_map(|(key, bytes)| Step::Insert(key, bytes)),
        1 => (key.clone(), bytes.clone()).prop_map(|(key, bytes)| Step::Change(key, bytes)),
        1 => (0_usize..300, bytes).prop_map(|(place, bytes)| Step::Replace(place, bytes)),
        3 => key.prop_map(Step::Remove),
        1 => (0_usize..300).prop_map(Step::RemoveAt),
        1 => (0_usize..300, 0_usize..300).prop_map(|(first, second)| Step::Swap(first, second)),
        1 => Just(Step::Clone),
    ]
}

/// Some are short and some are not.
fn name(key: u16) -> Vec<u8> {
    format!("{key:0width$}", width = usize::from(key % 40)).into_bytes()
}

fn check(table: &Table<Vec<u8>>, model: &[(Vec<u8>, Vec<u8>)]) -> Result<(), TestCaseError> {
    prop_assert_eq!(table.len(), model.len());
    let pairs = table.iter().map(|(key, value)| (&**key, value));
    prop_assert!(pairs.eq(model.iter().map(|(key, value)| (&**key, value))));
    for (place, (key, value)) in model.iter().enumerate() {
        let found = table.get_full(key);
        prop_assert_eq!(
            found.map(|(at, _, value)| (at, value)),
            Some((place, value))
        );
    }
    let recount: usize = table.slots().map(Slot::heap_bytes).sum();
    prop_assert_eq!(table.contents_bytes(), recount);
    // No more than a row, and half the places, stand empty.
    let slots: usize = table.rows.iter().map(Vec::capacity).sum();
    prop_assert!(slots <= model.len() + ROW_SLOTS);
    prop_assert!(table.heap_bytes() >= recount + model.len() * size_of::<Slot<Vec<u8>>>());
    Ok(())
}

proptest! {
    #[test]
    fn a_table_is_a_list_of_pairs(steps in proptest::collection::vec(step(), 0..400)) {
        let mut table: Table<Vec<u8>> = Table::default();
        let mut model: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let place_of = |model: &[(Vec<u8>, Vec<u8>)], key: &[u8]| {
            model.iter().position(|(other, _)| other == key)
        };
        for step in steps {
            match step {
                Step::Insert(key, bytes) => {
                    let (key, value) = (name(key), vec![1; bytes]);
                    let known = place_of(&model, &key);
                    let (place, before) = table.insert_full(Key::from(&key), value.clone());
                    match known {
                        Some(at) => {
                            prop_assert_eq!(place, at);
                            let value = std::mem::replace(&mut model[at].1, value);
                            prop_assert_eq!(before, Some(value));
                        }
                        None => {
                            prop_assert_eq!((place, before), (model.len(), None));
                            model.push((key, value));
                        }
                    }
                }
                Step::Change(key, bytes) => {
                    let known = place_of(&model, &name(key));
                    let value = table.get_mut(&name(key));
                    prop_assert_eq!(value.is_some(), known.is_some());
                    if let (Some(value), Some(at)) = (value, known) {
                        value.resize(bytes, 2);
                        model[at].1.resize(bytes, 2);
                    }
                }
                Step::Replace(place, bytes) if place < model.len() => {
                    table.replace_at(place, vec![3; bytes]);
                    model[place].1 = vec![3; bytes];
                }
                Step::Replace(..) => {}
                Step::Remove(key) => {
                    let known = place_of(&model, &name(key));
                    let removed = table.swap_remove(&name(key));
                    prop_assert_eq!(removed, known.map(|at| model.swap_remove(at).1));
                }
                Step::RemoveAt(place) => {
                    let removed = table.swap_remove_index(place);
                    let removed = removed.map(|(key, value)| (key.into_vec(), value));
                    let known = (place < model.len()).then(|| model.swap_remove(place));
                    prop_assert_eq!(removed, known);
                }
                Step::Swap(first, second) if first.max(second) < model.len() => {
                    table.swap_indices(first, second);
                    model.swap(first, second);
                }
                Step::Swap(..) => {}
                Step::Clone => table = table.clone(),
            }
            prop_assert_eq!(table.len(), model.len());
        }
        check(&table, &model)?;
        // Back to nothing.
        while let Some((key, _)) = model.pop() {
            prop_assert!(table.swap_remove(&key).is_some());
        }
        check(&table, &model)?;
        prop_assert_eq!(table.heap_bytes(), 0);
    }
}

#[test]
fn it_grows_and_shrinks() {
    let mut table = Table::default();
    for number in 0..10_000_u64 {
        table.insert(Key::from(&number.to_be_bytes()), number);
    }
    let full_bytes = table.heap_bytes();
    let slot_bytes = size_of::<Slot<u64>>();
    assert_eq!(slot_bytes, 40);
    assert!(full_bytes >= 10_000 * (slot_bytes + 5));
    assert!(full_bytes <= 10_000 * (slot_bytes + 14), "{full_bytes}");
    assert_eq!(table.get(&9_999_u64.to_be_bytes()), Some(&9_999));
    for number in 0..9_900_u64 {
        assert_eq!(table.swap_remove(&number.to_be_bytes()), Some(number));
    }
    assert!(table.heap_bytes() <= 20_000, "{}", table.heap_bytes());
    let left: u64 = table.values().sum();
    assert_eq!(left, (9_900..10_000).sum::<u64>());
}
