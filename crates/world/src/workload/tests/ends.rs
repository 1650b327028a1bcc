//! Programs that are stopped, and all that they have started.

use super::*;

#[test]
fn a_program_may_refuse_to_end_but_not_to_be_killed() {
    with_and_without_groups(|place, cgroup| {
        let mut spec =
            place.shell("trap 'echo no' TERM; echo $$ >pid; while :; do sleep 0.02; done");
        spec.cgroup = cgroup;
        place.start(&spec);
        let pid = place.pids("pid")[0];
        assert!(signal(&place.dir, SIGTERM).unwrap());
        until("it said no", || place.log().contains("no").then_some(()));
        assert!(is_alive(pid));
        assert!(matches!(
            signal(&place.dir, 12345),
            Err(WorkloadError::Signal(12345))
        ));
        kill(&place.dir).unwrap();
        assert!(!is_alive(pid));
        let exited = place.exited();
        assert_eq!((exited.code, exited.signal), (137, Some(9)));
        assert!(!signal(&place.dir, SIGTERM).unwrap());
        kill(&place.dir).unwrap();
    });
}

#[test]
fn the_program_s_group_gets_the_signal_too() {
    let place = Place::new();
    place.started("sleep 1000 & echo $! >pid; wait; echo never; exec sleep 1000");
    let pid = place.pids("pid")[0];
    assert!(signal(&place.dir, SIGTERM).unwrap());
    assert_eq!(place.exited().signal, Some(SIGTERM));
    assert!(!is_alive(pid));
}

#[test]
fn many_children_are_all_gone_after_a_kill() {
    with_and_without_groups(|place, cgroup| {
        let script = "family() { sleep 1000 & echo $! >>pids; \
                      [ $1 -gt 0 ] && { family $(($1-1)) & family $(($1-1)) & }; wait; }; \
                      family 6 & sleep 0; while [ $(wc -l <pids) -lt 127 ]; do sleep 0.02; done; \
                      echo yes >complete; wait";
        let mut spec = place.shell(script);
        spec.cgroup = cgroup;
        fs::write(place.temporary.path().join("pids"), "").unwrap();
        place.start(&spec);
        place.file("complete");
        let pids = place.pids("pids");
        assert!(pids.len() >= 127 && pids.iter().all(|pid| is_alive(*pid)));
        kill(&place.dir).unwrap();
        assert!(!pids.iter().any(|pid| is_alive(*pid)));
        remove(&place.dir).unwrap();
    });
}

/// Children that are born faster than a list of processes is read.
#[test]
fn a_family_that_keeps_growing_is_ended() {
    with_and_without_groups(|place, cgroup| {
        // Each dies young, so the machine survives the test.
        let script = "round() { (sleep 0.05; round) & (sleep 0.05) & }; \
                      for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do round; done; \
                      echo yes >begun; wait";
        let mut spec = place.shell(script);
        spec.cgroup = cgroup;
        place.start(&spec);
        place.file("begun");
        kill(&place.dir).unwrap();
        let cwd = fs::canonicalize(place.temporary.path()).unwrap();
        let left = Stat::all().into_iter().filter(|stat| {
            let of = fs::read_link(format!("/proc/{}/cwd", stat.identity.pid));
            !stat.ended && of.is_ok_and(|of| of == cwd)
        });
        assert_eq!(left.count(), 0);
    });
}

pub(super) const DAEMON: &str = "setsid sh -c 'echo $$ >daemon; trap \"\" TERM HUP; exec sleep 1000' \
                      >/dev/null 2>&1 </dev/null & while [ ! -s daemon ]; do sleep 0.01; done;";

#[test]
fn daemons_end_with_the_program() {
    with_and_without_groups(|place, cgroup| {
        let mut spec = place.shell(&format!("({DAEMON}) & wait; exit 4"));
        spec.cgroup = cgroup;
        place.start(&spec);
        let daemon = place.pids("daemon")[0];
        assert_eq!(place.exited().code, 4);
        assert!(!is_alive(daemon));
    });
}

