//! Control groups: one for each workload, in each tree of groups that the machine has.
//!
//! Linux has two interfaces (cgroups(7)): in version 1 each controller has a tree of its own,
//! in version 2 there is one tree; machines that have both are called hybrid, and there the
//! tree of version 2, although it limits nothing, still finds and kills all processes of a
//! group. [`Cgroups`] says where groups can be made, [`Group`] is one, a directory in each of
//! those trees. Nothing here is needed for a workload to run: what can't be had becomes a note.

mod detect;
mod group;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub(super) use group::Group;

/// What a tree of groups can limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controller {
    /// Processor time.
    Cpu,
    /// Counts processor time (version 1 only; in version 2 every group does).
    Cpuacct,
    /// Memory.
    Memory,
    /// Number of processes.
    Pids,
}

/// The interface of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interface {
    /// Version 1.
    V1,
    /// Version 2.
    V2,
}

/// A tree of groups in which we can make some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Its interface.
    pub interface: Interface,
    /// The directory below which our groups are.
    pub base: PathBuf,
    /// What it limits there.
    pub controllers: Vec<Controller>,
}

/// Where groups can be made on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroups {
    /// The trees; none, if no groups can be made.
    pub trees: Vec<Tree>,
    /// Why there are not more.
    pub notes: Vec<String>,
}

impl Cgroups {
    /// Something of this kind can be limited.
    pub fn limits(&self, controller: Controller) -> bool {
        let mut trees = self.trees.iter();
        trees.any(|tree| tree.controllers.contains(&controller))
    }

    /// Removes the directories that hold the groups, where none is left in them.
    pub fn release(&self) {
        for tree in &self.trees {
            // One with groups of programs that go on stays for them.
            let _ = fs::remove_dir(&tree.base);
        }
    }

    /// `v1`, `v2`, `hybrid` or `none`.
    pub fn label(&self) -> &'static str {
        let has = |interface| self.trees.iter().any(|tree| tree.interface == interface);
        match (has(Interface::V1), has(Interface::V2)) {
            (true, true) => "hybrid",
            (true, false) => "v1",
            (false, true) => "v2",
            (false, false) => "none",
        }
    }

    /// What can't be limited on this node, and why; `None` if everything can.
    pub fn shortcoming(&self) -> Option<String> {
        let kinds = [
            (Controller::Cpu, "cpu"),
            (Controller::Memory, "memory"),
            (Controller::Pids, "processes"),
        ];
        let missing: Vec<&str> = kinds
            .into_iter()
            .filter(|(controller, _)| !self.limits(*controller))
            .map(|(_, name)| name)
            .collect();
        if missing.is_empty() {
            return None;
        }
        let notes = if self.notes.is_empty() {
            "no such controller".to_owned()
        } else {
            self.notes.join("; ")
        };
        Some(format!(
            "no limits of {} for containers: {notes}",
            missing.join(", ")
        ))
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Writes to a file of the kernel's. It is never made: one that isn't there is an error.
fn put(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = dir.join(file);
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(value.as_bytes())
}

fn number(dir: &Path, file: &str) -> Option<u64> {
    let text = fs::read_to_string(dir.join(file)).ok()?;
    text.trim().parse().ok()
}

/// A value in a file of lines with a name and a number each.
fn field(dir: &Path, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(dir.join(file)).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}
