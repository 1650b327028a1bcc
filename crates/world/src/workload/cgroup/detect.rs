//! Finding out where groups can be made: below our own, or below the tree's root.
//!
//! Groups below our own keep to the limits that we have ourselves, so that is tried first. In
//! version 2 a group that limits others can't hold processes (cgroups(7), "no internal
//! processes"): if we are alone in ours, as a service mostly is, we move into one of its own
//! beside the containers; if we are not, the root is tried.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::{Cgroups, Controller, Interface, Tree, make_dir, put};

/// The group into which we move ourselves.
const AGENT: &str = "atoll-agent";

/// A mounted tree of groups and our own place in it.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    interface: Interface,
    root: PathBuf,
    own: PathBuf,
    /// The controllers of a tree of version 1.
    controllers: Vec<Controller>,
}

impl Cgroups {
    /// Finds out where groups can be made below a directory of the given name, and makes that
    /// directory. In version 2 this may move this process into a group of its own.
    pub fn detect(name: &str) -> Cgroups {
        detect_in(Path::new("/proc/self"), name)
    }
}

pub(super) fn detect_in(proc: &Path, name: &str) -> Cgroups {
    let read = |file: &str| fs::read_to_string(proc.join(file)).unwrap_or_default();
    let mounts = mounts(&read("mountinfo"), &read("cgroup"));
    let mut found = Cgroups::default();
    if mounts.is_empty() {
        found.notes.push("no control groups are mounted".to_owned());
    }
    for mount in mounts {
        let tried = match mount.interface {
            Interface::V1 => try_v1(&mount, name),
            Interface::V2 => try_v2(&mount, name, &mut found.notes),
        };
        match tried {
            Ok(tree) => found.trees.push(tree),
            Err(note) => found.notes.push(note),
        }
    }
    found
}

fn try_v1(mount: &Mount, name: &str) -> Result<Tree, String> {
    let base = mount.own.join(name);
    make_base(&base)?;
    Ok(Tree {
        interface: Interface::V1,
        base,
        controllers: mount.controllers.clone(),
    })
}

fn try_v2(mount: &Mount, name: &str, notes: &mut Vec<String>) -> Result<Tree, String> {
    // After an earlier run that moved, we may have been started where it had moved to.
    let own = match (mount.own.file_name(), mount.own.parent()) {
        (Some(last), Some(parent)) if last == AGENT => parent,
        _ => &mount.own,
    };
    let at_own = place_v2(own, name, notes);
    if at_own
        .as_ref()
        .is_ok_and(|tree| !tree.controllers.is_empty())
        || own == mount.root
    {
        return at_own;
    }
    match place_v2(&mount.root, name, notes) {
        Ok(tree) if !tree.controllers.is_empty() || at_own.is_err() => Ok(tree),
        _ => at_own,
    }
}

fn place_v2(parent: &Path, name: &str, notes: &mut Vec<String>) -> Result<Tree, String> {
    let base = parent.join(name);
    make_base(&base)?;
    let offered = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    let mut controllers = Vec::new();
    for controller in [Controller::Cpu, Controller::Memory, Controller::Pids] {
        if !offered
            .split_ascii_whitespace()
            .any(|word| word == controller.word())
        {
            continue;
        }
        match enable_or_move(parent, controller).and_then(|()| enable(&base, controller)) {
            Ok(()) => controllers.push(controller),
            Err(error) => notes.push(format!(
                "{} can't be limited below {}: {error}",
                controller.word(),
                parent.display()
            )),
        }
    }
    Ok(Tree {
        interface: Interface::V2,
        base,
        controllers,
    })
}

/// Makes the directory for our groups and sees that processes may be put there.
fn make_base(base: &Path) -> Result<(), String> {
    let told = |error: io::Error| format!("{} can't be used: {error}", base.display());
    make_dir(base).map_err(told)?;
    access(base.join("cgroup.procs"), Access::WRITE_OK).map_err(|errno| told(errno.into()))
}

fn enable_or_move(parent: &Path, controller: Controller) -> io::Result<()> {
    match enable(parent, controller) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            move_aside(parent)?;
            enable(parent, controller)
        }
        enabled => enabled,
    }
}

/// Lets the groups directly below `dir` be limited.
pub(super) fn enable(dir: &Path, controller: Controller) -> io::Result<()> {
    let enabled = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
    if enabled
        .split_ascii_whitespace()
        .any(|word| word == controller.word())
    {
        return Ok(());
    }
    put(
        dir,
        "cgroup.subtree_control",
        &format!("+{}", controller.word()),
    )
}

