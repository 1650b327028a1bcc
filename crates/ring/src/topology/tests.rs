use super::*;
use crate::hash_ring::{RingError, Weight, Zone};
use atoll_base::id::LogIndex;

mod format;
mod scenario;

fn node(id: u64) -> RingNode {
    RingNode {
        id: NodeId(id),
        weight: Weight::default(),
        zone: None,
    }
}

fn small(nodes: std::ops::RangeInclusive<u64>) -> Topology {
    Topology::found(
        Partitions::new(4).unwrap(),
        REPLICAS_DEFAULT,
        nodes.map(node).collect(),
    )
    .unwrap()
}

const FIRST: PartitionId = PartitionId(0);

#[test]
fn a_partition_changes_its_members_step_by_step() {
    let mut topology = small(1..=3);
    let before = topology.assignment(FIRST).unwrap().clone();
    assert_eq!(before.configuration(), ConfigurationNumber(1));
    topology.join(node(4)).unwrap();
    topology.lose(NodeId(3)).unwrap();
    let plan = topology.plan().unwrap();
    assert_eq!(plan.number(), topology.epoch());
    assert_eq!(plan.moves().len(), 4);

    let epoch = topology.epoch();
    assert_eq!(topology.begin(&plan, FIRST, 1), Ok(Outcome::Changed));
    assert_eq!(topology.begin(&plan, FIRST, 1), Ok(Outcome::Unchanged));
    let copying = topology.assignment(FIRST).unwrap().clone();
    assert_eq!(copying.learners().collect::<Vec<_>>(), [ReplicaId(4)]);
    assert_eq!(copying.members(), before.members());
    assert_eq!(
        topology.begin(&plan, PartitionId(1), 1),
        Err(TopologyError::Busy {
            changing: 1,
            moves_max: 1
        })
    );

    let caught_up = CaughtUp::new(FIRST, &copying, [ReplicaId(4)]).unwrap();
    assert_eq!(topology.enter_joint(&caught_up), Ok(Outcome::Changed));
    assert_eq!(topology.enter_joint(&caught_up), Ok(Outcome::Unchanged));
    let joint = topology.assignment(FIRST).unwrap().clone();
    assert_eq!(joint.learners().count(), 0);
    assert!(joint.joint().is_some());

    let proof = JointCommit::new(FIRST, &joint, LogIndex(9), [1, 2, 4].map(ReplicaId)).unwrap();
    assert_eq!(proof.index(), LogIndex(9));
    assert_eq!(topology.finish(&proof), Ok(Outcome::Changed));
    assert_eq!(topology.finish(&proof), Ok(Outcome::Unchanged));
    let after = topology.assignment(FIRST).unwrap();
    assert_eq!(after.configuration(), ConfigurationNumber(4));
    assert_eq!(after.change(), None);
    assert!(assignment::same(after.members(), &[1, 2, 4].map(ReplicaId)));
    assert_eq!(topology.epoch().0, epoch.0 + 3);

    // What comes late changes nothing.
    let now = topology.clone();
    assert!(matches!(
        topology.begin(&plan, FIRST, 1),
        Err(TopologyError::Configuration { found, .. }) if found.0 == 4
    ));
    assert!(matches!(
        topology.enter_joint(&caught_up),
        Err(TopologyError::Configuration { .. })
    ));
    assert_eq!(topology, now);
}

#[test]
fn joint_needs_both_majorities_to_finish() {
    let joint = Assignment {
        configuration: ConfigurationNumber(7),
        members: [1, 2, 3].map(ReplicaId).to_vec(),
        change: Some(Change::Joint([3, 4, 5].map(ReplicaId).to_vec())),
    };
    let proof = |by: &[u64]| {
        let by = by.iter().copied().map(ReplicaId);
        JointCommit::new(FIRST, &joint, LogIndex(1), by).is_ok()
    };
    assert!(proof(&[1, 3, 4]));
    assert!(proof(&[1, 2, 4, 5]));
    assert!(!proof(&[1, 2, 3]), "one of the new");
    assert!(!proof(&[3, 4, 5]), "one of the old");
    assert!(!proof(&[3, 8, 9]), "strangers do not count");
    assert!(CaughtUp::new(FIRST, &joint, [ReplicaId(4)]).is_err());
    let stable = Assignment::new(vec![ReplicaId(1)]);
    assert!(JointCommit::new(FIRST, &stable, LogIndex(1), [ReplicaId(1)]).is_err());
}

