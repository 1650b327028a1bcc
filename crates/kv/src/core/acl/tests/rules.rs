//! What rules come to in their canonical form.

use super::*;

#[test]
fn a_new_user_may_nothing() {
    let user = User::default();
    assert_eq!(text(&user), "off sanitize-payload resetchannels -@all");
    assert_eq!(denied(&user, "get a"), Some(Denied::Command));
    // Who may not log in could never become somebody who may.
    assert_eq!(denied(&user, "auth a b"), None);
}

#[test]
fn rules_are_told_as_redis_tells_them() {
    for (rules, expected) in [
        (
            "on nopass ~* &* +@all",
            "on nopass sanitize-payload ~* &* +@all",
        ),
        (
            "on allkeys allchannels allcommands",
            "on sanitize-payload ~* &* +@all",
        ),
        (
            "on nopass resetchannels &foo +@all",
            "on nopass sanitize-payload resetchannels &foo +@all",
        ),
        (
            "~a %R~b %W~c %RW~d %r~c",
            "off sanitize-payload ~a %R~b ~c ~d resetchannels -@all",
        ),
        ("%R~* %W~*", "off sanitize-payload ~* resetchannels -@all"),
        (
            "~a resetkeys ~b",
            "off sanitize-payload ~b resetchannels -@all",
        ),
        (
            "+@all -@string +incr -client +client|id",
            "off sanitize-payload resetchannels +@all -@string +incr -client +client|id",
        ),
        (
            "+GET -Config|Get +config|GET +select|0",
            "off sanitize-payload resetchannels -@all +get +config|get +select|0",
        ),
        // What holds anyway is not repeated.
        (
            "+config|get +config",
            "off sanitize-payload resetchannels -@all +config",
        ),
        (
            "+@all +client|id",
            "off sanitize-payload resetchannels +@all",
        ),
        ("+get -@all", "off sanitize-payload resetchannels -@all"),
        (
            "( ~a  +get ) (%W~b +set resetchannels &c)",
            "off sanitize-payload resetchannels -@all (~a resetchannels -@all +get) (%W~b \
             resetchannels &c -@all +set)",
        ),
        (
            "() clearselectors",
            "off sanitize-payload resetchannels -@all",
        ),
        (
            "()",
            "off sanitize-payload resetchannels -@all (resetchannels -@all)",
        ),
        (
            "on ~a +get skip-sanitize-payload reset",
            "off sanitize-payload resetchannels -@all",
        ),
    ] {
        assert_eq!(text(&user(rules)), expected, "{rules}");
    }
}

/// Redis promises that a category alone is told as that category.
#[test]
fn categories_are_told_as_they_were_given() {
    for category in Categories::names() {
        assert_eq!(
            text(&user(&format!("+@all -@{category}"))),
            format!("off sanitize-payload resetchannels +@all -@{category}")
        );
        assert_eq!(
            text(&user(&format!("-@all +@{category}"))),
            format!("off sanitize-payload resetchannels -@all +@{category}")
        );
    }
}

#[test]
fn what_is_wrong_is_told_and_changes_nothing() {
    let long = format!("~{}", "k".repeat(RULES_BYTES_MAX));
    for (rules, word, error) in [
        ("+nothing", "+nothing", RuleError::Unknown),
        ("+@nothing", "+@nothing", RuleError::Unknown),
        ("+", "+", RuleError::Unknown),
        ("+config|asdf", "+config|asdf", RuleError::Unknown),
        ("-config|asdf", "-config|asdf", RuleError::Unknown),
        ("+get|a|b", "+get|a|b", RuleError::Unknown),
        ("-select|0", "-select|0", RuleError::Unknown),
        ("+select|", "+select|", RuleError::Syntax),
        ("+config|get|x", "+config|get|x", RuleError::FirstArgument),
        ("~* ~a", "~a", RuleError::AllKeys),
        ("&* &a", "&a", RuleError::AllChannels),
        ("%~a", "%~a", RuleError::Syntax),
        ("%RR~a", "%RR~a", RuleError::Syntax),
        ("%RWa", "%RWa", RuleError::Syntax),
        ("%X~a", "%X~a", RuleError::Syntax),
        ("maybe", "maybe", RuleError::Syntax),
        (")", ")", RuleError::Syntax),
        ("(", "(", RuleError::Parenthesis),
        ("(~a +get", "(~a", RuleError::Parenthesis),
        ("(on)", "(on)", RuleError::Syntax),
        ("(>p)", "(>p)", RuleError::Syntax),
        ("(&* &fail)", "(&* &fail)", RuleError::AllChannels),
        ("(~a) +get)", "+get)", RuleError::Unknown),
        ("#abc", "#abc", RuleError::PasswordHash),
        ("!abc", "!abc", RuleError::PasswordHash),
        (&long, &long, RuleError::TooLong),
    ] {
        let mut ann = user("on ~before +get");
        let before = ann.clone();
        let given = format!("reset {rules}");
        let refused = ann.apply(&words(&given)).unwrap_err();
        assert_eq!(refused, (word.to_owned().into(), error), "{rules}");
        assert_eq!(ann, before, "{rules}");
    }
}

#[test]
fn spaces_and_nulls_are_in_no_pattern() {
    for word in ["~a b", "~a\0", "&a\tb", "%R~a\n", "+select|a b"] {
        let refused = User::default().apply(&[word.into()]).unwrap_err();
        assert_eq!(refused.1, RuleError::Syntax, "{word:?}");
    }
    // A selector's text could not be told from its end.
    let refused = User::default().apply(&["(~a) +get)".into()]);
    assert_eq!(refused.unwrap_err().1, RuleError::Syntax);
}

#[test]
fn passwords_are_handed_on() {
    let mut ann = user("on nopass");
    let changes = ann.apply(&words(">secret <old resetpass reset")).unwrap();
    assert_eq!(
        changes,
        [
            PasswordChange::Set("secret".into()),
            PasswordChange::Remove("old".into()),
            PasswordChange::Clear,
            PasswordChange::Clear,
        ]
    );
    assert!(!user("nopass >secret").needs_no_password());
    assert!(!user("nopass resetpass").needs_no_password());
    assert!(user(">secret nopass").needs_no_password());
    assert!(!format!("{changes:?}").contains("secret"));
}

#[test]
fn rules_of_other_releases_are_kept() {
    let stored = "on sanitize-payload ~a resetchannels -@all +get +future|part -@later";
    let kept = User::parse(stored.as_bytes()).unwrap();
    assert_eq!(text(&kept), stored);
    assert_eq!(denied(&kept, "get a"), None);
    // All is not quite all.
    let most = User::parse(b"on ~* &* +@all -future").unwrap();
    assert!(!most.allows_everything());
    for bad in ["on maybe", "on >secret", "on (", "on ~* ~a", "on +a\0"] {
        assert!(User::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn names_of_users_are_words() {
    assert_eq!(check_name(b"ann"), Ok("ann"));
    for bad in [&b"a a"[..], b"a\0", b"\n"] {
        let text = check_name(bad).unwrap_err();
        assert_eq!(
            text,
            "ERR Usernames can't contain spaces or null characters"
        );
    }
    assert!(check_name(b"\xff").is_err());
    assert!(check_name(b"").is_err());
}
