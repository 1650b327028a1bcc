//! A workload's group: made with its limits, joined, counted, killed, removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Cgroups, Controller, Interface, Tree, detect, field, make_dir, number, put};
use crate::workload::{
    spec::{CgroupSpec, PIDS_MAX},
    state::{Enforced, Force},
};

/// The kernel's period of accounting processor time, in microseconds (its default).
const CPU_PERIOD_US: u64 = 100_000;
/// The kernel refuses less in a period.
const CPU_QUOTA_US_MIN: u64 = 1_000;
/// A program may have made groups inside its own; so many are looked at.
const SUBGROUPS_MAX: usize = 4096;
/// A group that is empty can still be busy for a moment; so often its removal is tried.
const REMOVE_TRIES: u32 = 50;

/// A workload's group: a directory in each tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Group {
    branches: Vec<Branch>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Branch {
    tree: Tree,
    dir: PathBuf,
}

/// What a group has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct GroupUsage {
    pub(in super::super) cpu_ns: Option<u64>,
    pub(in super::super) memory_bytes: Option<u64>,
}

impl Group {
    /// The group of that name; it need not be there.
    pub(in super::super) fn of(cgroups: &Cgroups, name: &str) -> Group {
        let branch = |tree: &Tree| Branch {
            tree: tree.clone(),
            dir: tree.base.join(name),
        };
        Group {
            branches: cgroups.trees.iter().map(branch).collect(),
        }
    }

    /// There is a directory of it, so its processes can be found there.
    pub(in super::super) fn is_joined(&self) -> bool {
        self.branches.iter().any(|branch| branch.dir.is_dir())
    }

    /// Makes the group with its limits. What can't be had is noted.
    pub(in super::super) fn create(spec: &CgroupSpec, enforced: &mut Enforced) -> Group {
        let mut group = Group::of(&spec.cgroups, &spec.name);
        group.branches.retain(|branch| match branch.create() {
            Ok(()) => true,
            Err(error) => {
                enforced.notes.push(format!(
                    "control group {} can't be made: {error}",
                    branch.dir.display()
                ));
                false
            }
        });
        group.limit(spec, enforced);
        enforced.cgroup = group.label().to_owned();
        group
    }

