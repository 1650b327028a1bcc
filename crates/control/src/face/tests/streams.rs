use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Node, fake};
use crate::{
    core::error::Error,
    proto::etcdserverpb::{
        self as pb, kv_client::KvClient, lease_client::LeaseClient, watch_client::WatchClient,
        watch_request::RequestUnion,
    },
};

fn create(key: &str) -> pb::WatchRequest {
    pb::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(pb::WatchCreateRequest {
            key: key.to_owned().into(),
            ..Default::default()
        })),
    }
}

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned().into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_watch_goes_on_after_the_client_has_said_all() {
    let node = Node::new();
    let channel = node.channel().await;
    let requests = tokio_stream::iter([create("a")]);
    let mut stream = WatchClient::new(channel.clone())
        .watch(requests)
        .await
        .unwrap()
        .into_inner();
    let created = stream.message().await.unwrap().unwrap();
    assert!(created.created && !created.canceled);
    let header = created.header.unwrap();
    assert_eq!(
        (header.cluster_id, header.raft_term),
        (fake::CLUSTER, fake::TERM)
    );
    let mut kv = KvClient::new(channel);
    kv.put(put("b")).await.unwrap();
    kv.put(put("a")).await.unwrap();
    let told = stream.message().await.unwrap().unwrap();
    assert_eq!(told.events.len(), 1);
    assert_eq!(told.header.unwrap().revision, 3);
}

#[tokio::test]
async fn each_watch_is_refused_or_not_on_its_own() {
    let node = Node::new();
    node.fake.state.lock().auth = true;
    let (sender, receiver) = mpsc::channel(4);
    let mut request = tonic::Request::new(ReceiverStream::new(receiver));
    request
        .metadata_mut()
        .insert("token", "stale".parse().unwrap());
    let mut client = WatchClient::new(node.channel().await);
    sender.send(create("a")).await.unwrap();
    let mut stream = client.watch(request).await.unwrap().into_inner();
    let refused = stream.message().await.unwrap().unwrap();
    assert!(refused.created && refused.canceled);
    assert_eq!(refused.watch_id, -1);
    assert_eq!(
        refused.cancel_reason,
        "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
    );
    node.fake.state.lock().auth = false;
    sender.send(create("a")).await.unwrap();
    let created = stream.message().await.unwrap().unwrap();
    assert!(created.created && !created.canceled);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_requires_a_leader_ends_once_there_is_none_for_long() {
    let node = Node::new();
    let (sender, receiver) = mpsc::channel(4);
    let mut request = tonic::Request::new(ReceiverStream::new(receiver));
    request
        .metadata_mut()
        .insert("hasleader", "true".parse().unwrap());
    sender.send(create("a")).await.unwrap();
    let mut client = WatchClient::new(node.channel().await);
    let mut stream = client.watch(request).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().created);
    node.fake.state.lock().leader = None;
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(status.message(), Error::NoLeader.text());
}

#[tokio::test]
async fn leases_are_granted_renewed_and_gone() {
    let node = Node::new();
    let mut lease = LeaseClient::new(node.channel().await);
    let granted = lease
        .lease_grant(pb::LeaseGrantRequest { ttl: 10, id: 0 })
        .await
        .unwrap();
    let id = granted.into_inner().id;
    assert!(id > 0);
    let requests = tokio_stream::iter([id, 4].map(|id| pb::LeaseKeepAliveRequest { id }));
    let mut renewed = lease.lease_keep_alive(requests).await.unwrap().into_inner();
    let first = renewed.message().await.unwrap().unwrap();
    assert_eq!(
        (first.id, first.ttl, first.header.unwrap().revision),
        (id, 10, 1)
    );
    let second = renewed.message().await.unwrap().unwrap();
    assert_eq!((second.id, second.ttl), (4, 0));
    assert!(renewed.message().await.unwrap().is_none());
    let left = |id| pb::LeaseTimeToLiveRequest { id, keys: true };
    let told = lease
        .lease_time_to_live(left(id))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((told.ttl, told.granted_ttl), (9, 10));
    let told = lease
        .lease_time_to_live(left(4))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((told.ttl, told.granted_ttl), (-1, 0));
    let all = lease
        .lease_leases(pb::LeaseLeasesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(all.leases, [pb::LeaseStatus { id }]);
    super::fails(
        lease.lease_revoke(pb::LeaseRevokeRequest { id: 4 }).await,
        Error::LeaseNotFound,
    );
}
