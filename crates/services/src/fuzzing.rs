//! What fuzz targets call: every parser here of bytes that come from outside, with what must
//! hold whatever the bytes are. The same functions replay the corpora in a normal test.

mod dns;
mod image;
mod kept;
mod request;
mod streams;

use std::{path::Path, sync::LazyLock};

use atoll_world::{disk, workload::log};
use serde_json::{Value, json};

use self::kept::{NOW_MS, WRITER, held, in_json, kept, made, written};
pub use self::{
    dns::dns_message,
    image::{
        image_archive, image_challenge, image_document, image_entry, image_reference, image_secret,
    },
    request::request,
    streams::{streams_channels, streams_spdy},
};
use crate::core::{
    discovery::{Endpoint, negotiate},
    kinds::{KINDS, Kind},
    names, object,
    patch::{self, PatchType, apply},
    quantity,
    schema::{check, proto, schema},
    selector::{FieldSelector, LabelSelector},
    status::{Failure, Reason},
    time,
    validate::cron::{Calendar, Schedule},
    versions,
};

/// A body as protobuf: as it is, and as the message in an envelope, whose kind the first line
/// tells. What was read is the same after it was written and read again, and has no field that
/// the schema does not know.
pub fn protobuf(bytes: &[u8]) {
    read_again(bytes);
    if let Some((kind, message)) = chosen(bytes) {
        let mut meta = Vec::new();
        put(&mut meta, 1, kind.api_version().as_bytes());
        put(&mut meta, 2, kind.kind.as_bytes());
        let mut envelope = b"k8s\0".to_vec();
        put(&mut envelope, 1, &meta);
        put(&mut envelope, 2, message);
        read_again(&envelope);
    }
}

fn read_again(bytes: &[u8]) {
    let Ok(object) = proto::decode(bytes) else {
        return;
    };
    let text = |field: &str| object[field].as_str().expect("the envelope tells it");
    let (api_version, name) = (text("apiVersion"), text("kind"));
    // Others stand in bodies of subresources only, and are never answers.
    let Some(kind) = versions::by_name(api_version, name) else {
        return;
    };
    let again = proto::encode(api_version, name, kind.type_name, &object);
    assert_eq!(proto::decode(&again).as_ref(), Ok(&object));
    let checked = check::check(kind.type_name, &object);
    assert_eq!(checked.unknown, Vec::<String>::new());
    let Some(mut object) = held(kind, &object, &[]) else {
        return;
    };
    // An older version may note what can't be.
    let noted = versions::to_kept(kind, &mut object);
    let kind = versions::kept(kind);
    if noted.is_ok()
        && check::check(kind.type_name, &object).wrong.is_empty()
        && let Some(object) = made(kind, object)
    {
        kept(kind, &object);
    }
}

/// A record of a message.
fn put(out: &mut Vec<u8>, number: u8, mut value: &[u8]) {
    // Lengths of more than two bytes are beyond a fuzzer's inputs.
    value = &value[..value.len().min((1 << 14) - 1)];
    let length = [value.len() as u8 | 0x80, (value.len() >> 7) as u8];
    out.push(number << 3 | 2);
    out.extend_from_slice(&length);
    out.extend_from_slice(value);
}

/// A body as JSON and as YAML, behind a line that tells the resource. JSON is YAML and means the same,
/// and what YAML means can be said in JSON.
pub fn body(bytes: &[u8]) {
    let Some((kind, bytes)) = chosen(bytes) else {
        return;
    };
    let yaml = check::parse_yaml(bytes);
    if let Ok((object, duplicates)) = check::parse_json(bytes) {
        match duplicates.is_empty() {
            true => assert_eq!(yaml.as_ref(), Ok(&object)),
            false => assert!(yaml.is_err(), "{duplicates:?}"),
        }
        held(kind, &object, &duplicates);
    }
    if let Ok(object) = yaml {
        in_json(&object);
        held(kind, &object, &[]);
    }
}

/// An object's whole way into the store and out again: the first line tells the resource, and
/// the rest is a body. What is kept has one form, passes as it is, is what it was after it went
/// through a table, a patch of nothing or protobuf, and can be deleted.
pub fn object(bytes: &[u8]) {
    let Some((kind, bytes)) = chosen(bytes) else {
        return;
    };
    if let Ok(object) = check::parse_yaml(bytes)
        && let Some(object) = held(kind, &object, &[])
        && let Some(object) = made(kind, object)
    {
        kept(kind, &object);
    }
}

/// A patch: the first byte chooses its type and the object. What comes out is an object; where
/// it can be kept it is as good as a new one. Who applies the same again changes nothing.
pub fn patch(bytes: &[u8]) {
    static LIVE: LazyLock<[(&Kind, Value); 3]> = LazyLock::new(kept::live);
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let (kind, live) = &LIVE[usize::from(choice >> 3) % LIVE.len()];
    let is_forced = choice & 4 > 0;
    let patch_type = match choice & 3 {
        0 => PatchType::Json,
        1 => PatchType::Merge,
        2 => PatchType::Strategic,
        _ => return applied(kind, live, bytes, is_forced),
    };
    let Ok(change) = patch::decode(bytes) else {
        return;
    };
    if let Ok(new) = patch::patch(schema(), kind.type_name, patch_type, live, &change) {
        assert!(new.is_object());
        if let Some(new) = held(kind, &new, &[]) {
            written(kind, live, new, true);
        }
    }
}

