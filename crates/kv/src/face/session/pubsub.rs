//! Channels that the connection listens to (Redis: "Redis Pub/Sub").

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};

use super::{
    Handled, Outcome, Session,
    ask::{Ask, Channels, Finish, Registry, SubscriptionChange},
    help,
    outcome::wrong_arguments,
    unhandled,
};
use crate::{
    api::Publication,
    core::{
        command::{Command, CommandError},
        reply::Reply,
    },
    face::resp::{Version, write_push},
    hub::Topic,
};

/// So many channels and patterns a connection may listen to.
const SUBSCRIPTIONS_MAX: usize = 1024 * 1024;

/// So many bytes all their names together may have.
const SUBSCRIPTIONS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a connection listens to.
#[derive(Default)]
pub(super) struct Subscriptions {
    channels: BTreeSet<Bytes>,
    patterns: BTreeSet<Bytes>,
    shards: BTreeSet<Bytes>,
    /// Of all names together.
    bytes: usize,
    changes: Vec<SubscriptionChange>,
}

impl Subscriptions {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shards.len()
    }

    fn have_room(&self, names: &[Bytes]) -> bool {
        let bytes: usize = names.iter().map(Bytes::len).sum();
        self.len() + names.len() <= SUBSCRIPTIONS_MAX
            && self.bytes + bytes <= SUBSCRIPTIONS_BYTES_MAX
    }

    pub(super) fn of(&self, kind: Topic) -> &BTreeSet<Bytes> {
        match kind {
            Topic::Channel => &self.channels,
            Topic::Pattern => &self.patterns,
            Topic::Shard => &self.shards,
        }
    }

    fn of_mut(&mut self, kind: Topic) -> &mut BTreeSet<Bytes> {
        match kind {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::Shard => &mut self.shards,
        }
    }

    /// The count that confirmations tell: shard channels are counted by themselves.
    fn count(&self, kind: Topic) -> usize {
        match kind {
            Topic::Shard => self.shards.len(),
            Topic::Channel | Topic::Pattern => self.channels.len() + self.patterns.len(),
        }
    }

    fn set(&mut self, kind: Topic, name: &Bytes, begun: bool) {
        // The name's own bytes: it should not keep alive all that came with it.
        let name = Bytes::copy_from_slice(name);
        let changed = if begun {
            self.of_mut(kind).insert(name.clone())
        } else {
            self.of_mut(kind).remove(&name)
        };
        if changed && begun {
            self.bytes += name.len();
        } else if changed {
            self.bytes -= name.len();
        }
        if changed {
            self.changes.push(SubscriptionChange { kind, name, begun });
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes = 0;
        for kind in [Topic::Channel, Topic::Pattern, Topic::Shard] {
            for name in std::mem::take(self.of_mut(kind)) {
                self.changes.push(SubscriptionChange {
                    kind,
                    name,
                    begun: false,
                });
            }
        }
    }

    pub(super) fn take_changes(&mut self) -> Vec<SubscriptionChange> {
        std::mem::take(&mut self.changes)
    }
}

/// What the connection is told without having asked.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// Somebody published to a channel.
    Channel {
        /// The channel.
        channel: &'a Bytes,
        /// What was published.
        message: &'a Bytes,
    },
    /// Somebody published to a channel whose name matches.
    Pattern {
        /// The pattern.
        pattern: &'a Bytes,
        /// The channel.
        channel: &'a Bytes,
        /// What was published.
        message: &'a Bytes,
    },
    /// Somebody published to a shard channel.
    Shard {
        /// The channel.
        channel: &'a Bytes,
        /// What was published.
        message: &'a Bytes,
    },
    /// Somebody ran a command, and this connection monitors.
    Command(&'a Bytes),
    /// The connection that is told in this one's place is gone; its number.
    RedirectBroken(u64),
    /// Keys that were read were changed; all, if none are named.
    Invalidated {
        /// The keys.
        keys: Option<&'a [Bytes]>,
        /// Another connection had read them.
        redirected: bool,
    },
}

