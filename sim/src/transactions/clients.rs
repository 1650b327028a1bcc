//! Clients: each does one transaction after the other, at its own node while that runs.

use std::{sync::Arc, time::Duration};

use atoll_kv::{
    api::{self, Answer, Body, DatabaseKey, Refusal, Step, Transaction, Version},
    core::{command, machine::ABORTED, reply::Reply},
};
use atoll_world::{clock, random::Stream};
use bytes::Bytes;

use super::{
    Planted,
    cluster::{Cluster, NODES},
    history::{History, KEYS, Op, Told},
};

/// Between two transactions a client rests, at the most for so long.
const REST_US_MAX: u64 = 5_000;
/// Before it tries a node that does not run, or refuses, once more.
const PAUSE: Duration = Duration::from_millis(5);

/// Two keys change places, and either may be missing.
const SWAP: &str = "local one, other = redis.call('get', KEYS[1]), redis.call('get', KEYS[2]) \
                    if other then redis.call('set', KEYS[1], other) \
                    else redis.call('del', KEYS[1]) end \
                    if one then redis.call('set', KEYS[2], one) \
                    else redis.call('del', KEYS[2]) end \
                    return redis.call('get', KEYS[1])";

pub(super) struct Client {
    pub(super) number: usize,
    pub(super) home: usize,
    pub(super) cluster: Arc<Cluster>,
    pub(super) history: Arc<History>,
    pub(super) chance: Stream,
    pub(super) planted: Option<Planted>,
}

fn key(number: usize) -> String {
    format!("key{number}")
}

fn call(words: &[&str]) -> api::Call {
    let words: Vec<Bytes> = words
        .iter()
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    let command = command::find(&words).expect("a command");
    api::Call { command, words }
}

pub(super) fn call_of(op: Op) -> api::Call {
    match op {
        Op::Get(one) => call(&["GET", &key(one)]),
        Op::Set(one, value) => call(&["SET", &key(one), &value.to_string()]),
        Op::Take(one) => call(&["GETDEL", &key(one)]),
        Op::Exist(one, other) => call(&["EXISTS", &key(one), &key(other)]),
        Op::Rename(from, to) => call(&["RENAME", &key(from), &key(to)]),
        Op::Copy(from, to) => call(&["COPY", &key(from), &key(to), "REPLACE"]),
        Op::SetNew(one, other, value) => {
            let value = value.to_string();
            call(&["MSETNX", &key(one), &value, &key(other), &value])
        }
        Op::Swap(one, other) => call(&["EVAL", SWAP, "2", &key(one), &key(other)]),
    }
}

/// What a call of a client came to.
enum Came {
    Told(Vec<Reply>),
    Refused,
    Unknown,
}

fn came(answer: Answer) -> Came {
    match answer.plain() {
        Answer::Executed(replies) => Came::Told(replies),
        Answer::Reply(Reply::Error(text)) if is_refusal(&text) => Came::Refused,
        Answer::Reply(reply) => Came::Told(vec![reply]),
        Answer::Discarded => Came::Refused,
        Answer::Refused(Refusal::Unavailable | Refusal::Overloaded) => Came::Refused,
        Answer::Refused(Refusal::Unknown) => Came::Unknown,
        other => Came::Told(vec![Reply::Error(Bytes::from(format!("{other:?}")))]),
    }
}

/// Whether an error says that nothing was done.
fn is_refusal(text: &[u8]) -> bool {
    text.starts_with(ABORTED.as_bytes()) || text.starts_with(b"TRYAGAIN")
}

impl Client {
    /// Works until then.
    pub(super) async fn work(mut self, ends_at: clock::Instant) {
        let mut values = 1;
        while clock::now() < ends_at {
            let rest_us = self.chance.range(0..REST_US_MAX);
            clock::sleep(Duration::from_micros(rest_us)).await;
            if self.chance.chance(0.05) {
                self.home = self.chance.range(0..NODES);
            }
            let value = (self.number as u64 + 1) * 1_000_000 + values;
            values += 10;
            match self.chance.range(0..10) {
                0..2 => self.compare_and_set(value).await,
                _ => {
                    let (ops, is_transaction) = self.draw(value);
                    self.transact(ops, Vec::new(), is_transaction).await;
                }
            }
        }
    }

    /// One key, and another one.
    fn two(&mut self) -> (usize, usize) {
        let one = self.chance.range(0..KEYS);
        (one, (one + self.chance.range(1..KEYS)) % KEYS)
    }

