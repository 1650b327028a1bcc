//! Parses YAML into JSON as Kubernetes does (`sigs.k8s.io/yaml`): YAML 1.1's plain words (`yes`,
//! `on`, `0o17`) are bools and numbers, keys become strings, `<<` merges, the first document
//! counts. Built upon the events of saphyr-parser, which has no recursion; depth, and what aliases
//! may add, are bounded here, so that a short text can't become a huge value.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use serde_json::{Map, Number, Value};

use super::{parse_json, prune::whole};

/// As JSON's.
const DEPTH_MAX: usize = 128;
/// What anchors and aliases may add: bytes of text, and [`NODE_WEIGHT`] for each value.
const ALIASED_MAX: usize = 4 << 20;
const NODE_WEIGHT: usize = 16;

/// Parses a body. JSON, which is YAML too, is parsed as such.
///
/// # Errors
/// Why it is no YAML, or has a key twice, or is too deep or too large with its aliases put in.
pub fn parse_yaml(bytes: &[u8]) -> Result<Value, String> {
    match parse_json(bytes) {
        Ok((value, duplicates)) if duplicates.is_empty() => return Ok(value),
        Ok((_, duplicates)) => return Err(format!("yaml: {}", duplicates.join(", "))),
        Err(_) => {}
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "yaml: invalid UTF-8".to_owned())?;
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| scan_error(&error))?;
        if matches!(event, Event::DocumentEnd) {
            break;
        }
        let line = span.start.line();
        builder
            .event(event)
            .map_err(|why| format!("yaml: line {line}: {why}"))?;
    }
    Ok(builder.root.map_or(Value::Null, |node| node.value))
}

fn scan_error(error: &ScanError) -> String {
    format!("yaml: line {}: {}", error.marker().line(), error.info())
}

/// A value, and what it costs to have it once more.
#[derive(Clone, Default)]
struct Node {
    value: Value,
    weight: usize,
    depth: usize,
    /// It is the plain `<<`, if it is a key.
    is_merge: bool,
}

