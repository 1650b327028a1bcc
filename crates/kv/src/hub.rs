//! Who on this node listens to what, and the way to them (Redis: "Redis Pub/Sub").
//!
//! A publication is put into the [`Mailbox`] of each listener, who takes it out in its own
//! time. A mailbox that its owner does not empty overflows once: it takes nothing any more, and
//! whoever owns it has to go.

mod mailbox;
mod tracking;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use parking_lot::RwLock;

pub use mailbox::{MAILBOX_BYTES_MAX, Mail, Mailbox, Told};
pub use tracking::{Change, KEYS_MAX, Tracked, Trackers, TrackingCounts};

use crate::{
    api::Publication,
    core::{command::Command, data::Packing, glob, machine::Called, notify::Notified},
};

/// What can be listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// A channel.
    Channel,
    /// Channels whose names match.
    Pattern,
    /// A shard channel.
    Shard,
}

/// Listeners by their number; in the order in which they came, so that all hear in one order.
type Listeners = IndexMap<u64, Arc<Mailbox>, RandomState>;
type Topics = HashMap<Bytes, Listeners, RandomState>;

#[derive(Default)]
struct Tables {
    channels: Topics,
    patterns: Topics,
    shards: Topics,
}

impl Tables {
    fn of(&self, topic: Topic) -> &Topics {
        match topic {
            Topic::Channel => &self.channels,
            Topic::Pattern => &self.patterns,
            Topic::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, topic: Topic) -> &mut Topics {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::Shard => &mut self.shards,
        }
    }
}

/// The listeners of a node. Clones are the same.
#[derive(Clone, Default)]
pub struct Hub(Arc<Shared>);

#[derive(Default)]
struct Shared {
    tables: RwLock<Tables>,
    notified: AtomicU32,
    /// None while it is as in Redis.
    packing: RwLock<Option<Packing>>,
    /// Looked at for each command, unlike the rest.
    has_packing: AtomicBool,
    trackers: Trackers,
    monitors: RwLock<Listeners>,
    has_monitors: AtomicBool,
    expired: AtomicU64,
    slow_script_ms: AtomicU64,
    scripts: AtomicUsize,
    calls: RwLock<Option<Arc<dyn Calls>>>,
}

/// Who wants to know what scripts on this node call.
pub trait Calls: Send + Sync {
    /// How a call is shown to those who monitor.
    fn line(&self, database: usize, words: &[Bytes]) -> Bytes;

    /// Counts a call; of no command, if there is no such one.
    fn count(&self, command: Option<&'static Command>, end: Called<'_>);
}

impl Hub {
    /// A listener, by a number that is its own, begins to listen.
    pub fn subscribe(&self, topic: Topic, name: Bytes, listener: u64, mailbox: &Arc<Mailbox>) {
        let mut tables = self.0.tables.write();
        let listeners = tables.of_mut(topic).entry(name).or_default();
        listeners.insert(listener, mailbox.clone());
    }

    /// A listener listens no longer.
    pub fn unsubscribe(&self, topic: Topic, name: &Bytes, listener: u64) {
        let mut tables = self.0.tables.write();
        let topics = tables.of_mut(topic);
        if let Some(listeners) = topics.get_mut(name) {
            listeners.shift_remove(&listener);
            if listeners.is_empty() {
                topics.remove(name);
            }
        }
    }

    /// Tells those on this node who listen, and counts them.
    pub fn publish(&self, publication: &Publication) -> usize {
        let tables = self.0.tables.read();
        let topic = if publication.sharded {
            Topic::Shard
        } else {
            Topic::Channel
        };
        // One copy for all: what waits in mailboxes should not keep alive all that came with it.
        let mut copied = None;
        let mut tell = |listeners: &Listeners, topic, pattern: Option<&Bytes>| {
            let (channel, message) = copied.get_or_insert_with(|| {
                let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
                (copy(&publication.channel), copy(&publication.message))
            });
            for mailbox in listeners.values() {
                mailbox.put(Mail {
                    topic,
                    pattern: pattern.cloned(),
                    channel: channel.clone(),
                    message: message.clone(),
                });
            }
            listeners.len()
        };
        let mut told = tables
            .of(topic)
            .get(&publication.channel)
            .map_or(0, |listeners| tell(listeners, topic, None));
        if !publication.sharded {
            for (pattern, listeners) in &tables.patterns {
                if glob::matches(pattern, &publication.channel) {
                    told += tell(listeners, Topic::Pattern, Some(pattern));
                }
            }
        }
        told
    }

