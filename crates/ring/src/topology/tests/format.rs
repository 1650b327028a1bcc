//! The encoded form.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// A topology with everything that one can have.
fn rich() -> Topology {
    let mut topology = small(1..=3);
    let zone = Some(Zone::new("hall 3").unwrap());
    topology
        .join(RingNode {
            zone,
            ..node(0x0123_4567_89ab_cdef)
        })
        .unwrap();
    topology.lose(NodeId(3)).unwrap();
    let plan = topology.plan().unwrap();
    for partition in [FIRST, PartitionId(1)] {
        topology.begin(&plan, partition, 9).unwrap();
    }
    let copying = topology.assignment(FIRST).unwrap();
    let proof = CaughtUp::new(FIRST, copying, [ReplicaId(4)]).unwrap();
    topology.enter_joint(&proof).unwrap();
    topology.drain(NodeId(2)).unwrap();
    topology
}

#[test]
fn golden_bytes() {
    let bytes: String = rich()
        .encode()
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    assert_eq!(bytes, GOLDEN);
    assert!(small(1..=3).encode().len() < 80);
}

const GOLDEN: &str = concat!(
    "0107070403040401000000000000000101000002000000000000000201010003000000000000000301",
    "0200efcdab89674523010401000668616c6c2033",
    "0303020301020304010202030103020103010204010303010200010303020100",
);

#[test]
fn what_is_no_topology_is_told() {
    let bytes = rich().encode();
    let mut newer = bytes.clone();
    newer[0] = 2;
    assert_eq!(
        Topology::decode(&newer),
        Err(DecodeError::Version { version: 2 })
    );
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(
        Topology::decode(&longer),
        Err(DecodeError::Long { bytes: 1 })
    );
    for length in 0..bytes.len() {
        assert_eq!(Topology::decode(&bytes[..length]), Err(DecodeError::Short));
    }
    let mut endless = vec![1];
    put_largest(&mut endless);
    assert_eq!(
        Topology::decode(&endless),
        Err(DecodeError::Wrong { part: "number" }),
        "a number that could not be counted up"
    );
    let broken = |part: &'static str, breaks: &dyn Fn(&mut Topology)| {
        let mut topology = rich();
        breaks(&mut topology);
        let read = Topology::decode(&topology.encode());
        assert_eq!(read, Err(DecodeError::Wrong { part }));
    };
    let twice = || vec![ReplicaId(1), ReplicaId(1)];
    broken("set of members", &|it| it.assignments[3].members = twice());
    broken("set of members", &|it| it.assignments[3].members.clear());
    broken("number of members", &|it| {
        it.assignments[3].members = (1..=8).map(ReplicaId).collect();
    });
    broken("change", &|it| {
        let members = it.assignments[3].members.clone();
        it.assignments[3].change = Some(Change::Joint(members));
    });
    broken("replica", &|it| it.assignments[3].members[0] = ReplicaId(9));
    broken("replica", &|it| it.nodes[0].replica = ReplicaId(0));
    broken("order of nodes", &|it| it.nodes.swap(0, 1));
    broken("order of nodes", &|it| it.nodes[0].replica = ReplicaId(2));
    broken("epoch", &|it| it.epoch = Epoch(0));
    broken("number of replicas", &|it| it.replicas = 2);
    let overlong = [1, 0x81, 0x00];
    assert!(matches!(
        Topology::decode(&overlong),
        Err(DecodeError::Wrong { part: "number" })
    ));
}

fn put_largest(out: &mut Vec<u8>) {
    out.extend([0xff; 9]);
    out.push(1);
}

proptest! {
    #[test]
    fn noise_is_refused_without_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Topology::decode(&bytes).is_err());
    }

    /// Whatever is read is written the same, so one topology has one form.
    #[test]
    fn a_damaged_topology_is_refused_or_another_one(
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = rich().encode();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(read) = Topology::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
            prop_assert!(read.plan().is_ok());
        }
    }
}
