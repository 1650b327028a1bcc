//! What waits for one connection: messages, and what it is told of.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering},
    task::Waker,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::Topic;

/// So many bytes may wait in a mailbox: the hard limit of `client-output-buffer-limit pubsub`.
pub const MAILBOX_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a message costs besides its bytes.
const MESSAGE_BYTES: usize = size_of::<Mail>();

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

/// What one client is told, apart from what is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Keys that were read have changed; any may have, if none are named.
    Invalidated {
        /// The keys.
        keys: Option<Vec<Bytes>>,
        /// Another connection had read them.
        redirected: bool,
    },
    /// The connection that was to be told in its place is gone.
    RedirectBroken(u64),
    /// A command of some client, for MONITOR.
    Command(Bytes),
}

impl Told {
    fn bytes(&self) -> usize {
        let bytes = match self {
            Told::Invalidated { keys, .. } => keys
                .iter()
                .flatten()
                .map(|key| key.len() + size_of::<Bytes>())
                .sum(),
            Told::RedirectBroken(_) => 0,
            Told::Command(line) => line.len(),
        };
        size_of::<Told>() + bytes
    }
}

#[derive(Debug, Default)]
struct Waiting {
    mail: VecDeque<Mail>,
    told: VecDeque<Told>,
    bytes: usize,
}

/// Messages for one listener, and its alarm clock.
#[derive(Debug, Default)]
pub struct Mailbox {
    waiting: Mutex<Waiting>,
    has_mail: AtomicBool,
    has_overflown: AtomicBool,
    is_left: AtomicBool,
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

    /// Its owner says goodbye, and takes nothing out any more.
    pub fn leave(&self) {
        self.is_left.store(true, Ordering::Release);
    }

    /// Whether its owner said goodbye.
    pub fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Acquire)
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
                let has_more = !waiting.told.is_empty();
                self.has_mail.store(has_more, Ordering::Release);
            }
        }
        mail
    }

    /// What it is told that waits longest.
    pub fn take_told(&self) -> Option<Told> {
        let mut waiting = self.waiting.lock();
        let told = waiting.told.pop_front();
        match &told {
            Some(told) => waiting.bytes -= told.bytes(),
            None => {
                waiting.told = VecDeque::new();
                let has_more = !waiting.mail.is_empty();
                self.has_mail.store(has_more, Ordering::Release);
            }
        }
        told
    }

    /// Tells the owner something, if there is room.
    pub(super) fn tell(&self, told: Told) {
        let is_all = matches!(told, Told::Invalidated { keys: None, .. });
        let mut waiting = self.waiting.lock();
        // Twice everything is everything.
        if is_all && waiting.told.back() == Some(&told) {
            return;
        }
        if self.has_overflown() || waiting.bytes + told.bytes() > MAILBOX_BYTES_MAX {
            self.has_overflown.store(true, Ordering::Release);
            *waiting = Waiting::default();
        } else {
            waiting.bytes += told.bytes();
            waiting.told.push_back(told);
            self.has_mail.store(true, Ordering::Release);
        }
        drop(waiting);
        self.wake();
    }

    /// Puts a message in, if there is room.
    pub(super) fn put(&self, mail: Mail) {
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
