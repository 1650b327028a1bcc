//! Logins end when nobody uses them, and not before, with a real node.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use atoll_control::proto::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
    AuthenticateRequest, RangeRequest, auth_client::AuthClient,
};
use atoll_e2e::{
    cluster::Cluster,
    command::{Server, atoll_path},
    probe,
};
use common::{channel, kv, status, until};
use tonic::{Code, Request};

const TTL_S: &str = "1";

async fn log_in(address: &str) -> String {
    let request = AuthenticateRequest {
        name: "root".to_owned(),
        password: "secret".to_owned(),
    };
    let mut auth = AuthClient::new(channel(address));
    auth.authenticate(request).await.unwrap().into_inner().token
}

/// Reads something as who holds the token.
async fn read(address: &str, token: &str) -> Result<(), tonic::Status> {
    let mut request = Request::new(RangeRequest {
        key: b"a".to_vec().into(),
        ..RangeRequest::default()
    });
    request
        .metadata_mut()
        .insert("token", token.parse().unwrap());
    kv(address).range(request).await.map(drop)
}

/// How many logins the cluster has, as the node says without being logged in to.
async fn logins(cluster: &Cluster) -> Option<u64> {
    let port = cluster.nodes[0].layout().client_port;
    let (_, page) = probe::get(port, "/metrics").await.ok()?;
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("atoll_control_logins "));
    line?.parse().ok()
}

#[tokio::test]
async fn a_login_lasts_while_it_is_used_and_ends_after() {
    let server = Server {
        kind: atoll_e2e::command::Kind::Atoll,
        path: atoll_path().to_path_buf(),
    };
    let cluster = Cluster::start_with(&server, 1, &[("ATOLL_SECURITY_LOGIN_TTL_S", TTL_S)])
        .await
        .unwrap();
    let address = cluster.nodes[0].endpoint();
    until("the level that ends logins", async || {
        (status(&address).await?.atoll_feature_level >= 2).then_some(())
    })
    .await;
    let mut auth = AuthClient::new(channel(&address));
    let name = || "root".to_owned();
    auth.user_add(AuthUserAddRequest {
        name: name(),
        password: "secret".to_owned(),
        ..AuthUserAddRequest::default()
    })
    .await
    .unwrap();
    auth.role_add(AuthRoleAddRequest { name: name() })
        .await
        .unwrap();
    let grant = AuthUserGrantRoleRequest {
        user: name(),
        role: name(),
    };
    auth.user_grant_role(grant).await.unwrap();
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();

    let (idle, busy) = (log_in(&address).await, log_in(&address).await);
    assert_eq!(logins(&cluster).await, Some(2));
    read(&address, &idle).await.unwrap();
    // The one that is used outlives the one that is not, however often that takes.
    until("the unused login ends", async || {
        read(&address, &busy).await.unwrap();
        (logins(&cluster).await? == 1).then_some(())
    })
    .await;
    let refused = read(&address, &idle).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(refused.message(), "etcdserver: invalid auth token");
    read(&address, &busy).await.unwrap();
    until("the other one ends, too", async || {
        (logins(&cluster).await? == 0).then_some(())
    })
    .await;
}
