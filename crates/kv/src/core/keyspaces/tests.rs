//! Keyspaces are created once, and come back from their bytes.

use atoll_world::golden::golden;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::*;

fn eventual(name: &str) -> Wanted {
    Wanted {
        name: name.to_owned(),
        eventual: Some((3, Level::One, Level::Quorum)),
    }
}

fn linearizable(name: &str) -> Wanted {
    Wanted {
        name: name.to_owned(),
        eventual: None,
    }
}

fn some() -> Keyspaces {
    let mut all = Keyspaces::default();
    for wanted in [eventual("carts"), linearizable("orders"), eventual("seen")] {
        all.create(&wanted, vec![1, 300], 3).expect("it can be");
    }
    all
}

#[test]
fn each_kind_has_numbers_of_its_own() {
    let all = some();
    let told: Vec<_> = all.iter().map(|it| (it.number.0, &it.name[..])).collect();
    assert_eq!(told, [(1, "orders"), (32, "carts"), (33, "seen")]);
    let named = all.named(b"seen").expect("it is there");
    assert_eq!(all.numbered(KeyspaceNumber(33)), Some(named));
    assert_eq!(all.numbered(KeyspaceNumber(2)), None);
    let numbers: Vec<_> = all.eventual().map(|(number, _)| number.0).collect();
    assert_eq!(numbers, [32, 33]);
    let born = named.eventual().map(|it| it.born(PartitionId(1)));
    assert_eq!(born, Some(Some(300)));
}

#[test]
fn what_is_there_stays_what_it_is() {
    let mut all = some();
    let before = all.clone();
    let again = all.create(&eventual("carts"), vec![7, 7], 3);
    assert_eq!(again.map(|it| it.number), Ok(KeyspaceNumber(32)));
    let other = all.create(&linearizable("carts"), vec![], 3);
    assert_eq!(other, Err(CreateError::Exists("carts".to_owned())));
    let (wanted, found) = (3, 5);
    assert_eq!(
        all.create(&eventual("other"), vec![], found),
        Err(CreateError::Replicas { wanted, found })
    );
    assert_eq!(all, before);
    for name in ["", "7", "-a", "a b", "ä", &"a".repeat(65)] {
        assert_eq!(
            all.create(&linearizable(name), vec![], 3),
            Err(CreateError::Name)
        );
    }
}

#[test]
fn there_are_so_many_and_no_more() {
    let mut all = Keyspaces::default();
    for number in 0..EVENTUAL_MAX {
        let created = all.create(&eventual(&format!("e{number}")), vec![1], 3);
        assert_eq!(created.map(|it| it.number.0), Ok(EVENTUAL_FIRST + number));
    }
    let further = all.create(&eventual("further"), vec![1], 3);
    assert_eq!(further, Err(CreateError::TooMany(EVENTUAL_MAX)));
    let databases = DATABASES as u32 - 1;
    for number in 0..databases {
        let name = format!("l{number}");
        let created = all.create(&linearizable(&name), vec![], 3);
        assert_eq!(created.map(|it| it.number.0), Ok(number + 1));
    }
    let further = all.create(&linearizable("further"), vec![], 3);
    assert_eq!(further, Err(CreateError::TooMany(databases)));
}

#[test]
fn the_golden_file_is_read_and_written() {
    let stored = golden("keyspaces-1.bin", &some().encode());
    assert_eq!(Keyspaces::decode(stored), Ok(some()));
}

#[test]
fn what_cannot_be_is_refused() {
    let all = some().encode();
    // A linearizable keyspace with the number of an eventual one.
    let mixed = [1, 1, 32, 1, b'a', 0];
    assert!(Keyspaces::decode(Bytes::copy_from_slice(&mixed)).is_err());
    let twice = [1, 2, 1, 1, b'a', 0, 2, 1, b'a', 0];
    assert!(Keyspaces::decode(Bytes::copy_from_slice(&twice)).is_err());
    assert!(Keyspaces::decode(all.slice(..all.len() - 1)).is_err());
}

proptest! {
    #[test]
    fn noise_is_refused_or_comes_back(noise in vec(any::<u8>(), 0..100)) {
        let mut versioned = vec![1];
        versioned.extend(noise);
        if let Ok(read) = Keyspaces::decode(versioned.into()) {
            prop_assert_eq!(Keyspaces::decode(read.encode()), Ok(read));
        }
    }
}
