//! Frameworks on real nodes: they are offered what is free, start programs there, and hear of a
//! new leader by getting their offers anew.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{collections::BTreeMap, time::Duration};

use atoll_e2e::{cluster::Cluster, command::Server, kubernetes::Api};
use atoll_services::proto::{
    AcceptRequest, AcceptResponse, DeclineRequest, Offer, OfferEvent, ReviveRequest,
    SubscribeRequest, offer_event::Event, offers_client::OffersClient,
};
use common::{all_vote, channel, leader};
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming, transport::Channel};

/// What is waited for takes no longer, on a slow and busy machine.
const WAIT: Duration = Duration::from_secs(90);
/// Longer than any of these tests.
const FOR_GOOD_MS: u64 = 600_000;

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A framework with its stream of events.
struct Framework {
    client: OffersClient<Channel>,
    name: String,
    events: Streaming<OfferEvent>,
    session: u64,
    open: BTreeMap<u64, Offer>,
}

fn subscribe(name: &str) -> SubscribeRequest {
    SubscribeRequest {
        framework: name.to_owned(),
        ..SubscribeRequest::default()
    }
}

impl Framework {
    async fn new(api: &Api, name: &str) -> Framework {
        let mut client = OffersClient::new(api.channel());
        let events = client.subscribe(subscribe(name)).await.unwrap();
        let mut framework = Framework {
            client,
            name: name.to_owned(),
            events: events.into_inner(),
            session: 0,
            open: BTreeMap::new(),
        };
        framework.next().await;
        assert_ne!(framework.session, 0, "that comes first");
        framework
    }

    /// Takes in one event.
    async fn next(&mut self) {
        let event = timeout(WAIT, self.events.message()).await.expect("events");
        match event.unwrap().expect("no end").event.unwrap() {
            Event::Subscribed(subscribed) => {
                assert_ne!(subscribed.session, self.session);
                self.session = subscribed.session;
                self.open.clear();
            }
            Event::Offered(offer) => drop(self.open.insert(offer.id, offer)),
            Event::Withdrawn(withdrawn) => drop(self.open.remove(&withdrawn.id)),
            Event::Alive(_) => {}
        }
    }

    /// Waits for an offer of a node, or of any.
    async fn offer(&mut self, node: Option<&str>) -> Offer {
        let wait = async {
            loop {
                let is_it = |offer: &&Offer| node.is_none_or(|node| offer.node == node);
                if let Some(offer) = self.open.values().find(is_it).cloned() {
                    self.open.remove(&offer.id);
                    return offer;
                }
                self.next().await;
            }
        };
        timeout(WAIT, wait).await.expect("an offer")
    }

    async fn accept(&mut self, offer: u64, pods: &[&Value]) -> Result<AcceptResponse, Status> {
        let request = AcceptRequest {
            framework: self.name.clone(),
            session: self.session,
            offer,
            pods: pods.iter().map(|pod| pod.to_string()).collect(),
            decline_ms: Some(FOR_GOOD_MS),
        };
        let accepted = self.client.accept(request).await;
        accepted.map(tonic::Response::into_inner)
    }

    async fn decline(&mut self, offers: Vec<u64>) -> Vec<u64> {
        let request = DeclineRequest {
            framework: self.name.clone(),
            session: self.session,
            offers,
            decline_ms: Some(FOR_GOOD_MS),
        };
        self.client
            .decline(request)
            .await
            .unwrap()
            .into_inner()
            .unknown
    }

    async fn revive(&mut self) -> Result<(), Status> {
        let request = ReviveRequest {
            framework: self.name.clone(),
            session: self.session,
        };
        self.client.revive(request).await.map(drop)
    }
}

/// Says something, and goes on until it is ended.
fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": [{
                "name": "app",
                "command": ["sh", "-c", "echo here I am; while :; do sleep 0.2; done"],
                "resources": {"requests": {"cpu": "10m"}},
            }],
        },
    })
}

async fn runs(api: &mut Api, name: &str) {
    api.log_until(name, WAIT, |log| log.contains("here I am"))
        .await;
}

fn milli_cpu(offer: &Offer) -> u64 {
    offer.room.as_ref().unwrap().milli_cpu
}

