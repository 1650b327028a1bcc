//! Three nodes with drivers on virtual time, a log that they share, and services outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    sync::Arc,
};

use atoll_base::id::NodeId;
use atoll_world::{
    clock, random,
    task::{self, Group},
};
use bytes::Bytes;
use parking_lot::Mutex;

use super::super::{
    Bounds, Call, Cluster, Global, Index, Later, Outside, Setup, Unclear, Unfit, Written,
};
use crate::core::global::{
    Branch, Kind, Order, Outcome, Place, Record, Report, Settings, TransactionId, Version,
    participant::{Callback, Will},
    tests::keyspace::Keyspace,
};

/// Nobody waits longer, in virtual time.
const WAIT_MS: u64 = 60_000;

#[derive(Default)]
struct Shared {
    log: BTreeMap<TransactionId, (Version, Record)>,
    revision: u64,
    indexes: BTreeMap<NodeId, Arc<Index>>,
    leader: NodeId,
    dead: BTreeSet<NodeId>,
    services: BTreeMap<String, Service>,
    /// Orders that were received, as they came.
    received: Vec<(String, &'static str)>,
    keyspace: Keyspace,
    /// Whose keys were written, each time.
    keys: Vec<TransactionId>,
    /// Of a hundred writes so many are not answered, whether they came to the log or not.
    unclear_percent: u64,
}

/// A service outside.
#[derive(Default)]
struct Service {
    core: Callback,
    /// It does not hear these.
    deaf_to: BTreeSet<&'static str>,
    cannot: bool,
}

#[derive(Clone)]
pub(super) struct World(Arc<Mutex<Shared>>);

#[derive(Clone)]
pub(super) struct Seen {
    world: World,
    node: NodeId,
}

fn word(order: &Order) -> &'static str {
    match order {
        Order::Prepare { .. } => "prepare",
        Order::PreCommit => "pre-commit",
        Order::Commit => "commit",
        Order::Abort => "abort",
        Order::Terminate => "terminate",
        Order::Do { .. } => "do",
        Order::Ask => "ask",
        Order::Compensate { .. } => "compensate",
    }
}

impl Cluster for Seen {
    async fn write(
        &self,
        id: TransactionId,
        expected: Version,
        record: Option<&Record>,
        parts: &[(Place, Bytes)],
    ) -> Result<Written, Unclear> {
        clock::sleep(std::time::Duration::from_millis(2)).await;
        let mut shared = self.world.0.lock();
        let shared = &mut *shared;
        let lost = || Err(Unclear("its answer is lost".to_owned()));
        let is_lost = random::u64() % 100 < shared.unclear_percent;
        if is_lost && random::u64().is_multiple_of(2) {
            return lost();
        }
        let found = shared.log.get(&id).map_or(Version(0), |it| it.0);
        if found != expected {
            return if is_lost {
                lost()
            } else {
                Ok(Written::Changed)
            };
        }
        if let Some(place) = shared.keyspace.refuses(parts) {
            return if is_lost {
                lost()
            } else {
                Ok(Written::Refused(place))
            };
        }
        if !parts.is_empty() {
            shared.keyspace.write(parts);
            shared.keys.extend(parts.iter().map(|_| id));
        }
        shared.revision += 1;
        let version = Version(shared.revision);
        match record {
            Some(record) => {
                let bytes = record.encode();
                let record = Record::decode(bytes).expect("as it was written");
                for index in shared.indexes.values() {
                    index.put(version, &record);
                }
                shared.log.insert(id, (version, record));
            }
            None => {
                shared.log.remove(&id);
                shared.indexes.values().for_each(|index| index.remove(id));
            }
        }
        if is_lost {
            lost()
        } else {
            Ok(Written::At(version))
        }
    }

    async fn read(&self, id: TransactionId) -> Result<Option<(Version, Record)>, Unclear> {
        Ok(self.world.0.lock().log.get(&id).cloned())
    }

    async fn follow(&self, index: Arc<Index>) {
        {
            let mut shared = self.world.0.lock();
            index.replace(shared.log.values().cloned());
            shared.indexes.insert(self.node, index);
        }
        std::future::pending().await
    }

    fn leads(&self) -> bool {
        self.world.0.lock().leader == self.node
    }

    async fn is_alive(&self, node: NodeId) -> bool {
        let shared = self.world.0.lock();
        // Sometimes one that is there seems not to be.
        let seems_dead = random::u64() % 100 < 8 * shared.unclear_percent;
        !seems_dead && !shared.dead.contains(&node)
    }
}

impl Outside for World {
    fn reaches(&self, _: &str) -> Result<(), Unfit> {
        Ok(())
    }

    fn check(&self, _: Kind, name: &str, _: &[u8]) -> Result<(), Unfit> {
        match self.0.lock().services.contains_key(name) {
            true => Ok(()),
            false => Err(Unfit::Refused(format!("{name} is not known"))),
        }
    }

