//! What users may do on the Redis port, by rules that the cluster keeps.

use atoll_control::{
    api::ControlApi as _,
    core::level::FeatureLevel,
    driver::system_identity,
    proto::{etcdserverpb as pb, internal::command::Op},
};
use atoll_kv::face::acl::rules_prefix;
use atoll_world::{net, pki::tls};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Life, Lone, WAIT, settings, until};
use crate::node::{Node, Origin};

/// A connection to the Redis port.
pub(super) struct Redis(net::Stream);

impl Redis {
    async fn connect(lone: &Lone) -> Redis {
        let config = tls::client_config(&lone.trust().roots, None, &[]).unwrap();
        let address = lone.node().redis_address.to_string();
        let connect = || net::connect_tls(&address, "localhost", config.clone(), WAIT);
        let stream = until("the Redis port is open", async || connect().await.ok());
        Redis(stream.await)
    }

    async fn plain(node: &Node) -> Redis {
        let address = node.redis_address.to_string();
        let connect = || net::connect(&address, WAIT);
        let stream = until("the Redis port is open", async || connect().await.ok());
        Redis(stream.await)
    }

    pub(super) async fn log_in(lone: &Lone, user: &str, password: &str) -> Redis {
        let mut redis = Redis::connect(lone).await;
        redis.ask(&format!("AUTH {user} {password}"), "+OK").await;
        redis
    }

    /// Sends a line, and reads one; none at the end.
    async fn line(&mut self, request: &str) -> Option<String> {
        let request = format!("{request}\r\n");
        self.0.write_all(request.as_bytes()).await.ok()?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await.ok()?);
        }
        Some(String::from_utf8(line).unwrap().trim_end().to_owned())
    }

    pub(super) async fn ask(&mut self, request: &str, reply: &str) {
        assert_eq!(
            self.line(request).await.as_deref(),
            Some(reply),
            "{request}"
        );
    }

    /// A string.
    async fn bulk(&mut self, request: &str) -> String {
        let length = self.line(request).await.unwrap();
        let length = length.strip_prefix('$').unwrap().parse::<usize>().unwrap();
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap().trim_end().to_owned()
    }

    async fn ends(&mut self) -> bool {
        self.line("PING").await.is_none()
    }
}

async fn propose(node: &Node, op: Op) {
    let proposed = node.control.propose(system_identity(), op);
    proposed.await.unwrap();
}

/// What is kept of a user.
async fn kept(node: &Node, user: &str) -> Option<String> {
    let key = rules_prefix(node.record.cluster) + user;
    let request = pb::RangeRequest {
        key: key.into(),
        ..pb::RangeRequest::default()
    };
    let found = node.control.range(system_identity(), request);
    let mut found = found.await.unwrap().kvs;
    found
        .pop()
        .map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
}

const NO_WRITES: &str = "-NOPERM User ann has no permissions to run the 'set' command";

