//! `cjson`: reading JSON. Strings may hold any bytes.

use mlua::{Lua, Value};

use super::json::Settings;
use crate::core::script::arguments::Fault;

/// The value that a text tells of.
pub(super) fn read(lua: &Lua, text: &[u8], settings: &Settings) -> Result<Value, Fault> {
    let mut reader = Reader {
        lua,
        text,
        at: 0,
        settings,
    };
    let value = reader.value(0)?;
    reader.blanks();
    match reader.text.get(reader.at) {
        None => Ok(value),
        Some(_) => Err(reader.unexpected("the end")),
    }
}

struct Reader<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
    settings: &'a Settings,
}

impl Reader<'_> {
    fn blanks(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Steps over a byte, if it is the next one after blanks.
    fn takes(&mut self, byte: u8) -> bool {
        self.blanks();
        let is_next = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.text.get(self.at) {
            None => "T_END",
            Some(b'{') => "T_OBJ_BEGIN",
            Some(b'}') => "T_OBJ_END",
            Some(b'[') => "T_ARR_BEGIN",
            Some(b']') => "T_ARR_END",
            Some(b',') => "T_COMMA",
            Some(b':') => "T_COLON",
            Some(b'"') => "T_STRING",
            Some(b'0'..=b'9' | b'-') => "T_NUMBER",
            Some(_) => "invalid token",
        };
        Fault::Text(format!(
            "Expected {wanted} but found {found} at character {}",
            self.at + 1
        ))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        self.blanks();
        match self.text.get(self.at) {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string(),
            Some(b'0'..=b'9' | b'-' | b'+') => self.number(),
            _ => {
                for (word, value) in [
                    (&b"true"[..], Value::Boolean(true)),
                    (b"false", Value::Boolean(false)),
                    (b"null", Value::NULL),
                ] {
                    if self.text[self.at..].starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                self.number()
            }
        }
    }

    fn deeper(&self, depth: usize) -> Result<(), Fault> {
        if depth <= self.settings.decode_depth_max {
            return Ok(());
        }
        Err(Fault::Text(format!(
            "Found too many nested data structures ({depth})"
        )))
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        self.deeper(depth)?;
        self.at += 1;
        let table = self.lua.create_table()?;
        if self.takes(b'}') {
            return Ok(Value::Table(table));
        }
        loop {
            self.blanks();
            if self.text.get(self.at) != Some(&b'"') {
                return Err(self.unexpected("object key string"));
            }
            let name = self.string()?;
            if !self.takes(b':') {
                return Err(self.unexpected("colon"));
            }
            table.raw_set(name, self.value(depth)?)?;
            if self.takes(b'}') {
                return Ok(Value::Table(table));
            }
            if !self.takes(b',') {
                return Err(self.unexpected("comma or object end"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Fault> {
        self.deeper(depth)?;
        self.at += 1;
        let table = self.lua.create_table()?;
        if self.takes(b']') {
            return Ok(Value::Table(table));
        }
        for place in 1.. {
            table.raw_set(place, self.value(depth)?)?;
            if self.takes(b']') {
                break;
            }
            if !self.takes(b',') {
                return Err(self.unexpected("comma or array end"));
            }
        }
        Ok(Value::Table(table))
    }

    fn string(&mut self) -> Result<Value, Fault> {
        let begin = self.at;
        self.at += 1;
        let mut string = Vec::new();
        loop {
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Value::String(self.lua.create_string(string)?));
                }
                Some(b'\\') => self.escape(&mut string)?,
                Some(byte) => {
                    string.push(*byte);
                    self.at += 1;
                }
                None => {
                    return Err(Fault::Text(format!(
                        "Expected value but found unexpected end of string at character {}",
                        begin + 1
                    )));
                }
            }
        }
    }

    fn escape(&mut self, string: &mut Vec<u8>) -> Result<(), Fault> {
        let plain = match self.text.get(self.at + 1) {
            Some(b'u') => {
                let letter = self.letter()?;
                let mut buffer = [0; 4];
                string.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes());
                return Ok(());
            }
            Some(b'b') => 0x08,
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'f') => 0x0c,
            Some(b'r') => b'\r',
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            _ => return Err(self.invalid("escape code")),
        };
        string.push(plain);
        self.at += 2;
        Ok(())
    }

    fn invalid(&self, what: &str) -> Fault {
        Fault::Text(format!(
            "Expected value but found invalid {what} at character {}",
            self.at + 1
        ))
    }

    /// Four digits, or twice four for a letter beyond the first plane.
    fn letter(&mut self) -> Result<char, Fault> {
        let invalid = self.invalid("unicode escape code");
        let Some(first) = self.unit() else {
            return Err(invalid);
        };
        self.at += 6;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(invalid);
        }
        let second = self.unit().filter(|unit| (0xdc00..0xe000).contains(unit));
        let Some(second) = second else {
            return Err(invalid);
        };
        self.at += 6;
        let letter = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        char::from_u32(letter).ok_or(invalid)
    }

    fn unit(&self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 6)?.strip_prefix(b"\\u")?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// A number as C reads it; those that JSON has not only where they are allowed.
    fn number(&mut self) -> Result<Value, Fault> {
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let length = rest.iter().position(|byte| !is_part(byte));
        let word = &rest[..length.unwrap_or(rest.len())];
        let begins = word.iter().position(|byte| !b"+-".contains(byte));
        let digits = &word[begins.unwrap_or(word.len())..];
        let is_plain = digits.first().is_some_and(u8::is_ascii_digit)
            && digits
                .iter()
                .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte))
            && !word.starts_with(b"+");
        let text = std::str::from_utf8(word).unwrap_or_default();
        let number = if is_plain {
            text.parse().ok()
        } else if self.settings.decode_invalid {
            read_odd(text)
        } else {
            None
        };
        match number {
            Some(number) => {
                self.at += word.len();
                Ok(Value::Number(number))
            }
            None if is_plain => Err(self.invalid("number")),
            None => Err(self.unexpected("value")),
        }
    }
}

/// Hexadecimal numbers, infinities and what is no number.
fn read_odd(text: &str) -> Option<f64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = rest.to_ascii_lowercase();
    let number = match lower.as_str() {
        "inf" | "infinity" => f64::INFINITY,
        "nan" => f64::NAN,
        _ => match lower.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok()? as f64,
            None if lower.starts_with(|first: char| first.is_ascii_digit() || first == '.') => {
                lower.parse().ok()?
            }
            None => return None,
        },
    };
    Some(if negative { -number } else { number })
}
