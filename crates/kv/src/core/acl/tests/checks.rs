//! What users with such rules may do. Many of the cases are Redis's documentation of ACL put
//! to use.

use super::*;

fn is_allowed(user: &User, call: &str) -> bool {
    denied(user, call).is_none()
}

#[test]
fn commands_are_told_apart_from_their_subcommands() {
    let ann = user("~* +@all -client +client|id -config|set");
    for call in ["client id", "get a", "config get a"] {
        assert!(is_allowed(&ann, call), "{call}");
    }
    for call in ["client kill 1:1", "client", "config set a b"] {
        assert_eq!(denied(&ann, call), Some(Denied::Command), "{call}");
    }
    let bob = user("~* -@all +config -config|set +select|0");
    for call in ["config get a", "select 0"] {
        assert!(is_allowed(&bob, call), "{call}");
    }
    for call in ["config set a b", "select 1", "get a"] {
        assert_eq!(denied(&bob, call), Some(Denied::Command), "{call}");
    }
    assert!(!is_allowed(&user("+select|0 -select"), "select 0"));
    assert!(!is_allowed(&user("+select|0 -@connection"), "select 0"));
    assert!(is_allowed(&user("~* +@stream"), "xinfo stream a"));
}

#[test]
fn keys_need_what_is_done_to_them() {
    let ann = user("+@all %R~read* %W~write* %RW~rw*");
    for call in [
        "get read",
        "lpush write 1",
        "copy read write",
        "sort read store write",
        "georadius read 1 1 1 m store write",
        "exists read write rw",
        "touch write",
        "type read",
        "strlen write",
        "hexists write f",
        "sismember read f",
        "sintercard 2 read rw",
        "set write v",
        "set rw v get",
        "bitfield read get u4 0",
        "bitfield rw set u4 0 1",
        "watch read write",
        "pfcount read",
        "keys *",
    ] {
        assert_eq!(denied(&ann, call), None, "{call}");
    }
    for (call, place) in [
        ("get write", 1),
        ("lpush read 1", 1),
        ("copy write read", 1),
        ("copy read read", 2),
        ("sort read store read", 3),
        ("sort write store write", 1),
        ("georadius read1 1 1 1 m storedist read2", 7),
        ("exists read nothing", 2),
        ("sintercard 2 write read", 2),
        ("set read v", 1),
        ("set write v get", 1),
        ("bitfield read set u4 0 1", 1),
        ("bitfield write get u4 0", 1),
        ("bitfield read get u4 0 incrby u4 0 1", 1),
        ("pfcount read write", 2),
        ("mset write a read b", 3),
        ("smove rw read m", 2),
    ] {
        assert_eq!(denied(&ann, call), Some(Denied::Key(place)), "{call}");
    }
}

#[test]
fn selectors_do_not_add_up() {
    let ann = user("(+@write ~write::*) (+@read ~read::*) +mget ~key (+mget ~key ~other)");
    for call in ["set write::a b", "get read::a", "mget key other"] {
        assert_eq!(denied(&ann, call), None, "{call}");
    }
    assert_eq!(denied(&ann, "ping"), Some(Denied::Command));
    assert_eq!(denied(&ann, "set read::a b"), Some(Denied::Key(1)));
    // Who comes furthest says what is missing.
    assert_eq!(denied(&ann, "mget other some"), Some(Denied::Key(2)));
    assert_eq!(denied(&ann, "mget key other some"), Some(Denied::Key(3)));
    let bob = user("(%R~read* +@all) (%W~write* +@all)");
    assert!(is_allowed(&bob, "get read") && is_allowed(&bob, "lpush write 1"));
    assert_eq!(denied(&bob, "copy read write"), Some(Denied::Key(2)));
}

#[test]
fn channels_are_patterns_and_patterns_are_literal() {
    let ann = user("+@all &foo:1 &bar:*");
    for call in [
        "publish foo:1 m",
        "spublish bar:2 m",
        "subscribe foo:1 bar:2",
        "ssubscribe bar:2",
        "psubscribe bar:* foo:1",
        "unsubscribe other",
        "sunsubscribe other",
        "punsubscribe other",
        "pubsub channels",
    ] {
        assert_eq!(denied(&ann, call), None, "{call}");
    }
    for (call, place) in [
        ("publish zap m", 1),
        ("spublish zap m", 1),
        ("subscribe foo:1 zap", 2),
        ("ssubscribe zap", 1),
        ("psubscribe bar:* bar:baz", 2),
    ] {
        assert_eq!(denied(&ann, call), Some(Denied::Channel(place)), "{call}");
    }
    assert!(ann.may_listen(b"bar:9", false) && ann.may_listen(b"bar:*", true));
    assert!(!ann.may_listen(b"bar:9", true) && !ann.may_listen(b"zap", false));
}

#[test]
fn patterns_of_sort_need_every_key() {
    let call = words("sort list by v*");
    let sort = find(&call).unwrap();
    for (rules, allowed) in [
        ("(+sort ~list)", false),
        ("(+sort ~list ~v*)", false),
        ("(+sort ~list %W~*)", false),
        ("(+sort ~list %R~*)", true),
        ("~* (+sort ~list)", false),
        ("~* +sort", true),
    ] {
        assert_eq!(user(rules).may_read_all(sort, &call), allowed, "{rules}");
    }
}

#[test]
fn refusals_are_worded_as_in_redis() {
    let call = words("set key v");
    let set = find(&call).unwrap();
    for (denied, short, long) in [
        (
            Denied::Command,
            "User ann has no permissions to run the 'set' command",
            "User ann has no permissions to run the 'set' command",
        ),
        (
            Denied::Key(1),
            "No permissions to access a key",
            "User ann has no permissions to access the 'key' key",
        ),
        (
            Denied::Channel(1),
            "No permissions to access a channel",
            "User ann has no permissions to access the 'key' channel",
        ),
    ] {
        assert_eq!(denied.text(b"ann", set), short);
        assert_eq!(denied.full_text(b"ann", set, &call), long);
    }
}

/// What a script calls is checked when it is called; here its own keys are, as of any command.
#[test]
fn scripts_are_commands_like_others() {
    for (rules, call, allowed) in [
        ("~a +@scripting", "eval x 0", true),
        ("~a +@scripting", "evalsha x 1 a", true),
        ("~a +@scripting", "eval x 1 b", false),
        ("%R~a +@scripting", "eval_ro x 1 a", true),
        ("%R~a +@scripting", "fcall f 1 a", false),
        ("~* &* +@all -@scripting", "fcall_ro f 0", false),
        ("~* &* +@read", "eval_ro x 0", false),
    ] {
        assert_eq!(is_allowed(&user(rules), call), allowed, "{call}: {rules}");
    }
}
