//! ACL, with users that are kept in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::{
    core::{
        acl::{PasswordChange, User},
        command::CommandError,
    },
    face::{
        acl::{Acl, DEFAULT_USER},
        session::Credentials,
    },
};

type Kept = BTreeMap<Bytes, (User, Option<Bytes>)>;

/// Users, and their passwords.
struct Memory {
    acl: Acl,
    kept: Mutex<Kept>,
}

impl Memory {
    fn new() -> Arc<Memory> {
        let anybody = User::everything().without_password();
        let acl = Acl::of([]);
        let memory = Memory {
            acl,
            kept: Mutex::new([(DEFAULT_USER.into(), (anybody, None))].into()),
        };
        memory.publish(&memory.kept.lock());
        Arc::new(memory)
    }

    fn publish(&self, kept: &Kept) {
        let users = kept.iter();
        self.acl
            .replace(users.map(|(name, (user, _))| (name.clone(), user.clone())));
    }

    fn set(&self, name: &[u8], rules: &[Bytes]) -> Result<(), CommandError> {
        let mut kept = self.kept.lock();
        let (mut user, mut password) = kept.get(name).cloned().unwrap_or_default();
        for change in user.apply(rules).map_err(wrong_rule)? {
            password = match change {
                PasswordChange::Set(password) => Some(password),
                PasswordChange::Remove(_) | PasswordChange::Clear => None,
            };
        }
        kept.insert(Bytes::copy_from_slice(name), (user, password));
        self.publish(&kept);
        Ok(())
    }
}

impl Identity for Memory {
    fn acl(&self) -> &Acl {
        &self.acl
    }

    fn check<'a>(&'a self, credentials: &'a Credentials) -> Awaited<'a, bool> {
        let kept = self.kept.lock();
        let known = kept.get(&credentials.user);
        let is_right = known.is_some_and(|(_, it)| it.as_ref() == Some(&credentials.password));
        Box::pin(std::future::ready(is_right))
    }

    fn set_user<'a>(
        &'a self,
        _: &'a [u8],
        user: &'a [u8],
        rules: &'a [Bytes],
    ) -> Awaited<'a, Result<(), CommandError>> {
        Box::pin(std::future::ready(self.set(user, rules)))
    }

    fn delete_users<'a>(
        &'a self,
        _: &'a [u8],
        users: &'a [Bytes],
    ) -> Awaited<'a, Result<usize, CommandError>> {
        let mut kept = self.kept.lock();
        let deleted = users.iter().filter_map(|name| kept.remove(name)).count();
        self.publish(&kept);
        Box::pin(std::future::ready(Ok(deleted)))
    }
}

impl Client {
    async fn error(&mut self, request: &str) -> String {
        self.send(format!("{request}\r\n")).await;
        self.line().await
    }

    /// What a command answers, each line end a space.
    async fn told(&mut self, request: &str) -> String {
        self.send(format!("{request}\r\nECHO that-is-all\r\n"))
            .await;
        let mut all = String::new();
        loop {
            match self.line().await.as_str() {
                "that-is-all" => return all.trim_end_matches("$11 ").to_owned(),
                line => all = all + line + " ",
            }
        }
    }
}

fn node() -> Node {
    Node::with(settings(), Memory::new())
}

