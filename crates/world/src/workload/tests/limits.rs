//! What is limited, where this machine can limit it, and what is told where it can't.

use super::*;

fn running(state: State) -> Running {
    match state {
        State::Running(running) => running,
        other => panic!("{other:?}"),
    }
}

#[test]
fn memory_that_runs_out_is_told() {
    let groups = TestGroups::new();
    if !groups.0.limits(Controller::Memory) {
        eprintln!("not tested: {:?}", groups.0.shortcoming());
        return;
    }
    let place = Place::new();
    let mut spec = place.shell("exec tail /dev/zero");
    spec.cgroup = Some(CgroupSpec {
        memory_bytes: Some(32 << 20),
        ..groups.spec()
    });
    place.start(&spec);
    let exited = place.exited();
    assert_eq!(
        (exited.code, exited.signal, exited.oom_killed),
        (137, Some(9), true)
    );
}

#[test]
fn processes_and_processor_time_are_limited() {
    let groups = TestGroups::new();
    if !groups.0.limits(Controller::Pids) || !groups.0.limits(Controller::Cpu) {
        eprintln!("not tested: {:?}", groups.0.shortcoming());
        return;
    }
    let place = Place::new();
    let mut spec = place.shell(
        "echo yes >ready; (for i in 1 2 3 4 5 6 7 8 9; do sleep 100 & done); exec sleep 100",
    );
    spec.cgroup = Some(CgroupSpec {
        pids_max: Some(4),
        cpu_milli: Some(500),
        cpu_request_milli: Some(100),
        ..groups.spec()
    });
    let enforced = running(place.start(&spec)).enforced;
    assert_eq!(
        (enforced.pids, enforced.cpu),
        (Force::Full, Force::Full),
        "{enforced:?}"
    );
    place.file("ready");
    until("it failed to fork", || {
        place.log().contains("fork").then_some(())
    });
    let used = usage(&place.dir).unwrap();
    assert!(used.memory_bytes > 0 && used.cpu_ns > 0);
}

#[test]
fn without_groups_each_process_is_limited_and_that_is_told() {
    let place = Place::new();
    let mut spec = place.shell("echo yes >ready; tail /dev/zero; exec sleep 1000");
    let groups = TestGroups(Cgroups::default());
    spec.cgroup = Some(CgroupSpec {
        memory_bytes: Some(32 << 20),
        cpu_milli: Some(500),
        ..groups.spec()
    });
    let enforced = running(place.start(&spec)).enforced;
    // Root may have as many processes as it likes.
    let without_group = match rustix::process::geteuid().is_root() {
        true => Force::None,
        false => Force::Partly,
    };
    assert_eq!(
        (enforced.memory, enforced.cpu),
        (Force::Partly, Force::None)
    );
    assert_eq!(
        (enforced.pids, enforced.cgroup.as_str()),
        (without_group, "none")
    );
    assert!(
        enforced
            .notes
            .iter()
            .any(|note| note.contains("processor time is not limited"))
    );
    until("it ran out of memory", || {
        place.log().contains("tail:").then_some(())
    });
    let used = usage(&place.dir).unwrap();
    assert!(used.memory_bytes > 0);
}

const PROCESSES: u64 = 40;
/// Children that fork without end; each ends when it fails for the first time, and makes room.
const BOMB: &str = "bomb() { while :; do (bomb) & done; }; (bomb) & exec sleep 1000";

#[test]
fn a_program_that_forks_without_end_is_bounded() {
    let groups = TestGroups::new();
    if !groups.0.limits(Controller::Pids) {
        eprintln!("not tested: {:?}", groups.0.shortcoming());
        return;
    }
    let place = Place::new();
    let mut spec = place.shell(BOMB);
    spec.cgroup = Some(CgroupSpec {
        pids_max: Some(PROCESSES),
        ..groups.spec()
    });
    let enforced = running(place.start(&spec)).enforced;
    assert_eq!(enforced.pids, Force::Full, "{enforced:?}");
    until("it fails to fork", || {
        place.log().contains("fork").then_some(())
    });
    let limiting = |tree: &&Tree| tree.controllers.contains(&Controller::Pids);
    let tree = groups.0.trees.iter().find(limiting).unwrap();
    let count = fs::read_to_string(tree.base.join("pod/container/pids.current")).unwrap();
    let count: u64 = count.trim().parse().unwrap();
    assert!((1..=PROCESSES).contains(&count), "{count}");
    kill(&place.dir).unwrap();
    assert!(settle::members(&place.dir).list().is_empty());
}

#[test]
fn without_groups_a_user_s_processes_are_bounded() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: there is no user with nothing else");
        return;
    }
    /// One who has no other process.
    const USER: u32 = 54_321;
    let place = Place::new();
    let mut spec = place.shell(BOMB);
    (spec.user, spec.cwd) = (Some(USER), PathBuf::from("/"));
    let groups = TestGroups(Cgroups::default());
    spec.cgroup = Some(CgroupSpec {
        pids_max: Some(PROCESSES),
        ..groups.spec()
    });
    let enforced = running(place.start(&spec)).enforced;
    assert_eq!(enforced.pids, Force::Partly, "{enforced:?}");
    let is_told = |note: &String| note.contains("for all of the user's");
    assert!(enforced.notes.iter().any(is_told), "{enforced:?}");
    until("it fails to fork", || {
        place.log().contains("fork").then_some(())
    });
    // Some end and others begin while they are counted.
    assert!((1..=PROCESSES * 2).contains(&proc::tasks_of(USER)));
    kill(&place.dir).unwrap();
    assert_eq!(proc::tasks_of(USER), 0);
}