    /// How many would be told of a publication now.
    pub fn hearing(&self, publication: &Publication) -> usize {
        let tables = self.0.tables.read();
        let channel = &publication.channel;
        if publication.sharded {
            return tables.shards.get(channel).map_or(0, Listeners::len);
        }
        let patterns = tables.patterns.iter();
        let matching = patterns
            .filter(|(pattern, _)| glob::matches(pattern, channel))
            .map(|(_, listeners)| listeners.len());
        tables.channels.get(channel).map_or(0, Listeners::len) + matching.sum::<usize>()
    }

    /// Which events of keys are published by this node.
    pub fn notified(&self) -> Notified {
        Notified::from_bits(self.0.notified.load(Ordering::Relaxed))
    }

    /// Sets it: `notify-keyspace-events`.
    pub fn set_notified(&self, notified: Notified) {
        let bits = notified.bits();
        self.0.notified.store(bits, Ordering::Relaxed);
    }

    /// A client, by its number, is shown commands from now on, or no longer.
    pub fn set_monitor(&self, id: u64, mailbox: &Arc<Mailbox>, monitors: bool) {
        let mut listeners = self.0.monitors.write();
        if monitors {
            listeners.insert(id, mailbox.clone());
        } else {
            listeners.shift_remove(&id);
        }
        self.0
            .has_monitors
            .store(!listeners.is_empty(), Ordering::Release);
    }

    /// Whether anybody is shown commands.
    pub fn has_monitors(&self) -> bool {
        self.0.has_monitors.load(Ordering::Acquire)
    }

    /// Shows a command to those who monitor.
    pub fn show(&self, line: &Bytes) {
        for mailbox in self.0.monitors.read().values() {
            mailbox.tell(Told::Command(line.clone()));
        }
    }

    /// How long a script may run before others are told that they would have to wait for it, in
    /// milliseconds; 0, if they are to wait.
    pub fn slow_script_ms(&self) -> u64 {
        self.0.slow_script_ms.load(Ordering::Relaxed)
    }

    /// Sets it: `busy-reply-threshold`.
    pub fn set_slow_script_ms(&self, ms: u64) {
        self.0.slow_script_ms.store(ms, Ordering::Relaxed);
    }

    /// Has somebody told of what scripts call.
    pub fn on_calls(&self, calls: Arc<dyn Calls>) {
        *self.0.calls.write() = Some(calls);
    }

    /// A script is about to call this: shows it to those who monitor.
    pub fn show_call(&self, database: usize, words: &[Bytes]) {
        if !self.has_monitors() {
            return;
        }
        let line = self
            .0
            .calls
            .read()
            .as_ref()
            .map(|it| it.line(database, words));
        if let Some(line) = line {
            self.show(&line);
        }
    }

    /// Counts what a script called.
    pub fn count_call(&self, command: Option<&'static Command>, end: Called<'_>) {
        if let Some(calls) = &*self.0.calls.read() {
            calls.count(command, end);
        }
    }

    /// How many scripts this node knows by their names.
    pub fn scripts(&self) -> usize {
        self.0.scripts.load(Ordering::Relaxed)
    }

    /// Says it.
    pub fn set_scripts(&self, scripts: usize) {
        self.0.scripts.store(scripts, Ordering::Relaxed);
    }

    /// Keys ended, in partitions that this node owns.
    pub fn note_expired(&self, keys: usize) {
        self.0.expired.fetch_add(keys as u64, Ordering::Relaxed);
    }

    /// How many, since the node began.
    pub fn expired(&self) -> u64 {
        self.0.expired.load(Ordering::Relaxed)
    }

    /// Who caches, and is told of changes.
    pub fn trackers(&self) -> &Trackers {
        &self.0.trackers
    }

