//! Which keyspace events are published, and how (Redis: "Redis keyspace notifications").

use std::fmt;

use bytes::Bytes;

use super::command::{Event, EventClass};
use crate::api::Publication;

/// `A`: all classes but the two that must be asked for by name, new keys and missed ones.
const ALL: &str = "g$lshzxetd";
/// Classes, and the two kinds of channels.
const LETTERS: &str = "g$lshzxetdnKEm";

/// What is published: the value of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notified(u32);

impl Notified {
    /// What these letters say; none if one of them means nothing.
    pub fn parse(letters: &[u8]) -> Option<Notified> {
        let mut notified = Notified::default();
        for letter in letters {
            notified.0 |= match letter {
                b'A' => bits(ALL.as_bytes()),
                letter => bit(*letter)?,
            };
        }
        Some(notified)
    }

    /// The same as a number.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// What [`bits`](Self::bits) told.
    pub fn from_bits(bits: u32) -> Notified {
        Notified(bits)
    }

    fn has(self, letter: u8) -> bool {
        bit(letter).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Whether anything is published at all.
    pub fn is_any(self) -> bool {
        self.has(b'K') || self.has(b'E')
    }

    /// What is published of an event, in order.
    pub fn publications(self, event: &Event) -> impl Iterator<Item = Publication> {
        let is_of_class = self.has(letter(event.class));
        let (name, database) = (event.name, event.database);
        let keyspace = (is_of_class && self.has(b'K')).then(|| Publication {
            channel: channel("keyspace", database, &event.key),
            message: Bytes::from_static(name.as_bytes()),
            sharded: false,
        });
        let keyevent = (is_of_class && self.has(b'E')).then(|| Publication {
            channel: channel("keyevent", database, name.as_bytes()),
            message: Bytes::copy_from_slice(&event.key),
            sharded: false,
        });
        keyspace.into_iter().chain(keyevent)
    }
}

impl fmt::Display for Notified {
    /// As CONFIG GET shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = bits(ALL.as_bytes());
        let has_all = self.0 & all == all;
        if has_all {
            f.write_str("A")?;
        }
        for letter in LETTERS.bytes() {
            if self.has(letter) && !(has_all && ALL.as_bytes().contains(&letter)) {
                write!(f, "{}", char::from(letter))?;
            }
        }
        Ok(())
    }
}

fn bit(letter: u8) -> Option<u32> {
    let place = LETTERS.bytes().position(|other| other == letter)?;
    Some(1 << place)
}

fn bits(letters: &[u8]) -> u32 {
    letters.iter().filter_map(|letter| bit(*letter)).sum()
}

fn letter(class: EventClass) -> u8 {
    match class {
        EventClass::Generic => b'g',
        EventClass::String => b'$',
        EventClass::List => b'l',
        EventClass::Set => b's',
        EventClass::Hash => b'h',
        EventClass::SortedSet => b'z',
        EventClass::Stream => b't',
        EventClass::Expired => b'x',
        EventClass::Evicted => b'e',
        EventClass::New => b'n',
    }
}

fn channel(kind: &str, database: usize, rest: &[u8]) -> Bytes {
    [format!("__{kind}@{database}__:").as_bytes(), rest]
        .concat()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_and_shown_as_a_redis_shows_them() {
        for (letters, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("AKE", "AKE"),
            ("Elg", "glE"),
            ("g$lshzxetdE", "AE"),
            ("KEAnm", "AnKEm"),
        ] {
            let notified = Notified::parse(letters.as_bytes()).unwrap();
            assert_eq!(notified.to_string(), shown);
            assert_eq!(Notified::from_bits(notified.bits()), notified);
        }
        assert_eq!(Notified::parse(b"KQ"), None);
    }

    #[test]
    fn events_are_published_as_they_are_asked_for() {
        let event = Event {
            class: EventClass::List,
            name: "lpush",
            database: 9,
            key: b"k".as_slice().into(),
        };
        let published = |letters: &str| -> Vec<String> {
            Notified::parse(letters.as_bytes())
                .unwrap()
                .publications(&event)
                .map(|it| format!("{:?} {:?}", it.channel, it.message))
                .collect()
        };
        let keyspace = r#"b"__keyspace@9__:k" b"lpush""#;
        let keyevent = r#"b"__keyevent@9__:lpush" b"k""#;
        assert_eq!(published("KEA"), [keyspace, keyevent]);
        assert_eq!(published("Kl"), [keyspace]);
        assert_eq!(published("El"), [keyevent]);
        assert_eq!(published("KE$"), [""; 0]);
        assert_eq!(published("l"), [""; 0]);
    }
}
