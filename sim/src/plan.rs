//! What goes wrong in a run, and when: drawn from the seed before the run begins.
//!
//! A run does not have every kind of fault, but a selection of its own (swarm testing, Groce et
//! al., ISSTA 2012): what rarely happens beside everything else happens often without it.

use std::{fmt, time::Duration};

use atoll_world::random::Stream;

use crate::node::End;

/// Longest time for which one fault lasts.
const LASTS_MAX: Duration = Duration::from_millis(2_500);
/// Time from one fault to the next, at the most.
const PAUSE_MAX: Duration = Duration::from_millis(1_200);

/// Which node a fault hits.
#[derive(Clone, Copy, Debug)]
pub enum Whom {
    /// By place among the nodes that belong to the cluster then.
    Node(usize),
    /// Whoever leads then.
    Leader,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A node ends; it is started again after a while.
    Crash(Whom, End, Duration),
    /// All nodes end at once.
    CrashAll(End, Duration),
    /// A node is ended by a kill, started, and loses power soon after.
    KillThenPower(Whom, Duration),
    /// Nothing gets to a node or from it.
    Isolate(Whom, Duration),
    /// Nothing gets from one node to another.
    Cut(usize, usize, Duration),
    /// A connection breaks.
    Reset(usize, usize),
    /// Messages take long, and some break their connection.
    BadNetwork {
        /// The longest way.
        delay_ms_max: u64,
        /// The chance that a message is lost with its connection.
        loss: f64,
        /// How long.
        lasts: Duration,
    },
    /// A node's syncs take up to so long.
    SlowDisk(Whom, Duration, Duration),
    /// The n-th sync from now fails.
    FailSync(Whom, u64),
    /// A node's wall clock is wrong from now on.
    Skew(usize, i64, i64),
    /// The leader is asked to hand over.
    MoveLeader(usize),
    /// A node is removed for good, and another takes its place.
    Replace(Whom),
}

/// A fault, and when it comes.
#[derive(Clone, Debug)]
pub struct Step {
    /// After the run's beginning.
    pub at: Duration,
    /// It goes wrong so many turns of the scheduler later.
    pub turns: u32,
    /// What.
    pub fault: Fault,
}

/// Everything that goes wrong in a run, in order.
#[derive(Clone, Debug)]
pub struct Plan(pub Vec<Step>);

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            writeln!(
                f,
                "{:>6} ms +{:<2} {:?}",
                step.at.as_millis(),
                step.turns,
                step.fault
            )?;
        }
        Ok(())
    }
}

/// Kinds of faults, for the selection.
const KINDS: u32 = 12;

impl Plan {
    /// Draws a plan for a run of a length.
    pub fn draw(random: &mut Stream, length: Duration, nodes: usize) -> Plan {
        let kinds: Vec<u32> = (0..KINDS).filter(|_| random.chance(0.5)).collect();
        let mut steps = Vec::new();
        let mut at = random.range(Duration::ZERO..=PAUSE_MAX);
        while at < length && !kinds.is_empty() {
            let kind = kinds[random.range(0..kinds.len())];
            steps.push(Step {
                at,
                turns: random.range(0..24),
                fault: draw(random, kind, nodes),
            });
            at += random.range(Duration::ZERO..=PAUSE_MAX);
        }
        Plan(steps)
    }
}

fn draw(random: &mut Stream, kind: u32, nodes: usize) -> Fault {
    let one = random.range(0..nodes);
    let other = (one + random.range(1..nodes)) % nodes;
    let whom = if random.chance(0.5) {
        Whom::Leader
    } else {
        Whom::Node(one)
    };
    let end = if random.chance(0.5) {
        End::Power
    } else {
        End::Kill
    };
    let lasts = random.range(Duration::from_millis(1)..=LASTS_MAX);
    match kind {
        0 => Fault::Crash(whom, end, lasts),
        1 => Fault::CrashAll(end, lasts),
        2 => Fault::KillThenPower(whom, lasts / 8),
        3 => Fault::Isolate(whom, lasts),
        4 => Fault::Cut(one, other, lasts),
        5 => Fault::Reset(one, other),
        6 => Fault::BadNetwork {
            delay_ms_max: random.range(2..120),
            loss: random.range(0.0..0.02),
            lasts,
        },
        7 => Fault::SlowDisk(
            whom,
            random.range(Duration::from_millis(5)..Duration::from_millis(800)),
            lasts,
        ),
        8 => Fault::FailSync(whom, random.range(1..20)),
        9 => Fault::Skew(
            one,
            random.range(-600_000..600_000),
            random.range(-500..500),
        ),
        10 => Fault::MoveLeader(one),
        11 => Fault::Replace(whom),
        _ => unreachable!("there are {KINDS} kinds"),
    }
}
