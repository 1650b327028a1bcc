//! Hot data in memory: one keyspace, and a log of what was handed over.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock, RwLockWriteGuard};

use crate::{
    api::{Answer, Api, Body, Call, DatabaseKey, Refusal, Request, Step, Version},
    core::{
        command::{Context, Effects, Flags, Moment},
        data::Keyspace,
        reply::Reply,
    },
    hub::Hub,
};

#[derive(Clone)]
pub(super) struct Fake(Arc<Inner>);

struct Inner {
    hub: Hub,
    keyspace: Mutex<Keyspace>,
    calls: AtomicUsize,
    /// How many requests came together, each time.
    handed_over: Mutex<Vec<usize>>,
    waiting: AtomicUsize,
    changed: Notify,
    /// While it is held for writing, nothing is answered.
    gate: RwLock<()>,
}

/// Is counted for as long as it is there.
struct Waits<'a>(&'a Inner);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Fake {
    pub(super) fn new(hub: Hub) -> Self {
        Fake(Arc::new(Inner {
            hub,
            keyspace: Mutex::default(),
            calls: AtomicUsize::new(0),
            handed_over: Mutex::default(),
            waiting: AtomicUsize::new(0),
            changed: Notify::new(),
            gate: RwLock::default(),
        }))
    }

    /// How many requests came together, each time since this was asked last.
    pub(super) fn handed_over(&self) -> Vec<usize> {
        std::mem::take(&mut *self.0.handed_over.lock())
    }

    /// Answers nothing until what this gives is dropped.
    pub(super) async fn hold_answers(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.gate.write().await
    }

    /// How many commands wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }

    fn call(&self, database: usize, call: &Call) -> (Reply, bool) {
        let version = self.0.calls.fetch_add(1, Ordering::SeqCst) as u64 + 1;
        let moment = Moment {
            now_ms: 0,
            seed: 0,
            version,
            reading: call.command.flags.has(Flags::READONLY),
        };
        let mut effects = Effects::default();
        let mut keyspace = self.0.keyspace.lock();
        let mut context = Context::new(&mut keyspace, database, moment, &mut effects);
        let reply = call.command.run(&mut context, &call.words);
        let reply = reply.unwrap_or_else(|error| Reply::Error(error.to_string().into()));
        if !effects.changed.is_empty() {
            self.0.changed.notify_waiters();
        }
        (reply, effects.blocks)
    }

    fn version(&self, key: &DatabaseKey) -> Version {
        let keyspace = self.0.keyspace.lock();
        let entry = keyspace.database(key.database).get(&key.key);
        Version(entry.map_or(0, |entry| entry.version()))
    }

    fn step(&self, step: &Step) -> Reply {
        match step {
            Step::Call { database, call } => self.call(*database, call).0,
            Step::Publish(publication) => Reply::count(self.0.hub.publish(publication)),
        }
    }

    async fn answer(&self, request: Request) -> Answer {
        match request.body {
            Body::Call { database, call } => {
                let waits = call.command.flags.has(Flags::BLOCKING);
                let mut counted = None;
                loop {
                    let changed = self.0.changed.notified();
                    let (reply, blocks) = self.call(database, &call);
                    if !(waits && blocks) {
                        return Answer::Reply(reply);
                    }
                    counted.get_or_insert_with(|| {
                        self.0.waiting.fetch_add(1, Ordering::SeqCst);
                        Waits(&self.0)
                    });
                    changed.await;
                }
            }
            // Here nobody creates any.
            Body::Eventual(_) => Answer::Refused(Refusal::Unavailable),
            Body::Within { database, call, .. } => Answer::Reply(self.call(database, &call).0),
            Body::Versions(keys) => {
                Answer::Versions(keys.iter().map(|key| self.version(key)).collect())
            }
            Body::Transaction(transaction) => {
                let mut watched = transaction.watched.iter();
                if watched.any(|(key, version)| self.version(key) != *version) {
                    return Answer::Discarded;
                }
                let steps = transaction.steps.iter();
                Answer::Executed(steps.map(|step| self.step(step)).collect())
            }
            Body::Publish(publication) => Answer::Reply(self.step(&Step::Publish(publication))),
            Body::Wait(_) => Answer::Reply(Reply::Integer(0)),
        }
    }
}

impl Api for Fake {
    async fn ask(&self, requests: Vec<Request>) -> Vec<Answer> {
        self.0.handed_over.lock().push(requests.len());
        drop(self.0.gate.read().await);
        let mut answers = Vec::new();
        for request in requests {
            answers.push(self.answer(request).await);
        }
        answers
    }
}
