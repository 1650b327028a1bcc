//! What keys of the control plane are to do in a transaction, as it is said on the command line.

use atoll_control::proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RequestOp,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
};
use atoll_txn::proto::KeysParticipant;
use clap::Args;

use crate::command::{parse_lease, range::bounds};

/// What is compared, put and deleted.
#[derive(Clone, Debug, Args)]
pub(crate) struct KeysArgs {
    /// What must hold of a key, in the words of etcdctl's txn: value("k") = "v", mod, create or
    /// ver("k") > "0", lease("k") = "1f"; may be given several times.
    #[arg(long = "if", value_name = "COMPARE", value_parser = compare, conflicts_with_all = ["http", "postgres"])]
    compares: Vec<Compare>,
    /// A key that is put; may be given several times.
    #[arg(long = "put", value_name = "KEY=VALUE", value_parser = put, conflicts_with_all = ["http", "postgres"])]
    puts: Vec<PutRequest>,
    /// A key that is deleted; may be given several times.
    #[arg(long = "delete", value_name = "KEY", conflicts_with_all = ["http", "postgres"])]
    deletes: Vec<String>,
    /// Every key that begins with this is deleted; may be given several times.
    #[arg(long = "delete-prefix", value_name = "PREFIX", conflicts_with_all = ["http", "postgres"])]
    delete_prefixes: Vec<String>,
    /// The lease with which the keys go that are put.
    #[arg(long, value_parser = parse_lease, value_name = "LEASE", conflicts_with_all = ["http", "postgres"])]
    lease: Option<i64>,
}

impl KeysArgs {
    /// The participant.
    pub(super) fn participant(self, label: String) -> KeysParticipant {
        let lease = self.lease.unwrap_or(0);
        let puts = self
            .puts
            .into_iter()
            .map(|put| Request::RequestPut(PutRequest { lease, ..put }));
        let deletes = self
            .deletes
            .into_iter()
            .map(|key| (key.into_bytes(), Vec::new()));
        let prefixes = self.delete_prefixes.into_iter();
        let prefixes = prefixes.map(|prefix| bounds(prefix.as_bytes(), None, true, false));
        let deletes = deletes.chain(prefixes).map(|(key, range_end)| {
            Request::RequestDeleteRange(DeleteRangeRequest {
                key: key.into(),
                range_end: range_end.into(),
                ..DeleteRangeRequest::default()
            })
        });
        let requests = puts.chain(deletes).map(|request| RequestOp {
            request: Some(request),
        });
        KeysParticipant {
            label,
            compare: self.compares,
            success: requests.collect(),
        }
    }
}

/// A key and its value.
fn put(text: &str) -> Result<PutRequest, String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("expected KEY=VALUE; the first = ends the key")?;
    Ok(PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    })
}

/// A comparison: what of which key, how, with what.
fn compare(text: &str) -> Result<Compare, String> {
    let wrong = || {
        format!(
            "expected value(\"KEY\"), mod, create, ver or lease, one of = != < >, and what to compare it with, and not {text}"
        )
    };
    let (target, rest) = text.split_once('(').ok_or_else(wrong)?;
    let (key, rest) = word(rest, Some(')')).ok_or_else(wrong)?;
    let rest = rest.trim_start();
    let operators = [
        ("!=", CompareResult::NotEqual),
        ("=", CompareResult::Equal),
        ("<", CompareResult::Less),
        (">", CompareResult::Greater),
    ];
    let stripped = |(sign, result)| rest.strip_prefix(sign).map(|rest| (result, rest));
    let (result, rest) = operators.into_iter().find_map(stripped).ok_or_else(wrong)?;
    let (with, _) = word(rest, None).ok_or_else(wrong)?;
    let number = || {
        with.parse::<i64>()
            .map_err(|_| format!("expected a whole number in {text}"))
    };
    let (target, union) = match target.trim() {
        "val" | "value" => (
            CompareTarget::Value,
            TargetUnion::Value(with.clone().into()),
        ),
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number()?)),
        "c" | "create" => (
            CompareTarget::Create,
            TargetUnion::CreateRevision(number()?),
        ),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
        // 0 is no lease.
        "lease" if with == "0" => (CompareTarget::Lease, TargetUnion::Lease(0)),
        "lease" => (
            CompareTarget::Lease,
            TargetUnion::Lease(parse_lease(&with)?),
        ),
        _ => return Err(wrong()),
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        ..Compare::default()
    })
}