#[test]
fn a_proof_from_a_topology_that_is_not_this_one_proves_nothing() {
    let mut topology = small(1..=3);
    topology.join(node(4)).unwrap();
    topology.lose(NodeId(3)).unwrap();
    let plan = topology.plan().unwrap();
    topology.begin(&plan, FIRST, 1).unwrap();
    let mut other = topology.assignment(FIRST).unwrap().clone();
    other.change = Some(Change::Joint(vec![ReplicaId(1)]));
    let forged = JointCommit::new(FIRST, &other, LogIndex(1), [1, 2].map(ReplicaId)).unwrap();
    let now = topology.clone();
    assert!(matches!(
        topology.finish(&forged),
        Err(TopologyError::NoMajority(_))
    ));
    other.members = vec![ReplicaId(8), ReplicaId(9)];
    other.change = Some(Change::Copying(vec![ReplicaId(8)]));
    let forged = CaughtUp::new(FIRST, &other, []).unwrap();
    assert_eq!(
        topology.enter_joint(&forged),
        Ok(Outcome::Changed),
        "two of three stay"
    );

    let mut topology = small(1..=3);
    (4..=6).for_each(|id| {
        topology.join(node(id)).unwrap();
    });
    (1..=3).for_each(|id| {
        topology.drain(NodeId(id)).unwrap();
    });
    let plan = topology.plan().unwrap();
    topology.begin(&plan, FIRST, 1).unwrap();
    assert!(matches!(
        topology.enter_joint(&forged),
        Err(TopologyError::NoMajority(_))
    ));
    assert_ne!(topology, now);
}

#[test]
fn old_blueprints_are_refused() {
    let mut topology = small(1..=3);
    topology.join(node(4)).unwrap();
    let old = topology.plan().unwrap();
    topology.join(node(5)).unwrap();
    let new = topology.plan().unwrap();
    let of = |plan: &Blueprint| plan.moves()[0].partition();
    let refused = topology.begin(&old, of(&old), 9);
    assert!(matches!(refused, Err(TopologyError::Blueprint { .. })));
    let before = topology.clone();
    topology.begin(&new, of(&new), 9).unwrap();
    let newer = topology.plan().unwrap();
    let behind = before.clone().begin(&newer, of(&new), 9);
    assert!(
        matches!(behind, Err(TopologyError::Blueprint { .. })),
        "nor are blueprints for epochs that are not here yet taken"
    );
    let overtaken = {
        let mut topology = before.clone();
        topology.begin(&new, of(&new), 9).unwrap();
        let newer = topology.plan().unwrap();
        topology.begin(&newer, of(&newer), 9).unwrap();
        topology.begin(&new, new.moves()[2].partition(), 9)
    };
    assert!(
        matches!(overtaken, Err(TopologyError::Blueprint { .. })),
        "nor older ones than one already begun"
    );
    let missing = PartitionId(4);
    assert!(matches!(
        topology.begin(&new, missing, 9),
        Err(TopologyError::NoMove { .. })
    ));
}

#[test]
fn a_copy_that_is_no_longer_wanted_is_given_up() {
    let mut topology = small(1..=3);
    topology.join(node(4)).unwrap();
    let plan = topology.plan().unwrap();
    let partition = plan.moves()[0].partition();
    topology.begin(&plan, partition, 1).unwrap();
    topology.lose(NodeId(4)).unwrap();
    let plan = topology.plan().unwrap();
    assert_eq!(plan.moves()[0].partition(), partition);
    topology.begin(&plan, partition, 1).unwrap();
    assert_eq!(topology.changing(), 0);
    assert_eq!(topology.forget(NodeId(4)), Ok(Outcome::Changed));
    assert!(topology.plan().unwrap().moves().is_empty());
}

