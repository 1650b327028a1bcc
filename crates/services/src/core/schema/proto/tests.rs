use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Objects as Kubernetes' Go packages write them: a line of protobuf in hexadecimal, and a line of
/// JSON.
const GOLDEN: &str = include_str!("golden.txt");

fn golden() -> Vec<(Vec<u8>, Value)> {
    let lines: Vec<&str> = GOLDEN.lines().collect();
    let pair = |pair: &[&str]| {
        let digits = pair[0]
            .as_bytes()
            .chunks(2)
            .map(|byte| std::str::from_utf8(byte).unwrap());
        let bytes = digits
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        (bytes, serde_json::from_str(pair[1]).unwrap())
    };
    lines.chunks(2).map(pair).collect()
}

fn named(object: &Value) -> (&str, &str, &'static str) {
    let (api_version, kind) = (
        object["apiVersion"].as_str().unwrap(),
        object["kind"].as_str().unwrap(),
    );
    (api_version, kind, type_of(api_version, kind).unwrap())
}

#[test]
fn what_kubernetes_writes_is_read() {
    for (bytes, mut object) in golden() {
        let type_name = named(&object).2;
        prune(type_name, &mut object);
        assert_eq!(decode(&bytes).unwrap(), object, "{type_name}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    for (_, mut object) in golden() {
        prune(named(&object).2, &mut object);
        let (api_version, kind, type_name) = named(&object);
        let bytes = encode(api_version, kind, type_name, &object);
        assert_eq!(decode(&bytes).unwrap(), object);
    }
}

#[test]
fn only_a_pointer_tells_zero_from_nothing() {
    let read = |number: u8| {
        let mut message = Vec::new();
        wire::put_bytes(&mut message, 2, &[number << 3, 0]);
        let bytes = write::envelope("apps/v1", "Deployment", &message);
        decode(&bytes).unwrap()["spec"].clone()
    };
    assert_eq!(read(1), json!({"replicas": 0}));
    assert_eq!(read(5), json!({}), "minReadySeconds");
}

#[test]
fn repeated_numbers_may_be_packed() {
    let mut security = Vec::new();
    wire::put_bytes(&mut security, 4, &[1, 0x80, 0x01]);
    wire::put_integer(&mut security, 4, 7);
    let message = [(14, security)]
        .into_iter()
        .fold(Vec::new(), |mut out, (number, bytes)| {
            wire::put_bytes(&mut out, number, &bytes);
            out
        });
    let spec = read::object("core.v1.PodSpec", &message).unwrap();
    assert_eq!(
        Value::Object(spec),
        json!({"securityContext": {"supplementalGroups": [1, 128, 7]}})
    );
}

#[test]
fn unknown_numbers_are_skipped_and_messages_merged() {
    let mut message = Vec::new();
    wire::put_integer(&mut message, 900, 1);
    wire::put_double(&mut message, 901, 1.0);
    wire::put_bytes(&mut message, 902, b"x");
    message.extend([0x85, 0x20, 0, 0, 0, 0]);
    for spec in [b"\x08\x03", b"\x28\x05"] {
        wire::put_bytes(&mut message, 2, spec);
    }
    let object = decode(&write::envelope("apps/v1", "Deployment", &message)).unwrap();
    assert_eq!(object["spec"], json!({"replicas": 3, "minReadySeconds": 5}));
}

#[test]
fn a_list_has_its_items() {
    let list = json!({"metadata": {"resourceVersion": "7"},
        "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]});
    let bytes = encode_list("v1", "PodList", "core.v1.Pod", &list);
    let envelope = read::envelope(bytes.strip_prefix(MAGIC).unwrap()).unwrap();
    assert_eq!(
        (envelope.api_version.as_str(), envelope.kind.as_str()),
        ("v1", "PodList")
    );
    let mut records = wire::Reader::new(envelope.raw);
    let mut read = Vec::new();
    while let Some((number, value)) = records.record().unwrap() {
        let type_name = if number == 1 {
            "meta.v1.ListMeta"
        } else {
            "core.v1.Pod"
        };
        read.push(Value::Object(
            read::object(type_name, value.bytes().unwrap()).unwrap(),
        ));
    }
    assert_eq!(
        read,
        [&list["metadata"], &list["items"][0], &list["items"][1]]
            .map(Value::clone)
            .to_vec()
    );
}

#[test]
fn what_is_no_object_is_refused() {
    let unknown = |api_version: &str, kind: &str| ProtoError::UnknownKind {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
    };
    let of = |api_version, kind, message: &[u8]| write::envelope(api_version, kind, message);
    let cases = [
        (b"{}".to_vec(), ProtoError::NoMagic),
        (b"k8s\0".to_vec(), unknown("", "")),
        (of("v1", "Nothing", b""), unknown("v1", "Nothing")),
        (of("v1", "PodSpec", b""), unknown("v1", "PodSpec")),
        (
            of("v1", "ObjectReference", b""),
            unknown("v1", "ObjectReference"),
        ),
        (of("v1", "Pod", b"\x0a\x05"), ProtoError::Truncated),
        (
            of("v1", "Pod", b"\x0b"),
            ProtoError::Malformed("a wire type"),
        ),
        (
            of("v1", "Pod", b"\x00\x00"),
            ProtoError::Malformed("a field's number"),
        ),
        (
            of("v1", "Pod", b"\x0a\x03\x0a\x01\xff"),
            ProtoError::Malformed("UTF-8"),
        ),
        (
            of("v1", "Pod", &[0xff; 11]),
            ProtoError::Malformed("a varint"),
        ),
        (
            of("v1", "Pod", b"\x08\x01"),
            ProtoError::Malformed("a text or message"),
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(&bytes), Err(error));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(message in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&message);
        let _ = decode(&write::envelope("v1", "Pod", &message));
    }

    #[test]
    fn no_changed_object_panics(
        which in 0..22_usize,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        end in any::<proptest::sample::Index>(),
    ) {
        let (mut bytes, _) = golden().swap_remove(which);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode(&bytes);
        bytes.truncate(end.index(bytes.len()));
        let _ = decode(&bytes);
    }
}
