//! The connections of a node.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
};

use atoll_world::clock::{self, Instant};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::{
    face::session::{ClientInfo, Message, Session, Traffic},
    hub::{Mail, Mailbox, Told, Topic},
};

/// The first connection's number, as a Redis gives them.
const ID_FIRST: u64 = 3;

/// Where a connection stands with a command that waits.
mod wait {
    pub(super) const NONE: u8 = 0;
    pub(super) const WAITS: u8 = 1;
    pub(super) const UNBLOCKED: u8 = 2;
    pub(super) const UNBLOCKED_WITH_ERROR: u8 = 3;
    /// CLIENT PAUSE lets it wait, which CLIENT UNBLOCK does not end.
    pub(super) const IS_HELD: u8 = 4;
}

/// A connection, as the others see it.
pub(super) struct Member {
    pub(super) id: u64,
    /// Locked while requests are handled, never while anything is awaited.
    pub(super) session: Mutex<Session>,
    pub(super) mailbox: Arc<Mailbox>,
    address: String,
    local_address: String,
    begun: Instant,
    /// When it last sent something, after it began.
    heard_after_ms: AtomicU64,
    received_bytes: AtomicUsize,
    unsent_bytes: AtomicUsize,
    waits: AtomicU8,
    killed: AtomicBool,
    /// It changes users now, and is answered before it ends by that.
    changes_users: AtomicBool,
}

impl Member {
    fn age_ms(&self) -> u64 {
        let age = clock::now().duration_since(self.begun);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }

    /// It sent something.
    pub(super) fn heard(&self) {
        self.heard_after_ms.store(self.age_ms(), Ordering::Relaxed);
    }

    /// Since when it has sent nothing.
    pub(super) fn idle_ms(&self) -> u64 {
        let heard_after_ms = self.heard_after_ms.load(Ordering::Relaxed);
        self.age_ms().saturating_sub(heard_after_ms)
    }

    /// Notes how much waits at its two ends.
    pub(super) fn set_buffers(&self, received_bytes: usize, unsent_bytes: usize) {
        self.received_bytes.store(received_bytes, Ordering::Relaxed);
        self.unsent_bytes.store(unsent_bytes, Ordering::Relaxed);
    }

    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        self.mailbox.wake();
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waits.load(Ordering::SeqCst) != wait::NONE
    }

    pub(super) fn begin_wait(&self) {
        self.waits.store(wait::WAITS, Ordering::SeqCst);
    }

    pub(super) fn begin_hold(&self) {
        self.waits.store(wait::IS_HELD, Ordering::SeqCst);
    }

    pub(super) fn end_wait(&self) {
        self.waits.store(wait::NONE, Ordering::SeqCst);
    }

    /// Ends the waiting of its command; says whether one waits.
    pub(super) fn unblock(&self, with_error: bool) -> bool {
        let how = if with_error {
            wait::UNBLOCKED_WITH_ERROR
        } else {
            wait::UNBLOCKED
        };
        let order = Ordering::SeqCst;
        let done = self.waits.compare_exchange(wait::WAITS, how, order, order);
        if done.is_ok() {
            self.mailbox.wake();
        }
        done.is_ok()
    }

    /// Whether somebody ended the waiting of its command, and whether with an error.
    pub(super) fn unblocked(&self) -> Option<bool> {
        match self.waits.load(Ordering::SeqCst) {
            wait::UNBLOCKED => Some(false),
            wait::UNBLOCKED_WITH_ERROR => Some(true),
            _ => None,
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The host of the address that it connected to, as in a URL.
    pub(super) fn local_host(&self) -> &str {
        self.local_address
            .rsplit_once(':')
            .map_or("", |(host, _)| host)
    }

    /// The port that it connected to.
    pub(super) fn local_port(&self) -> &str {
        self.local_address
            .rsplit_once(':')
            .map_or("0", |(_, port)| port)
    }

    /// Takes messages out of its mailbox and writes them, until so many bytes are written. Of
    /// what it listens to no longer it hears nothing: what was on its way comes too late.
    pub(super) fn deliver(&self, out: &mut BytesMut, written_bytes_max: usize) {
        let mut session = self.session.lock();
        while out.len() < written_bytes_max
            && let Some(told) = self.mailbox.take_told()
        {
            match told {
                Told::Invalidated { keys, redirected } => {
                    let keys = keys.as_deref();
                    session.deliver(&Message::Invalidated { keys, redirected }, out);
                }
                Told::RedirectBroken(id) => {
                    session.note_broken_redirect();
                    session.deliver(&Message::RedirectBroken(id), out);
                }
                Told::Command(line) => session.deliver(&Message::Command(&line), out),
            }
        }
        while out.len() < written_bytes_max
            && let Some(mail) = self.mailbox.take()
        {
            let name = mail.pattern.as_ref().unwrap_or(&mail.channel);
            if session.listens(mail.topic, name) {
                session.deliver(&message(&mail), out);
            }
        }
    }

    /// Who the client is, if it has said so.
    pub(super) fn user(&self) -> Option<Bytes> {
        self.session.lock().user().cloned()
    }

    /// It begins to change users.
    pub(super) fn begin_change(&self) {
        self.changes_users.store(true, Ordering::SeqCst);
    }

    /// It has changed them.
    pub(super) fn end_change(&self) {
        self.changes_users.store(false, Ordering::SeqCst);
    }

    /// Whether it has no right to be any longer.
    pub(super) fn is_outlived(&self) -> bool {
        self.session.lock().is_outlived()
    }

    /// What its session does not know of it.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            address: self.address.clone(),
            local_address: self.local_address.clone(),
            age_s: self.age_ms() / 1000,
            idle_s: self.idle_ms() / 1000,
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            unsent_bytes: self.unsent_bytes.load(Ordering::Relaxed) + self.mailbox.bytes(),
            is_waiting: self.is_waiting(),
        }
    }

    /// What is told of it.
    pub(super) fn info(&self) -> ClientInfo {
        let traffic = self.traffic();
        self.session.lock().info(traffic)
    }
}

