use futures_util::poll;

use super::{Node, fails};
use crate::{
    core::error::Error,
    proto::{
        etcdserverpb::{self as pb, lease_client::LeaseClient},
        v3electionpb::{self as electionpb, election_client::ElectionClient},
        v3lockpb::{self as lockpb, lock_client::LockClient},
    },
};

pub(super) async fn grant(node: &Node, id: i64) {
    let mut lease = LeaseClient::new(node.channel().await);
    lease
        .lease_grant(pb::LeaseGrantRequest { ttl: 60, id })
        .await
        .unwrap();
}

fn lock(lease: i64) -> lockpb::LockRequest {
    lockpb::LockRequest {
        name: "l".into(),
        lease,
    }
}

/// Waits until the node has as many keys.
async fn keys(node: &Node, count: usize) {
    while node.fake.state.lock().keys.len() != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_lock_goes_to_the_next_in_line() {
    let node = Node::new();
    grant(&node, 0x1a).await;
    grant(&node, 0x2b).await;
    let mut client = LockClient::new(node.channel().await);
    let held = client.lock(lock(0x1a)).await.unwrap().into_inner();
    assert_eq!(&held.key[..], b"l/1a");
    assert_eq!(held.header.unwrap().revision, 2);
    // Asking again does not lose the place.
    let again = client.lock(lock(0x1a)).await.unwrap().into_inner();
    assert_eq!(again.key, held.key);
    let mut other = LockClient::new(node.channel().await);
    let mut waiting = Box::pin(other.lock(lock(0x2b)));
    assert!(poll!(&mut waiting).is_pending());
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("two hold the lock"),
        () = keys(&node, 2) => {}
    }
    client
        .unlock(lockpb::UnlockRequest { key: held.key })
        .await
        .unwrap();
    let next = waiting.await.unwrap().into_inner();
    assert_eq!(&next.key[..], b"l/2b");
    fails(client.lock(lock(0x3c)).await, Error::LeaseNotFound);
}

#[tokio::test]
async fn who_gives_up_leaves_the_line() {
    let node = Node::new();
    grant(&node, 1).await;
    grant(&node, 2).await;
    let mut client = LockClient::new(node.channel().await);
    client.lock(lock(1)).await.unwrap();
    let mut other = LockClient::new(node.channel().await);
    {
        let mut waiting = Box::pin(other.lock(lock(2)));
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("two hold the lock"),
            () = keys(&node, 2) => {}
        }
    }
    keys(&node, 1).await;
    assert!(node.fake.state.lock().keys.contains_key(&b"l/1"[..]));
}

#[tokio::test]
async fn who_waits_past_its_lease_has_no_lock() {
    let node = Node::new();
    grant(&node, 1).await;
    grant(&node, 2).await;
    let mut client = LockClient::new(node.channel().await);
    let held = client.lock(lock(1)).await.unwrap().into_inner();
    let mut other = LockClient::new(node.channel().await);
    let mut waiting = Box::pin(other.lock(lock(2)));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("two hold the lock"),
        () = keys(&node, 2) => {}
    }
    let mut lease = LeaseClient::new(node.channel().await);
    lease
        .lease_revoke(pb::LeaseRevokeRequest { id: 2 })
        .await
        .unwrap();
    client
        .unlock(lockpb::UnlockRequest { key: held.key })
        .await
        .unwrap();
    let status = waiting.await.unwrap_err();
    assert_eq!(status.message(), "mutex: session is expired");
}

#[tokio::test]
async fn an_election_has_one_leader_and_everyone_sees_it() {
    let node = Node::new();
    grant(&node, 1).await;
    let mut client = ElectionClient::new(node.channel().await);
    let name = || electionpb::LeaderRequest { name: "e".into() };
    let status = client.leader(name()).await.unwrap_err();
    assert_eq!(status.message(), "election: no leader");
    let mut observer = ElectionClient::new(node.channel().await);
    let mut seen = observer.observe(name()).await.unwrap().into_inner();
    let campaign = electionpb::CampaignRequest {
        name: "e".into(),
        lease: 1,
        value: "one".into(),
    };
    let won = client.campaign(campaign).await.unwrap().into_inner();
    let leader = won.leader.unwrap();
    assert_eq!(
        (&leader.key[..], leader.rev, leader.lease),
        (&b"e/1"[..], 2, 1)
    );
    let value = |response: electionpb::LeaderResponse| response.kv.unwrap().value;
    assert_eq!(&value(seen.message().await.unwrap().unwrap())[..], b"one");
    let proclaim = |leader: Option<electionpb::LeaderKey>| electionpb::ProclaimRequest {
        leader,
        value: "two".into(),
    };
    client
        .proclaim(proclaim(Some(leader.clone())))
        .await
        .unwrap();
    assert_eq!(&value(seen.message().await.unwrap().unwrap())[..], b"two");
    let told = client.leader(name()).await.unwrap().into_inner();
    assert_eq!(&value(told)[..], b"two");
    let resign = electionpb::ResignRequest {
        leader: Some(leader.clone()),
    };
    client.resign(resign).await.unwrap();
    let status = client.proclaim(proclaim(Some(leader))).await.unwrap_err();
    assert_eq!(status.message(), "election: not leader");
    let status = client.proclaim(proclaim(None)).await.unwrap_err();
    assert_eq!(status.message(), "\"leader\" field must be provided");
}
