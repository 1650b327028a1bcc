//! What CLIENT LIST tells, and whom CLIENT KILL means.

use bytes::Bytes;

use super::Session;
use crate::{api::Consistency, face::resp::Version, hub::Topic};

/// What the holder of a session knows and the session does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Where the client is.
    pub address: String,
    /// Where it connected to.
    pub local_address: String,
    /// Since when it is connected.
    pub age_s: u64,
    /// Since when it has sent nothing.
    pub idle_s: u64,
    /// Bytes that were received and not handled yet.
    pub received_bytes: usize,
    /// Bytes that were written and not sent yet.
    pub unsent_bytes: usize,
    /// Its last command waits.
    pub is_waiting: bool,
}

/// What kind of connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// It asks.
    Normal,
    /// It listens.
    PubSub,
    /// There is none: replication goes other ways.
    Master,
    /// The same.
    Replica,
}

impl ClientKind {
    /// As in CLIENT LIST TYPE.
    pub(super) fn parse(word: &[u8]) -> Option<Self> {
        [
            ("normal", ClientKind::Normal),
            ("pubsub", ClientKind::PubSub),
            ("master", ClientKind::Master),
            ("replica", ClientKind::Replica),
            ("slave", ClientKind::Replica),
        ]
        .into_iter()
        .find_map(|(name, kind)| word.eq_ignore_ascii_case(name.as_bytes()).then_some(kind))
    }
}

/// What is told of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its number.
    pub id: u64,
    /// Its kind.
    pub kind: ClientKind,
    /// Who the client is, if it has said so.
    pub user: Option<Bytes>,
    /// What its holder knows.
    pub traffic: Traffic,
    /// The rest of its line, ready to be shown.
    line: Line,
}

/// What is only shown.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: Bytes,
    library_name: Bytes,
    library_version: Bytes,
    flags: String,
    database: usize,
    channels: usize,
    patterns: usize,
    shards: usize,
    queued: Option<usize>,
    watched: usize,
    command: &'static str,
    redirection: i64,
    version: Version,
}

impl Session {
    /// What is told of this connection.
    pub fn info(&self, traffic: Traffic) -> ClientInfo {
        let count = |kind| self.subscriptions.of(kind).len();
        let listens = !self.subscriptions.is_empty();
        let tracking = self.tracking.as_ref();
        // Letters in the order of Redis's documentation of CLIENT LIST.
        let flags: String = [
            ('O', self.monitors),
            ('P', listens),
            ('x', self.queue.is_some()),
            ('b', traffic.is_waiting),
            ('t', tracking.is_some()),
            (
                'R',
                tracking.is_some_and(|tracking| tracking.redirect_broken),
            ),
            ('B', tracking.is_some_and(|tracking| tracking.broadcast)),
            ('r', self.consistency == Consistency::Stale),
            ('e', self.no_evict),
            ('T', self.no_touch),
        ]
        .into_iter()
        .filter_map(|(letter, set)| set.then_some(letter))
        .collect();
        ClientInfo {
            id: self.id,
            kind: if listens {
                ClientKind::PubSub
            } else {
                ClientKind::Normal
            },
            user: self.user.clone(),
            traffic,
            line: Line {
                name: self.name.clone(),
                library_name: self.library_name.clone(),
                library_version: self.library_version.clone(),
                flags: if flags.is_empty() {
                    "N".to_owned()
                } else {
                    flags
                },
                database: self.database,
                channels: count(Topic::Channel),
                patterns: count(Topic::Pattern),
                shards: count(Topic::Shard),
                queued: self.queue.as_ref().map(super::Queue::len),
                watched: self.watched.len(),
                command: self.last_command,
                redirection: self.redirection(),
                version: self.version,
            },
        }
    }
}

impl ClientInfo {
    /// The connection's line in CLIENT LIST, without a line end. What nobody counts here is 0.
    pub fn line(&self) -> String {
        let line = &self.line;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let queued = line
            .queued
            .map_or_else(|| "-1".to_owned(), |queued| queued.to_string());
        format!(
            "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={} db={} sub={} psub={} \
             ssub={} multi={queued} watch={} qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 \
             rbp=0 obl={} oll=0 omem=0 tot-mem={} events=r cmd={} user={} redir={} resp={} \
             lib-name={} lib-ver={}",
            self.id,
            self.traffic.address,
            self.traffic.local_address,
            text(&line.name),
            self.traffic.age_s,
            self.traffic.idle_s,
            line.flags,
            line.database,
            line.channels,
            line.patterns,
            line.shards,
            line.watched,
            self.traffic.received_bytes,
            self.traffic.unsent_bytes,
            self.traffic.received_bytes + self.traffic.unsent_bytes,
            line.command,
            text(self.user.as_deref().unwrap_or(b"(superuser)")),
            line.redirection,
            match line.version {
                Version::Resp2 => 2,
                Version::Resp3 => 3,
            },
            text(&line.library_name),
            text(&line.library_version),
        )
    }
}

/// Which connections are meant: those that fit everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// One of these.
    pub ids: Option<Vec<u64>>,
    /// Of this kind.
    pub kind: Option<ClientKind>,
    /// Of this user.
    pub user: Option<Bytes>,
    /// From this address.
    pub address: Option<Bytes>,
    /// To this address.
    pub local_address: Option<Bytes>,
    /// At least so old.
    pub age_s_min: Option<u64>,
    /// Not this one.
    pub but: Option<u64>,
}

impl ClientFilter {
    /// Whether a connection is meant.
    pub fn matches(&self, client: &ClientInfo) -> bool {
        let fits = |wanted: &Option<Bytes>, has: &str| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted == has.as_bytes())
        };
        self.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && self.kind.is_none_or(|kind| kind == client.kind)
            && (self.user.is_none() || self.user == client.user)
            && fits(&self.address, &client.traffic.address)
            && fits(&self.local_address, &client.traffic.local_address)
            && self
                .age_s_min
                .is_none_or(|age_s| client.traffic.age_s >= age_s)
            && self.but != Some(client.id)
    }
}
