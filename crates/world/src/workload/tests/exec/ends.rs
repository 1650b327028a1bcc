//! How programs end that are run beside a workload's own: with who asked for them, and with it.

use super::{
    super::{super::lease, ends::DAEMON},
    *,
};

fn killed() -> End {
    End::Exited {
        code: 137,
        signal: Some(9),
    }
}

#[tokio::test]
async fn whoever_leaves_has_it_killed_with_its_session() {
    let place = Place::waiting(None);
    let job = "set -m; sleep 1000 & echo $! >job; (trap '' HUP; sleep 1000) & echo $! >group; \
               echo $$ >leader; wait";
    let pids = |names: &[&str]| -> Vec<u32> {
        let pids = names.iter().map(|name| place.pids(name)[0]);
        pids.collect()
    };
    let forget = |names: &[&str]| {
        for name in names {
            fs::remove_file(place.temporary.path().join(name)).unwrap();
        }
    };
    let names = ["job", "group", "leader"];
    for program in [shell(job), on_terminal(job)] {
        let session = place.exec(program).await;
        let all = pids(&names);
        assert!(all.iter().all(|pid| is_alive(*pid)));
        drop(session);
        until("all are killed", || {
            (!all.iter().any(|pid| is_alive(*pid))).then_some(())
        });
        forget(&names);
    }

    let session = place
        .exec(shell("trap '' TERM; echo $$ >leader; exec sleep 1000"))
        .await;
    let leader = pids(&["leader"]);
    session.kill();
    assert_eq!(ended(&session).await, killed());
    assert!(!is_alive(leader[0]));
    assert!(matches!(place.look(), State::Running(_)));
}

#[tokio::test]
async fn what_it_leaves_behind_goes_on_and_holds_up_nobody() {
    let place = Place::waiting(None);
    let script = "sleep 1000 & echo $! >left; echo said";
    let mut session = place.exec(shell(script)).await;
    assert_eq!(ended(&session).await, code(0));
    assert_eq!(all_of(&mut session.stdout).await, "said\n");
    let left = place.pids("left")[0];
    drop(session);
    // Asking again shows that the end of the session was seen.
    ended(&place.exec(shell("true")).await).await;
    assert!(is_alive(left));
    kill(&place.dir).unwrap();
    assert!(!is_alive(left));
}

#[tokio::test]
async fn it_ends_with_the_workload_and_its_lease() {
    type Way = fn(&Place);
    let ways: [Way; 3] = [
        |place| kill(&place.dir).unwrap(),
        |place| assert!(signal(&place.dir, 9).unwrap()),
        |place| lease::renew(&place.temporary.path().join("lease"), Duration::ZERO).unwrap(),
    ];
    let groups = TestGroups::new();
    let mut kinds = vec![None];
    if !groups.0.trees.is_empty() {
        kinds.push(Some(groups.spec()));
    }
    for cgroup in kinds {
        for way in ways {
            let place = Place::new();
            let lease = place.temporary.path().join("lease");
            lease::renew(&lease, Duration::from_secs(3_600)).unwrap();
            let mut spec = place.shell("exec sleep 1000");
            (spec.cgroup, spec.lease) = (cgroup.clone(), Some(lease));
            place.start(&spec);
            let script =
                format!("({DAEMON}) & echo $$ >exec; trap '' HUP TERM; wait; exec sleep 1000");
            let session = place.exec(shell(&script)).await;
            let (program, daemon) = (place.pids("exec")[0], place.pids("daemon")[0]);
            assert!(is_alive(program) && is_alive(daemon));
            way(&place);
            assert_eq!(ended(&session).await, killed());
            place.exited();
            assert!(!is_alive(program) && !is_alive(daemon));
        }
    }
}

#[tokio::test]
async fn without_its_shim_it_ends_too() {
    let groups = TestGroups::new();
    let mut kinds = vec![None];
    if !groups.0.trees.is_empty() {
        kinds.push(Some(groups.spec()));
    }
    for cgroup in kinds {
        let place = Place::waiting(cgroup);
        let script = format!("({DAEMON}) & echo $$ >exec; wait; exec sleep 1000");
        let session = place.exec(shell(&script)).await;
        let (program, daemon) = (place.pids("exec")[0], place.pids("daemon")[0]);
        place.shim().send(Signal::KILL).unwrap();
        assert_eq!(ended(&session).await, End::Closed);
        until("it is lost", || {
            matches!(place.look(), State::Lost(lost) if lost.is_gone).then_some(())
        });
        assert!(!is_alive(program) && !is_alive(daemon));
    }
}
