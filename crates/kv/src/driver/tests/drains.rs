//! Nodes that hand over what they hold, come back, and leave, while others write and nodes die.

mod eventual;

use std::collections::{BTreeMap, BTreeSet};

use atoll_ring::topology::{NodeState, Topology};
use atoll_world::{clock, random};

use super::*;
use crate::driver::{ClusterAddress, Decisions, Known, journal};

const PARTITIONS: u16 = 8;
/// No call takes longer while partitions move and nobody dies.
const GAP_MAX: Duration = Duration::from_millis(100);

/// The control plane, as it can be at its worst: whoever reads it sees what was decided a while
/// ago, and after a start what was decided before the node was killed, or even longer ago.
#[derive(Default)]
struct Decided {
    versions: Vec<Bytes>,
    /// How many versions each node has heard of.
    seen: BTreeMap<NodeId, usize>,
    leader: u64,
    members: BTreeSet<NodeId>,
    draining: BTreeSet<NodeId>,
    /// Whether some node has a version without eventual keyspaces.
    has_old_nodes: bool,
    /// And their version.
    keyspaces: (Bytes, i64),
}

#[derive(Clone)]
struct View {
    decided: Arc<Mutex<Decided>>,
    node: NodeId,
}

impl Decisions for View {
    async fn topology(&self) -> Option<(Bytes, i64)> {
        let mut decided = self.decided.lock();
        let latest = decided.versions.len();
        let seen = decided.seen.entry(self.node).or_default();
        *seen = random::range(*seen..latest + 1);
        let version = *seen;
        let bytes = decided.versions.get(version.checked_sub(1)?)?;
        Some((bytes.clone(), i64::try_from(version).expect("few")))
    }

    async fn replace(&self, version: i64, next: Bytes) -> bool {
        clock::sleep(Duration::from_millis(random::range(1..5))).await;
        let mut decided = self.decided.lock();
        let is_latest = i64::try_from(decided.versions.len()) == Ok(version);
        if is_latest {
            decided.versions.push(next);
        }
        // Now and then the answer is lost.
        is_latest && random::chance(0.9)
    }

    fn takes_eventual(&self) -> bool {
        !self.decided.lock().has_old_nodes
    }

    async fn addresses(&self) -> Option<BTreeMap<NodeId, Bytes>> {
        None
    }

    async fn keyspaces(&self) -> Option<(Bytes, i64)> {
        let decided = self.decided.lock();
        Some(decided.keyspaces.clone())
    }

    async fn replace_keyspaces(&self, version: i64, topology: i64, next: Bytes) -> bool {
        clock::sleep(Duration::from_millis(random::range(1..5))).await;
        let mut decided = self.decided.lock();
        let is_latest =
            i64::try_from(decided.versions.len()) == Ok(topology) && decided.keyspaces.1 == version;
        if is_latest {
            decided.keyspaces = (next, version + 1);
        }
        // Now and then the answer is lost.
        is_latest && random::chance(0.9)
    }

    async fn set_address(&self, _: NodeId, _: Option<Bytes>) {}

    fn leads(&self) -> bool {
        self.decided.lock().leader == self.node.0
    }

    fn members(&self) -> Vec<NodeId> {
        self.decided.lock().members.iter().copied().collect()
    }

    async fn draining(&self) -> Option<BTreeSet<NodeId>> {
        let decided = self.decided.lock();
        random::chance(0.9).then(|| decided.draining.clone())
    }
}

/// What counters were told to be, and how often they were asked to go on at most.
type Counts = Arc<Mutex<BTreeMap<String, (u64, u64)>>>;

struct Story {
    net: SimNet,
    decided: Arc<Mutex<Decided>>,
    machines: Vec<Machine>,
    counts: Counts,
    longest: Arc<Mutex<Duration>>,
}

impl Story {
    fn new(seed: u64, nodes: u64) -> Story {
        let settings = SnapshotSettings {
            log_entries_max: 60,
            log_bytes_max: 8 << 10,
            segments_kept: 1,
            carry_bytes_max: 2 << 10,
        };
        let machine = |node| Machine::new(node, seed * 10 + node, settings);
        let decided = Decided {
            leader: 1,
            members: (1..=nodes).map(NodeId).collect(),
            ..Decided::default()
        };
        Story {
            net: SimNet::new(seed),
            decided: Arc::new(Mutex::new(decided)),
            machines: (1..=nodes).map(machine).collect(),
            counts: Counts::default(),
            longest: Arc::default(),
        }
    }

    /// The first topology as the founder makes it; then everybody starts.
    async fn begin(&mut self) {
        let view = self.view(0);
        let partitions = Partitions::new(PARTITIONS).expect("a number of partitions");
        Known::wait_for(&view, NodeId(1), partitions).await;
        for at in 0..self.machines.len() {
            self.start(at).await;
        }
    }

