//! The promise about time: on a healthy local network, no call of a client on a surviving node
//! waits long when the owner is killed, stopped or cut off, or when the partition moves.

use std::{panic::AssertUnwindSafe, time::Duration};

use atoll_kv::core::paxos::Settings;
use atoll_world::random::Stream;

use super::{
    NODES, REPLICAS,
    plan::Fault,
    world::{Conditions, World},
};

/// The longest wait. A stopped or silent owner is given up after the hedge, which is added.
pub const WAIT_MAX: Duration = Duration::from_millis(100);

/// Calls go on for so long before.
const BEFORE_US: (u64, u64) = (150_000, 400_000);
/// And after.
const AFTER_US: u64 = 450_000;
/// A sync takes no longer than the slowest disk that the promise is for.
const SYNC_US_MAX: (u64, u64) = (500, 9_500);

/// What happens to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// Its process ends; links break.
    Kill,
    /// It does nothing for a while; links look well.
    Stop,
    /// Nothing gets to it or from it; links look well.
    Cut,
    /// The partition moves to other nodes.
    Move,
}

impl Case {
    /// All of them.
    pub const ALL: [Case; 4] = [Case::Kill, Case::Stop, Case::Cut, Case::Move];
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Longest {
    /// The longest time that a call waited.
    pub wait: Duration,
    /// How much longer than [`WAIT_MAX`] is allowed.
    pub hedge: Duration,
}

impl Longest {
    /// Whether the promise was kept.
    pub fn is_kept(&self) -> bool {
        self.wait <= WAIT_MAX + self.hedge
    }
}

/// Runs a case under a seed.
///
/// # Errors
/// Something panics, or nobody owns the ballot when somebody should.
pub fn run(seed: u64, case: Case) -> Result<Longest, String> {
    let measured = crate::scenario::catch(AssertUnwindSafe(|| measure(seed, case)));
    measured.unwrap_or_else(|panicked| Err(format!("a panic: {panicked}")))
}

fn measure(seed: u64, case: Case) -> Result<Longest, String> {
    let mut random = Stream::new(seed ^ 0x5072_6f6d);
    let conditions = Conditions {
        members: some_nodes(&mut random),
        lasts_us: u64::MAX / 2,
        deadline_ms: 5_000,
        think_us_max: 4_000,
        roams: false,
        delay_us_max: 1_000,
        sync_us_max: random.range(SYNC_US_MAX.0..=SYNC_US_MAX.1),
        hears_late: false,
        takes: false,
    };
    let mut world = World::new(seed, Settings::default(), &[], None, conditions);
    // Whoever is asked first owns the first ballot: that is not always to be the first node.
    world.strike(Fault::Suspect {
        node: conditions.members[random.range(0..REPLICAS)],
    });
    let begin_us = random.range(BEFORE_US.0..=BEFORE_US.1);
    world.run_until(begin_us);
    let owner = world.owner().ok_or("nobody owned the ballot")?;
    let hedge = match case {
        Case::Kill | Case::Move => Duration::ZERO,
        Case::Stop | Case::Cut => Duration::from_millis(world.hedge_ms()),
    };
    // It stays away, or comes back while the calls go on.
    let lasts_us = random.range(AFTER_US / 2..2 * AFTER_US);
    world.strike(match case {
        Case::Kill => Fault::Crash {
            node: owner,
            power: random.chance(0.5),
            lasts_us,
        },
        Case::Stop => Fault::Freeze {
            node: owner,
            lasts_us,
        },
        Case::Cut => Fault::Isolate {
            node: owner,
            told: false,
            lasts_us,
        },
        Case::Move => {
            let mut to = some_nodes(&mut random);
            while to == conditions.members {
                to = some_nodes(&mut random);
            }
            Fault::Move { to }
        }
    });
    world.run_until(begin_us + AFTER_US);
    if case == Case::Move && world.moves() == 0 {
        return Err("the partition did not move".to_owned());
    }
    let survives = |node: usize| case == Case::Move || node != owner;
    let waits = world
        .waits()
        .filter(|wait| survives(wait.node) && wait.called_us + wait.took_us >= begin_us);
    let wait = waits.map(|wait| wait.took_us).max();
    let wait = wait.ok_or("nobody called")?;
    Ok(Longest {
        wait: Duration::from_micros(wait),
        hedge,
    })
}

fn some_nodes(random: &mut Stream) -> [usize; REPLICAS] {
    let mut nodes: Vec<usize> = (0..NODES).collect();
    let mut some = std::array::from_fn(|_| nodes.swap_remove(random.range(0..nodes.len())));
    some.sort_unstable();
    some
}
