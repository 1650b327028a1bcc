//! The authority is replaced: who is let in when.

use atoll_control::{
    api::ControlApi as _,
    proto::cluster::{
        AbortAuthorityRequest, AuthorityPhase as Phase, AuthorityStatusRequest,
        AuthorityStatusResponse, CreateTokenRequest, FinishAuthorityRequest,
        RotateAuthorityRequest,
    },
};
use atoll_world::pki::{Trust, files};
use tempfile::TempDir;

use super::{Life, Lone, client_of, free_port, put, settings, until, users::refusal};
use crate::{
    client::{Client, Retry},
    error::CliError,
    node::Origin,
};

macro_rules! ask {
    ($client:expr, $method:ident, $request:expr) => {
        $client
            .call(Retry::Never, $request, |node, r| async move {
                node.authority().$method(r).await
            })
            .await
    };
}

async fn status(client: &Client) -> AuthorityStatusResponse {
    ask!(client, status, AuthorityStatusRequest {}).unwrap()
}

/// Waits until every member has done what a phase asks of it.
async fn ready(client: &Client, phase: Phase) -> AuthorityStatusResponse {
    until("every member is ready", async || {
        let status = status(client).await;
        let all = status.members.iter().all(|member| member.ready);
        (status.phase() == phase && all).then_some(status)
    })
    .await
}

fn trust_in(dir: &TempDir) -> Trust {
    files::load_trust(&dir.path().join("pki")).unwrap()
}

#[tokio::test]
async fn clients_of_both_authorities_are_let_in_until_the_end() {
    let lone = Lone::start(&[]).await;
    let old = lone.trust();
    let day = std::time::Duration::from_secs(24 * 3600);
    let user = lone.authority().issue_client("root", day).unwrap();
    let of = |trust: &Trust| {
        let login = Some(("root", &*lone.password));
        client_of(lone.node(), trust, login, None)
    };
    let by_certificate = |trust: &Trust| client_of(lone.node(), trust, None, Some(&user));
    let root = lone.root();
    for refused in [
        refusal(ask!(root, finish, FinishAuthorityRequest { force: true })),
        refusal(ask!(root, abort, AbortAuthorityRequest {})),
    ] {
        assert!(refused.contains("no rotation is under way"), "{refused}");
    }
    let before = status(&root).await;
    assert_eq!(before.current, old.fingerprint().to_string());
    assert_eq!(before.other, "");

    ask!(root, rotate, RotateAuthorityRequest {}).unwrap();
    let switched = ready(&root, Phase::Switched).await;
    assert_eq!(switched.other, before.current);
    let new = trust_in(&lone.dir);
    assert_eq!(switched.current, new.fingerprint().to_string());
    let new = new.only(new.fingerprint()).unwrap();
    for trust in [&old, &new, &old.with(&new)] {
        put(&of(trust), "a").await.unwrap();
        put(&by_certificate(trust), "a").await.unwrap();
    }
    let refused = refusal(ask!(root, rotate, RotateAuthorityRequest {}));
    assert!(refused.contains("a rotation is under way"), "{refused}");
    let refused = refusal(ask!(root, abort, AbortAuthorityRequest {}));
    assert!(refused.contains("already"), "{refused}");

    ask!(of(&new), finish, FinishAuthorityRequest { force: false }).unwrap();
    let after = ready(&of(&new), Phase::Steady).await;
    assert_eq!(
        (after.current, after.other),
        (switched.current, String::new())
    );
    assert_eq!(trust_in(&lone.dir), new);
    for (what, client) in [
        ("a client that trusts the old root", of(&old)),
        ("a certificate of the old authority", by_certificate(&new)),
    ] {
        let refused = put(&client, "a").await;
        assert!(
            matches!(refused, Err(CliError::Unreachable { .. })),
            "{what}: {refused:?}"
        );
    }
    // And again.
    let root = of(&new);
    ask!(root, rotate, RotateAuthorityRequest {}).unwrap();
    ready(&root, Phase::Switched).await;
    ask!(root, finish, FinishAuthorityRequest { force: false }).unwrap();
    lone.life.stop().await;
}