/// All of them, although by now the ring might want others there.
#[test]
fn with_its_target_gone_a_partition_stays_where_it_is() {
    let partitions = Partitions::default();
    let nodes = (1..=9).map(node).collect();
    let mut topology = Topology::found(partitions, REPLICAS_DEFAULT, nodes).unwrap();
    topology.join(node(10)).unwrap();
    let plan = topology.plan().unwrap();
    for wanted in plan.moves() {
        topology.begin(&plan, wanted.partition(), 999).unwrap();
    }
    let begun = topology.changing();
    assert!(begun > 250);
    topology.lose(NodeId(10)).unwrap();
    let plan = topology.plan().unwrap();
    assert_eq!(plan.moves().len(), begun);
    for wanted in plan.moves() {
        assert!(assignment::same(wanted.from(), wanted.to()));
    }
}

#[test]
fn nodes_come_and_go_in_the_order_that_is_safe() {
    let mut topology = small(1..=3);
    assert_eq!(topology.join(node(1)), Ok(Outcome::Unchanged));
    assert_eq!(topology.drain(NodeId(1)), Ok(Outcome::Changed));
    assert_eq!(topology.drain(NodeId(1)), Ok(Outcome::Unchanged));
    assert_eq!(topology.join(node(1)), Ok(Outcome::Changed), "it may stay");
    assert_eq!(
        topology.forget(NodeId(1)),
        Err(TopologyError::InUse {
            node: NodeId(1),
            partitions: 4
        })
    );
    assert_eq!(topology.lose(NodeId(1)), Ok(Outcome::Changed));
    assert_eq!(topology.lose(NodeId(1)), Ok(Outcome::Unchanged));
    let gone = Err(TopologyError::Gone { node: NodeId(1) });
    assert_eq!(topology.join(node(1)), gone);
    assert_eq!(topology.drain(NodeId(1)), gone);
    assert_eq!(topology.renew(NodeId(1), ReplicaId(1)), gone);
    let unknown = Err(TopologyError::Unknown { node: NodeId(9) });
    assert_eq!(topology.drain(NodeId(9)), unknown);
    assert_eq!(topology.lose(NodeId(9)), unknown);
    assert_eq!(topology.forget(NodeId(9)), Ok(Outcome::Unchanged));
    topology.drain(NodeId(2)).unwrap();
    assert_eq!(topology.drain(NodeId(3)), Err(TopologyError::LastNode));
}

#[test]
fn a_forgetful_replica_gets_a_new_number_once() {
    let mut topology = small(1..=3);
    assert_eq!(
        topology.renew(NodeId(2), ReplicaId(2)),
        Ok(Outcome::Changed)
    );
    assert_eq!(
        topology.renew(NodeId(2), ReplicaId(2)),
        Ok(Outcome::Unchanged)
    );
    assert_eq!(topology.node(NodeId(2)).unwrap().replica, ReplicaId(4));
    assert!(matches!(
        topology.renew(NodeId(2), ReplicaId(5)),
        Err(TopologyError::Replica { .. })
    ));
    for wanted in topology.plan().unwrap().moves() {
        assert!(assignment::same(wanted.from(), &[1, 2, 3].map(ReplicaId)));
        assert!(assignment::same(wanted.to(), &[1, 4, 3].map(ReplicaId)));
    }
}

#[test]
fn replicas_grow_from_one_to_three_at_once() {
    let mut topology = small(1..=1);
    let goal = |topology: &Topology| topology.replica_goal();
    assert_eq!(goal(&topology), 1);
    topology.join(node(2)).unwrap();
    assert_eq!(goal(&topology), 1);
    topology.join(node(3)).unwrap();
    assert_eq!(goal(&topology), 3);
    let mut topology = small(1..=3);
    topology.drain(NodeId(3)).unwrap();
    assert_eq!(goal(&topology), 2, "not one, while two are there");
    for replicas in [0, 2, 8, 9] {
        let refused = Topology::found(Partitions::default(), replicas, vec![node(1)]);
        assert_eq!(refused, Err(TopologyError::Replicas { replicas }));
    }
    let nobody = Topology::found(Partitions::default(), 3, Vec::new());
    assert_eq!(nobody, Err(TopologyError::LastNode));
    let too_many = (0..=250).map(node).collect();
    assert_eq!(
        Topology::found(Partitions::default(), 3, too_many),
        Err(TopologyError::Ring(RingError::Nodes { nodes: 251 }))
    );
}