/// A list or map that is not yet at its end.
struct Open {
    anchor: usize,
    weight: usize,
    depth: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    Map {
        map: Map<String, Value>,
        seen: BTreeSet<String>,
        merged: Vec<Value>,
        key: Option<Node>,
    },
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    aliased: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref())?;
                let is_merge = style == ScalarStyle::Plain && text == "<<" && tag.is_none();
                let weight = NODE_WEIGHT + text.len();
                self.place(
                    Node {
                        value,
                        weight,
                        depth: 0,
                        is_merge,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(anchor, tag) => {
                known_tag(tag.as_deref(), "seq")?;
                self.start(anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                known_tag(tag.as_deref(), "map")?;
                let (map, seen, merged) = Default::default();
                self.start(
                    anchor,
                    Content::Map {
                        map,
                        seen,
                        merged,
                        key: None,
                    },
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor);
                let node = known.ok_or("an anchor's value contains itself")?;
                charge(&mut self.aliased, node)?;
                let node = node.clone();
                self.place(node, 0)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn start(&mut self, anchor: usize, content: Content) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err("exceeded max depth".to_owned());
        }
        self.open.push(Open {
            anchor,
            weight: NODE_WEIGHT,
            depth: 0,
            content,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(Open {
            anchor,
            weight,
            depth,
            content,
        }) = self.open.pop()
        else {
            return Err("an end without a start".to_owned());
        };
        let value = match content {
            Content::List(items) => Value::Array(items),
            Content::Map {
                mut map, merged, ..
            } => {
                merged
                    .into_iter()
                    .try_for_each(|from| merge(&mut map, from))?;
                Value::Object(map)
            }
        };
        self.place(
            Node {
                value,
                weight,
                depth: depth + 1,
                is_merge: false,
            },
            anchor,
        )
    }

    /// Puts a value that is whole where it belongs.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.open.len() + node.depth > DEPTH_MAX {
            return Err("exceeded max depth".to_owned());
        }
        if anchor > 0 {
            charge(&mut self.aliased, &node)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(owner) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return Ok(());
        };
        owner.weight += node.weight;
        owner.depth = owner.depth.max(node.depth);
        match &mut owner.content {
            Content::List(items) => items.push(node.value),
            Content::Map {
                map,
                seen,
                merged,
                key,
            } => match key.take() {
                None => *key = Some(node),
                Some(key) if key.is_merge => merged.push(node.value),
                Some(key) => {
                    let key = key_text(key.value)?;
                    if !seen.insert(key.clone()) {
                        return Err(format!("key {key:?} already set in map"));
                    }
                    map.insert(key, node.value);
                }
            },
        }
        Ok(())
    }
}

/// Counts one more copy of a value.
fn charge(aliased: &mut usize, node: &Node) -> Result<(), String> {
    *aliased += node.weight;
    if *aliased > ALIASED_MAX {
        return Err("document contains excessive aliasing".to_owned());
    }
    Ok(())
}

/// Adds what `<<` stands for: a map, or a list of them; what is there already stays.
fn merge(into: &mut Map<String, Value>, from: Value) -> Result<(), String> {
    match from {
        Value::Object(entries) => {
            for (key, value) in entries {
                into.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(maps) if maps.iter().all(Value::is_object) => {
            maps.into_iter().try_for_each(|from| merge(into, from))
        }
        _ => Err("map merge requires map or sequence of maps as the value".to_owned()),
    }
}

fn key_text(key: Value) -> Result<String, String> {
    match key {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        _ => Err("a key that is neither a string nor a number nor a bool".to_owned()),
    }
}

fn known_tag(tag: Option<&Tag>, kind: &str) -> Result<(), String> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == kind) => {
            Err(format!("an unknown tag: {}{}", tag.handle, tag.suffix))
        }
        _ => Ok(()),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain {
            plain(text)
        } else {
            Ok(text.into())
        };
    };
    let is_core = tag.is_yaml_core_schema();
    let value = match tag.suffix.as_str() {
        // `!` alone: whatever stands there is a text. Bytes are base64 in JSON as well.
        "" | "!" => return Ok(text.into()),
        "str" | "binary" if is_core => return Ok(text.into()),
        "null" | "bool" | "int" | "float" if is_core => plain(text)?,
        _ => return known_tag(Some(tag), "").map(|()| Value::Null),
    };
    let fits = match tag.suffix.as_str() {
        "null" => value.is_null(),
        "bool" => value.is_boolean(),
        "int" => value.is_i64() || value.is_u64(),
        _ => value.is_number(),
    };
    if fits {
        Ok(value)
    } else {
        Err(format!("cannot decode {text:?} as a !!{}", tag.suffix))
    }
}

/// What a word without quotes means in YAML 1.1.
fn plain(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            true.into()
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            false.into()
        }
        _ if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) => {
            text.into()
        }
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF"
        | ".nan" | ".NaN" | ".NAN" => return Err(format!("json: unsupported value: {text}")),
        _ => integer(text)
            .or_else(|| float(text))
            .map_or_else(|| text.into(), Value::Number),
    })
}

/// `12`, `-1_000`, `0x1f`, `0b1`, `0o17`, `017`.
fn integer(text: &str) -> Option<Number> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.split_at_checked(1)? {
        (sign @ ("+" | "-"), digits) => (sign, digits),
        _ => ("", plain.as_str()),
    };
    let (radix, digits) = match digits.get(..2).unwrap_or_default() {
        "0x" | "0X" => (16, &digits[2..]),
        "0b" | "0B" => (2, &digits[2..]),
        "0o" | "0O" => (8, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|digit: char| digit.is_digit(radix)) {
        return None;
    }
    if sign == "-" {
        return i64::from_str_radix(&format!("-{digits}"), radix)
            .ok()
            .map(Number::from);
    }
    u64::from_str_radix(digits, radix).ok().map(Number::from)
}

/// `1.5`, `.5`, `1.`, `1e3`; what is whole becomes an integer, as JSON from Go would have it.
fn float(text: &str) -> Option<Number> {
    let mantissa = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_float = mantissa.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
        && mantissa.contains(|digit: char| digit.is_ascii_digit());
    let number: f64 = text.parse().ok().filter(|_| is_float)?;
    whole(number)
        .map(Number::from)
        .or_else(|| Number::from_f64(number))
}