/// A word, in quotation marks or plain, that ends where the text does or with `end`; and what
/// follows. In quotation marks a backslash takes the next character as it is.
fn word(text: &str, end: Option<char>) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = match end {
            Some(end) => text.split_once(end)?,
            None => (text, ""),
        };
        return Some((word.trim_end().to_owned(), rest));
    };
    let mut word = String::new();
    let mut letters = quoted.chars();
    loop {
        match letters.next()? {
            '"' => break,
            '\\' => word.push(letters.next()?),
            letter => word.push(letter),
        }
    }
    let rest = letters.as_str().trim_start();
    match end {
        Some(end) => Some((word, rest.strip_prefix(end)?)),
        None => rest.is_empty().then_some((word, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (CompareTarget, String, CompareResult, TargetUnion) {
        let it = compare(text).unwrap();
        let key = String::from_utf8(it.key.to_vec()).unwrap();
        (it.target(), key, it.result(), it.target_union.unwrap())
    }

    #[test]
    fn compares_are_read_as_etcdctl_writes_them() {
        use CompareResult::{Equal, Greater, Less, NotEqual};
        use CompareTarget::{Create, Lease, Mod, Value, Version};
        let value = |it: &'static str| TargetUnion::Value(it.into());
        for (text, target, key, result, union) in [
            (r#"value("k") = "v""#, Value, "k", Equal, value("v")),
            ("val(k)=v w", Value, "k", Equal, value("v w")),
            (
                r#"value("a\")b") != "\\ = ""#,
                Value,
                "a\")b",
                NotEqual,
                value("\\ = "),
            ),
            ("value( k )=", Value, "k", Equal, value("")),
            (
                r#"mod("k") > "7""#,
                Mod,
                "k",
                Greater,
                TargetUnion::ModRevision(7),
            ),
            ("m(k) < 8", Mod, "k", Less, TargetUnion::ModRevision(8)),
            (
                "create(k) = 0",
                Create,
                "k",
                Equal,
                TargetUnion::CreateRevision(0),
            ),
            ("ver(k) = 2", Version, "k", Equal, TargetUnion::Version(2)),
            (
                "version(k)!=2",
                Version,
                "k",
                NotEqual,
                TargetUnion::Version(2),
            ),
            ("lease(k) = 1f", Lease, "k", Equal, TargetUnion::Lease(31)),
            ("lease(k) = 0", Lease, "k", Equal, TargetUnion::Lease(0)),
        ] {
            let expected = (target, key.to_owned(), result, union);
            assert_eq!(parsed(text), expected, "{text}");
        }
        for wrong in [
            "",
            "value",
            "value(k",
            "value(k)",
            "value(k) ~ v",
            "size(k) = 1",
            "mod(k) = x",
            "lease(k) = zz",
            r#"value("k" = v"#,
            r#"value("k) = v"#,
            r#"value("k") = "v" w"#,
        ] {
            assert!(compare(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_put_ends_its_key_with_the_first_sign() {
        let it = put("a=b=c").unwrap();
        assert_eq!((&it.key[..], &it.value[..]), (&b"a"[..], &b"b=c"[..]));
        assert!(put("a").is_err());
    }

    #[test]
    fn all_that_is_put_goes_with_the_lease() {
        let args = KeysArgs {
            compares: Vec::new(),
            puts: vec![put("a=1").unwrap()],
            deletes: vec!["b".to_owned()],
            delete_prefixes: vec!["c/".to_owned()],
            lease: Some(31),
        };
        let keys = args.participant("x".to_owned());
        assert_eq!((keys.label.as_str(), keys.success.len()), ("x", 3));
        let requests: Vec<_> = keys
            .success
            .into_iter()
            .filter_map(|it| it.request)
            .collect();
        assert!(matches!(&requests[0], Request::RequestPut(it) if it.lease == 31));
        assert!(matches!(&requests[1], Request::RequestDeleteRange(it) if it.range_end.is_empty()));
        assert!(
            matches!(&requests[2], Request::RequestDeleteRange(it) if it.range_end == "c0".as_bytes())
        );
    }
}
