//! What each client of a Redis load asks, again and again.

use clap::ValueEnum;
use serde::Serialize;

use super::{
    keys::{Chooser, Spread, key},
    wire::request,
};
use crate::{
    error::Result,
    workload::{Numbers, value},
};

/// Fields of a hash and members of a sorted set: few enough that both stay small, as most are.
const MEMBERS: u64 = 64;
/// Every tenth operation of the mixed load is a SET.
const MIXED_SET_EVERY: u64 = 10;
/// The letter that the names of strings begin with.
pub(crate) const STRINGS: u8 = b's';

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RedisWorkload {
    /// SET a random key.
    Set,
    /// GET a random key that is there.
    Get,
    /// INCR a random counter.
    Incr,
    /// LPUSH to a random list.
    Lpush,
    /// HSET one of 64 fields of a random hash.
    Hset,
    /// ZADD one of 64 members of a random sorted set.
    Zadd,
    /// Nine GETs to one SET, keys after Zipf's law.
    Mixed,
}

impl RedisWorkload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Get => "get",
            Self::Incr => "incr",
            Self::Lpush => "lpush",
            Self::Hset => "hset",
            Self::Zadd => "zadd",
            Self::Mixed => "mixed",
        }
    }

    /// The letter that the names of its keys begin with: one for each type of value.
    pub(crate) fn kind(self) -> u8 {
        match self {
            Self::Set | Self::Get | Self::Mixed => STRINGS,
            Self::Incr => b'n',
            Self::Lpush => b'l',
            Self::Hset => b'h',
            Self::Zadd => b'z',
        }
    }

    pub(crate) fn spread(self) -> Spread {
        match self {
            Self::Mixed => Spread::Zipf,
            _ => Spread::Even,
        }
    }

    /// Whether every key must be there before it begins.
    pub(crate) fn reads(self) -> bool {
        matches!(self, Self::Get | Self::Mixed)
    }
}

/// Makes the requests of one client.
#[derive(Debug)]
pub(crate) struct Requests {
    workload: RedisWorkload,
    chooser: Chooser,
    door: u8,
    numbers: Numbers,
    value: Vec<u8>,
}

impl Requests {
    pub(crate) fn new(
        workload: RedisWorkload,
        chooser: Chooser,
        door: u8,
        value_bytes: usize,
        seed: u64,
    ) -> Self {
        let mut numbers = Numbers(seed);
        let value = value(value_bytes, numbers.next());
        Self {
            workload,
            chooser,
            door,
            numbers,
            value,
        }
    }

    /// Appends the next request.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let number = self.chooser.draw(self.door, &mut self.numbers)?;
        let key = &key(self.workload.kind(), number);
        let random = self.numbers.next();
        match self.workload {
            RedisWorkload::Set => request(out, &[b"SET", key, &self.value]),
            RedisWorkload::Mixed if random.is_multiple_of(MIXED_SET_EVERY) => {
                request(out, &[b"SET", key, &self.value]);
            }
            RedisWorkload::Get | RedisWorkload::Mixed => request(out, &[b"GET", key]),
            RedisWorkload::Incr => request(out, &[b"INCR", key]),
            RedisWorkload::Lpush => request(out, &[b"LPUSH", key, &self.value]),
            RedisWorkload::Hset => {
                let field = member(random);
                request(out, &[b"HSET", key, &field, &self.value]);
            }
            RedisWorkload::Zadd => {
                let score = format!("{}", random >> 40);
                request(out, &[b"ZADD", key, score.as_bytes(), &member(random)]);
            }
        }
        Ok(())
    }
}

fn member(random: u64) -> [u8; 8] {
    let number = (random % MEMBERS) as u8;
    let mut name = *b"field:00";
    name[6] += number / 10;
    name[7] += number % 10;
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::keys::Doors;

    fn text(workload: RedisWorkload, count: usize) -> String {
        let doors = Doors::plain(vec![]);
        let chooser = Chooser::new(&doors, workload.kind(), 10, workload.spread(), 1);
        let mut requests = Requests::new(workload, chooser, 0, 4, 1);
        requests.value = b"text".to_vec();
        let mut out = Vec::new();
        for _ in 0..count {
            requests.append(&mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_workload_asks_what_its_name_says() {
        for workload in RedisWorkload::value_variants() {
            let text = text(*workload, 1);
            let command = workload.name().to_uppercase();
            let mixed = *workload == RedisWorkload::Mixed;
            assert!(mixed || text.contains(&format!("\r\n{command}\r\n")));
        }
    }

    #[test]
    fn the_mix_sets_one_in_ten() {
        let text = text(RedisWorkload::Mixed, 10_000);
        let sets = text.matches("\r\nSET\r\n").count();
        assert_eq!(text.matches("\r\nGET\r\n").count(), 10_000 - sets);
        assert!((900..1_100).contains(&sets), "{sets}");
    }

    #[test]
    fn members_are_few() {
        assert_eq!(&member(63), b"field:63");
        assert_eq!(&member(64), b"field:00");
    }
}