    /// What to do next, and whether by MULTI.
    fn draw(&mut self, value: u64) -> (Vec<Op>, bool) {
        let (one, other) = self.two();
        match self.chance.range(0..12) {
            0 => (vec![Op::Get(one)], false),
            1 => (vec![Op::Set(one, value)], false),
            2 => (vec![Op::Rename(one, other)], false),
            3 => (vec![Op::Copy(one, other)], false),
            4 => (vec![Op::SetNew(one, other, value)], false),
            5 => (vec![Op::Swap(one, other)], false),
            6 | 7 => {
                let (third, fourth) = self.two();
                let ops = [one, other, third, fourth].map(Op::Get);
                (ops.to_vec(), true)
            }
            8 => (vec![Op::Take(one), Op::Set(other, value)], true),
            9 => (
                vec![Op::Exist(one, other), Op::Take(other), Op::Get(one)],
                true,
            ),
            10 => (
                vec![Op::Set(one, value), Op::Swap(one, other), Op::Get(other)],
                true,
            ),
            _ => (vec![Op::Set(one, value), Op::Set(other, value + 1)], true),
        }
    }

    /// WATCH, GET, MULTI, SET, EXEC: writes only if what was read still stands.
    async fn compare_and_set(&mut self, value: u64) {
        let (one, other) = self.two();
        let watched = [one, other].map(|number| DatabaseKey {
            database: 0,
            key: key(number).into(),
        });
        let asked = self
            .cluster
            .ask(self.home, Body::Versions(watched.to_vec()));
        let Answer::Versions(versions) = asked.await else {
            return clock::sleep(PAUSE).await;
        };
        let read = call_of(Op::Get(one));
        let read = Body::Call {
            database: 0,
            call: read,
        };
        let Came::Told(replies) = came(self.cluster.ask(self.home, read).await) else {
            return clock::sleep(PAUSE).await;
        };
        let Some(Told::Value(was)) = replies.first().and_then(Told::of) else {
            return self.history.violate(format!("a read told {replies:?}"));
        };
        let watched = match self.planted {
            Some(Planted::WatchesNothing) => Vec::new(),
            _ => watched.into_iter().zip(versions).collect(),
        };
        // That it still holds what was read is what watching is for.
        let ops = vec![Op::Get(one), Op::Set(one, value), Op::Get(other)];
        if let Some(told) = self.transact(ops, watched, true).await
            && told.first() != Some(&Told::Value(was))
        {
            let seen = told.first();
            self.history.violate(format!(
                "watched keys stand: key{one} held {was} when it was read, and {seen:?} when the \
                 transaction ran"
            ));
        }
    }

    async fn transact(
        &mut self,
        ops: Vec<Op>,
        watched: Vec<(DatabaseKey, Version)>,
        is_transaction: bool,
    ) -> Option<Vec<Told>> {
        let number = self.history.begin(self.number, ops.clone());
        let body = |ops: &[Op], watched| {
            let steps = ops.iter().map(|op| Step::Call {
                database: 0,
                call: call_of(*op),
            });
            Body::Transaction(Transaction {
                steps: steps.collect(),
                watched,
                names: Vec::new(),
            })
        };
        let came = match (is_transaction, self.planted) {
            (true, Some(Planted::SplitsTransactions)) => {
                let mut all = Vec::new();
                for op in &ops {
                    match came(self.cluster.ask(self.home, body(&[*op], Vec::new())).await) {
                        Came::Told(told) => all.extend(told),
                        Came::Refused | Came::Unknown => return None,
                    }
                }
                Came::Told(all)
            }
            (true, _) => came(self.cluster.ask(self.home, body(&ops, watched)).await),
            (false, _) => {
                let call = call_of(ops[0]);
                came(
                    self.cluster
                        .ask(self.home, Body::Call { database: 0, call })
                        .await,
                )
            }
        };
        match came {
            Came::Told(replies) => {
                let told: Option<Vec<Told>> = replies.iter().map(Told::of).collect();
                let Some(told) = told.filter(|told| told.len() == ops.len()) else {
                    self.history.violate(format!("{ops:?} came to {replies:?}"));
                    return None;
                };
                self.history.end(number, told.clone());
                Some(told)
            }
            Came::Refused => {
                match (self.planted, &ops[..]) {
                    (Some(Planted::BelievesRefusals), [Op::Set(..), Op::Set(..)]) => {
                        self.history.end(number, vec![Told::Done; 2]);
                    }
                    _ => self.history.refuse(number),
                }
                clock::sleep(PAUSE).await;
                None
            }
            Came::Unknown => {
                clock::sleep(PAUSE).await;
                None
            }
        }
    }

    /// Reads all keys at each node, until it is told.
    pub(super) async fn look_everywhere(mut self) {
        let cluster = self.cluster.clone();
        for node in (0..NODES).filter(|node| !cluster.is_lost(*node)) {
            self.home = node;
            let ops: Vec<Op> = (0..KEYS).map(Op::Get).collect();
            while self.transact(ops.clone(), Vec::new(), true).await.is_none() {}
        }
    }
}
