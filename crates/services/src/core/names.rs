//! What names may look like: each check takes a text and gives what is wrong with it, in the
//! words of Kubernetes (apimachinery, `pkg/util/validation` and `pkg/api/validate/content` of
//! release 1.37), which its clients show. An empty answer is a yes.
//!
//! Nothing here matches regular expressions: those in the messages are for people.

/// The longest label of a domain name.
pub const LABEL_CHARACTERS_MAX: usize = 63;
/// The longest domain name.
pub const SUBDOMAIN_CHARACTERS_MAX: usize = 253;
/// The longest name of a port.
const PORT_NAME_CHARACTERS_MAX: usize = 15;

const LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const KEY_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// What is wrong with a text, one sentence each.
pub type Wrong = Vec<String>;

/// What a text has to fulfil.
pub type Rule = fn(&str) -> Wrong;

/// `must be between 1 and 65535, inclusive`.
pub fn range_message(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// `must be no more than 63 characters`.
fn length_message(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// The same, where label keys and values say bytes.
fn bytes_message(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn format_message(message: &str, format: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{format}')");
    }
    let examples: Vec<String> = examples.iter().map(|one| format!("'{one}', ")).collect();
    let examples = examples.join(" or ");
    format!("{message} (e.g. {examples}regex used for validation is '{format}')")
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether `inner` holds for all of a text, which has something, and `edge` for both its ends.
fn is_between(text: &str, edge: fn(u8) -> bool, inner: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    edge(*first) && edge(*last) && bytes.iter().all(|byte| inner(*byte))
}

fn is_label(text: &str) -> bool {
    is_between(text, is_lower, |byte| is_lower(byte) || byte == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// A label of a domain name (RFC 1123), as namespaces and containers are named.
pub fn dns1123_label(text: &str) -> Wrong {
    let mut wrong = too_long(text, LABEL_CHARACTERS_MAX);
    if !is_label(text) {
        wrong.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            let message = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
            format_message(message, LABEL_FORMAT, &["my-name", "123-abc"])
        });
    }
    wrong
}

/// A domain name (RFC 1123), as most objects are named.
pub fn dns1123_subdomain(text: &str) -> Wrong {
    let mut wrong = too_long(text, SUBDOMAIN_CHARACTERS_MAX);
    if !is_subdomain(text) {
        let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
        wrong.push(format_message(message, SUBDOMAIN_FORMAT, &["example.com"]));
    }
    wrong
}

/// A domain name behind `*.`.
pub fn wildcard_subdomain(text: &str) -> Wrong {
    let mut wrong = too_long(text, SUBDOMAIN_CHARACTERS_MAX);
    if !text.strip_prefix("*.").is_some_and(is_subdomain) {
        let message = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        let format = format!("\\*\\.{SUBDOMAIN_FORMAT}");
        wrong.push(format_message(message, &format, &["*.example.com"]));
    }
    wrong
}

/// A label of a domain name that begins with a letter (RFC 1035), as services are named.
pub fn dns1035_label(text: &str) -> Wrong {
    let mut wrong = too_long(text, LABEL_CHARACTERS_MAX);
    if !is_label(text) || !text.starts_with(|first: char| first.is_ascii_lowercase()) {
        let message = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
        let format = "[a-z]([-a-z0-9]*[a-z0-9])?";
        wrong.push(format_message(message, format, &["my-name", "abc-123"]));
    }
    wrong
}

fn too_long(text: &str, max: usize) -> Wrong {
    if text.len() > max {
        vec![length_message(max)]
    } else {
        Wrong::new()
    }
}

fn is_key(text: &str) -> bool {
    is_between(
        text,
        |byte| byte.is_ascii_alphanumeric(),
        |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
    )
}

fn key_message() -> String {
    let message = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    format_message(message, KEY_FORMAT, &["MyName", "my.name", "123-abc"])
}

/// A qualified name: the key of a label, `[domain/]name`.
pub fn qualified_name(text: &str) -> Wrong {
    let mut wrong = Wrong::new();
    let parts: Vec<&str> = text.splitn(3, '/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                let of_prefix = prefix_errors(prefix);
                wrong.extend(of_prefix);
            }
            name
        }
        _ => {
            let rest = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {}{rest}", key_message())];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_CHARACTERS_MAX {
        wrong.push(format!("name part {}", bytes_message(LABEL_CHARACTERS_MAX)));
    }
    if !is_key(name) {
        wrong.push(format!("name part {}", key_message()));
    }
    wrong
}

fn prefix_errors(prefix: &str) -> impl Iterator<Item = String> {
    let mut wrong = dns1123_subdomain(prefix);
    if prefix.len() > SUBDOMAIN_CHARACTERS_MAX {
        wrong[0] = bytes_message(SUBDOMAIN_CHARACTERS_MAX);
    }
    wrong.into_iter().map(|why| format!("prefix part {why}"))
}

/// The value of a label; may be empty.
pub fn label_value(text: &str) -> Wrong {
    let mut wrong = Wrong::new();
    if text.len() > LABEL_CHARACTERS_MAX {
        wrong.push(bytes_message(LABEL_CHARACTERS_MAX));
    }
    if !text.is_empty() && !is_key(text) {
        let message = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        let format = format!("({KEY_FORMAT})?");
        wrong.push(format_message(
            message,
            &format,
            &["MyValue", "my_value", "12345"],
        ));
    }
    wrong
}

/// A name that can stand in a path: neither `.` nor `..`, without `/` and `%`.
pub fn path_segment(text: &str) -> Wrong {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    let refused = ["/", "%"].into_iter();
    let found = refused.filter(|part| text.contains(part));
    found
        .map(|part| format!("may not contain '{part}'"))
        .collect()
}

/// The name of an environment variable: printable ASCII but `=`.
pub fn env_name(text: &str) -> Wrong {
    let mut wrong = Wrong::new();
    if text.is_empty() {
        wrong.push("environment variable name must be non-empty".to_owned());
    }
    if !text
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
    {
        wrong.push("a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned());
    }
    wrong
}

/// The name of a port (`IANA_SVC_NAME` of RFC 6335).
pub fn port_name(text: &str) -> Wrong {
    let mut wrong = too_long(text, PORT_NAME_CHARACTERS_MAX);
    let is_inner = |byte: u8| is_lower(byte) || byte == b'-';
    if text.is_empty() || !text.bytes().all(is_inner) {
        let message = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
        wrong.push(message.to_owned());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// The number of a port.
pub fn port_number(port: i64) -> Wrong {
    match port {
        1..=65_535 => Wrong::new(),
        _ => vec![range_message(1, 65_535)],
    }
}

/// A key of a ConfigMap or Secret, which becomes the name of a file.
pub fn config_key(text: &str) -> Wrong {
    let mut wrong = too_long(text, SUBDOMAIN_CHARACTERS_MAX);
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(is_inner) {
        let message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        let examples = ["key.name", "KEY_NAME", "key-name"];
        wrong.push(format_message(message, "[-._a-zA-Z0-9]+", &examples));
    }
    match text {
        "." => wrong.push("must not be '.'".to_owned()),
        ".." => wrong.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// The name of an HTTP header.
pub fn http_header(text: &str) -> Wrong {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !text.is_empty() && text.bytes().all(is_inner) {
        return Wrong::new();
    }
    let message = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![format_message(message, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// `25%`.
pub fn percent(text: &str) -> Wrong {
    let number = text.strip_suffix('%').unwrap_or_default();
    if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Wrong::new();
    }
    let message = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![format_message(message, "[0-9]+%", &["1%", "93%"])]
}

/// An IP address, as it is written.
pub fn ip(text: &str) -> Wrong {
    use std::net::IpAddr;
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".to_owned()]
        }
        Ok(ip) if ip.to_string() != text => {
            vec![format!("must be in canonical form (\"{ip}\")")]
        }
        Ok(_) => Wrong::new(),
        Err(_) => {
            vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that pass, and texts that don't with a part of each answer.
    fn check(rule: fn(&str) -> Wrong, good: &[&str], bad: &[(&str, &str)]) {
        for text in good {
            assert_eq!(rule(text), Wrong::new(), "{text:?}");
        }
        for (text, why) in bad {
            let wrong = rule(text);
            assert!(
                wrong.iter().any(|one| one.contains(why)),
                "{text:?}: {wrong:?}"
            );
        }
    }

    #[test]
    fn names_of_domains() {
        let long = "a".repeat(64);
        let longer = ["a"; 128].join(".");
        let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
        check(
            dns1123_label,
            &["a", "0", "a-b", "a--b", &long[..63]],
            &[
                ("", label),
                ("-a", label),
                ("a-", label),
                ("A", label),
                ("a_b", label),
                ("é", label),
                ("a.b", "must not contain dots"),
                (&long, "must be no more than 63 characters"),
            ],
        );
        let subdomain = "a lowercase RFC 1123 subdomain must consist of";
        check(
            dns1123_subdomain,
            &["a", "a.b", "0.a-b.c"],
            &[
                ("", subdomain),
                ("a..b", subdomain),
                (".a", subdomain),
                ("a.-b", subdomain),
                (&longer, "must be no more than 253 characters"),
            ],
        );
        check(
            dns1035_label,
            &["a", "a0"],
            &[
                ("0a", "a DNS-1035 label must"),
                ("a.b", "a DNS-1035 label must"),
            ],
        );
        check(
            wildcard_subdomain,
            &["*.a", "*.a.b"],
            &[
                ("a.b", "must start with '*.'"),
                ("*.*.a", "must start with '*.'"),
            ],
        );
    }

    #[test]
    fn labels() {
        let long = "a".repeat(64);
        check(
            qualified_name,
            &["a", "A", "a_b.c-d", "example.com/a", &long[..63]],
            &[
                ("", "name part must be non-empty"),
                ("/a", "prefix part must be non-empty"),
                ("a/", "name part must be non-empty"),
                ("A/a", "prefix part a lowercase RFC 1123 subdomain"),
                (
                    "a/b/c",
                    "a valid label key must consist of alphanumeric characters",
                ),
                (
                    "a b",
                    "name part must consist of alphanumeric characters, '-', '_' or '.'",
                ),
                ("_a", "name part must consist of"),
                (&long, "name part must be no more than 63 bytes"),
            ],
        );
        check(
            label_value,
            &["", "a", "A_b.c", &long[..63]],
            &[
                ("a b", "a valid label must be an empty string or consist of"),
                (
                    "-",
                    "regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?'",
                ),
                (&long, "must be no more than 63 bytes"),
            ],
        );
    }

    #[test]
    fn names_in_pods() {
        check(
            port_name,
            &["http", "8-b", "a23456789012345"],
            &[
                (
                    "",
                    "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                ),
                ("80", "must contain at least one letter (a-z)"),
                ("a--b", "must not contain consecutive hyphens"),
                ("a-", "must not begin or end with a hyphen"),
                ("HTTP", "must contain only"),
                ("a234567890123456", "must be no more than 15 characters"),
            ],
        );
        check(
            env_name,
            &["A", "a.b-c", "9 lives!"],
            &[
                ("", "must be non-empty"),
                ("A=B", "other than '='"),
                ("é", "printable ASCII"),
            ],
        );
        check(
            config_key,
            &["a.json", ".a"],
            &[
                ("", "a valid config key must consist of"),
                ("a/b", "a valid config key must consist of"),
                (".", "must not be '.'"),
                ("..", "must not be '..'"),
                ("..a", "must not start with '..'"),
            ],
        );
        check(
            http_header,
            &["X-A"],
            &[("", "a valid HTTP header"), ("a b", "a valid HTTP header")],
        );
        check(
            percent,
            &["0%", "100%"],
            &[("%", "a valid percent"), ("5", "a valid percent")],
        );
        for port in [0, -1, 65_536] {
            assert_eq!(
                port_number(port),
                ["must be between 1 and 65535, inclusive"]
            );
        }
        assert_eq!(port_number(65_535), Wrong::new());
    }

    #[test]
    fn names_in_paths_and_addresses() {
        check(
            path_segment,
            &["a", "...", "A b"],
            &[
                (".", "may not be '.'"),
                ("..", "may not be '..'"),
                ("a/b", "may not contain '/'"),
                ("a%b", "may not contain '%'"),
            ],
        );
        check(
            ip,
            &["10.0.0.1", "::1"],
            &[
                ("10.0.0", "must be a valid IP address"),
                ("10.0.0.01", "must be a valid IP address"),
                ("0:0::1", "must be in canonical form (\"::1\")"),
                ("::ffff:10.0.0.1", "must not be an IPv4-mapped IPv6 address"),
            ],
        );
    }
}
