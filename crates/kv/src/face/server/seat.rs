//! A connection's place among the others, which is free again when this is dropped.

use std::{sync::Arc, time::Duration};

use atoll_world::clock::{self, Instant};
use bytes::Bytes;

use super::members::{Member, Members};
use crate::{
    face::session::{Denial, Session},
    hub::{Hub, Tracked},
};

pub(super) struct Seat<'s> {
    members: &'s Members,
    hub: &'s Hub,
    pub(super) member: Arc<Member>,
}

impl<'s> Seat<'s> {
    pub(super) fn new(members: &'s Members, hub: &'s Hub, member: Arc<Member>) -> Self {
        Seat {
            members,
            hub,
            member,
        }
    }

    /// What the client was not allowed, and its line, if there is any of it.
    pub(super) fn take_denials(&self, session: &mut Session) -> Option<(String, Vec<Denial>)> {
        let denials = session.take_denials();
        (!denials.is_empty()).then(|| (session.info(self.member.traffic()).line(), denials))
    }

    /// Begins and ends to listen, as the session says.
    pub(super) fn note_subscriptions(&self, session: &mut Session) {
        for change in session.take_subscription_changes() {
            if change.begun {
                let mailbox = &self.member.mailbox;
                let (hub, id) = (self.hub, self.member.id);
                hub.subscribe(change.kind, change.name, id, mailbox);
            } else {
                let name = &change.name;
                self.hub.unsubscribe(change.kind, name, self.member.id);
            }
        }
    }

    /// Begins and ends to be told of changes, as the session says; says whether it begins.
    pub(super) fn note_tracking(&self, session: &mut Session) -> bool {
        if !session.take_tracking_change() {
            return false;
        }
        let tracked = session.tracking().map(|tracking| Tracked {
            redirect: tracking.redirect.map(|id| {
                let member = self.members.get(id);
                let mailbox = member.map(|member| Arc::downgrade(&member.mailbox));
                (id, mailbox.unwrap_or_default())
            }),
            prefixes: tracking.broadcast.then(|| tracking.prefixes.clone()),
            no_loop: tracking.no_loop,
        });
        let begins = tracked.is_some();
        let trackers = self.hub.trackers();
        trackers.set(self.member.id, &self.member.mailbox, tracked);
        begins
    }

    /// Begins and ends to be shown commands, as the session says.
    pub(super) fn note_monitor(&self, session: &mut Session) {
        if let Some(monitors) = session.take_monitors_change() {
            let member = &self.member;
            self.hub.set_monitor(member.id, &member.mailbox, monitors);
        }
    }

    /// Remembers what is about to be read, among what is already.
    pub(super) fn note_reads(&self, session: &mut Session, reads: &mut Reads) {
        let new = session.take_reads();
        self.remember(&new);
        reads.keys.extend(new);
        let new = session.take_script_reads();
        reads.scripts_first.extend(self.remember(&new));
        reads.of_scripts.extend(new);
    }

    /// Remembers what was read, and nothing else of what was about to be.
    pub(super) fn settle_reads(&self, session: &mut Session, reads: &mut Reads) {
        let reads = std::mem::take(reads);
        self.remember(&reads.keys);
        if session.take_script_read() {
            self.remember(&reads.of_scripts);
        } else if !reads.scripts_first.is_empty() {
            let mut unread = reads.scripts_first;
            unread.retain(|key| !reads.keys.contains(key));
            self.hub.trackers().forget(self.member.id, &unread);
        }
    }

    /// Remembers keys; gives back those that are new.
    fn remember(&self, keys: &[Bytes]) -> Vec<Bytes> {
        match keys.is_empty() {
            true => Vec::new(),
            false => self.hub.trackers().remember(self.member.id, keys),
        }
    }

    /// When the client has been silent for too long; who listens may be.
    pub(super) fn idle_until(&self, idle_s_max: u64) -> Option<Instant> {
        if idle_s_max == 0 || self.member.session.lock().is_listening() {
            return None;
        }
        let idle = Duration::from_millis(self.member.idle_ms());
        let left = Duration::from_secs(idle_s_max).saturating_sub(idle);
        clock::now().checked_add(left)
    }
}

/// Keys that are being read and are to be remembered.
#[derive(Default)]
pub(super) struct Reads {
    keys: Vec<Bytes>,
    /// Those of scripts, if these read anything.
    of_scripts: Vec<Bytes>,
    /// Those of them that nothing was remembered of before.
    scripts_first: Vec<Bytes>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.members.remove(self.member.id);
        let mut session = self.member.session.lock();
        session.end();
        self.note_subscriptions(&mut session);
        self.note_tracking(&mut session);
        self.note_monitor(&mut session);
    }
}
