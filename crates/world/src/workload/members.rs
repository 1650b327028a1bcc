//! Which processes belong to a workload, and how to end them all.
//!
//! They are found in three ways, and what any of them finds belongs to it:
//! - the members of its control group, where there is one;
//! - the descendants of its shim, as long as that lives: it is the subreaper (prctl(2)) that
//!   orphans fall to, so no double fork leads out;
//! - where there is no control group, a mark. A limit that nobody uses (RLIMIT_RTTIME, for
//!   processes with real-time scheduling) is set to decades and a number of the workload's own;
//!   every descendant inherits it, through any fork and exec. So even when the shim was killed,
//!   what has left the session of the program is found.

use std::{cell::RefCell, collections::BTreeMap};

use rustix::process::Signal;

use super::{
    cgroup::Group,
    proc::{self, Identity, Stat},
};

/// So many times the list is read again for processes that were born meanwhile, before all that
/// were stopped are killed.
const STOP_ROUNDS_MAX: u32 = 32;

/// All processes of the machine at a moment.
#[derive(Debug)]
pub(super) struct Processes {
    all: BTreeMap<u32, Stat>,
    /// Those of them that were asked for; reading one takes as long as the rest.
    marks: RefCell<BTreeMap<u32, Option<u64>>>,
}

impl Processes {
    pub(super) fn now() -> Processes {
        let all = Stat::all().into_iter();
        Processes {
            all: all.map(|stat| (stat.identity.pid, stat)).collect(),
            marks: RefCell::default(),
        }
    }

    fn mark_of(&self, pid: u32) -> Option<u64> {
        let mut marks = self.marks.borrow_mut();
        *marks.entry(pid).or_insert_with(|| proc::mark_of(pid))
    }
}

/// The processes of a workload; its shim is not one of them.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) group: Group,
    pub(super) shim: Option<Identity>,
    pub(super) main: Option<Identity>,
    pub(super) mark: Option<u64>,
}

impl Members {
    /// Those that live now.
    pub(super) fn list(&self) -> Vec<Identity> {
        self.list_among(&Processes::now())
    }

    /// Those among the processes of a moment, and those of the group of now.
    pub(super) fn list_among(&self, processes: &Processes) -> Vec<Identity> {
        let (spared, shim_pid) = (std::process::id(), self.shim.map(|shim| shim.pid));
        let all = &processes.all;
        let shim_lives = self.shim.is_some_and(|shim| lives(all, shim));
        let mark = self.mark.filter(|_| !self.group.is_joined());
        let mut found: Vec<Identity> = all
            .values()
            .filter(|stat| !stat.ended)
            .filter(|stat| {
                let descends = shim_lives && descends(all, stat, shim_pid.unwrap_or_default());
                descends || mark.is_some() && processes.mark_of(stat.identity.pid) == mark
            })
            .map(|stat| stat.identity)
            .collect();
        found.extend(self.main.filter(|main| lives(all, *main)));
        // The group is read last, so a process that was born since may be missing in `all`.
        let in_group = self.group.pids().into_iter().filter_map(Stat::of);
        found.extend(
            in_group
                .filter(|stat| !stat.ended)
                .map(|stat| stat.identity),
        );
        found.retain(|member| member.pid != spared && Some(member.pid) != shim_pid);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Kills those that live now. Some may take the kernel a moment, so look again.
    pub(super) fn kill(&self) {
        self.group.kill();
        // One that is stopped can't have children before it is killed; so a family that grows
        // faster than we read the list is caught too.
        let mut stopped: Vec<Identity> = Vec::new();
        for _ in 0..STOP_ROUNDS_MAX {
            let found = self.list();
            let fresh: Vec<_> = found
                .iter()
                .filter(|member| stopped.binary_search(member).is_err())
                .copied()
                .collect();
            if fresh.is_empty() {
                break;
            }
            for member in fresh {
                let _ = member.send(Signal::STOP);
            }
            stopped = found;
        }
        for member in stopped {
            let _ = member.send(Signal::KILL);
        }
    }
}

fn lives(all: &BTreeMap<u32, Stat>, identity: Identity) -> bool {
    let stat = all.get(&identity.pid);
    stat.is_some_and(|stat| stat.identity == identity && !stat.ended)
}

/// The processes were not all read at the same moment, so the chain of parents may be broken,
/// or even be a circle.
fn descends(all: &BTreeMap<u32, Stat>, stat: &Stat, ancestor: u32) -> bool {
    let mut parent = stat.parent;
    for _ in 0..all.len() {
        if parent == ancestor {
            return true;
        }
        match all.get(&parent) {
            Some(stat) if parent > 1 => parent = stat.parent,
            _ => return false,
        }
    }
    false
}