fn move_aside(group: &Path) -> io::Result<()> {
    let own_pid = std::process::id().to_string();
    let members = fs::read_to_string(group.join("cgroup.procs"))?;
    if members.lines().any(|pid| pid != own_pid) {
        return Err(io::Error::other(
            "the group holds other processes than this node's, which can't be moved",
        ));
    }
    let aside = group.join(AGENT);
    make_dir(&aside)?;
    put(&aside, "cgroup.procs", "0")
}

/// The trees that are mounted, from proc_pid_mountinfo(5), and our place in each, from
/// `/proc/self/cgroup` (cgroups(7)).
fn mounts(mountinfo: &str, own_groups: &str) -> Vec<Mount> {
    let mut found: Vec<Mount> = Vec::new();
    for line in mountinfo.lines() {
        if let Some(mount) = mount(line, own_groups)
            && !found.iter().any(|known| known.is_same_tree(&mount))
        {
            found.push(mount);
        }
    }
    found
}

fn mount(line: &str, own_groups: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let place: Vec<&str> = place.split(' ').collect();
    let (shown, point) = (unescape(place.get(3)?), unescape(place.get(4)?));
    let mut kind = kind.split(' ');
    let (file_system, options) = (kind.next()?, kind.nth(1)?);
    let (interface, controllers) = match file_system {
        "cgroup2" => (Interface::V2, Vec::new()),
        "cgroup" => (
            Interface::V1,
            options.split(',').filter_map(Controller::of).collect(),
        ),
        _ => return None,
    };
    if interface == Interface::V1 && controllers.is_empty() {
        return None;
    }
    let own = own_groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_it = match interface {
            Interface::V1 => names
                .split(',')
                .filter_map(Controller::of)
                .eq(controllers.clone()),
            Interface::V2 => number == "0",
        };
        is_it.then_some(path)
    });
    // What is mounted may begin at a group that we are inside of; or, in a container whose view
    // begins elsewhere, at none of ours: then at what we can see.
    let below = Path::new(own.unwrap_or("/")).strip_prefix(&shown);
    let below = below
        .ok()
        .filter(|path| !path.components().any(|part| part.as_os_str() == ".."));
    let root = PathBuf::from(point);
    let own = match below {
        Some(path) if path.as_os_str().is_empty() => root.clone(),
        Some(path) => root.join(path),
        None => root.clone(),
    };
    Some(Mount {
        interface,
        root,
        own,
        controllers,
    })
}

impl Mount {
    fn is_same_tree(&self, other: &Mount) -> bool {
        self.interface == other.interface && self.controllers == other.controllers
    }
}

impl Controller {
    fn word(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuacct => "cpuacct",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
        }
    }

    fn of(word: &str) -> Option<Controller> {
        let all = [
            Controller::Cpu,
            Controller::Cpuacct,
            Controller::Memory,
            Controller::Pids,
        ];
        all.into_iter().find(|controller| controller.word() == word)
    }
}

/// Spaces and the like are written as `\040`.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\');
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_found_in_all_layouts() {
        // Hybrid, with two controllers in one tree, and one that is of no use.
        let mountinfo = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
        let own = "9:name=systemd:/s\n4:memory:/a/b\n1:cpu,cpuacct:/\n0::/u\n";
        let found: Vec<_> = mounts(mountinfo, own)
            .into_iter()
            .map(|mount| (mount.interface, mount.own, mount.controllers))
            .collect();
        let (cpu, memory) = (
            vec![Controller::Cpu, Controller::Cpuacct],
            vec![Controller::Memory],
        );
        assert_eq!(
            found,
            [
                (Interface::V1, "/sys/fs/cgroup/cpu,cpuacct".into(), cpu),
                (Interface::V1, "/sys/fs/cgroup/memory/a/b".into(), memory),
                (Interface::V2, "/sys/fs/cgroup/unified/u".into(), vec![]),
            ]
        );
        assert_eq!(mounts("garbage - cgroup2\n\n - ", "0:"), []);
    }

    #[test]
    fn containers_see_a_part_of_the_tree() {
        let own_place = |root: &str, own: &str| {
            let line = format!("41 31 0:38 {root} /sys/fs/cgroup ro - cgroup2 cgroup rw");
            mounts(&line, &format!("0::{own}\n"))[0].own.clone()
        };
        let top = Path::new("/sys/fs/cgroup");
        assert_eq!(own_place("/docker/1", "/docker/1"), top);
        assert_eq!(own_place("/docker/1", "/docker/1/x"), top.join("x"));
        assert_eq!(own_place("/", "/../other"), top);
        assert_eq!(own_place("/docker/1", "/elsewhere"), top);
        assert_eq!(unescape("/a\\040b\\9\\"), "/a b\\9\\");
    }
}
