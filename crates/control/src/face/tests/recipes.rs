use futures_util::poll;

use super::{Node, fails};
use crate::{
    core::error::Error,
    proto::{
        etcdserverpb::{self as pb, lease_client::LeaseClient},
        v1::{self, LockMode, locks_client::LocksClient},
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

fn acquire(lease: i64, mode: LockMode, permits: u32) -> v1::AcquireRequest {
    v1::AcquireRequest {
        name: "l".into(),
        lease,
        mode: mode as i32,
        permits,
    }
}

async fn clients<const N: usize>(node: &Node) -> [LocksClient<tonic::transport::Channel>; N] {
    let mut clients = Vec::new();
    for id in 1..=N {
        grant(node, i64::try_from(id).unwrap()).await;
        clients.push(LocksClient::new(node.channel().await));
    }
    clients.try_into().unwrap()
}

#[tokio::test]
async fn readers_share_a_lock_and_a_writer_waits_for_them() {
    let node = Node::new();
    let [mut one, mut two, mut writer, mut three] = clients(&node).await;
    let first = one
        .acquire(acquire(1, LockMode::Shared, 0))
        .await
        .unwrap()
        .into_inner();
    let second = two
        .acquire(acquire(2, LockMode::Shared, 0))
        .await
        .unwrap()
        .into_inner();
    assert!(second.token > first.token);
    let mut writing = Box::pin(writer.acquire(acquire(3, LockMode::Exclusive, 0)));
    tokio::select! {
        biased;
        _ = &mut writing => panic!("a writer holds what is shared"),
        () = keys(&node, 3) => {}
    }
    // Who comes after the writer waits for it.
    let mut late = Box::pin(three.acquire(acquire(4, LockMode::Shared, 0)));
    tokio::select! {
        biased;
        _ = &mut late => panic!("a reader went before a writer"),
        () = keys(&node, 4) => {}
    }
    for held in [first, second] {
        assert!(poll!(&mut writing).is_pending());
        one.release(v1::ReleaseRequest { key: held.key })
            .await
            .unwrap();
    }
    let written = writing.await.unwrap().into_inner();
    assert!(poll!(&mut late).is_pending());
    one.release(v1::ReleaseRequest { key: written.key })
        .await
        .unwrap();
    assert!(late.await.unwrap().into_inner().token > written.token);
}

#[tokio::test]
async fn so_many_hold_a_semaphore() {
    let node = Node::new();
    let [mut one, mut two, mut three] = clients(&node).await;
    let permit = |lease| acquire(lease, LockMode::Permit, 2);
    let first = one.acquire(permit(1)).await.unwrap().into_inner();
    two.acquire(permit(2)).await.unwrap();
    let mut waiting = Box::pin(three.acquire(permit(3)));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("three hold two permits"),
        () = keys(&node, 3) => {}
    }
    one.release(v1::ReleaseRequest { key: first.key })
        .await
        .unwrap();
    waiting.await.unwrap();
}

#[tokio::test]
async fn what_no_lock_can_be_is_refused() {
    let node = Node::new();
    let [mut client] = clients(&node).await;
    for (request, text) in [
        (
            acquire(1, LockMode::Permit, 0),
            "permits is how many may hold the lock: 1 to 10000",
        ),
        (
            acquire(1, LockMode::Permit, 10_001),
            "permits is how many may hold the lock: 1 to 10000",
        ),
        (
            acquire(1, LockMode::Shared, 1),
            "permits goes with the mode PERMIT",
        ),
        (
            v1::AcquireRequest {
                mode: 9,
                ..acquire(1, LockMode::Shared, 0)
            },
            "mode is none of those that there are",
        ),
    ] {
        let status = client.acquire(request).await.unwrap_err();
        assert_eq!(status.message(), text);
    }
    client
        .acquire(acquire(1, LockMode::Shared, 0))
        .await
        .unwrap();
    let status = client
        .acquire(acquire(1, LockMode::Exclusive, 0))
        .await
        .unwrap_err();
    assert_eq!(
        status.message(),
        "this lease wants or holds the lock in another mode"
    );
}

#[tokio::test]
async fn asking_again_and_giving_up_leaves_what_is_held() {
    let node = Node::new();
    let [mut one, mut two, mut again] = clients(&node).await;
    one.acquire(acquire(1, LockMode::Shared, 0)).await.unwrap();
    let held = two
        .acquire(acquire(2, LockMode::Shared, 0))
        .await
        .unwrap()
        .into_inner();
    // The same lease asks once more, and nobody waits for the answer.
    drop(poll!(Box::pin(again.acquire(acquire(
        2,
        LockMode::Shared,
        0
    )))));
    let told = again
        .acquire(acquire(2, LockMode::Shared, 0))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((told.key, told.token), (held.key, held.token));
    assert_eq!(node.fake.state.lock().keys.len(), 2);
}
