use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Push(End, Vec<u8>),
    Pop(End),
    Set(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    RemoveEqual(Vec<u8>, usize, End),
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Left), Just(End::Right)]
}

/// Few enough to be equal now and then, large enough to fill chunks, and one too large.
fn item() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0_u8..3).prop_map(|byte| vec![byte]),
        4 => (0_u8..3).prop_map(|byte| vec![byte; 3_000]),
        1 => Just(vec![9; 9_000]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let place = 0_usize..50;
    prop_oneof![
        6 => (end(), item()).prop_map(|(end, item)| Step::Push(end, item)),
        2 => end().prop_map(Step::Pop),
        1 => (place.clone(), item()).prop_map(|(at, item)| Step::Set(at, item)),
        2 => (place.clone(), item()).prop_map(|(at, item)| Step::Insert(at, item)),
        1 => (place, 0_usize..9).prop_map(|(at, items)| Step::Remove(at, items)),
        1 => (item(), 0_usize..4, end())
            .prop_map(|(item, count, end)| Step::RemoveEqual(item, count, end)),
    ]
}

fn remove_equal(model: &mut Vec<Vec<u8>>, item: &[u8], count: usize, end: End) -> usize {
    let mut places: Vec<usize> = (0..model.len()).filter(|at| model[*at] == item).collect();
    if end == End::Right {
        places.reverse();
    }
    places.truncate(count);
    places.sort_unstable();
    for at in places.iter().rev() {
        model.remove(*at);
    }
    places.len()
}

proptest! {
    #[test]
    fn a_list_is_a_row(steps in proptest::collection::vec(step(), 0..80)) {
        let mut model: Vec<Vec<u8>> = Vec::new();
        let mut list = List::default();
        for step in steps {
            match step {
                Step::Push(end, item) => {
                    list.push(end, &item);
                    model.insert(if end == End::Left { 0 } else { model.len() }, item);
                }
                Step::Pop(end) => {
                    let expected = match end {
                        End::Left if model.is_empty() => None,
                        End::Left => Some(model.remove(0)),
                        End::Right => model.pop(),
                    };
                    prop_assert_eq!(list.pop(end), expected);
                }
                Step::Set(at, item) => {
                    if let Some(place) = model.get_mut(at) {
                        list.set(at, &item);
                        *place = item;
                    }
                }
                Step::Insert(at, item) => {
                    let at = at.min(model.len());
                    list.insert(at, &item);
                    model.insert(at, item);
                }
                Step::Remove(at, items) => {
                    let from = at.min(model.len());
                    let to = (from + items).min(model.len());
                    list.remove(from..to);
                    model.drain(from..to);
                }
                Step::RemoveEqual(item, count, end) => {
                    let removed = list.remove_equal(&item, count, end);
                    prop_assert_eq!(removed, remove_equal(&mut model, &item, count, end));
                }
            }
            prop_assert_eq!(list.len(), model.len());
            prop_assert!(list.iter().eq(model.iter()));
            prop_assert!(list.iter().rev().eq(model.iter().rev()));
            for at in 0..=model.len() {
                prop_assert_eq!(list.get(at), model.get(at).map(Vec::as_slice));
                prop_assert!(list.iter_from(at).eq(model[at..].iter()));
            }
            // Chunks are within their size, and none but a lone head is empty.
            let mut chunks = (0..list.chunks()).filter_map(|chunk| list.chunk(chunk));
            let sound = chunks.all(|chunk| {
                let small = chunk.len() == 1 || chunk.size_bytes() <= CHUNK_BYTES_MAX;
                small && !chunk.is_empty()
            });
            prop_assert!(sound || list.is_empty());
        }
    }
}

#[test]
fn a_list_grows_out_of_its_pack_and_back() {
    let mut list = List::default();
    for _ in 0..81 {
        list.push(End::Right, &[7; 98]);
    }
    assert_eq!(list.encoding(), "listpack");
    list.push(End::Right, &[7; 98]);
    assert_eq!(list.encoding(), "quicklist");
    list.remove(0..81);
    assert_eq!(list.encoding(), "listpack");
}
