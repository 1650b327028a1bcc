//! Programs under a lease: they live while it lasts, and end with it, without any node's help.

use super::{
    super::{guard::LEASE_ENDED, lease},
    ends::DAEMON,
    *,
};

/// Far more than passes between two renewals on a busy machine.
const SPAN: Duration = Duration::from_secs(2);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);

fn lease_of(place: &Place) -> PathBuf {
    place.temporary.path().join("lease")
}

/// The script under a lease, which lasts long at first.
fn leased(place: &Place, script: &str) -> Spec {
    let mut spec = place.shell(script);
    spec.lease = Some(lease_of(place));
    lease::renew(&lease_of(place), LONG).unwrap();
    spec
}

/// One that prints and has left a daemon behind.
fn counting() -> String {
    format!("({DAEMON}) & wait; while :; do echo tick; sleep 0.02; done")
}

fn ticks(place: &Place) -> usize {
    place.log().lines().count()
}

fn until_it_ticks_on(place: &Place) {
    let before = ticks(place);
    until("it goes on", || (ticks(place) > before).then_some(()));
}

fn assert_lease_ended(exited: &Exited) {
    assert_eq!((exited.code, exited.signal), (137, Some(9)));
    assert_eq!(exited.message, LEASE_ENDED);
    assert!(!exited.oom_killed);
}

#[test]
fn all_processes_end_with_the_lease() {
    with_and_without_groups(|place, cgroup| {
        let mut spec = leased(place, &counting());
        spec.cgroup = cgroup;
        let State::Running(running) = place.start(&spec) else {
            panic!("it does not run");
        };
        let daemon = place.pids("daemon")[0];
        until_it_ticks_on(place);
        assert!(is_alive(running.pid) && is_alive(daemon));
        lease::renew(&lease_of(place), SPAN / 8).unwrap();
        let exited = place.exited();
        assert_lease_ended(&exited);
        assert_eq!(exited.started_ms, Some(running.started_ms));
        assert!(!is_alive(running.pid) && !is_alive(daemon));
        assert_eq!(lease::left(&lease_of(place)), None, "not before the end");
        remove(&place.dir).unwrap();
    });
}

#[test]
fn a_lease_that_is_renewed_keeps_a_program_alive() {
    let place = Place::new();
    let spec = leased(&place, &counting());
    place.start(&spec);
    let path = lease_of(&place);
    let first_end = lease::now() + SPAN;
    until("its first lease is over", || {
        lease::renew(&path, SPAN).unwrap();
        (lease::now() > first_end).then_some(())
    });
    lease::renew(&path, LONG).unwrap();
    until_it_ticks_on(&place);
    assert!(matches!(place.look(), State::Running(_)));
    lease::renew(&path, Duration::ZERO).unwrap();
    assert_lease_ended(&place.exited());
}

#[test]
fn a_program_under_a_lease_ends_by_itself_as_ever() {
    let place = Place::new();
    let spec = leased(&place, &format!("({DAEMON}) & wait; exit 3"));
    place.start(&spec);
    let exited = place.exited();
    assert_eq!((exited.code, exited.signal), (3, None));
    assert_eq!(exited.message, "");
    assert!(!is_alive(place.pids("daemon")[0]));
}

#[test]
fn nothing_is_run_after_the_end() {
    let place = Place::new();
    let spec = leased(&place, "echo yes >ran; sleep 1000");
    lease::renew(&lease_of(&place), Duration::ZERO).unwrap();
    place.start(&spec);
    let exited = place.exited();
    assert_eq!((exited.code, exited.started_ms), (137, None));
    assert_eq!(exited.message, LEASE_ENDED);
    assert!(!place.temporary.path().join("ran").exists());
}

#[test]
fn a_lease_that_is_lost_ends_the_program() {
    type Damage = fn(&Path);
    let damages: [Damage; 3] = [
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, "garbage").unwrap(),
        |path| fs::write(path, [0xff; 4096]).unwrap(),
    ];
    for damage in damages {
        let place = Place::new();
        let spec = leased(&place, &counting());
        place.start(&spec);
        until_it_ticks_on(&place);
        damage(&lease_of(&place));
        assert_lease_ended(&place.exited());
        assert!(!is_alive(place.pids("daemon")[0]));
    }

    let place = Place::new();
    let mut spec = place.shell("sleep 1000");
    spec.lease = Some(lease_of(&place));
    place.start(&spec);
    assert_lease_ended(&place.exited());
}

/// Freezing comes as a signal here; a group's freezer and a suspended machine look the same.
#[test]
fn a_shim_that_was_frozen_sees_the_end_when_it_thaws() {
    with_and_without_groups(|place, cgroup| {
        let mut spec = leased(place, "while :; do date +%N >tick; sleep 0.02; done");
        spec.cgroup = cgroup;
        let State::Running(running) = place.start(&spec) else {
            panic!("it does not run");
        };
        place.file("tick");
        place.shim().send(Signal::STOP).unwrap();
        let shim = place.shim().pid;
        until("all its threads are stopped", || {
            let tasks = fs::read_dir(format!("/proc/{shim}/task")).unwrap();
            let stopped = tasks.flatten().all(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap();
                stat.rsplit_once(')').unwrap().1.starts_with(" T")
            });
            stopped.then_some(())
        });
        lease::renew(&lease_of(place), Duration::ZERO).unwrap();
        let before = place.file("tick");
        until("it goes on", || {
            (place.file("tick") != before).then_some(())
        });
        assert!(is_alive(running.pid), "nobody ended it meanwhile");
        place.shim().send(Signal::CONT).unwrap();
        assert_lease_ended(&place.exited());
        assert!(!is_alive(running.pid));
    });
}
