//! CONFIG: what can be set while the node runs, and what is as it is (Redis: "Redis
//! configuration").

mod read;

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;

use self::read::{Change, read};
use super::commands::CommandStats;
use crate::{
    core::{data::Packing, glob, reply::Reply},
    face::{
        resp::Limits,
        server::{ServerSettings, members::Member},
    },
    hub::{Hub, KEYS_MAX, MAILBOX_BYTES_MAX},
    memory::{Memory, Tuning},
};

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::face::server) enum Setting {
    ConnectionsMax,
    UnsentBytesMax,
    IdleSMax,
    WordBytesMax,
    RequestBytesMax,
    SlowerThanUs,
    SlowEntriesMax,
    HashFieldsMax,
    HashBytesMax,
    SortedMembersMax,
    SortedBytesMax,
    SetIntegersMax,
    SetMembersMax,
    SetBytesMax,
    ListChunk,
    ListCompressed,
    SparseBytesMax,
    StreamNodeBytes,
    StreamNodeEntries,
    SlowCommandMs,
    KeepsTimes,
    TrackedKeysMax,
    DenialsMax,
    SlowScriptMs,
}

const SETTINGS: usize = 24;

/// What settings are to begin with, where nobody says otherwise: what they are in Redis.
const DEFAULTS: [(Setting, i64); 19] = [
    (Setting::SlowerThanUs, 10_000),
    (Setting::SlowEntriesMax, 128),
    (Setting::HashFieldsMax, 128),
    (Setting::HashBytesMax, 64),
    (Setting::SortedMembersMax, 128),
    (Setting::SortedBytesMax, 64),
    (Setting::SetIntegersMax, 512),
    (Setting::SetMembersMax, 128),
    (Setting::SetBytesMax, 64),
    (Setting::ListChunk, -2),
    (Setting::ListCompressed, 0),
    (Setting::SparseBytesMax, 3_000),
    (Setting::StreamNodeBytes, 4_096),
    (Setting::StreamNodeEntries, 100),
    (Setting::SlowCommandMs, 0),
    (Setting::KeepsTimes, 1),
    (Setting::TrackedKeysMax, KEYS_MAX as i64),
    (Setting::DenialsMax, 128),
    (Setting::SlowScriptMs, 5_000),
];

/// Settings, as they are now.
pub(in crate::face::server) struct Config([AtomicI64; SETTINGS], Memory);

