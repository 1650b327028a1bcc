//! Three whole nodes on virtual time: hot data with real shards, and coordinators.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use atoll_kv::{
    api::{Answer as Told, Api, Body, Consistency, Request as Ask},
    core::reply::Reply,
    driver::Kv,
};
use atoll_world::{clock, task};
use bytes::Bytes;
use parking_lot::Mutex;

use super::super::{
    super::{Call, GlobalError, Later, Outside, Unfit},
    COMMIT, outcome,
    town::{Node, World},
};
use crate::{
    core::global::{Branch, Kind, Order, Outcome, Report, TransactionId, coordinator::Answer},
    driver::tests::cluster::{Cluster, call},
    outside::hot::{Hot, NAME, work::Work},
};

/// Nobody waits longer, in virtual time.
pub(super) const WAIT: Duration = Duration::from_secs(60);
/// What is not answered after so long waits for a lock.
const GLANCE: Duration = Duration::from_millis(700);

/// Everybody outside of one node: services, and its own hot data.
#[derive(Clone)]
struct Outsiders {
    world: World,
    hot: Hot,
    /// Orders that hot data does not hear, on any node.
    deaf_to: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Outside for Outsiders {
    fn reaches(&self, _: &str) -> Result<(), Unfit> {
        Ok(())
    }

    fn check(&self, kind: Kind, name: &str, payload: &[u8]) -> Result<(), Unfit> {
        match name {
            NAME => Hot::check(kind, payload),
            _ => self.world.check(kind, name, payload),
        }
    }

    fn tell(&self, call: Call) -> Later<Option<Report>> {
        if call.name != NAME {
            return self.world.tell(call);
        }
        let word = match call.order {
            Order::Prepare { .. } => "prepare",
            Order::Commit => "commit",
            _ => "other",
        };
        match self.deaf_to.lock().contains(word) {
            true => Box::pin(async { None }),
            false => self.hot.tell(call),
        }
    }

    fn held(&self) -> Later<Vec<(Branch, String)>> {
        self.world.held()
    }

    fn found(&self) -> Vec<(Branch, String)> {
        self.hot.found()
    }
}

/// Three nodes with hot data and coordinators; the third is the leader.
pub(super) struct Town {
    pub(super) cluster: Cluster,
    pub(super) world: World,
    pub(super) nodes: Vec<(Node, Hot)>,
    deaf_to: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Town {
    pub(super) fn new(services: &[&str], seed: u64) -> Town {
        let mut town = Town {
            cluster: Cluster::new(seed),
            world: World::seeded(services, seed),
            nodes: Vec::new(),
            deaf_to: Arc::default(),
        };
        for at in 0..3 {
            let node = town.coordinator(at);
            town.nodes.push(node);
        }
        town
    }

    fn coordinator(&self, at: usize) -> (Node, Hot) {
        let hot = Hot::through(self.cluster.executor(at));
        hot.set(Some(Arc::new(self.cluster.kv(at).clone())));
        let outsiders = Outsiders {
            world: self.world.clone(),
            hot: hot.clone(),
            deaf_to: self.deaf_to.clone(),
        };
        let number = u64::try_from(at).expect("few") + 1;
        (self.world.start_with(number, Arc::new(outsiders)), hot)
    }

    /// Ends a node's process: what coordinates and what holds data.
    pub(super) async fn kill(&mut self, at: usize) {
        let (node, hot) = &self.nodes[at];
        self.world.kill(node);
        hot.set(None);
        self.cluster.crash(at).await;
    }

    pub(super) fn start(&mut self, at: usize) {
        self.cluster.start(at);
        self.nodes[at] = self.coordinator(at);
    }

    pub(super) fn kv(&self, at: usize) -> &Kv {
        self.cluster.kv(at)
    }

    pub(super) fn deafen_hot(&self, to: &[&'static str]) {
        *self.deaf_to.lock() = to.iter().copied().collect();
    }

    /// Begins a transaction in which these services take part, and hot data does this.
    pub(super) async fn begin(&self, at: usize, services: &[&str], hot: Work) -> TransactionId {
        let global = &self.nodes[at].0.global;
        let id = global.begin(Kind::TwoPhase, 60_000).await;
        let id = id.expect("it begins");
        for name in services {
            let payload = Bytes::from_static(b"work");
            let enlisted = global.enlist(id, (*name).to_owned(), payload, Bytes::new());
            enlisted.await.expect("a service");
        }
        let enlisted = global.enlist(id, NAME.to_owned(), hot.encode(), Bytes::new());
        enlisted.await.expect("hot data");
        id
    }

    pub(super) async fn commit(&self, at: usize, id: TransactionId) -> Outcome {
        outcome(self.nodes[at].0.global.ask(id, COMMIT).await)
    }

    /// Asks for a commit, and does not wait for it.
    pub(super) fn commit_begins(
        &self,
        at: usize,
        id: TransactionId,
    ) -> task::JoinHandle<Result<Answer, GlobalError>> {
        let global = self.nodes[at].0.global.clone();
        task::spawn(async move { global.ask(id, COMMIT).await })
    }

    /// Waits until keys have these values, and nobody keeps them locked.
    pub(super) async fn finds(&self, at: usize, expected: &[(&str, &str)]) {
        let began = clock::now();
        loop {
            let mut found = Vec::new();
            for (key, _) in expected {
                found.push(glance(self.kv(at), key).await);
            }
            let wanted = expected.iter().map(|(_, value)| Some(Reply::bulk(value)));
            if found == wanted.collect::<Vec<_>>() {
                return;
            }
            assert!(began.elapsed() < WAIT, "not in time: {found:?}");
            clock::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until something is locked.
    pub(super) async fn locks(&self, at: usize, key: &str) {
        let began = clock::now();
        while glance(self.kv(at), key).await.is_some() {
            assert!(began.elapsed() < WAIT, "{key} is never locked");
            clock::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The value of a key, if nobody keeps it locked.
pub(super) async fn glance(kv: &Kv, key: &str) -> Option<Reply> {
    let body = Body::Call {
        database: 0,
        call: call(&format!("GET {key}")),
    };
    let ask = Ask {
        consistency: Consistency::Linearizable,
        by: None,
        caller: None,
        body,
    };
    let asked = clock::timeout(GLANCE, Api::ask(kv, vec![ask])).await;
    match asked.ok()?.pop() {
        Some(Told::Reply(Reply::Error(text))) if text.starts_with(b"TRYAGAIN") => None,
        Some(Told::Reply(reply)) => Some(reply),
        _ => None,
    }
}