    fn tell(&self, call: Call) -> Later<Option<Report>> {
        let world = self.clone();
        Box::pin(async move {
            clock::sleep(std::time::Duration::from_millis(3)).await;
            let mut shared = world.0.lock();
            let word = word(&call.order);
            shared.received.push((call.name.clone(), word));
            let service = shared.services.get_mut(&call.name)?;
            if service.deaf_to.contains(word) {
                return None;
            }
            let will = match service.cannot {
                true => Will::Cannot,
                false => Will::Can,
            };
            service.core.step(call.branch, &call.order, will)
        })
    }

    fn held(&self) -> Later<Vec<(Branch, String)>> {
        let shared = self.0.lock();
        let held = shared.services.iter().flat_map(|(name, service)| {
            let held = service.core.in_doubt();
            held.map(|branch| (branch, name.clone()))
        });
        let held = held.collect();
        Box::pin(ready(held))
    }
}

impl World {
    pub(super) fn new(services: &[&str]) -> World {
        World::seeded(services, 7)
    }

    pub(super) fn seeded(services: &[&str], seed: u64) -> World {
        // The wall clock is virtual, too, from here on.
        random::seed_thread(seed);
        let named = |name: &&str| ((*name).to_owned(), Service::default());
        World(Arc::new(Mutex::new(Shared {
            leader: NodeId(3),
            services: services.iter().map(named).collect(),
            ..Shared::default()
        })))
    }

    pub(super) fn start(&self, node: u64) -> Node {
        self.start_with(node, Arc::new(self.clone()))
    }

    /// The same, where others take part, too.
    pub(super) fn start_with(&self, node: u64, outside: Arc<dyn Outside>) -> Node {
        let group = Group::new();
        let node = NodeId(node);
        self.0.lock().dead.remove(&node);
        let world = self.clone();
        let global = task::scope_sync(group.clone(), || {
            Global::start(Setup {
                node,
                cluster: Seen { world, node },
                outside,
                settings: Settings {
                    keep_ms: 20_000,
                    retry_ms_max: 1_000,
                    ..Settings::default()
                },
                bounds: Bounds::default(),
            })
        });
        Node {
            id: node,
            global,
            group,
        }
    }

    pub(super) fn kill(&self, node: &Node) {
        node.group.kill();
        let mut shared = self.0.lock();
        shared.dead.insert(node.id);
        shared.indexes.remove(&node.id);
    }

    /// A service does not hear some orders, or all again.
    pub(super) fn deafen(&self, name: &str, to: &[&'static str]) {
        let mut shared = self.0.lock();
        let service = shared.services.get_mut(name).expect("a service");
        service.deaf_to = to.iter().copied().collect();
    }

    pub(super) fn refuse(&self, name: &str) {
        let mut shared = self.0.lock();
        shared.services.get_mut(name).expect("a service").cannot = true;
    }

    pub(super) fn received(&self, name: &str, order: &str) -> usize {
        let shared = self.0.lock();
        let orders = shared.received.iter();
        orders.filter(|it| it.0 == name && it.1 == order).count()
    }

    pub(super) fn holds(&self, name: &str) -> usize {
        self.0.lock().services[name].core.in_doubt().count()
    }

    /// When a key of the control plane was changed last; 0: never.
    pub(super) fn key(&self, key: &str) -> i64 {
        self.0.lock().keyspace.read(key)
    }

    /// Whose keys were written, each time, since this was asked last.
    pub(super) fn keys_written(&self) -> Vec<TransactionId> {
        std::mem::take(&mut self.0.lock().keys)
    }

    pub(super) fn records(&self) -> usize {
        self.0.lock().log.len()
    }

    /// How parts have ended at a service, since this was asked last.
    pub(super) fn happened(&self, name: &str) -> Vec<Outcome> {
        let mut shared = self.0.lock();
        let service = shared.services.get_mut(name).expect("a service");
        let happened = service.core.happened().into_iter();
        happened.map(|it| it.outcome).collect()
    }

    pub(super) fn lose_answers(&self, percent: u64) {
        self.0.lock().unclear_percent = percent;
    }

    /// Whether nobody holds anything, and the log knows of nothing that has not ended.
    pub(super) fn is_quiet(&self) -> bool {
        let shared = self.0.lock();
        let mut services = shared.services.values();
        services.all(|it| it.core.in_doubt().next().is_none())
            && shared.log.values().all(|(_, record)| record.has_ended())
    }

    /// How parts of transactions have ended anywhere, since this was asked last.
    pub(super) fn histories(&self) -> Vec<(TransactionId, Outcome)> {
        let mut shared = self.0.lock();
        let services = shared.services.values_mut();
        let happened = services.flat_map(|it| it.core.happened());
        happened
            .map(|it| (it.branch.transaction, it.outcome))
            .collect()
    }

    /// Waits until something is so; how long that took, in milliseconds.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&World) -> bool) -> u64 {
        let began = clock::now();
        let passed_ms = || u64::try_from((clock::now() - began).as_millis()).unwrap_or(u64::MAX);
        while !is_so(self) {
            assert!(passed_ms() < WAIT_MS, "not in time: {what}");
            clock::sleep(std::time::Duration::from_millis(1)).await;
        }
        passed_ms()
    }
}

#[derive(Clone)]
pub(super) struct Node {
    id: NodeId,
    pub(super) global: Global<Seen>,
    group: Group,
}