/// Server-side apply. The owners that stand in the configuration become the live object's: those
/// are what a client sent with an update.
fn applied(kind: &'static Kind, live: &Value, bytes: &[u8], is_forced: bool) {
    let Ok(mut config) = check::parse_yaml(bytes) else {
        return;
    };
    if !check::check(kind.type_name, &config).wrong.is_empty() {
        return;
    }
    let mut live = live.clone();
    if let Some(meta) = config.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(owners) = meta.remove("managedFields")
    {
        object::meta_mut(&mut live).insert("managedFields".to_owned(), owners);
    }
    let apply = |live: Option<&Value>| {
        let type_name = kind.type_name;
        let mut new = apply::apply(schema(), type_name, live, &config, &WRITER, is_forced)?;
        check::prune(type_name, &mut new);
        Ok::<Value, Failure>(new)
    };
    drop(apply(None));
    let new = match apply(Some(&live)) {
        Ok(new) => new,
        Err(failure) => {
            assert!(!is_forced || failure.reason != Reason::Conflict);
            return;
        }
    };
    if held(kind, &new, &[]).is_some()
        && let Some(new) = written(kind, &live, new, false)
        && !says_null(&config)
        // Where nobody is left who owns anything, the next one finds a former owner.
        && !new["metadata"]["managedFields"].is_null()
    {
        let again = apply(Some(&new)).expect("it is applied already");
        let again = written(kind, &new, again, false);
        assert_eq!(again, Some(new), "to apply again changes nothing");
    }
}

/// Whoever applies a null takes out what a default puts in again.
fn says_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(says_null),
        Value::Object(fields) => fields.values().any(says_null),
        _ => false,
    }
}

/// Selectors of queries, of labels and of each kind's fields; and a LabelSelector. What was read
/// is the same after it was written and read again.
pub fn selectors(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(selector) = LabelSelector::parse(&text) {
        let written = selector.to_string();
        assert_eq!(LabelSelector::parse(&written).as_ref(), Ok(&selector));
        assert_eq!(selector.is_everything(), written.is_empty());
        assert!(selector.matches(None) || !selector.is_everything());
    }
    for kind in KINDS {
        if let Ok(selector) = FieldSelector::parse(kind, &text) {
            let is_chosen = selector.matches(&json!({"metadata": {"name": "a"}}));
            assert!(is_chosen || !selector.is_everything());
            let is_other = selector
                .exactly("metadata.name")
                .is_some_and(|it| it != "a");
            assert!(!is_chosen || !is_other);
        }
    }
    if let Ok((json, _)) = check::parse_json(bytes)
        && let Ok(selector) = LabelSelector::from_json(&json)
        && json.is_object()
    {
        let written = LabelSelector::parse(&selector.to_string());
        let written = written.expect("what a LabelSelector says can be said in a query");
        for labels in [json!({}), json!({"a": "b"}), json!({"a": "1"})] {
            let labels = labels.as_object();
            assert_eq!(selector.matches(labels), written.matches(labels));
        }
    }
}

/// A word: a quantity, a time, a schedule, or a name of any sort. What is written of one is read
/// as the same, and narrower names are names of the wider sorts.
pub fn words(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    amounts(&text);
    if let Some(us) = time::parse_rfc3339_us(&text) {
        // With its offset taken off a time may lie behind the last one that can be written.
        let micro = time::format_rfc3339_micro(us);
        let again = time::parse_rfc3339_us(&micro).expect("a time of ours");
        assert!(again <= us);
        assert_eq!(time::format_rfc3339_micro(again), micro);
        let plain = time::format_rfc3339(us / 1000);
        assert_eq!(time::parse_rfc3339(&plain), Some(again / 1_000_000 * 1000));
    }
    match Schedule::parse(&text) {
        Ok(Schedule::Calendar(calendar)) => days(&calendar),
        Ok(Schedule::Every { seconds }) => assert!(seconds > 0),
        Err(why) => assert!(!why.is_empty()),
    }
    let is = |sort: fn(&str) -> Vec<String>| sort(&text).is_empty();
    assert!(!is(names::dns1035_label) || is(names::dns1123_label));
    assert!(!is(names::dns1123_label) || is(names::dns1123_subdomain) && is(names::label_value));
    assert!(!is(names::dns1123_subdomain) || is(names::path_segment) && is(names::config_key));
    assert!(!is(names::port_name) || is(names::dns1123_label));
    assert!(!is(names::label_value) || text.is_empty() || is(names::qualified_name));
    assert!(!is(names::ip) || text.parse::<std::net::IpAddr>().is_ok());
    for other in [
        names::wildcard_subdomain,
        names::env_name,
        names::http_header,
        names::percent,
    ] {
        assert!(!text.is_empty() || !is(other));
    }
}