#[tokio::test]
async fn users_do_what_their_rules_say() {
    let lone = Lone::start(&[]).await;
    let mut root = Redis::log_in(&lone, "root", &lone.password).await;
    root.ask("SET a:1 x", "+OK").await;
    root.ask("ACL SETUSER ann on >first ~a:* +@read +@connection", "+OK")
        .await;
    let mut ann = Redis::log_in(&lone, "ann", "first").await;
    assert_eq!(ann.bulk("GET a:1").await, "x");
    ann.ask("GET b", "-NOPERM No permissions to access a key")
        .await;
    ann.ask("SET a:1 y", NO_WRITES).await;
    ann.ask(
        "ACL WHOAMI",
        "-NOPERM User ann has no permissions to run the 'acl|whoami' command",
    )
    .await;
    assert_eq!(
        kept(lone.node(), "ann").await.unwrap(),
        "1 on sanitize-payload ~a:* resetchannels -@all +@read +@connection"
    );

    // It is one store: the same password opens the other doors, and the other way round.
    let control = &lone.node().control;
    let log_in = |password: &str| control.authenticate("ann".into(), password.into());
    assert!(log_in("first").await.is_ok());
    root.ask("ACL SETUSER ann >second +set", "+OK").await;
    assert!(log_in("first").await.is_err());
    ann.ask("SET a:1 y", "+OK").await;
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    ann.ask("AUTH ann first", wrong).await;
    ann.ask("AUTH ann second", "+OK").await;
    let change = pb::AuthUserChangePasswordRequest {
        name: "ann".into(),
        hashed_password: control.hash_password("third".into()).await.unwrap(),
        ..Default::default()
    };
    propose(lone.node(), Op::UserChangePassword(change)).await;
    ann.ask("AUTH ann second", wrong).await;
    ann.ask("AUTH ann third", "+OK").await;
    root.ask("ACL SETUSER ann off", "+OK").await;
    ann.ask("AUTH ann third", wrong).await;

    // A user who is gone is gone here, too, and so is what it was allowed.
    let delete = pb::AuthUserDeleteRequest { name: "ann".into() };
    propose(lone.node(), Op::UserDelete(delete)).await;
    assert!(ann.ends().await);
    until("its rules are deleted", async || {
        kept(lone.node(), "ann").await.is_none().then_some(())
    })
    .await;
    lone.life.stop().await;
}

/// The leader deletes rules of users that are gone, some time later. Nobody waits for that.
#[tokio::test]
async fn who_gets_the_name_of_a_user_that_is_gone_inherits_nothing() {
    let lone = Lone::start(&[]).await;
    let control = &lone.node().control;
    until("users know when they were made", async || {
        let request = pb::RangeRequest {
            key: "/atoll/feature_level".into(),
            ..pb::RangeRequest::default()
        };
        let found = control.range(system_identity(), request).await.ok()?.kvs;
        let level: u32 = std::str::from_utf8(&found.first()?.value)
            .ok()?
            .parse()
            .ok()?;
        let needed = FeatureLevel::KNOWS_WHEN_USERS_WERE_MADE.0;
        (level >= needed).then_some(())
    })
    .await;
    let mut root = Redis::log_in(&lone, "root", &lone.password).await;
    let hashed_password = control.hash_password("second".into()).await.unwrap();
    for _ in 0..5 {
        root.ask("ACL SETUSER ann reset on >first ~* +@all", "+OK")
            .await;
        let mut ann = Redis::log_in(&lone, "ann", "first").await;
        ann.ask("SET a 1", "+OK").await;
        // At once, so that nobody sees it gone.
        let delete = Op::UserDelete(pb::AuthUserDeleteRequest { name: "ann".into() });
        let add = Op::UserAdd(pb::AuthUserAddRequest {
            name: "ann".into(),
            hashed_password: hashed_password.clone(),
            ..Default::default()
        });
        tokio::join!(propose(lone.node(), delete), propose(lone.node(), add));
        let mut ann = Redis::connect(&lone).await;
        let made_again = until("the new one may log in", async || {
            let reply = ann.line("AUTH ann second").await;
            (reply.as_deref() == Some("+OK")).then_some(())
        });
        made_again.await;
        ann.ask("SET a 2", NO_WRITES).await;
        // What it is given begins with nothing, too.
        root.ask("ACL SETUSER ann +get", "+OK").await;
        ann.ask("SET a 2", NO_WRITES).await;
        ann.ask("GET a", "-NOPERM No permissions to access a key")
            .await;
        root.ask("ACL DELUSER ann", ":1").await;
    }
    lone.life.stop().await;
}

