//! Values that are too large for one request, as commands of their type.

use atoll_kv::core::rdb::Element;
use bytes::Bytes;

/// So much goes into one command.
const COMMAND_BYTES: usize = 1 << 20;
/// So many elements go into one command.
const COMMAND_ELEMENTS_MAX: usize = 512;
/// An element of this size still fits into a request.
pub(super) const ELEMENT_BYTES_MAX: usize = 5 << 20;

/// Makes commands of elements.
pub(super) struct Commands {
    key: Bytes,
    /// Whether anything of a string has been written.
    begun: bool,
    words: Vec<Bytes>,
    elements: usize,
    bytes: usize,
    ready: Vec<Vec<Bytes>>,
}

impl Commands {
    pub(super) fn new(key: &[u8]) -> Self {
        Commands {
            key: Bytes::copy_from_slice(key),
            begun: false,
            words: Vec::new(),
            elements: 0,
            bytes: 0,
            ready: Vec::new(),
        }
    }

    /// Adds an element; false for one that no request can hold.
    pub(super) fn add(&mut self, element: Element) -> bool {
        let fits = |parts: &[&Vec<u8>]| {
            let bytes: usize = parts.iter().map(|part| part.len()).sum();
            bytes <= ELEMENT_BYTES_MAX
        };
        match element {
            Element::String(text) => self.string(&text),
            Element::Item(item) if fits(&[&item]) => self.grow("RPUSH", vec![item]),
            Element::Member(member) if fits(&[&member]) => self.grow("SADD", vec![member]),
            Element::Scored(member, score) if fits(&[&member]) => {
                self.grow("ZADD", vec![score.into_bytes(), member]);
            }
            Element::Field(field, value, at_ms) if fits(&[&field, &value]) => {
                let ends = at_ms.map(|at_ms| (at_ms, field.clone()));
                self.grow("HSET", vec![field, value]);
                if let Some((at_ms, field)) = ends {
                    self.flush();
                    let at_ms = at_ms.to_string().into_bytes();
                    let words: [Vec<u8>; 4] = [at_ms, b"FIELDS".into(), b"1".into(), field];
                    self.put("HPEXPIREAT", words.into());
                }
            }
            _ => return false,
        }
        true
    }

    /// The commands that are complete.
    pub(super) fn take(&mut self) -> Vec<Vec<Bytes>> {
        std::mem::take(&mut self.ready)
    }

    /// The commands that are left.
    pub(super) fn finish(mut self) -> Vec<Vec<Bytes>> {
        self.flush();
        self.ready
    }

    fn string(&mut self, text: &[u8]) {
        for piece in text.chunks(COMMAND_BYTES) {
            let name = if self.begun { "APPEND" } else { "SET" };
            self.begun = true;
            self.put(name, vec![piece.to_vec()]);
        }
    }

    fn grow(&mut self, name: &'static str, parts: Vec<Vec<u8>>) {
        if self.words.is_empty() {
            self.words = vec![Bytes::from_static(name.as_bytes()), self.key.clone()];
        }
        self.elements += 1;
        self.bytes += parts.iter().map(Vec::len).sum::<usize>();
        self.words.extend(parts.into_iter().map(Bytes::from));
        if self.elements >= COMMAND_ELEMENTS_MAX || self.bytes >= COMMAND_BYTES {
            self.flush();
        }
    }

    fn put(&mut self, name: &'static str, parts: Vec<Vec<u8>>) {
        let mut words = vec![Bytes::from_static(name.as_bytes()), self.key.clone()];
        words.extend(parts.into_iter().map(Bytes::from));
        self.ready.push(words);
    }

    fn flush(&mut self) {
        if !self.words.is_empty() {
            self.ready.push(std::mem::take(&mut self.words));
            (self.elements, self.bytes) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(elements: Vec<Element>) -> Vec<String> {
        let mut commands = Commands::new(b"k");
        for element in elements {
            assert!(commands.add(element));
        }
        let told = |words: &Vec<Bytes>| {
            let words = words.iter().map(|word| match word.len() {
                0..=20 => String::from_utf8_lossy(word).into_owned(),
                length => format!("{length} bytes"),
            });
            words.collect::<Vec<_>>().join(" ")
        };
        commands.finish().iter().map(told).collect()
    }

    #[test]
    fn each_type_has_its_command() {
        assert_eq!(
            commands(vec![Element::String(vec![b'x'; COMMAND_BYTES + 30])]),
            [
                format!("SET k {COMMAND_BYTES} bytes"),
                "APPEND k 30 bytes".into()
            ]
        );
        let item = |text: &str| Element::Item(text.into());
        assert_eq!(commands(vec![item("a"), item("b")]), ["RPUSH k a b"]);
        assert_eq!(commands(vec![Element::Member(b"m".into())]), ["SADD k m"]);
        assert_eq!(
            commands(vec![Element::Scored(b"m".into(), "1.5".into())]),
            ["ZADD k 1.5 m"]
        );
        let field = |name: &str, at_ms| Element::Field(name.into(), b"v".into(), at_ms);
        assert_eq!(
            commands(vec![
                field("f", None),
                field("g", Some(7)),
                field("h", None)
            ]),
            ["HSET k f v g v", "HPEXPIREAT k 7 FIELDS 1 g", "HSET k h v"]
        );
    }

    #[test]
    fn commands_have_a_limit() {
        let many = vec![Element::Member(b"m".into()); COMMAND_ELEMENTS_MAX + 1];
        assert_eq!(commands(many).len(), 2);
        let large = vec![Element::Member(vec![b'm'; COMMAND_BYTES / 2]); 3];
        assert_eq!(commands(large).len(), 2);
        let mut refused = Commands::new(b"k");
        assert!(!refused.add(Element::Item(vec![0; ELEMENT_BYTES_MAX + 1])));
    }
}
