//! Groups in directories that look like the kernel's: what is found, and what is written.

use super::*;
use crate::workload::{CgroupSpec, Enforced, Force};

/// A place that looks like a machine's, with the files that the kernel would make.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(mountinfo: &str, own: &str) -> Machine {
        let machine = Machine(tempfile::tempdir().unwrap());
        let mountinfo = mountinfo.replace("ROOT", machine.0.path().to_str().unwrap());
        machine.file("proc/mountinfo", &mountinfo);
        machine.file("proc/cgroup", own);
        machine
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn detect(&self) -> Cgroups {
        detect::detect_in(&self.0.path().join("proc"), "atoll")
    }
}

fn spec(cgroups: &Cgroups) -> CgroupSpec {
    CgroupSpec {
        cgroups: cgroups.clone(),
        name: "pod/c".to_owned(),
        cpu_milli: Some(1500),
        cpu_request_milli: Some(250),
        memory_bytes: Some(1 << 20),
        pids_max: Some(64),
    }
}

const V2: &str = "41 31 0:38 / ROOT/fs rw - cgroup2 cgroup2 rw\n";

#[test]
fn version_2_is_used_below_our_own_group() {
    let machine = Machine::new(V2, "0::/service\n");
    machine.file("fs/service/cgroup.controllers", "cpu io memory pids\n");
    machine.file("fs/service/cgroup.subtree_control", "cpu memory pids\n");
    machine.file("fs/service/atoll/cgroup.procs", "");
    machine.file(
        "fs/service/atoll/cgroup.subtree_control",
        "cpu memory pids\n",
    );
    let cgroups = machine.detect();
    assert_eq!((cgroups.label(), cgroups.shortcoming()), ("v2", None));

    let leaf = "fs/service/atoll/pod/c";
    for file in [
        "cpu.max",
        "cpu.weight",
        "memory.max",
        "memory.swap.max",
        "memory.oom.group",
        "pids.max",
        "cgroup.kill",
    ] {
        machine.file(&format!("{leaf}/{file}"), "");
    }
    machine.file(
        "fs/service/atoll/pod/cgroup.subtree_control",
        "cpu memory pids",
    );
    let mut enforced = Enforced::default();
    let group = Group::create(&spec(&cgroups), &mut enforced);
    assert_eq!(
        (enforced.cpu, enforced.memory, enforced.pids),
        (Force::Full, Force::Full, Force::Full)
    );
    assert_eq!((enforced.cgroup.as_str(), enforced.notes.len()), ("v2", 0));
    for (file, text) in [
        ("cpu.max", "150000 100000"),
        ("cpu.weight", "10"),
        ("memory.max", "1048576"),
        ("memory.swap.max", "0"),
        ("pids.max", "64"),
    ] {
        assert_eq!(machine.text(&format!("{leaf}/{file}")), text, "{file}");
    }
    machine.file(&format!("{leaf}/cgroup.procs"), "12\n13\n");
    machine.file(&format!("{leaf}/inner/cgroup.procs"), "14\nx\n");
    machine.file(&format!("{leaf}/memory.events"), "oom 3\noom_kill 2\n");
    machine.file(&format!("{leaf}/cpu.stat"), "usage_usec 5\nuser_usec 3\n");
    machine.file(&format!("{leaf}/memory.current"), "100\n");
    machine.file(
        &format!("{leaf}/memory.stat"),
        "anon 60\ninactive_file 30\n",
    );
    assert_eq!(group.pids(), [12, 13, 14]);
    assert_eq!(group.oom_kills(), 2);
    let usage = group.usage();
    assert_eq!((usage.cpu_ns, usage.memory_bytes), (Some(5000), Some(70)));
    group.kill();
    assert_eq!(machine.text(&format!("{leaf}/cgroup.kill")), "1");
}

#[test]
fn version_2_is_used_at_the_root_where_our_own_group_can_t_be_divided() {
    let machine = Machine::new(V2, "0::/session\n");
    machine.file("fs/session/cgroup.controllers", "");
    machine.file("fs/session/atoll/cgroup.procs", "");
    machine.file("fs/cgroup.controllers", "cpu memory");
    machine.file("fs/cgroup.subtree_control", "cpu memory");
    machine.file("fs/atoll/cgroup.procs", "");
    machine.file("fs/atoll/cgroup.subtree_control", "cpu memory");
    let cgroups = machine.detect();
    assert_eq!(cgroups.trees[0].base, machine.0.path().join("fs/atoll"));
    let shortcoming = cgroups.shortcoming().unwrap();
    assert_eq!(
        shortcoming,
        "no limits of processes for containers: no such controller"
    );
}