#[test]
fn processes_are_bounded_where_nothing_is_said() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let mut spec = place.shell("ulimit -p || ulimit -u");
    (spec.user, spec.cwd) = (Some(54_322), PathBuf::from("/"));
    place.start(&spec);
    place.exited();
    assert_eq!(place.log(), format!("{PIDS_MAX}\n"));
}

#[test]
fn the_use_of_many_is_told_at_once() {
    let groups = TestGroups::new();
    let places = [Place::new(), Place::new(), Place::new()];
    for (place, cgroup) in places.iter().zip([None, Some(groups.spec())]) {
        // Memory that can't be taken back, and some work.
        let mut spec = place.shell(
            "x=$(head -c 8000000 /dev/zero | tr '\\0' x); i=0; \
             while [ $i -lt 100000 ]; do i=$((i+1)); done; echo yes >ready; (exec sleep 1000)",
        );
        spec.cgroup = cgroup;
        place.start(&spec);
        place.file("ready");
    }
    let dirs = places.iter().map(|place| place.dir.as_path());
    let used = usages(dirs);
    assert_eq!((used.len(), used[2]), (3, None), "it was not started");
    for used in &used[..2] {
        let used = used.unwrap();
        assert!(
            (8_000_000..200_000_000).contains(&used.memory_bytes),
            "{used:?}"
        );
        assert!(
            (1_000_000..60_000_000_000).contains(&used.cpu_ns),
            "{used:?}"
        );
    }
}

#[test]
fn limits_of_processes_are_set_and_wrong_ones_refused() {
    let place = Place::new();
    let mut spec = place.shell("ulimit -n; ulimit -Hn");
    let limit = |resource: &str, soft, hard| RlimitSpec {
        resource: resource.to_owned(),
        soft: Some(soft),
        hard: Some(hard),
    };
    spec.rlimits = vec![limit("nofile", 100, 200)];
    place.start(&spec);
    place.exited();
    assert_eq!(place.log(), "100\n200\n");
    for (limit, text) in [
        (
            limit("nofile", 200, 100),
            "cannot set limits: invalid argument",
        ),
        (limit("files", 1, 1), "there is no limit \"files\""),
    ] {
        let place = Place::new();
        spec.rlimits = vec![limit];
        place.start(&spec);
        let exited = place.exited();
        assert_eq!((exited.code, exited.message.as_str()), (126, text));
    }
}

#[test]
fn it_runs_as_another_user() {
    let place = Place::new();
    let mut spec = place.shell("id -u; id -g; id -G; echo to stdout >/dev/stdout");
    spec.cwd = PathBuf::from("/");
    (spec.user, spec.group, spec.groups) = (Some(12345), Some(23456), vec![34567]);
    place.start(&spec);
    let exited = place.exited();
    if rustix::process::geteuid().is_root() {
        assert_eq!(place.log(), "12345\n23456\n23456 34567\nto stdout\n");
    } else {
        assert_eq!(exited.message, "cannot set user: operation not permitted");
    }
}

#[test]
fn what_is_denied_can_t_be_reached() {
    let place = Place::new();
    let data = place.temporary.path().join("data");
    for name in ["volume", "secret"] {
        fs::create_dir_all(data.join(name)).unwrap();
        fs::write(data.join(name).join("file"), format!("{name}\n")).unwrap();
    }
    fs::create_dir(place.temporary.path().join("work")).unwrap();
    let script = "cat ../data/volume/file; echo new >../data/volume/file; echo x >file && cat file; \
                  cat ../data/secret/file; ls ../data; echo y >/etc/atoll-test; echo z >/dev/null; \
                  kill -0 $SHIM && echo reached; cat /etc/passwd >/dev/null && echo over";
    let mut spec = place.shell(&format!("SHIM=$PPID; {script}"));
    spec.cwd = place.temporary.path().join("work");
    spec.landlock = Some(LandlockSpec {
        denied: vec![data.clone()],
        writable: vec![spec.cwd.clone(), data.join("volume")],
        // Somebody else's word does not open what is denied.
        foreign: vec![data.join("secret"), data.clone()],
        readable: Vec::new(),
    });
    let landlock = match place.start(&spec) {
        State::Running(running) => running.enforced.landlock,
        _ => {
            let state: StateFile = state::read(&place.dir, state::STATE).unwrap();
            state.enforced.landlock
        }
    };
    place.exited();
    if landlock != Force::Full {
        eprintln!("not tested: Landlock is in force {landlock:?}");
        return;
    }
    let query = LogQuery {
        stream: Some(log::Stream::Stdout),
        ..LogQuery::default()
    };
    let page = read(&place.dir.join("log"), &query).unwrap();
    assert_eq!(String::from_utf8(page.text).unwrap(), "volume\nx\nover\n");
    assert_eq!(
        fs::read_to_string(data.join("volume/file")).unwrap(),
        "new\n"
    );
    assert!(!Path::new("/etc/atoll-test").exists());
}
