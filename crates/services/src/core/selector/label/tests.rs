use serde_json::json;

use super::*;

/// The labels that a selector is asked about.
fn labels(text: &str) -> Map<String, Value> {
    let pairs = text
        .split_whitespace()
        .filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect()
}

#[test]
fn selectors_of_queries() {
    let table = [
        ("", "", true),
        ("", "a=b", true),
        ("a=b", "a=b", true),
        ("a==b", "a=b", true),
        ("a=b", "a=c", false),
        ("a=b", "", false),
        ("a=", "a=", true),
        ("a=,b", "a= b=1", true),
        ("a!=b", "", true),
        ("a!=b", "a=c", true),
        ("a!=b", "a=b", false),
        ("a in (b,c)", "a=c", true),
        ("a in (b , c)", "a=d", false),
        ("a in ()", "a=", true),
        ("a in (,b)", "a=", true),
        ("a in (in,notin)", "a=in", true),
        ("a notin (b,c)", "a=d", true),
        ("a notin (b,c)", "", true),
        ("a notin (b,c)", "a=b", false),
        ("a", "a=1", true),
        ("a", "b=1", false),
        ("!a", "b=1", true),
        (" ! a ", "a=1", false),
        ("a>3", "a=4", true),
        ("a>3", "a=3", false),
        ("a<3", "a=-2", true),
        ("a<3", "a=x", false),
        ("a=b,c!=d,e in (f,g),h notin (i),j,!k", "a=b e=g j=1", true),
        (
            "a=b,c!=d,e in (f,g),h notin (i),j,!k",
            "a=b e=g j=1 k=1",
            false,
        ),
        ("in=notin", "in=notin", true),
        ("example.com/a=b", "example.com/a=b", true),
    ];
    for (selector, of, expected) in table {
        let read = LabelSelector::parse(selector).expect(selector);
        assert_eq!(
            read.matches(Some(&labels(of))),
            expected,
            "{selector:?} of {of:?}"
        );
        let again = LabelSelector::parse(&read.to_string()).expect(selector);
        assert_eq!(again, read, "{selector:?} is written as {read}");
    }
    assert!(!LabelSelector::parse("a").expect("a key").matches(None));
    assert!(LabelSelector::parse("").expect("nothing").is_everything());
}

#[test]
fn what_can_not_be_read_is_a_bad_request() {
    let table = [
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        (
            ",a",
            "found ',', expected: !, identifier, or 'end of string'",
        ),
        (
            "(",
            "found '(', expected: !, identifier, or 'end of string'",
        ),
        (
            "a b",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        ),
        (
            "a in b",
            "unable to parse requirement: found 'b' expected: '('",
        ),
        (
            "a in (b",
            "unable to parse requirement: found '', expected: ',' or ')'",
        ),
        (
            "a in (b c)",
            "unable to parse requirement: found 'c', expected: ',' or ')'",
        ),
        (
            "a in (=)",
            "unable to parse requirement: found '=', expected: ',', ')' or identifier",
        ),
        (
            "!",
            "unable to parse requirement: found '', expected: identifier",
        ),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        (
            "a=(",
            "unable to parse requirement: found '(', expected: identifier",
        ),
        (
            "a>b",
            "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        (
            "a$=b",
            "unable to parse requirement: <nil>: Invalid value: \"a$\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        (
            "a=b$",
            "unable to parse requirement: values[0][a]: Invalid value: \"b$\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
    ];
    for (text, why) in table {
        let failure = LabelSelector::parse(text).expect_err(text);
        assert_eq!(
            (failure.code(), failure.to_string().as_str()),
            (400, why),
            "{text}"
        );
    }
    let long = "a,".repeat(TEXT_BYTES_MAX);
    let many = vec!["a"; REQUIREMENTS_MAX + 1].join(",");
    for text in [long, many] {
        let failure = LabelSelector::parse(&text).expect_err("too large");
        assert!(failure.to_string().contains("too large"), "{failure}");
    }
}

#[test]
fn selectors_of_objects() {
    let selector = json!({
        "matchLabels": {"a": "b"},
        "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["e", "d"]},
            {"key": "f", "operator": "DoesNotExist"},
        ],
    });
    let read = LabelSelector::from_json(&selector).expect("a selector");
    assert_eq!(read.to_string(), "a=b,c in (d,e),!f");
    assert!(read.matches(Some(&labels("a=b c=d"))));
    assert!(!read.matches(Some(&labels("a=b c=d f=1"))));
    assert!(
        !LabelSelector::from_json(&json!(null))
            .expect("none")
            .matches(None)
    );
    assert!(
        LabelSelector::from_json(&json!({}))
            .expect("empty")
            .matches(None)
    );
    let table = [
        (
            json!({"key": "a", "operator": "Is"}),
            "\"Is\" is not a valid label selector operator",
        ),
        (
            json!({"key": "a", "operator": "Gt", "values": ["1"]}),
            "\"Gt\" is not a valid",
        ),
        (
            json!({"key": "a", "operator": "In"}),
            "values set can't be empty",
        ),
        (
            json!({"key": "a", "operator": "Exists", "values": ["b"]}),
            "values set must be empty",
        ),
        (
            json!({"operator": "Exists"}),
            "key: Invalid value: \"\": name part must be non-empty",
        ),
        (json!(7), "\"\" is not a valid label selector operator"),
    ];
    for (expression, why) in table {
        let selector = json!({"matchExpressions": [expression]});
        let found = LabelSelector::from_json(&selector).expect_err(why);
        assert!(found.contains(why), "{found}");
    }
    let map = LabelSelector::from_map(&labels("a=b c=d"));
    assert!(map.matches(Some(&labels("a=b c=d e=f"))) && !map.matches(Some(&labels("a=b"))));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-c=!<>(), ]{0,40}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            proptest::prop_assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
        }
    }
}
