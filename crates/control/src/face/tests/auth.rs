use super::{Limits, Node, fails};
use crate::{
    core::error::Error,
    proto::{
        etcdserverpb::{
            self as pb, auth_client::AuthClient, cluster_client::ClusterClient,
            kv_client::KvClient, lease_client::LeaseClient,
        },
        internal::{command::Op, identity::Who},
    },
};

fn with<T>(message: T, name: &'static str, value: &'static str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert(name, value.parse().unwrap());
    request
}

fn put() -> pb::PutRequest {
    pb::PutRequest {
        key: "a".into(),
        ..Default::default()
    }
}

fn last_user(node: &Node) -> String {
    match node.fake.state.lock().last.clone().unwrap().0.who {
        Some(Who::User(user)) => user.name,
        other => panic!("nobody is logged in: {other:?}"),
    }
}

#[tokio::test]
async fn a_token_counts_before_a_certificate_and_only_while_auth_is_on() {
    let mut node = Node::new();
    node.connection.peer_common_name = Some("carol".to_owned());
    let mut kv = KvClient::new(node.channel().await);
    kv.put(with(put(), "token", "stale")).await.unwrap();
    node.fake.state.lock().auth = true;
    fails(
        kv.put(with(put(), "token", "stale")).await,
        Error::InvalidAuthToken,
    );
    kv.put(with(put(), "token", "token-of-alice"))
        .await
        .unwrap();
    assert_eq!(last_user(&node), "alice");
    kv.put(with(put(), "authorization", "Bearer token-of-bob"))
        .await
        .unwrap();
    assert_eq!(last_user(&node), "bob");
    kv.put(put()).await.unwrap();
    assert_eq!(last_user(&node), "carol");
}

#[tokio::test]
async fn whoever_comes_from_outside_is_served_only_while_logins_are_on() {
    let mut node = Node::with(Limits {
        login_required: true,
        ..Limits::default()
    });
    node.connection.loopback = false;
    let mut kv = KvClient::new(node.channel().await);
    fails(kv.put(put()).await, Error::LoginsOff);
    fails(
        kv.put(with(put(), "token", "token-of-alice")).await,
        Error::LoginsOff,
    );
    fails(
        kv.range(pb::RangeRequest {
            key: "a".into(),
            ..Default::default()
        })
        .await,
        Error::LoginsOff,
    );
    let mut auth = AuthClient::new(node.channel().await);
    let request = pb::AuthUserAddRequest {
        name: "mallory".to_owned(),
        ..Default::default()
    };
    fails(auth.user_add(request).await, Error::LoginsOff);
    let renewal = pb::LeaseKeepAliveRequest { id: 1 };
    let mut lease = LeaseClient::new(node.channel().await);
    let renewed = lease.lease_keep_alive(tokio_stream::iter([renewal])).await;
    let renewed = renewed.unwrap().into_inner().message().await;
    fails(renewed.map(tonic::Response::new), Error::LoginsOff);
    node.fake.state.lock().auth = true;
    kv.put(with(put(), "token", "token-of-alice"))
        .await
        .unwrap();
    node.fake.state.lock().auth = false;
    node.connection.loopback = true;
    let mut kv = KvClient::new(node.channel().await);
    kv.put(put()).await.unwrap();
}

#[tokio::test]
async fn a_bad_request_is_told_before_a_bad_token() {
    let node = Node::new();
    node.fake.state.lock().auth = true;
    let mut kv = KvClient::new(node.channel().await);
    let empty = pb::PutRequest::default();
    fails(kv.put(with(empty, "token", "stale")).await, Error::EmptyKey);
    fails(kv.put(put()).await, Error::UserEmpty);
    // Compaction looks for the root role before anything else.
    fails(
        kv.compact(with(
            pb::CompactionRequest::default(),
            "token",
            "token-of-bob",
        ))
        .await,
        Error::PermissionDenied,
    );
}

#[tokio::test]
async fn leases_and_members_are_for_those_who_are_logged_in() {
    let node = Node::new();
    node.fake.state.lock().auth = true;
    let channel = node.channel().await;
    let mut lease = LeaseClient::new(channel.clone());
    fails(
        lease
            .lease_grant(pb::LeaseGrantRequest { ttl: 5, id: 0 })
            .await,
        Error::UserEmpty,
    );
    let mut cluster = ClusterClient::new(channel);
    fails(
        cluster.member_list(pb::MemberListRequest::default()).await,
        Error::UserEmpty,
    );
    // The shape of URLs is looked at first.
    let bad = pb::MemberAddRequest::default();
    fails(cluster.member_add(bad).await, Error::MemberBadURLs);
    let good = pb::MemberAddRequest {
        peer_ur_ls: vec!["http://a:1".to_owned()],
        is_learner: false,
    };
    fails(cluster.member_add(good.clone()).await, Error::UserEmpty);
    let added = cluster
        .member_add(with(good, "token", "token-of-root"))
        .await
        .unwrap();
    let added = added.into_inner();
    assert!(added.member.unwrap().is_learner);
    let header = added.header.unwrap();
    assert_eq!((header.revision, header.raft_term), (0, super::fake::TERM));
}

#[tokio::test]
async fn passwords_go_no_further_than_their_hashes() {
    let node = Node::new();
    let mut auth = AuthClient::new(node.channel().await);
    let request = pb::AuthUserAddRequest {
        name: "alice".to_owned(),
        password: "secret".to_owned(),
        hashed_password: "forged".to_owned(),
        ..Default::default()
    };
    let header = auth
        .user_add(request)
        .await
        .unwrap()
        .into_inner()
        .header
        .unwrap();
    assert_eq!(header.cluster_id, super::fake::CLUSTER);
    let nobody = pb::AuthUserAddRequest::default();
    fails(auth.user_add(nobody).await, Error::UserEmpty);
    let endless = pb::AuthUserAddRequest {
        name: "a".repeat(1600 << 10),
        ..Default::default()
    };
    fails(auth.user_add(endless).await, Error::RequestTooLarge);
    let Some((_, Op::UserAdd(added))) = node.fake.state.lock().last.clone() else {
        panic!("a user is added");
    };
    assert_eq!(added.password, "");
    assert_eq!(added.hashed_password, "hash-of-secret");
    let login = |password: &str| pb::AuthenticateRequest {
        name: "alice".to_owned(),
        password: password.to_owned(),
    };
    let token = auth
        .authenticate(login("secret"))
        .await
        .unwrap()
        .into_inner()
        .token;
    assert_eq!(token, "token-of-alice");
    fails(auth.authenticate(login("guess")).await, Error::AuthFailed);
    let name = "nobody".to_owned();
    fails(
        auth.user_get(pb::AuthUserGetRequest { name }).await,
        Error::UserNotFound,
    );
}