fn message(mail: &Mail) -> Message<'_> {
    let (channel, message) = (&mail.channel, &mail.message);
    match (mail.topic, &mail.pattern) {
        (Topic::Shard, _) => Message::Shard { channel, message },
        (Topic::Channel | Topic::Pattern, None) => Message::Channel { channel, message },
        (Topic::Channel | Topic::Pattern, Some(pattern)) => Message::Pattern {
            pattern,
            channel,
            message,
        },
    }
}

/// All connections.
#[derive(Default)]
pub(super) struct Members {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    members: BTreeMap<u64, Arc<Member>>,
    admitted: u64,
}

impl Members {
    /// A new one, if there are fewer than so many. `session` makes the session of its number.
    pub(super) fn admit(
        &self,
        session: impl FnOnce(u64) -> Session,
        connections_max: usize,
        address: SocketAddr,
        local_address: SocketAddr,
    ) -> Option<Arc<Member>> {
        let mut table = self.table.lock();
        if table.members.len() >= connections_max {
            return None;
        }
        let id = ID_FIRST + table.admitted;
        table.admitted += 1;
        let member = Arc::new(Member {
            id,
            session: Mutex::new(session(id)),
            mailbox: Arc::default(),
            address: address.to_string(),
            local_address: local_address.to_string(),
            begun: clock::now(),
            heard_after_ms: AtomicU64::new(0),
            received_bytes: AtomicUsize::new(0),
            unsent_bytes: AtomicUsize::new(0),
            waits: AtomicU8::new(wait::NONE),
            killed: AtomicBool::new(false),
            changes_users: AtomicBool::new(false),
        });
        table.members.insert(id, member.clone());
        Some(member)
    }

    pub(super) fn remove(&self, id: u64) {
        self.table.lock().members.remove(&id);
    }

    pub(super) fn get(&self, id: u64) -> Option<Arc<Member>> {
        self.table.lock().members.get(&id).cloned()
    }

    /// All there are, by their numbers.
    pub(super) fn all(&self) -> Vec<Arc<Member>> {
        self.table.lock().members.values().cloned().collect()
    }

    /// Ends those that have no right to be any longer.
    pub(super) fn end_outlived(&self) {
        for member in self.all() {
            if !member.changes_users.load(Ordering::SeqCst) && member.is_outlived() {
                member.kill();
            }
        }
    }

    /// Wakes all, so that they see what has changed.
    pub(super) fn wake(&self) {
        for member in self.all() {
            member.mailbox.wake();
        }
    }
}