impl Session {
    /// Writes what the connection is told, if it can be told.
    pub fn deliver(&self, message: &Message<'_>, out: &mut BytesMut) {
        let bulk = |bytes: &Bytes| Reply::Bulk(bytes.clone());
        let items = match *message {
            Message::Channel { channel, message } => {
                vec![Reply::bulk("message"), bulk(channel), bulk(message)]
            }
            Message::Pattern {
                pattern,
                channel,
                message,
            } => vec![
                Reply::bulk("pmessage"),
                bulk(pattern),
                bulk(channel),
                bulk(message),
            ],
            Message::Shard { channel, message } => {
                vec![Reply::bulk("smessage"), bulk(channel), bulk(message)]
            }
            Message::Command(_) if !self.monitors => return,
            // A status that nobody asked for: MONITOR is older than pushes.
            Message::Command(line) => {
                for part in [&b"+"[..], line, &b"\r\n"[..]] {
                    out.extend_from_slice(part);
                }
                return;
            }
            // RESP2 has no way to say it.
            Message::RedirectBroken(_) if self.version == Version::Resp2 => return,
            Message::RedirectBroken(id) => vec![
                Reply::bulk("tracking-redir-broken"),
                Reply::Integer(i64::try_from(id).unwrap_or(i64::MAX)),
            ],
            Message::Invalidated { keys, redirected } => {
                let keys = match keys {
                    Some(keys) => Reply::Array(keys.iter().map(bulk).collect()),
                    None => Reply::NullArray,
                };
                match self.version {
                    Version::Resp3 => vec![Reply::bulk("invalidate"), keys],
                    Version::Resp2 if redirected && !self.subscriptions.is_empty() => vec![
                        Reply::bulk("message"),
                        Reply::bulk("__redis__:invalidate"),
                        keys,
                    ],
                    // RESP2 has no way to say it.
                    Version::Resp2 => return,
                }
            }
        };
        write_push(out, self.version, &items);
    }

    pub(super) fn run_subscription(
        &mut self,
        name: &str,
        words: &[Bytes],
        out: &mut BytesMut,
    ) -> Handled {
        let (kind, begun) = match name {
            "subscribe" => (Topic::Channel, true),
            "psubscribe" => (Topic::Pattern, true),
            "ssubscribe" => (Topic::Shard, true),
            "unsubscribe" => (Topic::Channel, false),
            "punsubscribe" => (Topic::Pattern, false),
            _ => (Topic::Shard, false),
        };
        let named = &words[1..];
        if begun && !self.subscriptions.have_room(named) {
            return Err(CommandError::Text(format!(
                "ERR a connection can have {SUBSCRIPTIONS_MAX} subscriptions and \
                 {SUBSCRIPTIONS_BYTES_MAX} bytes of their names"
            )));
        }
        let all: Vec<Bytes>;
        let names = if named.is_empty() {
            all = self.subscriptions.of(kind).iter().cloned().collect();
            &all
        } else {
            named
        };
        if names.is_empty() {
            self.confirm(name, kind, Reply::Null, out);
        }
        for channel in names {
            self.subscriptions.set(kind, channel, begun);
            self.confirm(name, kind, Reply::Bulk(channel.clone()), out);
        }
        Ok(Outcome::Written)
    }

    fn confirm(&self, name: &str, kind: Topic, channel: Reply, out: &mut BytesMut) {
        let count = Reply::count(self.subscriptions.count(kind));
        write_push(out, self.version, &[Reply::bulk(name), channel, count]);
    }
}

/// Whether the command's replies are pushes: SUBSCRIBE and its kin.
pub(super) fn pushes(command: &Command) -> bool {
    command.name.ends_with("subscribe")
}

/// Whether a connection that listens may use the command in RESP2.
pub(super) fn is_for_listeners(command: &Command) -> bool {
    pushes(command) || matches!(command.name, "ping" | "quit" | "reset")
}

/// Whether the command publishes, and whether to a shard channel.
pub(super) fn publishes(command: &Command) -> Option<bool> {
    match command.name {
        "publish" => Some(false),
        "spublish" => Some(true),
        _ => None,
    }
}

/// What PUBLISH or SPUBLISH says.
pub(super) fn publication(sharded: bool, words: &[Bytes]) -> Publication {
    Publication {
        channel: words[1].clone(),
        message: words[2].clone(),
        sharded,
    }
}

pub(super) fn run_pubsub(name: &str, words: &[Bytes]) -> Handled {
    let registry = match name {
        "channels" | "shardchannels" => {
            if words.len() > 3 {
                return Err(wrong_arguments(words));
            }
            Registry::Channels {
                of: channels(name),
                pattern: words.get(2).cloned(),
            }
        }
        "numsub" | "shardnumsub" => Registry::Listeners {
            of: channels(name),
            channels: words[2..].to_vec(),
        },
        "numpat" => Registry::Patterns,
        "help" => return Ok(help::of(help::PUBSUB).into()),
        _ => return Err(unhandled(name)),
    };
    Ok(Outcome::wait(Ask::Registry(registry), Finish::Reply))
}

fn channels(name: &str) -> Channels {
    if name.starts_with("shard") {
        Channels::Sharded
    } else {
        Channels::Plain
    }
}