    fn view(&self, at: usize) -> View {
        View {
            decided: self.decided.clone(),
            node: self.machines[at].node,
        }
    }

    async fn start(&mut self, at: usize) {
        let view = self.view(at);
        let group = Group::new();
        let partitions = Partitions::new(PARTITIONS).expect("a number of partitions");
        let node = view.node;
        let (known, replica) = Known::wait_for(&view, node, partitions).await;
        assert_eq!(replica, ReplicaId(node.0));
        let (net, layout) = (self.net.clone(), known.layout());
        let machine = &mut self.machines[at];
        let setup = task::scope_sync(group.clone(), || machine.setup(&net, &layout));
        let counts = self.counts.clone();
        let longest = self.longest.clone();
        let boot = machine.boot;
        let start = async move {
            let kv = Kv::start(setup).expect("it starts");
            let address = ClusterAddress {
                host: "localhost".to_owned(),
                port: u16::try_from(node.0).expect("few nodes"),
            };
            task::spawn(known.keep(view, kv.clone(), node, address));
            task::spawn(count_up(kv.clone(), node, boot, counts, longest));
            kv
        };
        let kv = task::scope(group.clone(), start).await;
        machine.life = Some((kv, group));
    }

    async fn kill(&mut self, at: usize, loses_power: bool) {
        let machine = &mut self.machines[at];
        machine.crash(&self.net, loses_power).await;
        let node = machine.node;
        let mut decided = self.decided.lock();
        // It need not remember how far it was.
        let seen = decided.seen.entry(node).or_default();
        *seen = random::range(1..*seen + 1);
        if decided.leader == node.0 {
            let others = decided.members.iter().filter(|other| **other != node);
            let others: Vec<u64> = others.map(|other| other.0).collect();
            decided.leader = others[random::range(0..others.len())];
        }
    }

    fn topology(&self) -> Topology {
        let decided = self.decided.lock();
        let latest = decided.versions.last().expect("there is one");
        Topology::decode(latest).expect("it was encoded")
    }

    /// Waits until it is so, while nothing else happens.
    async fn until(&self, what: &str, is_so: impl Fn(&Topology) -> bool) {
        let mut waited_ms = 0;
        while !is_so(&self.topology()) {
            assert!(waited_ms < 60_000, "{what}: {:#?}", self.topology().nodes());
            clock::sleep(Duration::from_millis(20)).await;
            waited_ms += 20;
        }
    }

    /// Every counter is at least where it was told to be, and was not counted up more often than
    /// it was asked for.
    async fn check(&self) {
        let counts = self.counts.lock().clone();
        assert!(counts.len() > 20, "only {} keys", counts.len());
        for (place, (key, (told, _))) in counts.iter().enumerate() {
            let kv = self.machines[place % self.machines.len()].kv();
            let mut found = number(&kv, key).await;
            for _ in 0..10 {
                if found.is_some() {
                    break;
                }
                clock::sleep(Duration::from_millis(100)).await;
                found = number(&kv, key).await;
            }
            let found = found.unwrap_or_else(|| panic!("{key} is not there"));
            let asked = self.counts.lock()[key].1;
            assert!(found >= *told, "{key} is {found}, and was {told}");
            assert!(
                found <= asked,
                "{key} is {found}, and {asked} were asked for"
            );
        }
    }
}

/// Counts up under keys of its own for as long as it is let.
async fn count_up(kv: Kv, node: NodeId, boot: u64, counts: Counts, longest: Arc<Mutex<Duration>>) {
    let padding = "x".repeat(200);
    for round in 0_u64.. {
        let key = format!("{}:{boot}:{}", node.0, round % 12);
        counts.lock().entry(key.clone()).or_default().1 += 1;
        let begin = clock::now();
        let count = request(&format!("INCR {key}"));
        let pad = request(&format!("SETRANGE pad:{key} 0 {padding}"));
        let answers = kv.ask(vec![count, pad]).await;
        let took = begin.elapsed();
        {
            let mut longest = longest.lock();
            *longest = took.max(*longest);
        }
        if let Answer::Reply(Reply::Integer(found)) = answers[0] {
            let found = u64::try_from(found).expect("it counts up");
            if let Some((told, _)) = counts.lock().get_mut(&key) {
                *told = found.max(*told);
            }
        }
        clock::sleep(Duration::from_millis(random::range(1..4))).await;
    }
}

/// What a node that does not run has on its disk.
async fn on_disk(story: &mut Story, at: usize) -> OnDisk {
    let net = story.net.clone();
    let partitions = Partitions::new(PARTITIONS).expect("a number of partitions");
    let machine = &mut story.machines[at];
    let layout = Layout::single(partitions, machine.node, ReplicaId(machine.node.0));
    let group = Group::new();
    let read = || journal::open(&machine.setup(&net, &layout)).expect("it can be read");
    let recovered = task::scope_sync(group.clone(), read);
    machine.disk = machine.disk.kill();
    group.kill();
    group.ended().await;
    OnDisk {
        held: recovered.held,
        forgotten: recovered.forgotten.len(),
    }
}

