//! Which keys a client asks for, and at which door.

use std::{net::SocketAddr, sync::Arc};

use atoll_ring::slot::{SLOTS, Slot};

use super::wire::{Answer, Connection};
use crate::{
    error::{Error, Result},
    workload::Numbers,
};

/// Length of every key's name.
pub(crate) const KEY_BYTES: usize = 16;
/// Skew of the Zipf keys, as YCSB has it (Cooper et al.: Benchmarking Cloud Serving Systems with
/// YCSB, 2010).
const ZIPF_SKEW: f64 = 0.99;
/// So many draws are made before the load begins: a draw under load is then one look-up.
const ZIPF_DRAWS: u64 = 1 << 18;
/// A client at a door that owns few keys gives up looking for one of them.
const DRAWS_MAX: usize = 100_000;

/// The key with this number: the kind of its value, then digits.
pub(crate) fn key(kind: u8, number: u64) -> [u8; KEY_BYTES] {
    let mut key = [b'0'; KEY_BYTES];
    key[0] = kind;
    key[1] = b':';
    let mut left = number;
    for digit in key[2..].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    key
}

/// Where clients go in. Behind a plain door is every key; doors of a cluster own slots each.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    pub(crate) addresses: Vec<SocketAddr>,
    /// For each slot the index of the door that owns it.
    owners: Option<Arc<[u8]>>,
}

impl Doors {
    /// Doors behind each of which every key is.
    pub(crate) fn plain(addresses: Vec<SocketAddr>) -> Self {
        Self {
            addresses,
            owners: None,
        }
    }

    /// The masters of a Redis Cluster, as one of its nodes tells them.
    pub(crate) async fn of_cluster(node: SocketAddr) -> Result<Self> {
        let answer = Connection::open(node)
            .await?
            .ask(&[b"CLUSTER", b"SLOTS"])
            .await?;
        Self::from_slots(&answer)
    }

    fn from_slots(answer: &Answer) -> Result<Self> {
        const STRANGE: Error = Error::Protocol("CLUSTER SLOTS answers something else");
        let Answer::Array(ranges) = answer else {
            return Err(STRANGE);
        };
        let mut addresses = Vec::new();
        let mut owners = vec![u8::MAX; usize::from(SLOTS)];
        for range in ranges {
            let Answer::Array(parts) = range else {
                return Err(STRANGE);
            };
            let [Answer::Integer(first), Answer::Integer(last), master, ..] = &parts[..] else {
                return Err(STRANGE);
            };
            let address = address(master).ok_or(STRANGE)?;
            let door = addresses.iter().position(|it| *it == address);
            let door = door.unwrap_or_else(|| {
                addresses.push(address);
                addresses.len() - 1
            });
            let door = u8::try_from(door).map_err(|_| STRANGE)?;
            let slots = usize::try_from(*first)
                .ok()
                .zip(usize::try_from(*last).ok());
            let slots = slots.and_then(|(first, last)| owners.get_mut(first..=last));
            slots.ok_or(STRANGE)?.fill(door);
        }
        if owners.contains(&u8::MAX) {
            return Err(Error::Protocol("a slot of the cluster has no owner"));
        }
        Ok(Self {
            addresses,
            owners: Some(owners.into()),
        })
    }
}

fn address(node: &Answer) -> Option<SocketAddr> {
    let Answer::Array(parts) = node else {
        return None;
    };
    let [Answer::Bytes(host), Answer::Integer(port), ..] = &parts[..] else {
        return None;
    };
    let host = std::str::from_utf8(host).ok()?.parse().ok()?;
    Some(SocketAddr::new(host, u16::try_from(*port).ok()?))
}

/// How often each key is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    Even,
    Zipf,
}

/// Draws the keys of one kind; shared by all clients of a load.
#[derive(Clone, Debug)]
pub(crate) struct Chooser {
    keys: u64,
    /// Draws made before; none means that every key is as likely.
    draws: Option<Arc<[u32]>>,
    /// The door of each key.
    doors: Option<Arc<[u8]>>,
}