/// A calendar has a minute on some day, whatever the month, or none at all.
fn days(calendar: &Calendar) {
    let fits = |day: u32, month: u32, weekday: u32| {
        let mut minutes = (0..24 * 60).map(|minute| (minute % 60, minute / 60));
        minutes.any(|(minute, hour)| calendar.fits(minute, hour, day, month, weekday))
    };
    let all = (1..=12).flat_map(|month| (1..=31).map(move |day| (day, month)));
    let mut all = all.flat_map(|(day, month)| (0..7).map(move |weekday| (day, month, weekday)));
    assert!(all.any(|(day, month, weekday)| fits(day, month, weekday)));
}

/// A quantity has one form, in which it is as much, wherever it is brought into it.
fn amounts(text: &str) {
    let read = quantity::parse(text);
    if let Some(amount) = read {
        let written = amount.to_string();
        let again = quantity::parse(&written).expect("a quantity of ours");
        assert_eq!(again, amount, "{written}");
        assert_eq!(again.to_string(), written);
        assert!(amount.to_milli().is_negative() == amount.is_negative());
    }
    let mut node = json!({"status": {"capacity": {"cpu": text}}});
    if check::check("core.v1.Node", &node).wrong.is_empty() {
        check::prune("core.v1.Node", &mut node);
        let form = node["status"]["capacity"]["cpu"].as_str();
        let form = form.expect("it stays a text");
        if let Some(amount) = quantity::parse(text.trim()) {
            assert_eq!(quantity::parse(form), Some(amount), "{form}");
        }
    }
}

/// An `Accept` header: the answer's type is one that is served there.
pub fn accept(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for endpoint in [
        Endpoint::Objects,
        Endpoint::Watch,
        Endpoint::Discovery,
        Endpoint::OpenApiV2,
        Endpoint::OpenApiV3,
    ] {
        match negotiate(&text, endpoint) {
            // What is answered can be asked for.
            Ok(wanted) => assert!(negotiate(wanted.content_type(), endpoint).is_ok()),
            Err(failure) => assert_eq!(failure.code(), 406),
        }
    }
}

/// The log of a workload, whose file a node finds on its disk: the first byte says how it is
/// read. Page by page it comes to an end, within the bounds that are asked.
///
/// # Panics
/// There is no room for a file among the temporary ones, too.
pub fn workload_log(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else {
        return;
    };
    let disk = disk::real();
    let path = std::env::temp_dir().join(format!("atoll-fuzz-{}.log", std::process::id()));
    disk.write_atomic(&path, bytes).expect("there is room");
    pages(&path, *how);
    disk.remove(&path).expect("it was just written");
}

fn pages(path: &Path, how: u8) {
    /// More than any input of a fuzzer has, where a page is not asked to be empty.
    const PAGES_MAX: usize = 1 << 12;
    let few = u64::from(how >> 4);
    let limit_bytes = (how & 1 > 0).then_some(few);
    let mut query = log::LogQuery {
        tail_lines: (how & 2 > 0).then_some(few),
        timestamps: how & 4 > 0,
        since_ms: (how & 8 > 0).then_some(NOW_MS),
        limit_bytes,
        ..log::LogQuery::default()
    };
    for _ in 0..PAGES_MAX {
        let page = log::read(path, &query).expect("a file of ours");
        let length = page.text.len() as u64;
        assert!(limit_bytes.is_none_or(|limit| length <= limit));
        assert!(!page.gap, "nothing was rotated");
        // A position goes from node to node.
        let position = serde_json::to_string(&page.position).expect("it is JSON");
        let position = serde_json::from_str(&position).expect("a position of ours");
        assert_eq!(position, page.position);
        let stands = query.position == Some(position);
        assert!(!stands || length == 0, "what came does not come again");
        if stands {
            return;
        }
        query.position = Some(position);
    }
    panic!("it comes to an end");
}

/// The kind whose resource is the first line, and what follows.
fn chosen(bytes: &[u8]) -> Option<(&'static Kind, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (resource, rest) = (&bytes[..end], &bytes[end + 1..]);
    let found = |kind: &&&'static Kind| kind.plural.as_bytes() == resource;
    KINDS.iter().find(found).map(|kind| (*kind, rest))
}

#[cfg(test)]
mod tests {
    use atoll_world::corpus::replay;

    #[test]
    fn the_corpora_of_the_fuzzer_are_read() {
        replay("api_accept", super::accept);
        replay("api_body", super::body);
        replay("api_object", super::object);
        replay("api_patch", super::patch);
        replay("api_protobuf", super::protobuf);
        replay("api_request", super::request);
        replay("api_selectors", super::selectors);
        replay("api_words", super::words);
        replay("dns_message", super::dns_message);
        replay("image_reference", super::image_reference);
        replay("image_document", super::image_document);
        replay("image_challenge", super::image_challenge);
        replay("image_archive", super::image_archive);
        replay("image_entry", super::image_entry);
        replay("image_secret", super::image_secret);
        replay("streams_spdy", super::streams_spdy);
        replay("streams_channels", super::streams_channels);
        replay("workload_log", super::workload_log);
    }
}
