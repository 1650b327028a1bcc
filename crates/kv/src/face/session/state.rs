//! What whoever holds a session asks it about the connection.

use bytes::Bytes;

use super::{PauseOf, Session, SubscriptionChange, Tracking, pubsub};
use crate::{core::command::find, hub::Topic};

impl Session {
    /// Whether the client has said who it is, or has not to.
    pub fn is_authenticated(&self) -> bool {
        self.user.is_some()
    }

    /// Who the client is.
    pub fn user(&self) -> Option<&Bytes> {
        self.user.as_ref()
    }

    /// Whether the client is told that this is a Redis Cluster.
    pub fn is_in_cluster(&self) -> bool {
        self.settings.cluster
    }

    /// What the client calls itself.
    pub fn name(&self) -> &Bytes {
        &self.name
    }

    /// How the client wants to hear of changes to keys that it read.
    pub fn tracking(&self) -> Option<&Tracking> {
        self.tracking.as_ref()
    }

    /// Whether the connection's commands don't count as uses of keys.
    pub fn is_no_touch(&self) -> bool {
        self.no_touch
    }

    /// Whether CLIENT PAUSE lets this request wait (Redis: "CLIENT PAUSE").
    pub fn is_paused(&self, of: PauseOf, words: &[Bytes]) -> bool {
        // What is refused anyway needs not wait for that.
        let command = find(words).filter(|command| command.takes(words.len()));
        let Some(command) = command else {
            return of == PauseOf::All;
        };
        match of {
            // Whoever paused all clients would be paused, too, and could not end it.
            PauseOf::All => command.name != "client|unpause",
            PauseOf::Writes if command.name == "exec" => {
                let queue = self.queue.as_ref();
                queue.is_some_and(|queue| queue.may_write(&*self.condition))
            }
            PauseOf::Writes => {
                self.queue.is_none()
                    && (self.condition.may_write(command, words)
                        || pubsub::publishes(command).is_some()
                        || command.name == "pfcount")
            }
        }
    }

    /// What was subscribed to or no longer, since this was asked last. It has to be done before
    /// what was written is sent.
    pub fn take_subscription_changes(&mut self) -> Vec<SubscriptionChange> {
        self.subscriptions.take_changes()
    }

    /// Whether the last request was a command that was run or queued.
    pub fn was_admitted(&self) -> bool {
        self.was_admitted
    }

    /// The index of the database that is chosen.
    pub fn database(&self) -> usize {
        self.database
    }

    pub(super) fn monitor(&mut self, monitors: bool) {
        self.monitors_changed |= self.monitors != monitors;
        self.monitors = monitors;
    }

    /// Whether the connection shows what others do, if that changed since this was asked last.
    pub fn take_monitors_change(&mut self) -> Option<bool> {
        std::mem::take(&mut self.monitors_changed).then_some(self.monitors)
    }

    /// Whether the connection listens to this.
    pub fn listens(&self, topic: Topic, name: &[u8]) -> bool {
        self.subscriptions.of(topic).contains(name)
    }

    /// Whether the connection listens to anything.
    pub fn is_listening(&self) -> bool {
        !self.subscriptions.is_empty()
    }

    /// The connection is over: it listens no more.
    pub fn end(&mut self) {
        self.subscriptions.clear();
        self.track(None);
        self.monitor(false);
    }
}
