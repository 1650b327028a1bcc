//! Who on this node listens to what, and the way to them (Redis: "Redis Pub/Sub").
//!
//! A publication is put into the [`Mailbox`] of each listener, who takes it out in its own
//! time. A mailbox that its owner does not empty overflows once: it takes nothing any more, and
//! whoever owns it has to go.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Waker,
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use futures_util::task::AtomicWaker;
use indexmap::IndexMap;
use parking_lot::{Mutex, RwLock};

use crate::{
    api::Publication,
    core::{glob, notify::Notified},
};

/// So many bytes may wait in a mailbox: the hard limit of `client-output-buffer-limit pubsub`.
pub const MAILBOX_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a message costs besides its bytes.
const MESSAGE_BYTES: usize = size_of::<Mail>();

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

/// A message on its way to a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// What the listener listens to.
    pub topic: Topic,
    /// The pattern that it listens to, if it is one.
    pub pattern: Option<Bytes>,
    /// The channel.
    pub channel: Bytes,
    /// The message.
    pub message: Bytes,
}

impl Mail {
    fn bytes(&self) -> usize {
        let pattern = self.pattern.as_ref().map_or(0, Bytes::len);
        MESSAGE_BYTES + pattern + self.channel.len() + self.message.len()
    }
}

#[derive(Debug, Default)]
struct Waiting {
    mail: VecDeque<Mail>,
    bytes: usize,
}

/// Messages for one listener, and its alarm clock.
#[derive(Debug, Default)]
pub struct Mailbox {
    waiting: Mutex<Waiting>,
    has_mail: AtomicBool,
    has_overflown: AtomicBool,
    waker: AtomicWaker,
}

impl Mailbox {
    /// Who is to be woken when there is something. One at a time.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Wakes the owner.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Whether there is something in it.
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Whether something found no room.
    pub fn has_overflown(&self) -> bool {
        self.has_overflown.load(Ordering::Acquire)
    }

    /// Bytes that wait in it.
    pub fn bytes(&self) -> usize {
        self.waiting.lock().bytes
    }

    /// The message that waits longest.
    pub fn take(&self) -> Option<Mail> {
        let mut waiting = self.waiting.lock();
        let mail = waiting.mail.pop_front();
        match &mail {
            Some(mail) => waiting.bytes -= mail.bytes(),
            None => {
                waiting.mail = VecDeque::new();
                self.has_mail.store(false, Ordering::Release);
            }
        }
        mail
    }

    /// Puts a message in, if there is room.
    fn put(&self, mail: Mail) {
        let mut waiting = self.waiting.lock();
        if self.has_overflown() || waiting.bytes + mail.bytes() > MAILBOX_BYTES_MAX {
            self.has_overflown.store(true, Ordering::Release);
            *waiting = Waiting::default();
        } else {
            waiting.bytes += mail.bytes();
            waiting.mail.push_back(mail);
            self.has_mail.store(true, Ordering::Release);
        }
        drop(waiting);
        self.wake();
    }
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
