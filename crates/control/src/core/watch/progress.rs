//! Telling clients how far they are when there is nothing else to tell.

use super::{
    NO_WATCH,
    hub::{Hub, StreamSlot},
    index::WatcherSlot,
    queue::ReplyKind,
    watcher::Watcher,
};

impl Hub {
    /// Notes that the client wants to know how far its watchers are. It is answered once all of
    /// them are synced; requests before that share the answer.
    pub(crate) fn want_progress(&mut self, stream: StreamSlot) {
        self.stream_mut(stream).progress_wanted = true;
        self.answer_progress(stream);
    }

    /// Answers a request for progress, if there is one and all watchers are synced.
    pub(super) fn answer_progress(&mut self, stream: StreamSlot) {
        let state = self.stream(stream);
        if !state.progress_wanted || state.has_lagging() {
            return;
        }
        let slots: Vec<_> = state.watchers.values().copied().collect();
        self.stream_mut(stream).progress_wanted = false;
        if slots
            .iter()
            .any(|&slot| !self.is_started(self.watcher(slot)))
        {
            return; // as in etcd: who waits for a future revision has made no progress
        }
        let Some(space) = slots.first().map(|&slot| self.watcher(slot).space) else {
            return;
        };
        if slots.iter().all(|&slot| self.watcher(slot).space == space) {
            self.reply(stream, space, (NO_WATCH, ReplyKind::Progress));
        } else {
            // One revision for watchers of two keyspaces would be wrong for one of them.
            slots.into_iter().for_each(|slot| self.tell_progress(slot));
        }
    }

    /// The interval has passed: watchers that asked for it and were sent nothing since the last
    /// time are told how far they are, if they are synced.
    pub(crate) fn progress_tick(&mut self, stream: StreamSlot) {
        let slots: Vec<_> = self.stream(stream).watchers.values().copied().collect();
        for slot in slots {
            let watcher = self.watcher(slot);
            if !watcher.progress_notify {
                continue;
            }
            let has_room = self.replies(stream) < self.limits.stream_replies_max;
            let is_synced = !watcher.is_lagging && self.is_started(watcher);
            if watcher.is_idle && is_synced && has_room {
                self.tell_progress(slot);
            }
            self.watcher_mut(slot).is_idle = true;
        }
    }

    fn is_started(&self, watcher: &Watcher) -> bool {
        watcher.start_revision <= self.space(watcher.space).current
    }

    fn tell_progress(&mut self, slot: WatcherSlot) {
        let (stream, space, id) = {
            let watcher = self.watcher(slot);
            (watcher.stream, watcher.space, watcher.id)
        };
        self.reply(stream, space, (id, ReplyKind::Progress));
    }
}