#[tokio::test]
async fn only_root_changes_users() {
    let lone = Lone::start(&[]).await;
    let mut root = Redis::log_in(&lone, "root", &lone.password).await;
    root.ask("ACL SETUSER ann on >secret ~* &* +@all", "+OK")
        .await;
    let mut ann = Redis::log_in(&lone, "ann", "secret").await;
    let no = "-NOPERM User ann may not change users: that is for those who hold the role root";
    for request in [
        "ACL SETUSER root >mine",
        "ACL SETUSER bob on",
        "ACL SETUSER ann nopass",
        "ACL DELUSER root",
    ] {
        ann.ask(request, no).await;
    }
    // Nobody takes anything away from who may do everything.
    for rules in ["off", "nopass", "-@all", "reset", "(+get)"] {
        let refused = root.line(&format!("ACL SETUSER root {rules}")).await;
        let refused = refused.unwrap();
        assert!(
            refused.contains("holds the role root"),
            "{rules}: {refused}"
        );
    }
    let refused = root.line("ACL DELUSER root").await.unwrap();
    assert!(
        refused.starts_with("-ERR the cluster did not do it"),
        "{refused}"
    );
    root.ask("ACL SETUSER root >new on ~* +@all", "+OK").await;
    Redis::log_in(&lone, "root", "new").await;
    let sha256 = "#34344e4d60c2b6d639b7bd22e18f2b0b91bc34bf0ac5f9952744435093cfb4e6";
    let refused = root
        .line(&format!("ACL SETUSER bob {sha256}"))
        .await
        .unwrap();
    assert!(
        refused.contains("Hashes of passwords can't be used"),
        "{refused}"
    );
    root.ask(
        "ACL SETUSER ann <wrong",
        "-ERR Error in ACL SETUSER modifier '<wrong': The password you are trying to remove from \
         the user does not exist",
    )
    .await;
    root.ask("ACL SETUSER ann <secret", "+OK").await;
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    ann.ask("AUTH ann secret", wrong).await;

    // Who holds the role may do everything from then on, and who loses it may not.
    let role = || "root".to_owned();
    let grant = pb::AuthUserGrantRoleRequest {
        user: "ann".into(),
        role: role(),
    };
    propose(lone.node(), Op::UserGrantRole(grant)).await;
    until("ann may change users", async || {
        let reply = ann.line("ACL SETUSER bob on nopass").await;
        (reply.as_deref() == Some("+OK")).then_some(())
    })
    .await;
    let mut bob = Redis::log_in(&lone, "bob", "whatever").await;
    bob.ask(
        "GET a",
        "-NOPERM User bob has no permissions to run the 'get' command",
    )
    .await;
    root.ask("ACL DELUSER bob nobody", ":1").await;
    assert!(bob.ends().await);
    lone.life.stop().await;
}

#[tokio::test]
async fn clients_without_a_name_do_what_the_default_user_may() {
    let lone = Lone::start(&[]).await;
    let mut root = Redis::log_in(&lone, "root", &lone.password).await;
    let mut early = Redis::connect(&lone).await;
    early.ask("GET a", "-NOAUTH Authentication required.").await;
    root.ask("ACL SETUSER default on nopass ~* +@read", "+OK")
        .await;
    let mut late = Redis::connect(&lone).await;
    late.ask("GET a", "$-1").await;
    late.ask(
        "SET a 1",
        "-NOPERM User default has no permissions to run the 'set' command",
    )
    .await;
    early.ask("GET a", "-NOAUTH Authentication required.").await;
    lone.life.stop().await;
}

#[tokio::test]
async fn while_logins_are_off_everybody_may_do_everything() {
    let dir = TempDir::new().unwrap();
    let config = settings(dir.path(), &[("listen.client", "127.0.0.1:0")]);
    let life = Life::start(&config, Origin::Directory).await.unwrap();
    let mut client = Redis::plain(&life.node).await;
    client.ask("SET a 1", "+OK").await;
    let refused = client.line("ACL SETUSER default off").await.unwrap();
    assert!(
        refused.contains("while the cluster's logins are off"),
        "{refused}"
    );
    client
        .ask("ACL SETUSER ann on >secret ~a +get", "+OK")
        .await;
    client.ask("AUTH ann secret", "+OK").await;
    client.ask("SET a 2", NO_WRITES).await;
    client.ask("RESET", "+RESET").await;
    assert_eq!(client.bulk("GET a").await, "1");
    life.stop().await;
}
