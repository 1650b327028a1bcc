//! MEMORY: what the node's data takes (Redis: "MEMORY STATS", "MEMORY DOCTOR").

use crate::{
    core::reply::Reply,
    memory::{Memory, Tuning},
};

/// A node is called nearly full from so many percent of what it may take.
const NEARLY_FULL_PERCENT: f64 = 90.0;

fn count(number: u64) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// One number as a part of another, in percent.
fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 * 100.0 / whole as f64,
    }
}

pub(super) fn stats(memory: &Memory) -> Reply {
    let (used, peak, keys) = (memory.used_bytes(), memory.peak_bytes(), memory.keys());
    let pairs = [
        ("peak.allocated", count(peak)),
        ("total.allocated", count(used)),
        ("startup.allocated", count(0)),
        ("overhead.total", count(0)),
        ("keys.count", count(keys)),
        (
            "keys.bytes-per-key",
            count(used.checked_div(keys).unwrap_or(0)),
        ),
        ("dataset.bytes", count(used)),
        ("dataset.percentage", Reply::Double(percent(used, used))),
        ("peak.percentage", Reply::Double(percent(used, peak))),
    ];
    Reply::Map(
        pairs
            .map(|(name, value)| (Reply::bulk(name), value))
            .to_vec(),
    )
}

pub(super) fn doctor(memory: &Memory) -> Reply {
    let (used, max) = (memory.used_bytes(), memory.tuned(Tuning::BytesMax));
    let share = percent(used, max);
    let text = match (max, memory.policy().evicts()) {
        (0, _) => "This node has no maxmemory: its data may take all that the machine has.\n",
        (_, true) if share >= NEARLY_FULL_PERCENT => {
            "This node holds about as much as it may: keys are evicted when more come.\n"
        }
        (_, false) if share >= NEARLY_FULL_PERCENT => {
            "This node holds about as much as it may, and evicts nothing: writes will be refused.\n"
        }
        _ => "This node holds less than it may.\n",
    };
    Reply::Verbatim(text.into())
}

pub(super) fn help() -> Reply {
    let lines = [
        "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DOCTOR",
        "    Tell about this node's memory.",
        "MALLOC-STATS",
        "    Tell what the allocator knows: nothing.",
        "PURGE",
        "    Is answered at once: what is freed goes back by itself.",
        "STATS",
        "    Tell what this node's data takes.",
        "USAGE <key> [SAMPLES <count>]",
        "    Tell what a key and its value take, in bytes.",
        "HELP",
        "    Print this help.",
    ];
    Reply::Array(lines.map(Reply::Status).to_vec())
}
