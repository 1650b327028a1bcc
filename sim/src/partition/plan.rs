//! What goes wrong in a run, and when: drawn from the seed before the run begins, or read from
//! a file that keeps what once went wrong.

use std::fmt;

use atoll_world::random::Stream;
use serde::{Deserialize, Serialize};

use super::{NODES, Planted, REPLICAS};

/// Time from one fault to the next, at the most.
const PAUSE_US_MAX: u64 = 120_000;
/// Longest time for which one fault lasts.
const LASTS_US_MAX: u64 = 400_000;

/// What goes wrong. Nodes are named by place, times are microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fault {
    /// A node ends and is started again after a while. Without power, what was not synced is
    /// lost from some point on.
    Crash {
        /// Which.
        node: usize,
        /// Whether its machine loses power.
        power: bool,
        /// How long it is away.
        lasts_us: u64,
    },
    /// All nodes end at once.
    CrashAll {
        /// Whether the machines lose power.
        power: bool,
        /// How long they are away.
        lasts_us: u64,
    },
    /// A node does nothing for a while, then goes on as if nothing were.
    Freeze {
        /// Which.
        node: usize,
        /// How long.
        lasts_us: u64,
    },
    /// Nothing gets from one node to another.
    Cut {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// Whether both notice.
        told: bool,
        /// How long.
        lasts_us: u64,
    },
    /// Nothing gets to a node or from it.
    Isolate {
        /// Which.
        node: usize,
        /// Whether the others and it notice.
        told: bool,
        /// How long.
        lasts_us: u64,
    },
    /// Messages are lost, doubled and late, so that they overtake each other.
    BadNetwork {
        /// Chance of a loss, in percent.
        loss_percent: u32,
        /// Chance that a message comes twice, in percent.
        double_percent: u32,
        /// The longest way.
        delay_us_max: u64,
        /// How long.
        lasts_us: u64,
    },
    /// A node's syncs take long.
    SlowDisk {
        /// Which.
        node: usize,
        /// The longest sync.
        sync_us_max: u64,
        /// How long.
        lasts_us: u64,
    },
    /// A node's clocks are wrong from now on.
    Skew {
        /// Which.
        node: usize,
        /// Its wall clock's error.
        wall_ms: i64,
        /// How much too fast its clocks are, in millionths.
        drift_ppm: i64,
    },
    /// Somebody suspects the owner for no reason.
    Suspect {
        /// Whom the suspicion comes to.
        node: usize,
    },
    /// Other nodes are to hold the partition.
    Move {
        /// Where it is to be.
        to: [usize; REPLICAS],
    },
    /// A node saves its state and forgets the log before it.
    Compact {
        /// Which.
        node: usize,
    },
}

/// A fault, and when it comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// After the run's beginning.
    pub at_us: u64,
    /// What.
    pub fault: Fault,
}

/// A run that is kept: the files in `sim/plans/partition` hold one each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Of the file's format: [`Script::VERSION`].
    pub version: u32,
    /// What went wrong, and why.
    pub about: String,
    /// What everything but the faults is drawn from.
    pub seed: u64,
    /// The mistake that this finds, if it is made; made or not, nothing else is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<Planted>,
    /// The faults.
    pub steps: Vec<Step>,
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

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8} us {:?}", self.at_us, self.fault)
    }
}

/// Kinds of faults, for the selection.
const KINDS: u32 = 11;

/// Draws a plan. A run does not have every kind of fault, but a selection of its own (swarm
/// testing, Groce et al., ISSTA 2012).
pub fn draw(random: &mut Stream, length_us: u64) -> Vec<Step> {
    let kinds: Vec<u32> = (0..KINDS).filter(|_| random.chance(0.5)).collect();
    let mut steps = Vec::new();
    let mut at_us = random.range(0..PAUSE_US_MAX);
    while at_us < length_us && !kinds.is_empty() {
        let kind = kinds[random.range(0..kinds.len())];
        let fault = draw_one(random, kind);
        steps.push(Step { at_us, fault });
        at_us += random.range(0..PAUSE_US_MAX);
    }
    steps
}

fn draw_one(random: &mut Stream, kind: u32) -> Fault {
    let node = random.range(0..NODES);
    let other = (node + random.range(1..NODES)) % NODES;
    let lasts_us = random.range(1_000..LASTS_US_MAX);
    let power = random.chance(0.7);
    let told = random.chance(0.5);
    match kind {
        0 => Fault::Crash {
            node,
            power,
            lasts_us,
        },
        1 => Fault::CrashAll { power, lasts_us },
        2 => Fault::Freeze { node, lasts_us },
        3 => Fault::Cut {
            from: node,
            to: other,
            told,
            lasts_us,
        },
        4 => Fault::Isolate {
            node,
            told,
            lasts_us,
        },
        5 => Fault::BadNetwork {
            loss_percent: random.range(0..30),
            double_percent: random.range(0..30),
            delay_us_max: random.range(1_000..60_000),
            lasts_us,
        },
        6 => Fault::SlowDisk {
            node,
            sync_us_max: random.range(1_000..80_000),
            lasts_us,
        },
        7 => Fault::Skew {
            node,
            wall_ms: random.range(-600_000..600_000),
            drift_ppm: random.range(-50_000..50_000),
        },
        8 => Fault::Suspect { node },
        9 => {
            let mut nodes: Vec<usize> = (0..NODES).collect();
            let to = std::array::from_fn(|_| nodes.swap_remove(random.range(0..nodes.len())));
            Fault::Move { to }
        }
        10 => Fault::Compact { node },
        _ => unreachable!("there are {KINDS} kinds"),
    }
}
