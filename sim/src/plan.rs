//! What goes wrong in a run, and when: drawn from the seed before the run begins, or read from
//! a file ([`Script`]) that keeps what once went wrong.
//!
//! A run does not have every kind of fault, but a selection of its own (swarm testing, Groce et
//! al., ISSTA 2012): what rarely happens beside everything else happens often without it.

use std::{fmt, time::Duration};

use atoll_world::random::Stream;
use serde::{Deserialize, Serialize};

use crate::node::End;

/// Longest time for which one fault lasts.
const LASTS_MAX: Duration = Duration::from_millis(2_500);
/// Time from one fault to the next, at the most.
const PAUSE_MAX: Duration = Duration::from_millis(1_200);

/// Which node a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Whom {
    /// By place among the nodes that belong to the cluster then.
    Node(usize),
    /// Whoever leads then.
    Leader,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fault {
    /// A node ends; it is started again after a while.
    Crash(Whom, End, #[serde(with = "micros")] Duration),
    /// All nodes end at once.
    CrashAll(End, #[serde(with = "micros")] Duration),
    /// A node is ended by a kill, started, and loses power soon after.
    KillThenPower(Whom, #[serde(with = "micros")] Duration),
    /// Nothing gets to a node or from it.
    Isolate(Whom, #[serde(with = "micros")] Duration),
    /// Nothing gets from one node to another.
    Cut(usize, usize, #[serde(with = "micros")] Duration),
    /// A connection breaks.
    Reset(usize, usize),
    /// Messages take long, and some break their connection.
    BadNetwork {
        /// The longest way.
        delay_ms_max: u64,
        /// The chance that a message is lost with its connection.
        loss: f64,
        /// How long.
        #[serde(rename = "lasts_us", with = "micros")]
        lasts: Duration,
    },
    /// A node's syncs take up to so long.
    SlowDisk(
        Whom,
        #[serde(with = "micros")] Duration,
        #[serde(with = "micros")] Duration,
    ),
    /// The n-th sync from now fails.
    FailSync(Whom, u64),
    /// A node's wall clock is wrong from now on.
    Skew(usize, i64, i64),
    /// The leader is asked to hand over.
    MoveLeader(usize),
    /// A node is removed for good, and another takes its place.
    Replace(Whom),
    /// An image is taken of every machine, as a hypervisor does. Never drawn.
    TakeImages,
    /// Every machine is ended, and goes on from its image: the cluster forgets what came after.
    /// Never drawn, since no system survives that; here so that the checkers can show that they
    /// find it.
    RestoreImages,
}

/// A fault, and when it comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// After the run's beginning.
    #[serde(rename = "at_us", with = "micros")]
    pub at: Duration,
    /// It goes wrong so many turns of the scheduler later.
    pub turns: u32,
    /// What.
    pub fault: Fault,
}

/// Everything that goes wrong in a run, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan(pub Vec<Step>);

/// A run that is kept, most often because it went wrong once: the seed that everything but the
/// faults is drawn from, and the faults, no more of them than it takes. The JSON files in
/// `sim/plans` hold one each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Of the file's format: [`Script::VERSION`].
    pub version: u32,
    /// What went wrong, and why, for those who read the file.
    pub about: String,
    /// The run's.
    pub seed: u64,
    /// The run's.
    pub plan: Plan,
}

impl Script {
    /// The only version there is.
    pub const VERSION: u32 = 1;

    /// Reads a file's content.
    ///
    /// # Errors
    /// It is no script, or one of another version.
    pub fn parse(text: &str) -> Result<Script, String> {
        let script: Script = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match script.version {
            Script::VERSION => Ok(script),
            other => Err(format!(
                "the script is of version {other}; this program reads version {}",
                Script::VERSION
            )),
        }
    }
}

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
        let mut at = time(random, Duration::ZERO, PAUSE_MAX);
        while at < length && !kinds.is_empty() {
            let kind = kinds[random.range(0..kinds.len())];
            steps.push(Step {
                at,
                turns: random.range(0..24),
                fault: draw(random, kind, nodes),
            });
            at += time(random, Duration::ZERO, PAUSE_MAX);
        }
        Plan(steps)
    }
}

/// A time between two, in whole microseconds, as files hold it.
fn time(random: &mut Stream, min: Duration, max: Duration) -> Duration {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random.range(micros(min)..=micros(max)))
}

/// Durations in files: whole microseconds.
mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_micros)
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
    let lasts = time(random, Duration::from_millis(1), LASTS_MAX);
    match kind {
        0 => Fault::Crash(whom, end, lasts),
        1 => Fault::CrashAll(end, lasts),
        2 => Fault::KillThenPower(whom, time(random, Duration::from_millis(1), LASTS_MAX / 8)),
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
            time(random, Duration::from_millis(5), Duration::from_millis(800)),
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