#[tokio::test]
async fn a_rotation_waits_for_every_member_and_can_be_given_up() {
    let lone = Lone::start(&[]).await;
    let root = lone.root();
    let old = lone.trust();
    let token = token(&root).await;
    let dir = TempDir::new().unwrap();
    // The others find it where it was, when it comes back.
    let peer = format!("127.0.0.1:{}", free_port().await);
    let config = settings(dir.path(), &[("listen.peer", &peer)]);
    let join = |token: &str| Origin::Join {
        address: lone.node().peer_address.clone(),
        token: token.to_owned(),
    };
    let second = Life::start(&config, join(&token)).await.unwrap();
    let id = second.node.record.node;
    until("the second node is a member", async || {
        (lone.node().control.members().len() == 2).then_some(())
    })
    .await;
    second.stop().await;

    ask!(root, rotate, RotateAuthorityRequest {}).unwrap();
    let waits = until("the first node is ready", async || {
        let status = status(&root).await;
        let ready = |of| {
            status
                .members
                .iter()
                .any(|it| (it.node == id.0) == of && it.ready)
        };
        (ready(false) && !ready(true)).then_some(status)
    })
    .await;
    assert_eq!(waits.phase(), Phase::Preparing);
    let refused = refusal(ask!(root, finish, FinishAuthorityRequest { force: true }));
    assert!(
        refused.contains("atoll ca abort") && refused.contains(&id.to_string()),
        "{refused}"
    );
    ask!(root, abort, AbortAuthorityRequest {}).unwrap();
    until("the new authority is forgotten", async || {
        let next = dir_of(&lone.dir).join("authority-next.key");
        (trust_in(&lone.dir) == old && !next.exists()).then_some(())
    })
    .await;

    // With everybody there it goes through; who joins on the way is told of both.
    let second = Life::start(&config, Origin::Directory).await.unwrap();
    ask!(root, rotate, RotateAuthorityRequest {}).unwrap();
    let switched = ready(&root, Phase::Switched).await;
    let third_dir = TempDir::new().unwrap();
    // A token of before names the old root, and is good until the end.
    let third = Life::start(&settings(third_dir.path(), &[]), join(&token)).await;
    let third = third.unwrap();
    until("three members are ready", async || {
        let status = status(&root).await;
        let all = status.members.iter().all(|member| member.ready);
        (all && status.members.len() == 3).then_some(())
    })
    .await;
    ask!(root, finish, FinishAuthorityRequest { force: false }).unwrap();
    until("everybody trusts the new root alone", async || {
        let all = [&lone.dir, &dir, &third_dir].map(trust_in);
        let new = |trust: &Trust| {
            trust.roots.len() == 1 && trust.fingerprint().to_string() == switched.current
        };
        all.iter().all(new).then_some(())
    })
    .await;

    let fourth_dir = TempDir::new().unwrap();
    let fourth = settings(fourth_dir.path(), &[]);
    // The token is gone; and once the node shows the new authority alone, one that names the
    // old root is not even sent.
    until("the token is refused before it is sent", async || {
        let refused = Life::start(&fourth, join(&token)).await.err().unwrap();
        refused.next_step().contains("rotated").then_some(())
    })
    .await;
    let trust = trust_in(&lone.dir);
    let root = client_of(lone.node(), &trust, Some(("root", &lone.password)), None);
    let token = self::token(&root).await;
    let fourth = Life::start(&fourth, join(&token)).await.unwrap();
    for life in [fourth, third, second, lone.life] {
        life.stop().await;
    }
}

fn dir_of(dir: &TempDir) -> std::path::PathBuf {
    dir.path().join("pki")
}

async fn token(root: &Client) -> String {
    let request = CreateTokenRequest {
        uses: 5,
        ttl_s: 600,
    };
    let made = root
        .call(Retry::Never, request, |node, r| async move {
            node.tokens().create(r).await
        })
        .await;
    made.unwrap().token
}
