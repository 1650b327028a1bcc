//! What fuzz targets call: every parser here of text that comes from outside, with what must
//! hold whatever the text is. The same functions are shown broken examples in a normal test.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::core::{
    basic, file,
    jwt::{self, Jwt},
    proxy_header::{self, HEADER_BYTES_MAX, Parsed},
    services::{Doors, Made, Objects},
    sources,
};

/// `gateway.toml`: any text is a file or an error. What is a file makes a snapshot that does not
/// contradict itself. Files that it names hold their own names.
pub fn gateway_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let read = |path: &str| Ok(path.as_bytes().to_vec());
    if let Ok(file) = file::File::parse(text, &read) {
        let made = file::config(Some(&file), &Objects::default(), &doors());
        made.config.check().expect("a file that was read is good");
    }
}

/// Annotations of an Ingress and of a Service, `NAME=VALUE` a line: whatever they are, there is a
/// snapshot that does not contradict itself, and what is not understood is told. It closes the
/// Ingress's route.
pub fn annotations(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let annotations = pairs.map(|(name, value)| (format!("atoll.dev/{name}"), json!(value)));
    let annotations: Value = annotations.collect::<serde_json::Map<_, _>>().into();
    let none = || json!({});
    let of_ingress = annotated(&annotations, &none());
    let policy = &of_ingress.config.routes[0].policy;
    assert_eq!(policy.is_broken, !of_ingress.problems.is_empty());
    let of_service = annotated(&none(), &annotations);
    assert!(!of_service.config.routes[0].policy.is_broken);
}

fn annotated(of_ingress: &Value, of_service: &Value) -> Made {
    let ingress = json!({
        "metadata": {"namespace": "n", "name": "i", "annotations": of_ingress},
        "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}},
    });
    let service = json!({
        "metadata": {"namespace": "n", "name": "s", "annotations": of_service},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 80}]},
    });
    let (services, ingresses) = ([Arc::new(service)], [Arc::new(ingress)]);
    let objects = Objects {
        services: &services,
        ingresses: &ingresses,
        ..Objects::default()
    };
    let made = file::config(None, &objects, &doors());
    made.config.check().expect("what is wrong was left out");
    made
}

/// What clients and people hand in beside requests: networks, lists of passwords, credentials,
/// keys, tokens, the head of the PROXY protocol.
pub fn gateway_words(bytes: &[u8]) {
    proxy(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for network in sources::networks(text).into_iter().flatten() {
        assert_eq!(network.to_string().parse(), Ok(network));
    }
    if let Ok(users) = basic::Users::parse(text) {
        assert!(!users.some_hash().is_empty());
    }
    if let Ok(field) = hyper::header::HeaderValue::from_str(text) {
        let _ = basic::credentials(&field);
    }
    let secret =
        r#"{"keys": [{"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;
    let keys = jwt::keys(text).or_else(|_| jwt::keys(secret));
    let jwt = Jwt {
        keys: keys.expect("the second set is one"),
        issuer: None,
        audiences: Vec::new(),
        leeway_s: 0,
    };
    let _ = jwt.verify(text, 0);
}

/// A header is asked for in steps that end.
fn proxy(bytes: &[u8]) {
    let mut shown = 0;
    while let Ok(Parsed::Needs(more)) = proxy_header::parse(&bytes[..shown]) {
        assert!(more > 0 && shown + more <= HEADER_BYTES_MAX);
        shown += more;
        if shown > bytes.len() {
            return;
        }
    }
}

fn doors() -> Doors {
    Doors {
        host: "127.0.0.1".to_owned(),
        balancer: Some("127.0.0.2".to_owned()),
        http: "127.0.0.1:8080".to_owned(),
        https: Some("127.0.0.1:8443".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use atoll_world::corpus::replay;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_corpora_of_the_fuzzer_are_read() {
        replay("gateway_annotations", annotations);
        replay("gateway_file", gateway_file);
        replay("gateway_words", gateway_words);
    }

    const DOCS: &str = include_str!("../../../docs/gateway.md");
    const WORDS: &str = "rate-limit=10/20\nrate-limit-by=header x\nbalancer=random\n\
        affinity=session a\nallow=10.0.0.0/8, ::1\nretries=3\nbody-bytes-max=0\n\
        jwt-secret=x\nredirect-to-https=true\nhedge-after-ms=1\nbackend-tls=true\nhealth-probe=http\nhealth-path=/a\n\
        health-interval-ms=10\nmatch-methods=GET, PUT\nmatch-headers=a=b\n\
        backend-tls-server-name=a.example\nbackend-tls-accepts-any-certificate=true";

    /// The text with some of its bytes cut out or replaced.
    fn broken(text: &str, cuts: &[(usize, usize, u8)]) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        for (at, length, byte) in cuts {
            let at = at % bytes.len().max(1);
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, [*byte]);
        }
        bytes
    }

    proptest! {
        #[test]
        fn broken_text_breaks_nothing(
            cuts in prop::collection::vec((any::<usize>(), 0usize..40, any::<u8>()), 1..6),
        ) {
            let (_, rest) = DOCS.split_once("```toml\n").unwrap();
            let (example, _) = rest.split_once("```").unwrap();
            // Without what has to be read from elsewhere.
            let (_, plain) = example.split_once("[backends.shop]").unwrap();
            gateway_file(&broken(example, &cuts));
            gateway_file(&broken(&format!("[backends.shop]{plain}"), &cuts));
            annotations(&broken(WORDS, &cuts));
            let words = [
                "10.0.0.0/8, 2001:db8::/32",
                "PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
                "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0cabcdabcdefgh",
                "Basic YW5uOmE6Yg==",
                "ann:$2y$05$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
                "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjB9.AAAA",
            ];
            for word in words {
                gateway_words(&broken(word, &cuts));
            }
        }
    }
}
