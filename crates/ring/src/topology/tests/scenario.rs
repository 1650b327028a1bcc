//! Lives of clusters: nodes join, drain, die and come back forgetful while partitions move, with
//! steps lost and repeated and planners that are behind.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

const MOVES_MAX: usize = 5;
const PARTITIONS: u16 = 32;

#[derive(Clone, Debug)]
enum Event {
    Join,
    Drain(Index),
    Lose(Index),
    Renew(Index),
    /// So many single steps of moves, each of a partition drawn at random.
    Steps(Vec<(Index, Fate)>),
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Done,
    Lost,
    Twice,
    /// The planner had not heard of anything since it planned.
    Stale,
}

fn event() -> impl Strategy<Value = Event> {
    let fate = prop_oneof![
        4 => Just(Fate::Done),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Stale),
    ];
    prop_oneof![
        2 => Just(Event::Join),
        1 => any::<Index>().prop_map(Event::Drain),
        1 => any::<Index>().prop_map(Event::Lose),
        1 => any::<Index>().prop_map(Event::Renew),
        5 => vec((any::<Index>(), fate), 1..80).prop_map(Event::Steps),
    ]
}

struct Life {
    topology: Topology,
    plan: Blueprint,
    next_node: u64,
    /// How many replicas had to copy a partition.
    copies: usize,
}

impl Life {
    fn new(nodes: u64) -> Self {
        let partitions = Partitions::new(PARTITIONS).unwrap();
        let all = (1..=nodes).map(node).collect();
        let topology = Topology::found(partitions, REPLICAS_DEFAULT, all).unwrap();
        Self {
            plan: topology.plan().unwrap(),
            topology,
            next_node: nodes + 1,
            copies: 0,
        }
    }

    fn active(&self) -> Vec<NodeId> {
        self.topology.active().map(|it| it.ring.id).collect()
    }

    fn happen(&mut self, event: Event) {
        let active = self.active();
        let pick = |index: Index| active[index.index(active.len())];
        let spare = active.len() > usize::from(REPLICAS_DEFAULT);
        match event {
            Event::Join => {
                self.topology.join(node(self.next_node)).unwrap();
                self.next_node += 1;
            }
            Event::Drain(index) if spare => {
                self.topology.drain(pick(index)).unwrap();
            }
            // One failure at a time: more may take a majority away, which nothing here repairs.
            Event::Lose(index) if spare && self.whole() => {
                self.topology.lose(pick(index)).unwrap();
            }
            Event::Renew(index) if spare && self.whole() => {
                let id = pick(index);
                let replica = self.topology.node(id).unwrap().replica;
                self.topology.renew(id, replica).unwrap();
            }
            Event::Drain(_) | Event::Lose(_) | Event::Renew(_) => {}
            Event::Steps(steps) => {
                for (index, fate) in steps {
                    let partition = PartitionId(index.index(usize::from(PARTITIONS)) as u16);
                    self.step(partition, fate);
                }
            }
        }
    }

    /// Whether every replica that is named is there.
    fn whole(&self) -> bool {
        let mut all = self.topology.assignments.iter();
        all.all(|it| {
            it.members()
                .iter()
                .chain(it.goal())
                .all(|it| self.lives(*it))
        })
    }

    fn lives(&self, replica: ReplicaId) -> bool {
        let node = self.topology.node_of(replica);
        node.is_some_and(|it| it.state != NodeState::Gone)
    }

    /// Takes the next step of a partition, as its replicas that live can.
    fn step(&mut self, partition: PartitionId, fate: Fate) {
        if !matches!(fate, Fate::Stale) && self.plan.number() < self.topology.epoch() {
            self.plan = self.topology.plan().unwrap();
        }
        if matches!(fate, Fate::Lost) {
            return;
        }
        let before = self.topology.clone();
        let first = self.take(partition, &before);
        check_step(&before, &self.topology, first == Some(Outcome::Changed));
        if matches!(fate, Fate::Twice) {
            let between = self.topology.clone();
            assert_ne!(self.take(partition, &before), Some(Outcome::Changed));
            assert_eq!(self.topology, between, "a repeated step changes nothing");
        }
    }

    /// The step that follows from what a partition was in `seen`.
    fn take(&mut self, partition: PartitionId, seen: &Topology) -> Option<Outcome> {
        let assignment = seen.assignment(partition).unwrap();
        let living = |replicas: &[ReplicaId]| -> Vec<ReplicaId> {
            let all = replicas.iter().copied();
            all.filter(|it| self.lives(*it)).collect()
        };
        if let Some(to) = assignment.joint() {
            let all = [assignment.members(), to].concat();
            let proof = JointCommit::new(partition, assignment, LogIndex(1), living(&all)).ok()?;
            return Some(self.topology.finish(&proof).unwrap());
        }
        if self.plan.of(partition).is_some() {
            let copies = assignment.change().is_none();
            let outcome = self.topology.begin(&self.plan, partition, MOVES_MAX).ok();
            if copies && outcome == Some(Outcome::Changed) {
                let now = self.topology.assignment(partition).unwrap();
                self.copies += now.learners().count();
            }
            return outcome;
        }
        let to = assignment.change()?.to();
        let proof = CaughtUp::new(partition, assignment, living(to)).ok()?;
        Some(self.topology.enter_joint(&proof).unwrap())
    }