    fn label(&self) -> &'static str {
        let trees = self.branches.iter().map(|branch| branch.tree.clone());
        Cgroups {
            trees: trees.collect(),
            notes: Vec::new(),
        }
        .label()
    }

    fn limit(&self, spec: &CgroupSpec, enforced: &mut Enforced) {
        let notes = &mut enforced.notes;
        if let Some(milli) = spec.cpu_request_milli
            && let Some(branch) = self.branch(Controller::Cpu)
            && let Err(error) = branch.share_cpu(milli)
        {
            notes.push(format!("the share of processor time can't be set: {error}"));
        }
        let mut set = |asked: Option<u64>,
                       controller: Controller,
                       apply: fn(&Branch, u64) -> io::Result<()>,
                       what: &str| {
            let Some(value) = asked else {
                return Force::NotAsked;
            };
            let applied = match self.branch(controller) {
                Some(branch) => apply(branch, value).map_err(|error| error.to_string()),
                None => Err("there is no control group for it".to_owned()),
            };
            match applied {
                Ok(()) => Force::Full,
                Err(error) => {
                    notes.push(format!("{what} is not limited: {error}"));
                    Force::None
                }
            }
        };
        enforced.cpu = set(
            spec.cpu_milli,
            Controller::Cpu,
            Branch::limit_cpu,
            "processor time",
        );
        enforced.memory = set(
            spec.memory_bytes,
            Controller::Memory,
            Branch::limit_memory,
            "memory",
        );
        enforced.pids = set(
            Some(spec.pids_max.unwrap_or(PIDS_MAX)),
            Controller::Pids,
            Branch::limit_pids,
            "the number of processes",
        );
    }

    fn branch(&self, controller: Controller) -> Option<&Branch> {
        let mut branches = self.branches.iter();
        branches.find(|branch| branch.tree.controllers.contains(&controller))
    }

    /// The files through which a process joins, by writing `0` to each.
    pub(in super::super) fn join_files(&self) -> Vec<PathBuf> {
        let join_file = |branch: &Branch| branch.dir.join("cgroup.procs");
        self.branches.iter().map(join_file).collect()
    }

    /// A process could not join: nothing holds for it where its group is empty, and nothing is to
    /// be looked for there.
    pub(in super::super) fn leave_unjoined(
        &self,
        why: impl std::fmt::Display,
        enforced: &mut Enforced,
    ) {
        for branch in &self.branches {
            // A group that holds a process can't be removed.
            if fs::remove_dir(&branch.dir).is_err() {
                continue;
            }
            let path = branch.dir.display();
            enforced
                .notes
                .push(format!("control group {path} can't be joined: {why}"));
            for (controller, force) in [
                (Controller::Cpu, &mut enforced.cpu),
                (Controller::Memory, &mut enforced.memory),
                (Controller::Pids, &mut enforced.pids),
            ] {
                if *force == Force::Full && branch.tree.controllers.contains(&controller) {
                    *force = Force::None;
                }
            }
        }
    }

    /// The numbers of its processes. Some may have ended.
    pub(in super::super) fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self
            .branches
            .iter()
            .flat_map(|branch| subgroups(&branch.dir))
            .filter_map(|dir| fs::read_to_string(dir.join("cgroup.procs")).ok())
            .flat_map(|text| {
                let pids = text.lines().filter_map(|line| line.parse().ok());
                pids.collect::<Vec<u32>>()
            })
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Kills all its processes where the kernel can (version 2 since Linux 5.14), and lets no
    /// more be born where it can.
    pub(in super::super) fn kill(&self) {
        for branch in &self.branches {
            match branch.tree.interface {
                Interface::V2 => {
                    let _ = put(&branch.dir, "cgroup.kill", "1");
                }
                Interface::V1 if branch.tree.controllers.contains(&Controller::Pids) => {
                    let _ = put(&branch.dir, "pids.max", "0");
                }
                Interface::V1 => {}
            }
        }
    }

    /// How many of its processes the kernel killed because its memory had run out.
    pub(in super::super) fn oom_kills(&self) -> u64 {
        let Some(branch) = self.branch(Controller::Memory) else {
            return 0;
        };
        let file = match branch.tree.interface {
            Interface::V1 => "memory.oom_control",
            Interface::V2 => "memory.events",
        };
        field(&branch.dir, file, "oom_kill").unwrap_or(0)
    }

    /// What its processes have used. Memory is what can't be taken back at once, as in
    /// Kubernetes' working set.
    pub(in super::super) fn usage(&self) -> GroupUsage {
        let mut usage = GroupUsage::default();
        for Branch { tree, dir } in &self.branches {
            let memory = tree.controllers.contains(&Controller::Memory);
            let (cpu_ns, used, cached) = match tree.interface {
                Interface::V1 => (
                    number(dir, "cpuacct.usage"),
                    number(dir, "memory.usage_in_bytes"),
                    "total_inactive_file",
                ),
                Interface::V2 => (
                    field(dir, "cpu.stat", "usage_usec").map(|us| us.saturating_mul(1000)),
                    number(dir, "memory.current"),
                    "inactive_file",
                ),
            };
            usage.cpu_ns = usage.cpu_ns.or(cpu_ns);
            if let Some(used) = used.filter(|_| memory) {
                let cached = field(dir, "memory.stat", cached).unwrap_or(0);
                usage.memory_bytes = Some(used.saturating_sub(cached));
            }
        }
        usage
    }

    /// Removes the group, and what is empty between it and the place where groups are made.
    pub(in super::super) fn remove(&self) -> io::Result<()> {
        for branch in &self.branches {
            for dir in subgroups(&branch.dir).iter().rev() {
                remove_dir(dir)?;
            }
            let mut parents = branch.dir.ancestors().skip(1);
            while let Some(dir) = parents.next().filter(|dir| *dir != branch.tree.base) {
                if !dir.starts_with(&branch.tree.base) || fs::remove_dir(dir).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Branch {
    fn create(&self) -> io::Result<()> {
        let below_base = self.dir.strip_prefix(&self.tree.base);
        let parts = below_base.map_err(io::Error::other)?.components();
        let mut dir = self.tree.base.clone();
        for part in parts {
            if self.tree.interface == Interface::V2 {
                for controller in &self.tree.controllers {
                    detect::enable(&dir, *controller)?;
                }
            }
            dir.push(part);
            make_dir(&dir)?;
        }
        Ok(())
    }

    fn limit_cpu(&self, milli: u64) -> io::Result<()> {
        let quota_us = (milli.saturating_mul(CPU_PERIOD_US) / 1000).max(CPU_QUOTA_US_MIN);
        match self.tree.interface {
            Interface::V1 => {
                put(&self.dir, "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
                put(&self.dir, "cpu.cfs_quota_us", &quota_us.to_string())
            }
            Interface::V2 => put(&self.dir, "cpu.max", &format!("{quota_us} {CPU_PERIOD_US}")),
        }
    }

    /// A whole processor is worth 1024 shares; version 2 has weights from 1 to 10000 instead,
    /// onto which Kubernetes maps the shares linearly (KEP-2254).
    fn share_cpu(&self, milli: u64) -> io::Result<()> {
        let shares = (milli.saturating_mul(1024) / 1000).clamp(2, 262_144);
        match self.tree.interface {
            Interface::V1 => put(&self.dir, "cpu.shares", &shares.to_string()),
            Interface::V2 => {
                let weight = 1 + (shares - 2) * 9999 / 262_142;
                put(&self.dir, "cpu.weight", &weight.to_string())
            }
        }
    }

    fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        let bytes = bytes.to_string();
        match self.tree.interface {
            Interface::V1 => {
                put(&self.dir, "memory.limit_in_bytes", &bytes)?;
                // Without accounts of swap the file is not there; then nothing is to be done.
                let _ = put(&self.dir, "memory.memsw.limit_in_bytes", &bytes);
            }
            Interface::V2 => {
                put(&self.dir, "memory.max", &bytes)?;
                let _ = put(&self.dir, "memory.swap.max", "0");
                // All of its processes end together, rather than one that others wait for.
                let _ = put(&self.dir, "memory.oom.group", "1");
            }
        }
        Ok(())
    }

    fn limit_pids(&self, max: u64) -> io::Result<()> {
        put(&self.dir, "pids.max", &max.to_string())
    }
}

/// A group and those inside it, parents first.
fn subgroups(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_path_buf()];
    let mut next = 0;
    while let Some(dir) = found.get(next).filter(|_| found.len() < SUBGROUPS_MAX) {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let dirs: Vec<PathBuf> = dirs.map(|entry| entry.path()).collect();
        found.extend(dirs);
        next += 1;
    }
    found
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    for _ in 0..REMOVE_TRIES {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => return removed,
        }
    }
    fs::remove_dir(dir)
}
