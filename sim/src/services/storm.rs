//! What goes wrong, drawn as the storm goes on. Several things may be wrong at a time.

use std::time::Duration;

use atoll_world::{
    clock::{self, Instant},
    peers::sim::Faults,
    random::Stream,
    task,
};

use super::{Planted, machines::Machines, planted::hurry};
use crate::node::End;

/// Time from one fault to the next, at the most: in a seed, one of these. Where much goes wrong at
/// a time nobody leads for long, and no node is ever given up.
const PAUSE_MS_MAX: [u64; 3] = [3_000, 8_000, 14_000];
/// How often it is the leader that is hit: in a seed, one of these.
const LEADER: [f64; 3] = [0.0, 0.2, 0.5];
/// How long a fault lasts: less than any lease, and more.
const LASTS_MS: [std::ops::Range<u64>; 2] = [100..2_000, 3_000..14_000];

/// Has things go wrong until then.
pub(super) async fn rage(
    machines: &Machines,
    chance: &mut Stream,
    ends_at: Instant,
    planted: Option<Planted>,
) {
    let pause_ms_max = PAUSE_MS_MAX[chance.range(0..PAUSE_MS_MAX.len())];
    let leader_is_hit = LEADER[chance.range(0..LEADER.len())];
    loop {
        clock::sleep(Duration::from_millis(chance.range(200..pause_ms_max))).await;
        if clock::now() >= ends_at {
            return;
        }
        let at = match machines.leader() {
            Some(leader) if chance.chance(leader_is_hit) => leader,
            // One of the others, if there is a leader.
            leader => {
                let count = machines.all.len();
                let first = leader.map_or(0, |leader| leader + 1);
                (first + chance.range(0..count - usize::from(leader.is_some()))) % count
            }
        };
        let other = (at + chance.range(1..machines.all.len())) % machines.all.len();
        let is_long = chance.chance(0.5);
        let lasts = chance.range(LASTS_MS[usize::from(is_long)].clone());
        let fault = Fault::draw(chance);
        tracing::info!(?fault, at, other, lasts, "goes wrong");
        let is_lost = fault.inflict(machines, at, other);
        if planted == Some(Planted::HurriesReplacements) && is_lost {
            task::spawn(hurry(machines.clone(), at, other));
        }
        let machines = machines.clone();
        task::spawn(async move {
            clock::sleep_until((clock::now() + Duration::from_millis(lasts)).min(ends_at)).await;
            fault.mend(&machines, at, other);
        });
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    LosePower,
    Isolate,
    Cut,
    CutOneWay,
    FreezeProcess,
    FreezeMachine,
    BadNetwork,
}

impl Fault {
    fn draw(chance: &mut Stream) -> Fault {
        match chance.range(0..16) {
            0..3 => Fault::Kill,
            3..5 => Fault::LosePower,
            5..8 => Fault::Isolate,
            8..10 => Fault::Cut,
            10..12 => Fault::CutOneWay,
            12..14 => Fault::FreezeProcess,
            14 => Fault::FreezeMachine,
            _ => Fault::BadNetwork,
        }
    }

    /// Whether the machine is lost to the others, although what it runs goes on.
    fn inflict(self, machines: &Machines, at: usize, other: usize) -> bool {
        let (machine, net) = (&machines.all[at], &machines.cluster.net);
        let (id, other) = (machine.node.id, machines.all[other].node.id);
        match self {
            Fault::Kill => machine.end(End::Kill),
            Fault::LosePower => machine.end(End::Power),
            Fault::Isolate => net.isolate(id),
            Fault::Cut => net.partition(&[id], &[other]),
            Fault::CutOneWay => net.cut(id, other),
            Fault::FreezeProcess => machine.freeze(false),
            Fault::FreezeMachine => machine.freeze(true),
            Fault::BadNetwork => net.set_faults(Faults {
                delay: (Duration::from_micros(100), Duration::from_millis(80)),
                loss: 0.02,
                late: 0.5,
                ..Faults::default()
            }),
        }
        matches!(self, Fault::Kill | Fault::Isolate | Fault::FreezeProcess)
    }

    fn mend(self, machines: &Machines, at: usize, other: usize) {
        let (machine, net) = (&machines.all[at], &machines.cluster.net);
        let (id, other) = (machine.node.id, machines.all[other].node.id);
        match self {
            Fault::Kill | Fault::LosePower => machine.node.start(),
            Fault::Isolate => {
                for far in machines.all.iter().map(|it| it.node.id) {
                    net.heal_way(id, far);
                    net.heal_way(far, id);
                }
            }
            Fault::Cut => {
                net.heal_way(id, other);
                net.heal_way(other, id);
            }
            Fault::CutOneWay => net.heal_way(id, other),
            Fault::FreezeProcess | Fault::FreezeMachine => machine.thaw(),
            Fault::BadNetwork => net.set_faults(Faults::default()),
        }
    }
}
