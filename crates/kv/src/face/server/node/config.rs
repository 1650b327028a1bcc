//! CONFIG: what can be set while the node runs, and what is as it is (Redis: "Redis
//! configuration").

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;

use crate::{
    core::{data::parse_integer, evict::Policy, glob, notify::Notified, reply::Reply},
    face::{resp::Limits, server::ServerSettings},
    hub::{Hub, MAILBOX_BYTES_MAX},
    memory::{Memory, Tuning},
};

/// `maxmemory-samples` is no higher, as in Redis.
const SAMPLES_MAX: i64 = 64;

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
}

const SETTINGS: usize = 7;

/// Settings, as they are now.
pub(in crate::face::server) struct Config([AtomicI64; SETTINGS], Memory);

/// How a setting is written.
enum Kind {
    Number(Setting, i64, i64),
    /// With a unit, perhaps.
    Bytes(Setting, i64, i64),
    /// What the node's memory goes by.
    Memory(Tuning),
    /// `notify-keyspace-events`
    Notified,
    /// `client-output-buffer-limit`
    OutputLimits,
    /// It is so and can't be changed.
    Fixed(&'static str),
}

/// By name.
const ENTRIES: &[(&str, Kind)] = &[
    ("appendfsync", Kind::Fixed("always")),
    ("appendonly", Kind::Fixed("yes")),
    ("client-output-buffer-limit", Kind::OutputLimits),
    (
        "client-query-buffer-limit",
        Kind::Bytes(Setting::RequestBytesMax, 1024 * 1024, i64::MAX),
    ),
    ("databases", Kind::Fixed("16")),
    ("io-threads", Kind::Fixed("1")),
    ("lfu-decay-time", Kind::Memory(Tuning::DecayMinutes)),
    ("lfu-log-factor", Kind::Memory(Tuning::LogFactor)),
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
    ("save", Kind::Fixed("")),
    (
        "slowlog-log-slower-than",
        Kind::Number(Setting::SlowerThanUs, -1, i64::MAX),
    ),
    (
        "slowlog-max-len",
        Kind::Number(Setting::SlowEntriesMax, 0, super::slowlog::ENTRIES_MAX),
    ),
    ("timeout", Kind::Number(Setting::IdleSMax, 0, 1 << 31)),
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
        config.set(Setting::SlowerThanUs, 10_000);
        config.set(Setting::SlowEntriesMax, 128);
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

    fn show(&self, kind: &Kind, hub: &Hub) -> String {
        match kind {
            Kind::Number(setting, ..) | Kind::Bytes(setting, ..) => self.get(*setting).to_string(),
            Kind::Memory(Tuning::Policy) => self.1.policy().name().to_owned(),
            Kind::Memory(tuning) => self.1.tuned(*tuning).to_string(),
            Kind::Notified => hub.notified().to_string(),
            Kind::OutputLimits => {
                let normal = self.get(Setting::UnsentBytesMax);
                format!("normal {normal} 0 0 slave 0 0 0 pubsub {MAILBOX_BYTES_MAX} 0 0")
            }
            Kind::Fixed(value) => (*value).to_owned(),
        }
    }

    /// CONFIG GET: each setting whose name matches one of the patterns.
    pub(super) fn tell(&self, patterns: &[Bytes], hub: &Hub) -> Reply {
        let is_meant = |name: &str| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| glob::matches_ignoring_case(pattern, name.as_bytes()))
        };
        let pairs = ENTRIES
            .iter()
            .filter(|(name, _)| is_meant(name))
            .map(|(name, kind)| (Reply::bulk(name), Reply::bulk(self.show(kind, hub))));
        Reply::Map(pairs.collect())
    }

    /// CONFIG SET: all of these, or none.
    pub(super) fn change(&self, words: &[Bytes], hub: &Hub) -> Result<(), String> {
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
            changes.push(read(kind, value).map_err(failed)?);
        }
        for change in changes {
            match change {
                Change::Set(setting, value) => self.set(setting, value),
                Change::Tune(tuning, value) => self.1.tune(tuning, value),
                Change::Notify(notified) => hub.set_notified(notified),
            }
        }
        Ok(())
    }
}

/// A change that was found to be possible.
enum Change {
    Set(Setting, i64),
    Tune(Tuning, u64),
    Notify(Notified),
}

fn read(kind: &Kind, value: &[u8]) -> Result<Change, String> {
    let (setting, number, min, max) = match *kind {
        Kind::Number(setting, min, max) => {
            let number =
                parse_integer(value).ok_or("argument couldn't be parsed into an integer")?;
            (setting, number, min, max)
        }
        Kind::Bytes(setting, min, max) => {
            let number = bytes(value).ok_or("argument must be a memory value")?;
            (setting, number, min, max)
        }
        Kind::Memory(tuning) => {
            return read_memory(tuning, value).map(|value| Change::Tune(tuning, value));
        }
        Kind::Notified => {
            return Notified::parse(value)
                .map(Change::Notify)
                .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned());
        }
        Kind::OutputLimits | Kind::Fixed(_) => return Err("can't set immutable config".to_owned()),
    };
    if !(min..=max).contains(&number) {
        return Err(format!(
            "argument must be between {min} and {max} inclusive"
        ));
    }
    Ok(Change::Set(setting, number))
}

fn read_memory(tuning: Tuning, value: &[u8]) -> Result<u64, String> {
    let (number, max) = match tuning {
        Tuning::Policy => {
            let policy = Policy::parse(value).ok_or_else(|| {
                let names: Vec<&str> = Policy::names().collect();
                let names = names.join(", ");
                format!("argument(s) must be one of the following: {names}")
            })?;
            return Ok(policy.place());
        }
        Tuning::BytesMax => {
            let number = bytes(value).ok_or("argument must be a memory value")?;
            (number, i64::MAX)
        }
        Tuning::Samples | Tuning::LogFactor | Tuning::DecayMinutes => {
            let number =
                parse_integer(value).ok_or("argument couldn't be parsed into an integer")?;
            let max = match tuning {
                Tuning::Samples => SAMPLES_MAX,
                _ => i64::from(i32::MAX),
            };
            (number, max)
        }
    };
    let min = u64::from(tuning == Tuning::Samples);
    u64::try_from(number)
        .ok()
        .filter(|wanted| *wanted >= min && number <= max)
        .ok_or_else(|| format!("argument must be between {min} and {max} inclusive"))
}

/// A number of bytes, with a unit or without.
fn bytes(value: &[u8]) -> Option<i64> {
    let digits = value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, unit) = value.split_at(digits);
    let unit: i64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1024,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    parse_integer(number)?.checked_mul(unit)
}