impl Chooser {
    pub(crate) fn new(doors: &Doors, kind: u8, keys: u64, spread: Spread, seed: u64) -> Self {
        let owners = doors.owners.as_ref().map(|owners| {
            (0..keys)
                .map(|number| {
                    let slot = Slot::of_key(&key(kind, number)).number();
                    owners[usize::from(slot)]
                })
                .collect()
        });
        Self {
            keys,
            draws: (spread == Spread::Zipf).then(|| zipf(keys, seed)),
            doors: owners,
        }
    }

    /// Whether the key with this number is to be asked for at this one of `doors` doors.
    pub(crate) fn is_at(&self, number: u64, door: usize, doors: usize) -> bool {
        match &self.doors {
            Some(owners) => usize::from(owners[number as usize]) == door,
            None => number as usize % doors == door,
        }
    }

    /// The number of a key for a client at this door.
    pub(crate) fn draw(&self, door: u8, numbers: &mut Numbers) -> Result<u64> {
        for _ in 0..DRAWS_MAX {
            let random = numbers.next();
            let number = match &self.draws {
                Some(draws) => u64::from(draws[(random % ZIPF_DRAWS) as usize]),
                None => random % self.keys,
            };
            match &self.doors {
                Some(doors) if doors[number as usize] != door => {}
                _ => return Ok(number),
            }
        }
        Err(Error::Options(
            "too few --keys: one of the servers owns none".to_owned(),
        ))
    }
}

/// Draws after Zipf's law: the key with rank r is asked for as often as 1 / r^skew says.
fn zipf(keys: u64, seed: u64) -> Arc<[u32]> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-ZIPF_SKEW);
            sum
        })
        .collect();
    let mut numbers = Numbers(seed);
    (0..ZIPF_DRAWS)
        .map(|_| {
            let at = numbers.next() as f64 / u64::MAX as f64 * sum;
            let number = sums.partition_point(|sum| *sum < at).min(sums.len() - 1);
            u32::try_from(number).unwrap_or(u32::MAX)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: i64) -> Answer {
        Answer::Array(vec![
            Answer::Bytes(b"127.0.0.1".to_vec()),
            Answer::Integer(port),
        ])
    }

    fn range(first: i64, last: i64, port: i64) -> Answer {
        Answer::Array(vec![
            Answer::Integer(first),
            Answer::Integer(last),
            node(port),
            node(9),
        ])
    }

    #[test]
    fn names_are_sixteen_bytes() {
        assert_eq!(&key(b's', 1_234), b"s:00000000001234");
    }

    #[test]
    fn clients_of_a_cluster_ask_only_the_owner() {
        let slots = Answer::Array(vec![
            range(0, 5_000, 1),
            range(5_001, 9_000, 2),
            range(9_001, 16_383, 1),
        ]);
        let doors = Doors::from_slots(&slots).unwrap();
        assert_eq!(doors.addresses.len(), 2);
        for spread in [Spread::Even, Spread::Zipf] {
            let chooser = Chooser::new(&doors, b's', 1_000, spread, 1);
            let mut numbers = Numbers(1);
            for _ in 0..1_000 {
                let number = chooser.draw(1, &mut numbers).unwrap();
                let slot = Slot::of_key(&key(b's', number)).number();
                assert!((5_001..=9_000).contains(&slot));
            }
        }
        let none = Chooser::new(&doors, b's', 1, Spread::Even, 1);
        let mut numbers = Numbers(1);
        assert!(none.draw(0, &mut numbers).is_err() || none.draw(1, &mut numbers).is_err());
    }

    #[test]
    fn a_slot_without_owner_is_an_error() {
        let slots = Answer::Array(vec![range(0, 16_000, 1)]);
        assert!(Doors::from_slots(&slots).is_err());
        let beyond = Answer::Array(vec![range(0, 16_384, 1)]);
        assert!(Doors::from_slots(&beyond).is_err());
    }

    #[test]
    fn few_keys_take_most_of_a_zipf_load() {
        let chooser = Chooser::new(&Doors::plain(vec![]), b's', 10_000, Spread::Zipf, 7);
        let mut numbers = Numbers(7);
        let draws = 20_000;
        let hot = (0..draws)
            .filter(|_| chooser.draw(0, &mut numbers).unwrap() < 100)
            .count();
        // The law gives the first hundred of ten thousand 53 of 100 draws.
        assert!((draws * 50 / 100..draws * 57 / 100).contains(&hot), "{hot}");
    }
}