/// How a setting is written.
enum Kind {
    Number(Setting, i64, i64),
    /// With a unit, perhaps.
    Bytes(Setting, i64, i64),
    /// What the node's memory goes by.
    Memory(Tuning),
    /// `yes` or `no`.
    Flag(Setting),
    /// `latency-tracking-info-percentiles`
    Percentiles,
    /// `notify-keyspace-events`
    Notified,
    /// `client-output-buffer-limit`
    OutputLimits,
    /// It is so and can't be changed.
    Fixed(&'static str),
    /// The same, of what can be changed in Redis.
    Given(&'static str),
    /// Of the listener that the client came to.
    Listener(fn(&Member) -> &str),
}

const ANY: i64 = i64::MAX;
const SMALL: i64 = i32::MAX as i64;

/// By name. A few have two, an older and a newer one.
const ENTRIES: &[(&str, Kind)] = &[
    (
        "acllog-max-len",
        Kind::Number(Setting::DenialsMax, 0, super::acl_log::ENTRIES_MAX),
    ),
    ("appendfsync", Kind::Given("always")),
    ("appendonly", Kind::Given("yes")),
    ("bind", Kind::Listener(Member::local_host)),
    (
        "busy-reply-threshold",
        Kind::Number(Setting::SlowScriptMs, 0, ANY),
    ),
    ("client-output-buffer-limit", Kind::OutputLimits),
    (
        "client-query-buffer-limit",
        Kind::Bytes(Setting::RequestBytesMax, 1024 * 1024, i64::MAX),
    ),
    ("daemonize", Kind::Fixed("no")),
    ("databases", Kind::Fixed("16")),
    (
        "hash-max-listpack-entries",
        Kind::Number(Setting::HashFieldsMax, 0, ANY),
    ),
    (
        "hash-max-listpack-value",
        Kind::Bytes(Setting::HashBytesMax, 0, ANY),
    ),
    (
        "hash-max-ziplist-entries",
        Kind::Number(Setting::HashFieldsMax, 0, ANY),
    ),
    (
        "hash-max-ziplist-value",
        Kind::Bytes(Setting::HashBytesMax, 0, ANY),
    ),
    (
        "hll-sparse-max-bytes",
        Kind::Bytes(Setting::SparseBytesMax, 0, ANY),
    ),
    ("io-threads", Kind::Fixed("1")),
    ("lfu-decay-time", Kind::Memory(Tuning::DecayMinutes)),
    ("lfu-log-factor", Kind::Memory(Tuning::LogFactor)),
    (
        "latency-monitor-threshold",
        Kind::Number(Setting::SlowCommandMs, 0, ANY),
    ),
    ("latency-tracking", Kind::Flag(Setting::KeepsTimes)),
    ("latency-tracking-info-percentiles", Kind::Percentiles),
    (
        "list-compress-depth",
        Kind::Number(Setting::ListCompressed, 0, SMALL),
    ),
    (
        "list-max-listpack-size",
        Kind::Number(Setting::ListChunk, -SMALL, SMALL),
    ),
    (
        "list-max-ziplist-size",
        Kind::Number(Setting::ListChunk, -SMALL, SMALL),
    ),
    (
        "lua-time-limit",
        Kind::Number(Setting::SlowScriptMs, 0, ANY),
    ),
    (
        "maxclients",
        Kind::Number(Setting::ConnectionsMax, 1, 1 << 32),
    ),
    ("maxmemory", Kind::Memory(Tuning::BytesMax)),
    ("maxmemory-policy", Kind::Memory(Tuning::Policy)),
    ("maxmemory-samples", Kind::Memory(Tuning::Samples)),
    ("notify-keyspace-events", Kind::Notified),
    (
        "proto-max-bulk-len",
        Kind::Bytes(Setting::WordBytesMax, 1024 * 1024, i64::MAX),
    ),
    ("port", Kind::Listener(Member::local_port)),
    ("replicaof", Kind::Fixed("")),
    ("save", Kind::Given("")),
    (
        "set-max-intset-entries",
        Kind::Number(Setting::SetIntegersMax, 0, ANY),
    ),
    (
        "set-max-listpack-entries",
        Kind::Number(Setting::SetMembersMax, 0, ANY),
    ),
    (
        "set-max-listpack-value",
        Kind::Bytes(Setting::SetBytesMax, 0, ANY),
    ),
    ("slaveof", Kind::Fixed("")),
    (
        "slowlog-log-slower-than",
        Kind::Number(Setting::SlowerThanUs, -1, i64::MAX),
    ),
    (
        "slowlog-max-len",
        Kind::Number(Setting::SlowEntriesMax, 0, super::slowlog::ENTRIES_MAX),
    ),
    (
        "stream-node-max-bytes",
        Kind::Bytes(Setting::StreamNodeBytes, 0, ANY),
    ),
    (
        "stream-node-max-entries",
        Kind::Number(Setting::StreamNodeEntries, 0, ANY),
    ),
    ("timeout", Kind::Number(Setting::IdleSMax, 0, 1 << 31)),
    (
        "tracking-table-max-keys",
        Kind::Number(Setting::TrackedKeysMax, 0, ANY),
    ),
    (
        "zset-max-listpack-entries",
        Kind::Number(Setting::SortedMembersMax, 0, ANY),
    ),
    (
        "zset-max-listpack-value",
        Kind::Bytes(Setting::SortedBytesMax, 0, ANY),
    ),
    (
        "zset-max-ziplist-entries",
        Kind::Number(Setting::SortedMembersMax, 0, ANY),
    ),
    (
        "zset-max-ziplist-value",
        Kind::Bytes(Setting::SortedBytesMax, 0, ANY),
    ),
];

impl Config {
    pub(in crate::face::server) fn new(settings: &ServerSettings, memory: Memory) -> Self {
        let config = Config([const { AtomicI64::new(0) }; SETTINGS], memory);
        for (setting, value) in [
            (Setting::ConnectionsMax, settings.connections_max),
            (Setting::UnsentBytesMax, settings.unsent_bytes_max),
            (Setting::WordBytesMax, settings.limits.word_bytes_max),
            (Setting::RequestBytesMax, settings.limits.request_bytes_max),
        ] {
            config.set(setting, i64::try_from(value).unwrap_or(i64::MAX));
        }
        let idle_s_max = i64::try_from(settings.idle_s_max).unwrap_or(i64::MAX);
        config.set(Setting::IdleSMax, idle_s_max);
        for (setting, value) in DEFAULTS {
            config.set(setting, value);
        }
        config
    }

    pub(in crate::face::server) fn get(&self, setting: Setting) -> i64 {
        self.0[setting as usize].load(Ordering::Relaxed)
    }

    /// A setting that is never negative.
    pub(in crate::face::server) fn size(&self, setting: Setting) -> usize {
        usize::try_from(self.get(setting)).unwrap_or(0)
    }

    fn set(&self, setting: Setting, value: i64) {
        self.0[setting as usize].store(value, Ordering::Relaxed);
    }

    /// What a client that comes now may send.
    pub(in crate::face::server) fn limits(&self) -> Limits {
        Limits {
            word_bytes_max: self.size(Setting::WordBytesMax),
            request_bytes_max: self.size(Setting::RequestBytesMax),
        }
    }

    /// How large small forms of values may get, as commands carry it.
    fn packing(&self) -> Packing {
        Packing {
            hash_fields_max: self.size(Setting::HashFieldsMax),
            hash_bytes_max: self.size(Setting::HashBytesMax),
            sorted_members_max: self.size(Setting::SortedMembersMax),
            sorted_bytes_max: self.size(Setting::SortedBytesMax),
            set_integers_max: self.size(Setting::SetIntegersMax),
            set_members_max: self.size(Setting::SetMembersMax),
            set_bytes_max: self.size(Setting::SetBytesMax),
            sparse_bytes_max: self.size(Setting::SparseBytesMax),
            stream_trimmed_at_once: self.size(Setting::StreamNodeEntries),
        }
    }

    fn show(&self, kind: &Kind, asker: &Member, hub: &Hub, commands: &CommandStats) -> String {
        match kind {
            Kind::Flag(setting) if self.get(*setting) == 0 => "no".to_owned(),
            Kind::Flag(_) => "yes".to_owned(),
            Kind::Percentiles => commands.percentiles(),
            Kind::Number(setting, ..) | Kind::Bytes(setting, ..) => self.get(*setting).to_string(),
            Kind::Memory(Tuning::Policy) => self.1.policy().name().to_owned(),
            Kind::Memory(tuning) => self.1.tuned(*tuning).to_string(),
            Kind::Notified => hub.notified().to_string(),
            Kind::OutputLimits => {
                let normal = self.get(Setting::UnsentBytesMax);
                format!("normal {normal} 0 0 slave 0 0 0 pubsub {MAILBOX_BYTES_MAX} 0 0")
            }
            Kind::Fixed(value) | Kind::Given(value) => (*value).to_owned(),
            Kind::Listener(of) => of(asker).to_owned(),
        }
    }

    /// CONFIG GET: each setting whose name matches one of the patterns.
    pub(super) fn tell(
        &self,
        patterns: &[Bytes],
        asker: &Member,
        hub: &Hub,
        commands: &CommandStats,
    ) -> Reply {
        let is_meant = |name: &str| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| glob::matches_ignoring_case(pattern, name.as_bytes()))
        };
        let pairs = ENTRIES
            .iter()
            .filter(|(name, _)| is_meant(name))
            .map(|(name, kind)| {
                (
                    Reply::bulk(name),
                    Reply::bulk(self.show(kind, asker, hub, commands)),
                )
            });
        Reply::Map(pairs.collect())
    }

