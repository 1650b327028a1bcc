//! The kinds of values that settings have, and how each is written.

use std::{fmt, path::PathBuf, str::FromStr};

/// The declaration of one setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Where it stands in the tree: `control.heartbeat_ms`.
    pub path: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// What the number counts; empty where it is no number.
    pub unit: &'static str,
    /// The value without any source, as one would write it.
    pub default: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// A shorter flag than the one that follows from the path.
    pub(crate) flag_short: &'static str,
}

impl Setting {
    /// Its environment variable: `ATOLL_CONTROL_HEARTBEAT_MS`.
    pub fn variable(&self) -> String {
        let name = self.path.replace('.', "_").to_ascii_uppercase();
        format!("{}{name}", super::VARIABLE_PREFIX)
    }

    /// The flag that follows from its path, without dashes: `control-heartbeat-ms`.
    pub fn flag_long(&self) -> String {
        self.path.replace(['.', '_'], "-")
    }

    /// The flag to show, without dashes: the shorter one where there is one.
    pub fn flag(&self) -> String {
        if self.flag_short.is_empty() {
            self.flag_long()
        } else {
            self.flag_short.to_owned()
        }
    }

    /// Its section and its name within it.
    pub fn split(&self) -> (&'static str, &'static str) {
        self.path
            .split_once('.')
            .expect("every path in the tree has a section")
    }
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number, both ends included.
    Integer {
        /// The least value.
        min: u64,
        /// The greatest value.
        max: u64,
    },
    /// Any text of at most so many bytes.
    Text {
        /// The most bytes.
        bytes_max: usize,
    },
    /// A path of the file system.
    Path,
    /// `HOST:PORT`.
    Address,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `always`, `none`, or `interval:` and a time.
    Durability,
}

impl Kind {
    /// What TOML calls the type of such a value.
    pub(crate) fn toml_type(self) -> &'static str {
        match self {
            Kind::Flag => "boolean",
            Kind::Integer { .. } => "integer",
            _ => "string",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Flag => f.write_str("true or false"),
            Kind::Integer { min, max } => write!(f, "{min} to {max}"),
            Kind::Text { bytes_max } => write!(f, "text of at most {bytes_max} bytes"),
            Kind::Path => f.write_str("a path"),
            Kind::Address => f.write_str("HOST:PORT"),
            Kind::Choice(words) => f.write_str(&words.join(", ")),
            Kind::Durability => f.write_str("always, interval:TIME (as 200ms or 1s), none"),
        }
    }
}

/// A value that a setting can have, read from its text.
pub(crate) trait FromText: Sized {
    /// Reads it, or says in a few words what is wrong.
    fn from_text(text: &str) -> Result<Self, String>;
}

impl FromText for bool {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "expected true or false".into())
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl FromText for $type {
            fn from_text(text: &str) -> Result<Self, String> {
                // As TOML does, so that a number can be carried from one source to another.
                text.replace('_', "")
                    .parse()
                    .map_err(|_| "expected a whole number".into())
            }
        }
    )*};
}
integers!(u16, u64);

impl FromText for String {
    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl FromText for PathBuf {
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected a path".into());
        }
        Ok(PathBuf::from(text))
    }
}

/// Where to listen: a host name or IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address; IPv6 without brackets.
    pub host: String,
    /// The port; 0 lets the system choose one.
    pub port: u16,
}

impl Address {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<std::net::IpAddr>() {
            Ok(ip) => ip.is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Whether it means every address of the machine, and so none that another one can dial.
    pub fn is_unspecified(&self) -> bool {
        self.host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_unspecified())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("//") {
            return Err("expected HOST:PORT, not a URL".into());
        }
        let (host, port) = text
            .rsplit_once(':')
            .ok_or("expected HOST:PORT, as 127.0.0.1:2379")?;
        let port = port.parse().map_err(|_| {
            format!("expected a port between 0 and 65535 after the colon, not `{port}`")
        })?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            Some(_) => return Err("expected an IPv6 address between the brackets".into()),
            None if host.contains(':') => {
                return Err("write an IPv6 address in brackets, as [::1]:2379".into());
            }
            None => host,
        };
        if host.contains(['/', ' ']) {
            return Err("expected a host name or an IP address before the colon".into());
        }
        if host.is_empty() {
            return Err("expected a host before the colon; 0.0.0.0 means every address".into());
        }
        Ok(Address {
            host: host.to_owned(),
            port,
        })
    }
}

impl FromText for Address {
    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

/// When an acknowledged write is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged.
    Always,
    /// At most so long after; a power loss may take what came since.
    Interval {
        /// The longest wait, in milliseconds.
        interval_ms: u64,
    },
    /// When the operating system likes.
    None,
}

/// The longest time between two syncs that one may ask for.
const INTERVAL_MS_MAX: u64 = 60_000;

impl FromText for Durability {
    fn from_text(text: &str) -> Result<Self, String> {
        let time = match text {
            "always" => return Ok(Durability::Always),
            "none" => return Ok(Durability::None),
            _ => text
                .strip_prefix("interval:")
                .ok_or("expected always, interval:TIME (as interval:1s) or none")?,
        };
        let (number, scale) = if let Some(number) = time.strip_suffix("ms") {
            (number, 1)
        } else if let Some(number) = time.strip_suffix('s') {
            (number, 1_000)
        } else {
            return Err("expected a time with its unit, as 200ms or 1s".into());
        };
        let interval_ms = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(scale))
            .filter(|ms| (1..=INTERVAL_MS_MAX).contains(ms))
            .ok_or_else(|| format!("expected a time between 1ms and {INTERVAL_MS_MAX}ms"))?;
        Ok(Durability::Interval { interval_ms })
    }
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            pub(crate) const WORDS: &'static [&'static str] = &[$($word),*];
        }

        impl FromText for $name {
            fn from_text(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($name::$variant),)*
                    _ => Err(format!("expected one of {}", $name::WORDS.join(", "))),
                }
            }
        }
    };
}

choice! {
    /// What is compacted without being asked for.
    CompactionMode {
        /// Nothing.
        Off = "off",
        /// What is older than a time.
        Periodic = "periodic",
        /// All but the newest revisions.
        Revision = "revision",
    }
}

choice! {
    /// What goes when hot data takes more memory than it may; Redis's words.
    EvictionPolicy {
        /// Nothing: writes are refused.
        NoEviction = "noeviction",
        /// Keys that were not used for the longest time.
        AllKeysLru = "allkeys-lru",
        /// Keys that are used least often.
        AllKeysLfu = "allkeys-lfu",
        /// Any keys.
        AllKeysRandom = "allkeys-random",
        /// Keys that end and were not used for the longest time.
        VolatileLru = "volatile-lru",
        /// Keys that end and are used least often.
        VolatileLfu = "volatile-lfu",
        /// Any keys that end.
        VolatileRandom = "volatile-random",
        /// Keys that end soonest.
        VolatileTtl = "volatile-ttl",
    }
}

choice! {
    /// How log lines are written.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}