    /// How large small forms of values may get, where commands that come to this node say
    /// something about it.
    pub fn packing(&self) -> Option<Packing> {
        let has_packing = self.0.has_packing.load(Ordering::Acquire);
        has_packing.then(|| *self.0.packing.read()).flatten()
    }

    /// Sets it: `hash-max-listpack-entries` and its kin.
    pub fn set_packing(&self, packing: Packing) {
        let packing = Some(packing).filter(|packing| *packing != Packing::default());
        *self.0.packing.write() = packing;
        let has_packing = packing.is_some();
        self.0.has_packing.store(has_packing, Ordering::Release);
    }

    /// What somebody listens to, if it matches, by name.
    pub fn names(&self, topic: Topic, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let tables = self.0.tables.read();
        let mut names: Vec<Bytes> = tables
            .of(topic)
            .keys()
            .filter(|name| pattern.is_none_or(|pattern| glob::matches(pattern, name)))
            .cloned()
            .collect();
        names.sort();
        names
    }

    /// How many different names are listened to.
    pub fn count(&self, topic: Topic) -> usize {
        self.0.tables.read().of(topic).len()
    }

    /// How many listen to a name.
    pub fn listeners(&self, topic: Topic, name: &[u8]) -> usize {
        self.0
            .tables
            .read()
            .of(topic)
            .get(name)
            .map_or(0, Listeners::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(channel: &'static str, message: &'static str, sharded: bool) -> Publication {
        Publication {
            channel: channel.into(),
            message: message.into(),
            sharded,
        }
    }

    #[test]
    fn each_listener_is_told_once_for_each_thing_that_it_listens_to() {
        let hub = Hub::default();
        let boxes: Vec<Arc<Mailbox>> = (0..3).map(|_| Arc::default()).collect();
        hub.subscribe(Topic::Channel, "news".into(), 0, &boxes[0]);
        hub.subscribe(Topic::Channel, "news".into(), 0, &boxes[0]);
        hub.subscribe(Topic::Pattern, "n*".into(), 0, &boxes[0]);
        hub.subscribe(Topic::Pattern, "x*".into(), 1, &boxes[1]);
        hub.subscribe(Topic::Shard, "news".into(), 2, &boxes[2]);
        assert_eq!(hub.hearing(&publication("news", "m", false)), 2);
        assert_eq!(hub.publish(&publication("news", "m", false)), 2);
        assert_eq!(hub.hearing(&publication("news", "s", true)), 1);
        assert_eq!(hub.publish(&publication("news", "s", true)), 1);
        let first = boxes[0].take().unwrap();
        assert_eq!((first.topic, first.pattern), (Topic::Channel, None));
        assert_eq!(boxes[0].take().unwrap().pattern, Some("n*".into()));
        assert_eq!(boxes[0].take(), None);
        assert_eq!(boxes[0].bytes(), 0);
        assert!(!boxes[1].has_mail());
        assert_eq!(boxes[2].take().unwrap().message, "s");

        assert_eq!(hub.names(Topic::Pattern, Some(b"n?")), ["n*"]);
        assert_eq!(hub.listeners(Topic::Shard, b"news"), 1);
        hub.unsubscribe(Topic::Shard, &"news".into(), 2);
        assert_eq!(hub.count(Topic::Shard), 0);
        assert_eq!(hub.publish(&publication("news", "s", true)), 0);
    }

    #[test]
    fn who_does_not_listen_any_more_is_not_waited_for() {
        let hub = Hub::default();
        let mailbox = Arc::<Mailbox>::default();
        hub.subscribe(Topic::Channel, "c".into(), 0, &mailbox);
        let large = Publication {
            channel: "c".into(),
            message: vec![0; MAILBOX_BYTES_MAX / 2].into(),
            sharded: false,
        };
        hub.publish(&large);
        assert!(!mailbox.has_overflown());
        hub.publish(&large);
        assert!(mailbox.has_overflown());
        hub.publish(&publication("c", "m", false));
        assert_eq!((mailbox.take(), mailbox.bytes()), (None, 0));
    }
}