#[tokio::test(start_paused = true)]
async fn users_are_told_as_they_were_set() {
    let node = node();
    let mut client = node.connect();
    client.ask("ACL WHOAMI", "$7\r\ndefault\r\n").await;
    client
        .ask(
            "ACL SETUSER ann on >secret ~a* &c +@read (+set ~b)",
            "+OK\r\n",
        )
        .await;
    assert_eq!(
        client.told("ACL LIST").await,
        "*2 $92 user ann on sanitize-payload ~a* resetchannels &c -@all +@read (~b \
         resetchannels -@all +set) $51 user default on nopass sanitize-payload ~* &* +@all "
    );
    client
        .ask("ACL USERS", "*2\r\n$3\r\nann\r\n$7\r\ndefault\r\n")
        .await;
    assert_eq!(
        client.told("ACL GETUSER ann").await,
        "*12 $5 flags *2 $2 on $16 sanitize-payload $9 passwords *0 $8 commands $12 -@all +@read \
         $4 keys $3 ~a* $8 channels $2 &c $9 selectors *1 *6 $8 commands $10 -@all +set $4 keys \
         $2 ~b $8 channels $0  "
    );
    client.ask("ACL GETUSER nobody", "$-1\r\n").await;
    for (request, error) in [
        ("ACL", "-ERR wrong number of arguments for 'acl' command"),
        (
            "ACL NOTHING",
            "-ERR unknown subcommand 'NOTHING'. Try ACL HELP.",
        ),
        (
            "ACL SETUSER ann +nothing",
            "-ERR Error in ACL SETUSER modifier '+nothing': Unknown command or category name in \
             ACL",
        ),
        (
            "ACL SETUSER ann (~a",
            "-ERR Unmatched parenthesis in acl selector starting at '(~a'.",
        ),
        (
            "ACL DELUSER default",
            "-ERR The 'default' user cannot be removed",
        ),
        (
            "ACL HELP x",
            "-ERR wrong number of arguments for 'acl|help' command",
        ),
        (
            "ACL GENPASS 0",
            "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        ),
        (
            "ACL GENPASS 4097",
            "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        ),
        ("ACL CAT x", "-ERR Unknown category 'x'"),
        (
            "ACL CAT a b",
            "-ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.",
        ),
    ] {
        assert_eq!(client.error(request).await, error);
    }
    for request in ["ACL LOAD", "ACL SAVE"] {
        let error = client.error(request).await;
        assert!(
            error.contains("is not configured to use an ACL file"),
            "{error}"
        );
    }
    client.send("ACL GENPASS 5\r\n").await;
    assert_eq!(client.bulk().await.len(), 2);
    client.send("ACL GENPASS\r\n").await;
    let password = client.bulk().await;
    assert!(password.len() == 64 && password.bytes().all(|it| it.is_ascii_hexdigit()));
    client.send("ACL CAT transaction\r\n").await;
    client
        .expect(
            "*5\r\n$5\r\nmulti\r\n$4\r\nexec\r\n$7\r\ndiscard\r\n$5\r\nwatch\r\n$7\r\nunwatch\r\n",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_users_might_do_is_told_without_doing_it() {
    let node = node();
    let mut client = node.connect();
    client
        .ask("ACL SETUSER ann ~a &c +@all -get", "+OK\r\n")
        .await;
    client.ask("ACL DRYRUN ann SET a 1", "+OK\r\n").await;
    client.ask("EXISTS a", ":0\r\n").await;
    for (call, reply) in [
        (
            "GET a",
            "User ann has no permissions to run the 'get' command",
        ),
        (
            "SET b 1",
            "User ann has no permissions to access the 'b' key",
        ),
        (
            "SPUBLISH d m",
            "User ann has no permissions to access the 'd' channel",
        ),
    ] {
        client.send(format!("ACL DRYRUN ann {call}\r\n")).await;
        assert_eq!(client.bulk().await, reply);
    }
    for (request, error) in [
        ("ACL DRYRUN bob GET a", "-ERR User 'bob' not found"),
        (
            "ACL DRYRUN ann NOTHING a",
            "-ERR Command 'NOTHING' not found",
        ),
        (
            "ACL DRYRUN ann CONFIG nothing",
            "-ERR Command 'CONFIG' not found",
        ),
        (
            "ACL DRYRUN ann SET a",
            "-ERR wrong number of arguments for 'set' command",
        ),
    ] {
        assert_eq!(client.error(request).await, error);
    }
}

#[tokio::test(start_paused = true)]
async fn users_log_in_while_they_are_on() {
    let node = node();
    let (mut root, mut ann) = (node.connect(), node.connect());
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    ann.ask("AUTH ann secret", wrong).await;
    root.ask("ACL SETUSER ann >secret +acl", "+OK\r\n").await;
    ann.ask("AUTH ann secret", wrong).await;
    root.ask("ACL SETUSER ann on", "+OK\r\n").await;
    ann.ask("AUTH ann wrong", wrong).await;
    ann.ask("AUTH ann secret", "+OK\r\n").await;
    ann.ask("ACL WHOAMI", "$3\r\nann\r\n").await;
    // Who is in stays in (Redis: "ACL", `off`).
    root.ask("ACL SETUSER ann off", "+OK\r\n").await;
    ann.ask("ACL WHOAMI", "$3\r\nann\r\n").await;
    ann.ask("AUTH ann secret", wrong).await;
    root.ask("ACL SETUSER ann on nopass", "+OK\r\n").await;
    ann.ask("AUTH ann whatever", "+OK\r\n").await;
    // Who comes now has to say who it is.
    root.ask("ACL SETUSER default off", "+OK\r\n").await;
    let mut late = node.connect();
    late.ask("PING", "-NOAUTH Authentication required.\r\n")
        .await;
    root.ask("PING", "+PONG\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn connections_end_with_their_users_and_rights() {
    let node = node();
    let mut root = node.connect();
    root.ask("ACL SETUSER ann on nopass +@all ~* &*", "+OK\r\n")
        .await;
    root.ask("ACL SETUSER bob on nopass +@all ~* &*", "+OK\r\n")
        .await;
    let (mut listener, mut waiter, mut own) = (node.connect(), node.connect(), node.connect());
    let mut bob = node.connect();
    for client in [&mut listener, &mut waiter, &mut own] {
        client.ask("AUTH ann x", "+OK\r\n").await;
    }
    bob.ask("AUTH bob x", "+OK\r\n").await;
    listener
        .ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
        .await;
    root.ask("ACL SETUSER ann resetchannels &c", "+OK\r\n")
        .await;
    listener.ask("PING", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    root.ask("ACL SETUSER ann resetchannels &d", "+OK\r\n")
        .await;
    root.send("CLIENT LIST TYPE pubsub\r\n").await;
    assert_eq!(root.bulk().await, "");
    assert!(matches!(listener.end().await, Err(ConnectionError::Killed)));
    waiter.send("BLPOP l 0\r\n").await;
    while node.fake.waiting() == 0 {
        task::yield_now().await;
    }
    // It is answered before it ends.
    own.ask("ACL DELUSER nobody ann", ":1\r\n").await;
    own.end().await.unwrap();
    assert!(matches!(waiter.end().await, Err(ConnectionError::Killed)));
    bob.ask("PING", "+PONG\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn refusals_are_kept_for_acl_log() {
    let node = node();
    let (mut root, mut ann) = (node.connect(), node.connect());
    root.ask("ACL SETUSER ann on >secret ~a +@all -get", "+OK\r\n")
        .await;
    root.ask("ACL LOG", "*0\r\n").await;
    ann.error("AUTH ann wrong").await;
    ann.ask("AUTH ann secret", "+OK\r\n").await;
    for _ in 0..3 {
        ann.error("GET a").await;
    }
    clock::sleep(Duration::from_secs(2)).await;
    ann.error("SET b 1").await;
    let denied = "$10 age-seconds $1 ";
    let log = root.told("ACL LOG").await;
    assert!(!log.contains(denied), "{log}");
    let entries: Vec<&str> = log.split("*20 ").collect();
    assert_eq!(entries[0], "*3 ");
    for (entry, facts) in entries[1..].iter().zip([
        [
            "count :1",
            "reason $3 key",
            "object $1 b",
            "age-seconds $1 0 ",
            "entry-id :2",
        ],
        [
            "count :3",
            "reason $7 command",
            "object $3 get",
            "age-seconds $1 2 ",
            "entry-id :1",
        ],
        [
            "count :1",
            "reason $4 auth",
            "object $4 AUTH",
            "age-seconds $1 2 ",
            "entry-id :0",
        ],
    ]) {
        for fact in facts {
            assert!(entry.contains(fact), "{fact} is not in {entry}");
        }
        for fact in [
            "context $8 toplevel",
            "username $3 ann",
            " id=4 addr=127.0.0.1:1000 ",
        ] {
            assert!(entry.contains(fact), "{fact} is not in {entry}");
        }
    }
    assert!(root.told("ACL LOG 1").await.starts_with("*1 *20 "));
    // The same after a minute is another.
    clock::sleep(Duration::from_secs(61)).await;
    ann.error("SET b 1").await;
    assert!(root.told("ACL LOG").await.starts_with("*4 *20 "));
    root.ask("CONFIG SET acllog-max-len 2", "+OK\r\n").await;
    ann.error("SET c 1").await;
    assert!(root.told("ACL LOG").await.starts_with("*2 *20 "));
    root.ask("ACL LOG RESET", "+OK\r\n").await;
    root.ask("ACL LOG", "*0\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn passwords_are_in_no_log() {
    let node = node();
    let mut root = node.connect();
    root.ask("CONFIG SET slowlog-log-slower-than 0", "+OK\r\n")
        .await;
    root.ask("ACL SETUSER ann on >secret", "+OK\r\n").await;
    root.ask("AUTH ann secret", "+OK\r\n").await;
    root.error("ACL SETUSER ann >secret2").await;
    root.ask("AUTH default any", "+OK\r\n").await;
    for log in ["SLOWLOG GET -1", "ACL LOG"] {
        let log = root.told(log).await;
        assert!(log.len() > 50 && !log.contains("secret"), "{log}");
    }
}
