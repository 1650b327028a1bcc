//! Clients of the tests: a load of writes that remembers what was acknowledged.
// Edge of the house: real processes are waited for in real time.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, dead_code)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use atoll_control::proto::etcdserverpb::{
    PutRequest, RangeRequest, StatusRequest, StatusResponse, cluster_client::ClusterClient,
    kv_client::KvClient, maintenance_client::MaintenanceClient,
};
use atoll_e2e::{cluster::Cluster, node::Node};
use redis::{Connection, FromRedisValue, RedisResult};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tonic::transport::{Channel, Endpoint};

/// No wait for a condition takes longer, on a slow and busy machine.
pub(crate) const WAIT: Duration = Duration::from_secs(60);
/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(20);
/// A write that isn't answered by then goes to the next node.
const TRY_WAIT: Duration = Duration::from_millis(500);

pub(crate) fn channel(address: &str) -> Channel {
    Endpoint::from_shared(address.to_owned())
        .unwrap()
        .connect_lazy()
}

pub(crate) fn kv(address: &str) -> KvClient<Channel> {
    KvClient::new(channel(address))
}

pub(crate) fn members(address: &str) -> ClusterClient<Channel> {
    ClusterClient::new(channel(address))
}

pub(crate) fn maintenance(address: &str) -> MaintenanceClient<Channel> {
    MaintenanceClient::new(channel(address))
}

pub(crate) async fn put(address: &str, key: &str, value: &str) {
    let request = PutRequest {
        key: key.as_bytes().to_vec().into(),
        value: value.as_bytes().to_vec().into(),
        ..PutRequest::default()
    };
    kv(address).put(request).await.unwrap();
}

/// The value of a key, linearizable, and the revision it was read at.
pub(crate) async fn get(address: &str, key: &str) -> (Option<String>, i64) {
    let request = RangeRequest {
        key: key.as_bytes().to_vec().into(),
        ..RangeRequest::default()
    };
    let answer = kv(address).range(request).await.unwrap().into_inner();
    let value = answer.kvs.first().map(|kv| kv.value.to_vec());
    let value = value.map(|bytes| String::from_utf8(bytes).unwrap());
    (value, answer.header.unwrap().revision)
}

pub(crate) async fn status(address: &str) -> Option<StatusResponse> {
    let mut client = maintenance(address);
    let asked = timeout(TRY_WAIT, client.status(StatusRequest {})).await;
    Some(asked.ok()?.ok()?.into_inner())
}

/// Looks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {WAIT:?}: {what}");
        sleep(POLL).await;
    }
}

/// The index of the node that leads.
pub(crate) async fn leader(cluster: &Cluster) -> usize {
    until("a leader", async || {
        for (index, node) in cluster.nodes.iter().enumerate() {
            if let Some(status) = status(&node.endpoint()).await
                && status.leader != 0
                && status
                    .header
                    .is_some_and(|it| it.member_id == status.leader)
            {
                return Some(index);
            }
        }
        None
    })
    .await
}

/// Waits until every node votes: one that joined first learns.
pub(crate) async fn all_vote(cluster: &Cluster) {
    until("every node votes", async || {
        for node in &cluster.nodes {
            if status(&node.endpoint()).await?.is_learner {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// Waits until every partition has three replicas and nothing moves.
pub(crate) async fn all_placed(node: &Node) {
    until("every partition has three replicas", async || {
        node.is_placed(3).ok()?.then_some(())
    })
    .await;
}

/// Writers, each of which counts upwards in its own key and remembers what was acknowledged.
pub(crate) struct Load {
    acknowledged: Arc<Mutex<Vec<u64>>>,
    // Aborts the writers when dropped.
    lanes: JoinSet<()>,
}

impl Load {
    /// Starts `writers` of them, spread over the endpoints, from the counts reached before.
    pub(crate) fn start(endpoints: &[String], writers: usize, from: Option<&[u64]>) -> Self {
        let counts = from.map_or_else(|| vec![0; writers], <[u64]>::to_vec);
        let acknowledged = Arc::new(Mutex::new(counts));
        let mut lanes = JoinSet::new();
        for index in 0..writers {
            lanes.spawn(write(index, endpoints.to_vec(), acknowledged.clone()));
        }
        Self {
            acknowledged,
            lanes,
        }
    }

    /// What each writer's key must hold at least.
    pub(crate) fn counts(&self) -> Vec<u64> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Waits for so many more acknowledgements.
    pub(crate) async fn more(&self, count: u64) {
        let enough = self.counts().iter().sum::<u64>() + count;
        until("writes are acknowledged", async || {
            (self.counts().iter().sum::<u64>() >= enough).then_some(())
        })
        .await;
    }

    /// Stops the writers and answers what was acknowledged.
    pub(crate) async fn stop(mut self) -> Vec<u64> {
        self.lanes.shutdown().await;
        self.counts()
    }
}

pub(crate) fn key(index: usize) -> String {
    format!("load/{index}")
}

async fn write(index: usize, endpoints: Vec<String>, acknowledged: Arc<Mutex<Vec<u64>>>) {
    let clients: Vec<_> = endpoints.iter().map(|address| kv(address)).collect();
    let mut turn = index;
    let mut count = acknowledged.lock().unwrap()[index] + 1;
    loop {
        let mut client = clients[turn % clients.len()].clone();
        let request = PutRequest {
            key: key(index).into_bytes().into(),
            value: count.to_string().into_bytes().into(),
            ..PutRequest::default()
        };
        if let Ok(Ok(_)) = timeout(TRY_WAIT, client.put(request)).await {
            acknowledged.lock().unwrap()[index] = count;
            count += 1;
        } else {
            turn += 1;
            sleep(POLL).await;
        }
    }
}

/// Fails if a key holds less than was acknowledged.
pub(crate) async fn nothing_lost(endpoint: &str, acknowledged: &[u64]) {
    for (index, &wanted) in acknowledged.iter().enumerate() {
        let (value, _) = get(endpoint, &key(index)).await;
        let found: u64 = value.map_or(0, |text| text.parse().unwrap());
        assert!(
            found >= wanted,
            "{endpoint}: {} holds {found}, but {wanted} was acknowledged",
            key(index)
        );
    }
}

fn redis_connection(node: &Node) -> redis::RedisResult<Connection> {
    let url = format!("redis://127.0.0.1:{}/", node.layout().redis_port);
    let connection = redis::Client::open(url)?.get_connection()?;
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(connection)
}

/// A Redis client, once the node serves hot data.
pub(crate) async fn connected(node: &Node) -> Connection {
    until("the node serves Redis clients", async || {
        let mut connection = redis_connection(node).ok()?;
        let pong: String = redis::cmd("PING").query(&mut connection).ok()?;
        (pong == "PONG").then_some(connection)
    })
    .await
}

/// Has a Redis client run a command; words are divided by spaces.
pub(crate) fn run<T: FromRedisValue>(client: &mut Connection, text: &str) -> RedisResult<T> {
    let mut words = text.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query(client)
}