#[test]
fn what_a_killed_shim_leaves_behind_is_ended() {
    with_and_without_groups(|place, cgroup| {
        let mut spec = place.shell(&format!("({DAEMON}) & wait; echo yes >ready; sleep 1000"));
        spec.cgroup = cgroup;
        let State::Running(running) = place.start(&spec) else {
            panic!("it does not run");
        };
        place.file("ready");
        let daemon = place.pids("daemon")[0];
        assert!(is_alive(daemon));
        place.shim().send(Signal::KILL).unwrap();
        let lost = until("it is lost", || match place.look() {
            State::Lost(lost) => Some(lost),
            _ => None,
        });
        assert!(lost.is_gone && lost.started_ms == Some(running.started_ms));
        assert!(!is_alive(running.pid) && !is_alive(daemon));
        assert_eq!(place.look(), State::Lost(lost), "later looks tell the same");
        remove(&place.dir).unwrap();
    });
}

#[test]
fn a_shim_that_is_stuck_is_no_help_and_no_hindrance() {
    with_and_without_groups(|place, cgroup| {
        let mut spec = place.shell(&format!("({DAEMON}) & wait; echo yes >ready; sleep 1000"));
        spec.cgroup = cgroup;
        let State::Running(running) = place.start(&spec) else {
            panic!("it does not run");
        };
        place.file("ready");
        let daemon = place.pids("daemon")[0];
        place.shim().send(Signal::STOP).unwrap();
        kill(&place.dir).unwrap();
        assert!(!is_alive(running.pid) && !is_alive(daemon));
        assert!(!place.shim().is_alive());
        assert!(matches!(place.look(), State::Lost(lost) if lost.is_gone));
    });
}

#[test]
fn a_shim_is_asked_to_end_in_vain() {
    let place = Place::new();
    place.started("while [ ! -e go ]; do sleep 0.01; done; exit 5");
    place.shim().send(Signal::TERM).unwrap();
    place.shim().send(Signal::HUP).unwrap();
    fs::write(place.temporary.path().join("go"), "").unwrap();
    assert_eq!(place.exited().code, 5);
}

#[test]
fn garbage_in_the_files_does_no_harm() {
    let place = Place::new();
    fs::create_dir(&place.dir).unwrap();
    for garbage in ["", "{", "[]", "{\"version\":\"x\"}", "\0\u{1}"] {
        for name in [state::SPEC, state::SHIM, state::STATE, state::EXIT] {
            fs::write(place.dir.join(name), garbage).unwrap();
        }
        assert!(matches!(place.look(), State::Lost(lost) if lost.is_gone));
        assert!(!signal(&place.dir, SIGTERM).unwrap());
        kill(&place.dir).unwrap();
        assert_eq!(usage(&place.dir), None);
    }
    remove(&place.dir).unwrap();

    // The processes of a machine's last start are not those of this one.
    fs::create_dir(&place.dir).unwrap();
    let me = Identity::of(std::process::id()).unwrap();
    let file = ShimFile {
        version: VERSION,
        shim: me,
        boot_id: "another".to_owned(),
        mark: None,
        key: None,
    };
    state::write(&place.dir, state::SHIM, &file).unwrap();
    let State::Lost(lost) = place.look() else {
        panic!("it is not lost");
    };
    assert_eq!(lost.message, "the machine was restarted");
}

#[test]
fn a_spec_that_can_t_be_read_ends_the_start() {
    let place = Place::new();
    fs::create_dir(&place.dir).unwrap();
    fs::write(place.dir.join(state::SPEC), "{").unwrap();
    let lock = state::lock(&place.dir).unwrap().unwrap();
    spawn_shim(&launcher(), &place.dir, lock).unwrap();
    let exited = place.exited();
    assert_eq!(exited.code, 126);
    assert!(exited.message.contains("spec.json"), "{}", exited.message);
}
