//! Tokens that do not open the door, and why.

use atoll_control::{
    core::level::SERVED,
    driver::tokens::JoinToken,
    proto::{
        cluster::{
            CreateTokenRequest, CreateTokenResponse, JoinRequest, ListTokensRequest,
            RevokeTokenRequest,
        },
        raft,
    },
};
use atoll_world::{
    clock, net,
    pki::{files, node_dns_name, tls},
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use super::{Life, Lone, WAIT, key_request, settings, until};
use crate::{
    client::{Client, Retry},
    node::{Origin, join},
};

async fn create(root: &Client, uses: u32, ttl_s: u64) -> CreateTokenResponse {
    let request = CreateTokenRequest { uses, ttl_s };
    root.call(Retry::Never, request, |node, r| async move {
        node.tokens().create(r).await
    })
    .await
    .unwrap()
}

async fn uses_left(root: &Client, token: &CreateTokenResponse) -> u32 {
    let request = ListTokensRequest {};
    let listed = root
        .call(Retry::Safe, request, |node, r| async move {
            node.tokens().list(r).await
        })
        .await
        .unwrap();
    let id = &token.facts.as_ref().unwrap().id;
    let found = listed.tokens.iter().find(|token| token.id == *id);
    found.map_or(0, |token| token.uses_left)
}

/// Has a new node try to come in; what it is told if it may not.
async fn join(lone: &Lone, token: &str) -> Result<(), String> {
    let dir = TempDir::new().unwrap();
    let origin = Origin::Join {
        address: lone.node().peer_address.clone(),
        token: token.to_owned(),
    };
    match Life::start(&settings(dir.path(), &[]), origin).await {
        Ok(life) => {
            life.stop().await;
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn tokens_that_are_not_good_are_told_so() {
    const NOT_GOOD: &str = "the token is not good (any more)";
    let lone = Lone::start(&[]).await;
    let root = lone.root();

    let brief = create(&root, 1, 1).await;
    let expires_ms = brief.facts.as_ref().unwrap().expires_ms;
    until("the token has expired", async || {
        (clock::wall_ms() >= expires_ms).then_some(())
    })
    .await;
    let expired = join(&lone, &brief.token).await.unwrap_err();
    assert!(expired.contains(NOT_GOOD), "{expired}");

    let revoked = create(&root, 1, 600).await;
    let request = RevokeTokenRequest {
        id: revoked.facts.unwrap().id,
    };
    root.call(Retry::Never, request, |node, r| async move {
        node.tokens().revoke(r).await
    })
    .await
    .unwrap();
    let revoked = join(&lone, &revoked.token).await.unwrap_err();
    assert!(revoked.contains(NOT_GOOD), "{revoked}");

    // Somebody who saw the id and guesses the secret learns nothing, and costs nothing.
    let good = create(&root, 1, 600).await;
    let secret = good.token.split('.').nth(2).unwrap();
    let guess = good.token.replace(secret, &"A".repeat(secret.len()));
    let guess = join(&lone, &guess).await.unwrap_err();
    assert!(guess.contains(NOT_GOOD), "{guess}");
    assert_eq!(uses_left(&root, &good).await, 1);

    join(&lone, &good.token).await.unwrap();
    let replayed = join(&lone, &good.token).await.unwrap_err();
    assert!(replayed.contains(NOT_GOOD), "{replayed}");
    let nonsense = join(&lone, "atoll1.nonsense").await.unwrap_err();
    assert!(nonsense.contains("not a join token"), "{nonsense}");
    lone.life.stop().await;
}

#[tokio::test]
async fn a_use_is_spent_only_on_who_is_let_in() {
    for uses in [1, 2] {
        // One cluster each: two nodes that came and went would have votes, and nobody a majority.
        let lone = Lone::start(&[]).await;
        let root = lone.root();
        let made = create(&root, uses, 600).await;
        let token = JoinToken::parse(&made.token).unwrap();
        let address = &lone.node().peer_address;
        let member = |url: &str| {
            Some(raft::Node {
                name: "copycat".into(),
                peer_urls: vec![url.to_owned()],
                client_urls: Vec::new(),
                feature_level_min: 1,
                feature_level_max: SERVED.max.0,
            })
        };
        let request = |csr_pem: &str, url: &str| JoinRequest {
            token: made.token.clone(),
            csr_pem: csr_pem.to_owned(),
            hosts: Vec::new(),
            member: member(url),
        };
        let key = key_request();
        let taken = request(key.csr_pem(), &format!("https://{address}"));
        let refused = join::ask(address, &token, taken).await.unwrap_err();
        assert!(
            refused.to_string().contains("Peer URLs already exists"),
            "{refused}"
        );
        assert_eq!(uses_left(&root, &made).await, uses);
        let nonsense = request("nonsense", "https://127.0.0.1:1");
        let refused = join::ask(address, &token, nonsense).await.unwrap_err();
        assert!(
            refused.to_string().contains("a certificate request"),
            "{refused}"
        );
        assert_eq!(uses_left(&root, &made).await, uses);
        join(&lone, &made.token).await.unwrap();
        assert_eq!(uses_left(&root, &made).await, uses - 1);
        lone.life.stop().await;
    }
}

#[tokio::test]
async fn nothing_of_another_cluster_opens_the_door() {
    let (here, elsewhere) = (Lone::start(&[]).await, Lone::start(&[]).await);
    let foreign = create(&elsewhere.root(), 1, 600).await;
    let refused = join(&here, &foreign.token).await.unwrap_err();
    // It is not even sent.
    assert!(
        refused.contains("cannot join at") && refused.contains("UnknownIssuer"),
        "{refused}"
    );
    assert_eq!(uses_left(&elsewhere.root(), &foreign).await, 1);

    // A node of the other cluster that knows how to find this one, and whom to expect there.
    let identity = files::load_identity(&elsewhere.dir.path().join("pki"), "node").unwrap();
    let trust = here.trust().with(&elsewhere.trust());
    let config = tls::peer_client_config(&identity, &trust).unwrap();
    let name = node_dns_name(here.node().record.node);
    let shaken = net::connect_tls(&here.node().peer_address, &name, config, WAIT).await;
    let refused = match shaken {
        Err(error) => error.to_string(),
        // TLS 1.3 tells a caller that it was refused with the first bytes of an answer.
        Ok(mut stream) => {
            let mut byte = [0];
            let read = stream.read_exact(&mut byte).await;
            read.unwrap_err().to_string()
        }
    };
    assert!(
        refused.contains("UnknownCA") || refused.contains("alert"),
        "{refused}"
    );
    here.life.stop().await;
    elsewhere.life.stop().await;
}
