//! What clients may do, and what is told of what they may not.

use super::*;
use crate::{
    core::acl::User,
    face::acl::{Acl, DEFAULT_USER},
};

/// A user of these rules.
fn user(name: &'static str, rules: &str) -> (Bytes, User) {
    let mut user = User::default();
    let words: Vec<Bytes> = rules
        .split(' ')
        .map(|word| Bytes::from(word.to_owned()))
        .collect();
    user.apply(&words).unwrap();
    (name.into(), user)
}

fn anybody() -> (Bytes, User) {
    (DEFAULT_USER.into(), User::everything().without_password())
}

/// Somebody who is logged in already.
fn client(name: &str, acl: &Acl, world: &mut World) -> Client {
    let mut client = Client::new(3, OPEN);
    client.session = Session::new(3, OPEN).with_acl(acl.clone());
    client.send(&format!("AUTH {name} secret"), world);
    assert_eq!(client.take(), "+OK");
    client
}

#[test]
fn commands_keys_and_channels_are_refused() {
    let world = World::of(Acl::of([
        anybody(),
        user(
            "ann",
            "on ~a* +@string +subscribe +publish &news:* +multi +exec +sort +client|id",
        ),
    ]));
    story_in(
        world,
        OPEN,
        "
        > SET b 1
        +OK
        > AUTH ann secret
        +OK
        > SET a 1
        +OK
        > LPUSH a 1
        -NOPERM User ann has no permissions to run the 'lpush' command
        > CLIENT KILL 1:1
        -NOPERM User ann has no permissions to run the 'client|kill' command
        > CLIENT ID
        :3
        > GET b
        -NOPERM No permissions to access a key
        > MGET a b
        -NOPERM No permissions to access a key
        > GET
        -ERR wrong number of arguments for 'get' command
        > NOTHING
        -ERR unknown command 'NOTHING', with args beginning with:
        > PUBLISH news:1 m
        :1
        > PUBLISH other m
        -NOPERM No permissions to access a channel
        > SUBSCRIBE news:1 other
        -NOPERM No permissions to access a channel
        > SORT a BY w* GET #
        -ERR BY option of SORT denied due to insufficient ACL permissions.
        > SORT a GET a*
        -ERR GET option of SORT denied due to insufficient ACL permissions.
        > SORT a BY nosort
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > MULTI
        +OK
        > SET a 2
        +QUEUED
        > SET b 2
        -NOPERM No permissions to access a key
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > GET a
        $1 1
        > HELLO 3
        %7 $6 server $5 redis $7 version $5 7.4.0 $5 proto :3 $2 id :3 $4 mode $10 standalone $4 role $6 master $7 modules *0
        > RESET
        +RESET
        > GET b
        $1 1
        ",
    );
}

#[test]
fn users_that_are_not_there_log_in_nowhere() {
    let world = World::of(Acl::of([user("ann", "on")]));
    // Nobody is `default` here.
    story_in(
        world,
        OPEN,
        "
        > GET a
        -NOAUTH Authentication required.
        > AUTH bob secret
        -WRONGPASS invalid username-password pair or user is disabled.
        > AUTH ann secret
        +OK
        > GET a
        -NOPERM User ann has no permissions to run the 'get' command
        > RESET
        +RESET
        > GET a
        -NOAUTH Authentication required.
        ",
    );
}

#[test]
fn rules_that_change_hold_at_once() {
    let acl = Acl::of([anybody(), user("ann", "on ~a* +@all")]);
    let mut world = World::default();
    let mut ann = client("ann", &acl, &mut world);
    let mut says = |line: &str, expected: &str| {
        ann.send(line, &mut world);
        assert_eq!(ann.take(), expected, "{line}");
    };
    says("SET a 1", "+OK");
    says("MULTI", "+OK");
    says("SET a 2", "+QUEUED");
    says("GET a", "+QUEUED");
    says("PING", "+QUEUED");
    says("PUBLISH c m", "-NOPERM No permissions to access a channel");
    says("DISCARD", "+OK");
    says("MULTI", "+OK");
    says("SET a 2", "+QUEUED");
    says("GET a", "+QUEUED");
    says("PING", "+QUEUED");
    acl.replace([user("ann", "on %R~a* +@all -ping")]);
    let changed = "NOPERM ACLs rules changed between the moment the transaction was accumulated \
                   and the EXEC call. This command is no longer allowed for the following reason:";
    says(
        "EXEC",
        &format!(
            "*3 -{changed} no permission to touch the specified keys $1 1 -{changed} no \
             permission to execute the command or subcommand"
        ),
    );
    says("SET a 3", "-NOPERM No permissions to access a key");
    acl.replace([anybody()]);
    says(
        "GET a",
        "-NOPERM User ann has no permissions to run the 'get' command",
    );
    says("RESET", "+RESET");
    says("GET a", "$1 1");
}

#[test]
fn refusals_are_told_once() {
    let acl = Acl::of([anybody(), user("ann", "on ~a &c +@all -get")]);
    let mut world = World::default();
    let mut ann = client("ann", &acl, &mut world);
    for line in ["GET a", "SET b 1", "PUBLISH d m", "MULTI", "SET b 1"] {
        ann.send(line, &mut world);
    }
    let told = |reason, context, object: &[u8]| Denial::new(reason, context, object, b"ann");
    assert_eq!(
        ann.session.take_denials(),
        [
            told("command", "toplevel", b"get"),
            told("key", "toplevel", b"b"),
            told("channel", "toplevel", b"d"),
            told("key", "multi", b"b"),
        ]
    );
    assert_eq!(ann.session.take_denials(), []);
    // Nobody asks, so no more are kept than so many.
    for _ in 0..1000 {
        ann.send("SET b 1", &mut world);
    }
    assert_eq!(ann.session.take_denials().len(), 128);
}

#[test]
fn who_may_listen_no_longer_is_outlived() {
    let acl = Acl::of([anybody(), user("ann", "on &* +@all")]);
    let mut world = World::default();
    let mut ann = client("ann", &acl, &mut world);
    for line in ["SUBSCRIBE foo:1", "SSUBSCRIBE orders", "PSUBSCRIBE bar:*"] {
        ann.send(line, &mut world);
    }
    for (rules, outlived) in [
        ("on &foo:1 &bar:* &orders", false),
        ("on &foo:* &bar:* &ord* &zoo", false),
        ("on &* ~*", false),
        ("on &foo:2 &bar:* &orders", true),
        ("on &foo:1 &bar:1* &orders", true),
        // A wider pattern is another one.
        ("on &foo:1 &b* &orders", true),
        ("on &foo:1 &bar:* &order", true),
        ("on", true),
    ] {
        acl.replace([user("ann", rules)]);
        assert_eq!(ann.session.is_outlived(), outlived, "{rules}");
    }
    // Who may not log in any longer may stay (Redis: "ACL", `off`).
    acl.replace([user("ann", "off &*")]);
    assert!(!ann.session.is_outlived());
    acl.replace([anybody()]);
    assert!(ann.session.is_outlived());
}
