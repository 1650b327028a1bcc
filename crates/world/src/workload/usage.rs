//! What workloads have used, for `kubectl top` and autoscaling.
//!
//! Where there is a control group, the kernel has counted: all processor time of all its
//! processes, dead ones included, and memory, of which what the kernel could take back at once
//! does not count (the working set, as kubelet has it). Where there is none, it is the sum over
//! the processes that live: their resident memory, in which what they share counts for each, and
//! their processor time with that of their children whose end was taken note of.

use std::{cell::OnceCell, path::Path};

use super::{
    Usage,
    members::{Members, Processes},
    proc::Stat,
    settle,
    state::{self, StateFile},
};

/// What a running workload has used; `None` if it does not run. Without a control group,
/// processes that were ended by others than their parents are not counted any more.
pub fn usage(dir: &Path) -> Option<Usage> {
    usage_of(dir, &OnceCell::new())
}

/// What the workloads of many directories have used, each as [`usage`] says it. The machine's
/// processes are looked at once for all, if at all.
pub fn usages<'a>(dirs: impl IntoIterator<Item = &'a Path>) -> Vec<Option<Usage>> {
    let processes = OnceCell::new();
    let dirs = dirs.into_iter();
    dirs.map(|dir| usage_of(dir, &processes)).collect()
}

fn usage_of(dir: &Path, processes: &OnceCell<Processes>) -> Option<Usage> {
    if !state::is_locked(dir).ok()? {
        return None;
    }
    state::read::<StateFile>(dir, state::STATE)?;
    let members = settle::members(dir);
    let of_group = members.group.usage();
    if let (Some(cpu_ns), Some(memory_bytes)) = (of_group.cpu_ns, of_group.memory_bytes) {
        return Some(Usage {
            cpu_ns,
            memory_bytes,
        });
    }
    let of_processes = sum(&members, processes.get_or_init(Processes::now));
    Some(Usage {
        cpu_ns: of_group.cpu_ns.unwrap_or(of_processes.cpu_ns),
        memory_bytes: of_group.memory_bytes.unwrap_or(of_processes.memory_bytes),
    })
}

fn sum(members: &Members, processes: &Processes) -> Usage {
    let ns_per_tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    // Orphans that ended count among the shim's children.
    let shim = members.shim.and_then(|shim| Stat::of(shim.pid));
    let mut ticks = shim.map_or(0, |shim| shim.children_ticks);
    let mut pages = 0_u64;
    let found = members.list_among(processes).into_iter();
    for stat in found.filter_map(|member| Stat::of(member.pid)) {
        ticks = ticks.saturating_add(stat.own_ticks.saturating_add(stat.children_ticks));
        pages = pages.saturating_add(stat.resident_pages);
    }
    Usage {
        cpu_ns: ticks.saturating_mul(ns_per_tick),
        memory_bytes: pages.saturating_mul(rustix::param::page_size() as u64),
    }
}