    /// CONFIG SET: all of these, or none.
    pub(super) fn change(
        &self,
        words: &[Bytes],
        asker: &Member,
        hub: &Hub,
        commands: &CommandStats,
    ) -> Result<(), String> {
        let (pairs, []) = words.as_chunks::<2>() else {
            return Err("ERR wrong number of arguments for 'config|set' command".to_owned());
        };
        let mut changes = Vec::with_capacity(pairs.len());
        for (place, [name, value]) in pairs.iter().enumerate() {
            let shown = String::from_utf8_lossy(name);
            let entry = ENTRIES
                .iter()
                .find(|(other, _)| name.eq_ignore_ascii_case(other.as_bytes()));
            let Some((known, kind)) = entry else {
                return Err(format!(
                    "ERR Unknown option or number of arguments for CONFIG SET - '{shown}'"
                ));
            };
            let failed = |reason: String| {
                format!("ERR CONFIG SET failed (possibly related to argument '{shown}') - {reason}")
            };
            let is_same = |other: &[Bytes; 2]| other[0].eq_ignore_ascii_case(known.as_bytes());
            if pairs[..place].iter().any(is_same) {
                return Err(failed("duplicate parameter".to_owned()));
            }
            // To set what is so already does no harm: tools that restore what they read do it.
            let is_fixed = matches!(kind, Kind::Fixed(_));
            if is_fixed || self.show(kind, asker, hub, commands).as_bytes() != value {
                changes.push(read(kind, value).map_err(failed)?);
            }
        }
        for change in changes {
            match change {
                Change::Set(setting, value) => self.set(setting, value),
                Change::Tune(tuning, value) => self.1.tune(tuning, value),
                Change::Notify(notified) => hub.set_notified(notified),
                Change::Percentiles(percentiles) => commands.set_percentiles(percentiles),
            }
        }
        self.tell_hub(hub);
        Ok(())
    }

    /// Tells what others go by.
    pub(in crate::face::server) fn tell_hub(&self, hub: &Hub) {
        hub.set_packing(self.packing());
        hub.trackers()
            .set_keys_max(self.size(Setting::TrackedKeysMax));
        hub.set_slow_script_ms(self.size(Setting::SlowScriptMs) as u64);
    }
}