struct OnDisk {
    held: BTreeMap<PartitionId, journal::Held>,
    forgotten: usize,
}

#[test]
fn a_node_that_is_drained_ends_empty_whoever_dies_meanwhile() {
    for seed in 0..4 {
        simulate(seed, async move {
            let mut story = Story::new(seed, 4);
            story.begin().await;
            story
                .until("it settles", |it| {
                    it.changing() == 0 && it.held_by(NodeId(4)) > 0
                })
                .await;
            clock::sleep(Duration::from_millis(300)).await;
            story.decided.lock().draining.insert(NodeId(4));
            for _ in 0..6 {
                clock::sleep(Duration::from_millis(random::range(1..120))).await;
                // Whoever is drained, most of all.
                let at = if random::chance(0.5) {
                    3
                } else {
                    random::range(0..3_usize)
                };
                story.kill(at, random::chance(0.5)).await;
                clock::sleep(Duration::from_millis(random::range(1..200))).await;
                story.start(at).await;
            }
            story
                .until("it is drained", |it| {
                    it.changing() == 0 && it.held_by(NodeId(4)) == 0
                })
                .await;
            story.check().await;
            // It lets go within a moment, and serves clients as before.
            clock::sleep(Duration::from_secs(3)).await;
            assert!(story.machines[3].files("snapshots").is_empty());
            let segments = story.machines[3].files("journal").len();
            assert!(segments <= 2, "{segments} segments stay");
            story.kill(3, true).await;
            let on_disk = on_disk(&mut story, 3).await;
            assert!(on_disk.held.is_empty(), "{:?}", on_disk.held.keys());
            assert!(on_disk.forgotten > 0);
            story.start(3).await;

            // It comes back into partitions that it let go of.
            story.decided.lock().draining.clear();
            story
                .until("it is back", |it| {
                    it.changing() == 0 && it.held_by(NodeId(4)) > 0
                })
                .await;
            for at in 0..3 {
                story.kill(at, true).await;
                clock::sleep(Duration::from_millis(50)).await;
                story.start(at).await;
                clock::sleep(Duration::from_millis(400)).await;
            }
            story.check().await;
            assert!(story.topology().held_by(NodeId(4)) > 0);
        });
    }
}

#[test]
fn nobody_waits_for_long_while_a_node_is_drained() {
    // With four nodes another one takes a drained one's place, with three there are fewer replicas.
    for nodes in [4, 3] {
        simulate(nodes, async move {
            let mut story = Story::new(nodes, nodes);
            story.begin().await;
            story.until("it settles", |it| it.changing() == 0).await;
            clock::sleep(Duration::from_millis(500)).await;
            *story.longest.lock() = Duration::ZERO;
            story.decided.lock().draining.insert(NodeId(2));
            story
                .until("it is drained", |it| it.held_by(NodeId(2)) == 0)
                .await;
            clock::sleep(Duration::from_millis(500)).await;
            let longest = *story.longest.lock();
            assert!(
                longest > Duration::ZERO && longest <= GAP_MAX,
                "{longest:?}"
            );
            story.check().await;
        });
    }
}

#[test]
fn who_was_removed_is_forgotten_once_others_have_its_place() {
    simulate(3, async {
        let mut story = Story::new(3, 4);
        story.begin().await;
        story.until("it settles", |it| it.changing() == 0).await;
        clock::sleep(Duration::from_millis(500)).await;
        story.kill(3, true).await;
        story.machines.pop();
        story.decided.lock().members.remove(&NodeId(4));
        story
            .until("it is lost", |it| {
                let node = it.node(NodeId(4));
                node.is_none_or(|node| node.state == NodeState::Gone)
            })
            .await;
        story
            .until("it is forgotten", |it| it.node(NodeId(4)).is_none())
            .await;
        assert_eq!(story.topology().replica_ids(), 4);
        // What it asked for is remembered by nobody: snapshots hold no session of it.
        clock::sleep(Duration::from_secs(2)).await;
        for at in 0..3 {
            story.kill(at, false).await;
            let on_disk = on_disk(&mut story, at).await;
            assert!(!on_disk.held.is_empty());
            for (partition, held) in on_disk.held {
                let mut state = held.state;
                let log = &held.durable.log;
                let last = log.last().index;
                while let Some(entry) = log.entry(state.applied.index.next()) {
                    state.apply(&entry.clone());
                }
                assert_eq!(state.applied.index, last);
                let mut sessions = state.sessions.iter();
                let found = sessions.any(|(session, ..)| session.replica == ReplicaId(4));
                assert!(!found, "partition {partition} of node {}", at + 1);
            }
            story.start(at).await;
            clock::sleep(Duration::from_millis(300)).await;
        }
        story.check().await;
    });
}