    /// Everybody does his work, until there is none.
    fn come_to_rest(&mut self) {
        for _ in 0..8 * usize::from(PARTITIONS) {
            self.plan = self.topology.plan().unwrap();
            if self.plan.moves().is_empty() && self.topology.changing() == 0 {
                return;
            }
            let before = self.topology.epoch();
            let planned = self.plan.moves().iter().map(Move::partition);
            let changing = self.topology.partitions().ids().filter(|it| {
                let assignment = self.topology.assignment(*it).unwrap();
                assignment.change().is_some()
            });
            let work: Vec<_> = changing.chain(planned).take(MOVES_MAX).collect();
            for partition in work {
                self.step(partition, Fate::Done);
            }
            assert!(self.topology.epoch() > before, "it goes on");
        }
        panic!("no rest: {:?}", self.plan);
    }
}

/// What holds of every step.
fn check_step(before: &Topology, after: &Topology, changed: bool) {
    assert_eq!(after.epoch().0, before.epoch().0 + u64::from(changed));
    assert!(after.changing() <= MOVES_MAX.max(before.changing()));
    let pairs = before.assignments.iter().zip(&after.assignments);
    let touched: Vec<_> = pairs.filter(|(one, other)| one != other).collect();
    assert_eq!(touched.len(), usize::from(changed), "one partition a step");
    for (before, after) in touched {
        assert_eq!(after.configuration().0, before.configuration().0 + 1);
        // Members only change through a joint configuration, to what was joint.
        if before.members() != after.members() {
            assert_eq!(before.joint(), Some(after.members()));
            assert_eq!(after.change(), None);
        }
        // Joint is left in that way only.
        if before.joint().is_some() {
            assert_eq!(before.joint(), Some(after.members()));
        }
        assert!(after.members().len() >= before.members().len().min(after.goal().len()));
        check_quorums(before, after);
    }
    assert_eq!(Topology::decode(&after.encode()).as_ref(), Ok(after));
}

/// Every quorum of a configuration shares a replica with every quorum of the next one.
fn check_quorums(before: &Assignment, after: &Assignment) {
    if before.members() == after.members() && before.joint() == after.joint() {
        return;
    }
    let all: Vec<ReplicaId> = [before, after]
        .into_iter()
        .flat_map(|it| it.members().iter().chain(it.goal()).copied())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let quorums = |of: &Assignment| -> Vec<u32> {
        let sets = 0..1u32 << all.len();
        sets.filter(|set| {
            let chosen = all.iter().enumerate();
            let chosen = chosen.filter(|(bit, _)| set & (1 << bit) != 0);
            of.is_quorum(&chosen.map(|(_, it)| *it).collect())
        })
        .collect()
    };
    let later = quorums(after);
    for one in quorums(before) {
        assert!(later.iter().all(|other| one & other != 0));
    }
}

fn check_rest(topology: &Topology) {
    let active: BTreeSet<_> = topology.active().map(|it| it.replica).collect();
    let even = f64::from(PARTITIONS) * topology.replica_goal() as f64 / active.len() as f64;
    for assignment in &topology.assignments {
        assert_eq!(assignment.members().len(), topology.replica_goal());
        assert!(assignment.members().iter().all(|it| active.contains(it)));
    }
    for replica in active {
        let held = topology
            .assignments
            .iter()
            .filter(|it| it.names(replica))
            .count();
        let off = (held as f64 - even).abs();
        assert!(off <= 2.0, "{held} instead of {even}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn lives_end_well(nodes in 3..8u64, events in vec(event(), 1..12)) {
        let mut life = Life::new(nodes);
        for event in events {
            life.happen(event);
        }
        life.come_to_rest();
        check_rest(&life.topology);
    }

    #[test]
    fn a_join_copies_the_newcomers_share_however_it_goes(
        nodes in 3..8u64,
        steps in vec(event().prop_filter("steps", |it| matches!(it, Event::Steps(_))), 0..4),
    ) {
        let mut life = Life::new(nodes);
        life.happen(Event::Join);
        for event in steps {
            life.happen(event);
        }
        life.come_to_rest();
        check_rest(&life.topology);
        let all = f64::from(PARTITIONS) * 3.0;
        prop_assert!(life.copies as f64 <= all * 1.2 / (nodes + 1) as f64);
        prop_assert!(life.copies > 0);
    }

    #[test]
    fn a_drained_node_ends_up_with_nothing(nodes in 4..8u64, index: Index) {
        let mut life = Life::new(nodes);
        let id = life.active()[index.index(life.active().len())];
        let held = life.topology.held_by(id);
        life.topology.drain(id).unwrap();
        life.come_to_rest();
        prop_assert_eq!(life.topology.held_by(id), 0);
        prop_assert_eq!(life.copies, held, "only what it held was copied");
        prop_assert_eq!(life.topology.forget(id), Ok(Outcome::Changed));
    }

    #[test]
    fn a_dead_node_is_replaced(nodes in 3..8u64, index: Index) {
        let mut life = Life::new(nodes);
        let id = life.active()[index.index(life.active().len())];
        let held = life.topology.held_by(id);
        life.happen(Event::Join);
        life.topology.lose(id).unwrap();
        life.come_to_rest();
        check_rest(&life.topology);
        prop_assert!(life.copies >= held);
        prop_assert_eq!(life.topology.forget(id), Ok(Outcome::Changed));
    }
}