#[test]
fn version_1_has_a_tree_for_each_controller() {
    let machine = Machine::new(
        "32 31 0:29 / ROOT/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
         35 31 0:32 / ROOT/memory rw - cgroup cgroup rw,memory\n\
         36 31 0:33 / ROOT/pids rw - cgroup cgroup rw,pids\n",
        "3:pids:/\n2:memory:/own\n1:cpu,cpuacct:/own\n",
    );
    for base in ["cpu/own/atoll", "memory/own/atoll"] {
        machine.file(&format!("{base}/cgroup.procs"), "");
    }
    for (base, file) in [
        ("cpu/own/atoll", "cpu.cfs_period_us"),
        ("cpu/own/atoll", "cpu.cfs_quota_us"),
        ("cpu/own/atoll", "cpu.shares"),
        ("memory/own/atoll", "memory.limit_in_bytes"),
    ] {
        machine.file(&format!("{base}/pod/c/{file}"), "");
    }
    let cgroups = machine.detect();
    assert_eq!((cgroups.label(), cgroups.trees.len()), ("v1", 2));
    let shortcoming = cgroups.shortcoming().unwrap();
    assert!(shortcoming.starts_with("no limits of processes for containers: "));
    assert!(
        shortcoming.contains("pids/atoll can't be used"),
        "{shortcoming}"
    );

    let mut enforced = Enforced::default();
    let group = Group::create(&spec(&cgroups), &mut enforced);
    assert_eq!(
        (enforced.cpu, enforced.memory, enforced.pids),
        (Force::Full, Force::Full, Force::None)
    );
    assert_eq!(
        enforced.notes,
        ["the number of processes is not limited: there is no control group for it"]
    );
    assert_eq!(
        machine.text("cpu/own/atoll/pod/c/cpu.cfs_quota_us"),
        "150000"
    );
    assert_eq!(machine.text("cpu/own/atoll/pod/c/cpu.shares"), "256");
    machine.file(
        "memory/own/atoll/pod/c/memory.oom_control",
        "under_oom 0\noom_kill 1\n",
    );
    assert_eq!(group.oom_kills(), 1);
    assert_eq!(group.join_files().len(), 2);
}

#[test]
fn what_can_t_be_had_is_told() {
    let none = Machine::new("garbage\n", "");
    let found = none.detect();
    assert_eq!(found.label(), "none");
    let expected =
        "no limits of cpu, memory, processes for containers: no control groups are mounted";
    assert_eq!(found.shortcoming().as_deref(), Some(expected));

    // A group that holds others' processes as well.
    let machine = Machine::new(V2, "0::/\n");
    machine.file("fs/cgroup.controllers", "memory");
    machine.file("fs/atoll/cgroup.procs", "");
    let found = machine.detect();
    assert!(found.trees[0].controllers.is_empty());
    assert!(
        found
            .shortcoming()
            .unwrap()
            .contains("memory can't be limited below")
    );

    let mut enforced = Enforced::default();
    Group::create(&spec(&Cgroups::default()), &mut enforced);
    assert_eq!(
        (enforced.cgroup.as_str(), enforced.notes.len()),
        ("none", 3)
    );
}

#[test]
fn groups_are_removed_up_to_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let cgroups = Cgroups {
        trees: vec![Tree {
            interface: Interface::V1,
            base: dir.path().join("atoll"),
            controllers: Vec::new(),
        }],
        notes: Vec::new(),
    };
    let base = dir.path().join("atoll");
    for name in ["pod/a/inner/most", "pod/b"] {
        fs::create_dir_all(base.join(name)).unwrap();
    }
    Group::of(&cgroups, "pod/a").remove().unwrap();
    assert!(base.join("pod/b").exists() && !base.join("pod/a").exists());
    Group::of(&cgroups, "pod/b").remove().unwrap();
    assert!(base.exists() && !base.join("pod").exists());
    Group::of(&cgroups, "pod/b").remove().unwrap();
}

/// What is in use, as kubelet counts it: without what the kernel could take back at once.
#[test]
fn use_is_read_in_all_layouts() {
    let machine = Machine::new(
        "31 31 0:28 / ROOT/cpuacct rw - cgroup cgroup rw,cpuacct\n\
         32 31 0:29 / ROOT/cpu rw - cgroup cgroup rw,cpu\n\
         35 31 0:32 / ROOT/memory rw - cgroup cgroup rw,memory\n\
         41 31 0:38 / ROOT/unified rw - cgroup2 cgroup2 rw\n",
        "3:cpuacct:/\n2:cpu:/\n1:memory:/\n0::/\n",
    );
    for tree in ["cpuacct", "cpu", "memory", "unified"] {
        machine.file(&format!("{tree}/atoll/cgroup.procs"), "");
    }
    let cgroups = machine.detect();
    assert_eq!((cgroups.label(), cgroups.trees.len()), ("hybrid", 4));
    let group = Group::of(&cgroups, "pod/c");
    assert_eq!(
        group.usage(),
        group::GroupUsage::default(),
        "nothing is there"
    );
    let leaf = |tree: &str| format!("{tree}/atoll/pod/c");
    machine.file(&format!("{}/cpuacct.usage", leaf("cpuacct")), "123456\n");
    machine.file(&format!("{}/cpu.stat", leaf("cpu")), "nr_periods 7\n");
    let memory = leaf("memory");
    machine.file(&format!("{memory}/memory.usage_in_bytes"), "1000\n");
    machine.file(
        &format!("{memory}/memory.stat"),
        "inactive_file 5\ntotal_inactive_file 300\n",
    );
    // The tree of version 2 counts processor time, too, and here nothing else.
    machine.file(&format!("{}/cpu.stat", leaf("unified")), "usage_usec 123\n");
    let usage = group.usage();
    assert_eq!(
        (usage.cpu_ns, usage.memory_bytes),
        (Some(123_456), Some(700))
    );
    machine.file(&format!("{memory}/memory.usage_in_bytes"), "200\n");
    assert_eq!(group.usage().memory_bytes, Some(0));
}

#[test]
fn a_group_has_a_bound_of_processes_where_none_is_asked_for() {
    let machine = Machine::new(
        "36 31 0:33 / ROOT/pids rw - cgroup cgroup rw,pids\n",
        "3:pids:/\n",
    );
    machine.file("pids/atoll/cgroup.procs", "");
    machine.file("pids/atoll/pod/c/pids.max", "max\n");
    let spec = CgroupSpec {
        pids_max: None,
        ..spec(&machine.detect())
    };
    let mut enforced = Enforced::default();
    Group::create(&spec, &mut enforced);
    assert_eq!(enforced.pids, Force::Full);
    assert_eq!(machine.text("pids/atoll/pod/c/pids.max"), "4096");
}