#[tokio::test]
async fn frameworks_start_programs_where_they_are_offered_room() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node = &cluster.nodes[0];
    let mut api = Api::of(node);
    let name = api.node_of(&node.id().unwrap(), WAIT).await;
    let mut batch = Framework::new(&api, "batch").await;
    let offer = batch.offer(None).await;
    assert_eq!(offer.node, name);
    assert_eq!(offer.labels["atoll.dev/node-id"], node.id().unwrap());

    let accepted = batch.accept(offer.id, &[&pod("job")]).await.unwrap();
    assert_eq!(accepted.node, name);
    let [made] = &accepted.pods[..] else {
        panic!("{accepted:?}");
    };
    assert!(made.failure.is_none(), "{made:?}");
    runs(&mut api, "job").await;
    let found = api.get(&format!("{PODS}/job")).await.json();
    assert_eq!(found["metadata"]["uid"], made.uid);
    assert_eq!(found["spec"]["nodeName"], name);
    let conditions = found["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|it| it["type"] == "PodScheduled"));
    assert_eq!(found["metadata"]["labels"]["atoll.dev/framework"], "batch");

    // The first one wants no more for now, so another one is offered what is left.
    let mut other = Framework::new(&api, "other").await;
    let rest = other.offer(None).await;
    assert_eq!(milli_cpu(&rest), milli_cpu(&offer) - 10);
    // Offers are good once, and only their framework's.
    let again = batch.accept(offer.id, &[]).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound, "{again}");
    let foreign = batch.accept(rest.id, &[]).await.unwrap_err();
    assert_eq!(foreign.code(), Code::NotFound, "{foreign}");
    // What can't be a pod is refused before anything is done.
    let misspelt = json!({"metadata": {"name": "a"}, "spec": {"contaners": []}});
    let refused = other.accept(rest.id, &[&misspelt]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");

    // What turns out to be none is told, and its room is free again.
    let wrong = json!({"metadata": {"name": "wrong"}, "spec": {"containers": []}});
    let accepted = other.accept(rest.id, &[&wrong]).await.unwrap();
    assert_eq!(accepted.pods[0].failure.as_ref().unwrap().reason, "Invalid");
    assert_eq!(api.get(&format!("{PODS}/wrong")).await.status, 404);
    let rest = other.offer(None).await;

    assert!(other.decline(vec![rest.id]).await.is_empty());
    assert_eq!(other.decline(vec![rest.id]).await, [rest.id]);
    batch.revive().await.unwrap();
    let revived = batch.offer(None).await;
    batch.accept(revived.id, &[&pod("second")]).await.unwrap();
    runs(&mut api, "second").await;

    // Who subscribes again takes the place of the one before.
    let later = Framework::new(&api, "batch").await;
    assert_ne!(later.session, batch.session);
    let superseded = batch.revive().await.unwrap_err();
    assert_eq!(superseded.code(), Code::FailedPrecondition, "{superseded}");
}

#[tokio::test]
async fn nobody_runs_pods_without_a_credential() {
    let cluster = Cluster::start(&Server::under_test(), 1).await.unwrap();
    let node = &cluster.nodes[0];
    // Loopback, where clients of other services need no login.
    let mut client = OffersClient::new(channel(&node.endpoint()));
    let refused = client.subscribe(subscribe("batch")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let path = "/v1/offers/subscribe";
    let (status, _) = node
        .post(path, &json!({"framework": "batch"}))
        .await
        .unwrap();
    assert_eq!(status, 401);
    let nobody = Api::of(node).without_credential();
    let mut client = OffersClient::new(nobody.channel());
    let refused = client.subscribe(subscribe("batch")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
}

#[tokio::test]
async fn the_next_leader_offers_anew() {
    let mut cluster = Cluster::start(&Server::under_test(), 3).await.unwrap();
    all_vote(&cluster).await;
    let first = leader(&cluster).await;
    let survivor = (first + 1) % 3;
    // Any node relays.
    let mut api = Api::of(&cluster.nodes[survivor]);
    let id = cluster.nodes[survivor].id().unwrap();
    let home = api.node_of(&id, WAIT).await;
    let mut batch = Framework::new(&api, "batch").await;
    let offer = batch.offer(Some(&home)).await;
    let accepted = batch.accept(offer.id, &[&pod("before")]).await.unwrap();
    assert!(accepted.pods[0].failure.is_none(), "{accepted:?}");
    runs(&mut api, "before").await;

    let (session, open) = (batch.session, batch.offer(None).await);
    cluster.nodes[first].kill();
    while batch.session == session {
        batch.next().await;
    }
    let mut before = batch.client.clone();
    let request = AcceptRequest {
        framework: "batch".to_owned(),
        session,
        offer: open.id,
        ..AcceptRequest::default()
    };
    let stale = before.accept(request).await.unwrap_err();
    assert_eq!(stale.code(), Code::FailedPrecondition, "{stale}");
    // What it has is not offered twice.
    let again = batch.offer(Some(&home)).await;
    assert_eq!(milli_cpu(&again), milli_cpu(&offer) - 10);
    let accepted = batch.accept(again.id, &[&pod("after")]).await.unwrap();
    assert!(accepted.pods[0].failure.is_none(), "{accepted:?}");
    runs(&mut api, "after").await;
}
