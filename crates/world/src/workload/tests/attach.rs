//! People at a workload's own program.

use super::{
    super::attach::{self, End, Session, SessionError, Wanted},
    exec::{all_of, close, code, ended, until_said, write},
    *,
};

const ALL: Wanted = Wanted {
    stdin: true,
    stdout: true,
    stderr: true,
};

impl Place {
    async fn attach(&self) -> Session {
        attach::connect(&self.dir, ALL).await.unwrap()
    }

    fn interactive(script: &str, change: impl Fn(&mut Spec)) -> Place {
        let place = Place::new();
        let mut spec = place.shell(script);
        spec.stdin = true;
        change(&mut spec);
        place.start(&spec);
        place
    }
}

const ECHO: &str = "while read line; do echo \"out $line\"; echo \"err $line\" >&2; done; exit 3";

#[tokio::test]
async fn one_sees_what_is_printed_from_then_on_and_can_answer() {
    let place = Place::interactive(ECHO, |_| {});
    let mut first = place.attach().await;
    assert!(!first.is_terminal());
    write(&mut first.stdin, "one\n").await;
    assert_eq!(until_said(&mut first.stdout, "\n").await, "out one\n");
    assert_eq!(until_said(&mut first.stderr, "\n").await, "err one\n");

    let mut second = place.attach().await;
    write(&mut second.stdin, "two\n").await;
    for session in [&mut first, &mut second] {
        assert_eq!(until_said(&mut session.stdout, "\n").await, "out two\n");
        assert_eq!(until_said(&mut session.stderr, "\n").await, "err two\n");
    }
    // Its input stays open when one goes, however that happens.
    close(&mut first.stdin).await;
    second.kill();
    assert_eq!(ended(&second).await, End::Closed);
    drop(second);
    let mut third = place.attach().await;
    write(&mut third.stdin, "three\n").await;
    assert_eq!(until_said(&mut third.stdout, "\n").await, "out three\n");
    assert_eq!(until_said(&mut first.stdout, "\n").await, "out three\n");
    until("all is in the log, too", || {
        let log = place.log();
        (log.contains("out one\n") && log.contains("err three\n")).then_some(())
    });

    assert!(signal(&place.dir, SIGTERM).unwrap());
    let end = End::Exited {
        code: 143,
        signal: Some(15),
    };
    assert_eq!(
        (ended(&first).await, ended(&third).await),
        (end.clone(), end)
    );
    assert_eq!(all_of(&mut third.stdout).await, "");
    place.exited();
    let refused = attach::connect(&place.dir, ALL).await;
    assert!(matches!(refused, Err(SessionError::NotRunning)));
}

#[tokio::test]
async fn an_input_for_once_ends_with_the_first() {
    let place = Place::interactive(ECHO, |spec| spec.stdin_once = true);
    let watching = Wanted {
        stdin: false,
        ..ALL
    };
    // One who only looks is not the first.
    drop(attach::connect(&place.dir, watching).await.unwrap());
    let mut first = place.attach().await;
    let mut second = place.attach().await;
    assert!(first.stdin.is_some() && second.stdin.is_none());
    write(&mut first.stdin, "one\n").await;
    until_said(&mut second.stdout, "out one\n").await;
    close(&mut first.stdin).await;
    assert_eq!(ended(&first).await, code(3), "it has read the end");
    assert_eq!(all_of(&mut first.stdout).await, "out one\n");
    assert_eq!(ended(&second).await, code(3));

    let place = Place::interactive("cat; echo over; exec sleep 1000", |spec| {
        spec.stdin_once = true;
    });
    drop(place.attach().await);
    until("it has read the end", || {
        place.log().contains("over").then_some(())
    });
    assert!(place.attach().await.stdin.is_none());
}

#[tokio::test]
async fn without_an_input_one_can_look() {
    let place = Place::new();
    place.started("while [ ! -e go ]; do sleep 0.01; done; cat; echo out; exit 2");
    let mut session = place.attach().await;
    assert!(session.stdin.is_none());
    fs::write(place.temporary.path().join("go"), "").unwrap();
    assert_eq!(all_of(&mut session.stdout).await, "out\n");
    assert_eq!(ended(&session).await, code(2));
}

#[tokio::test]
async fn a_program_on_a_terminal_can_be_looked_at_and_left() {
    let script = "trap 'stty size' WINCH; tty >&2; echo ready; stty -echo; \
                  while :; do read line && echo \"got $line\" >/dev/tty; done";
    let place = Place::interactive(script, |spec| spec.tty = true);
    until("it is ready", || {
        place.log().contains("ready").then_some(())
    });
    assert!(place.log().starts_with("/dev/pts/"), "{}", place.log());
    let mut session = place.attach().await;
    assert!(session.is_terminal());
    session
        .resize(Size {
            columns: 77,
            rows: 22,
        })
        .unwrap();
    until_said(&mut session.stdout, "22 77\r\n").await;
    write(&mut session.stdin, "one\n").await;
    until_said(&mut session.stdout, "got one\r\n").await;
    assert!(session.stderr.is_none());
    close(&mut session.stdin).await;
    drop(session);
    let mut session = place.attach().await;
    write(&mut session.stdin, "two\n").await;
    assert_eq!(until_said(&mut session.stdout, "\n").await, "got two\r\n");
    // Ctrl-C reaches the program in front.
    let raw = fs::read_to_string(place.dir.join("log")).unwrap();
    assert!(raw.contains(" stdout F got two\r\n"), "{raw:?}");
    write(&mut session.stdin, "\u{3}").await;
    assert_eq!(
        ended(&session).await,
        End::Exited {
            code: 130,
            signal: Some(2)
        }
    );
    assert_eq!(place.exited().signal, Some(2));
}

#[tokio::test]
async fn all_that_a_terminal_showed_is_in_the_log() {
    let place = Place::new();
    let mut spec = place.shell("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done");
    spec.tty = true;
    place.start(&spec);
    assert_eq!(place.exited().code, 0);
    let log = place.log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!((lines.len(), lines[1999]), (2000, "line 1999"));
}

#[tokio::test]
async fn one_who_is_slow_is_cut_off_and_the_program_goes_on() {
    let script =
        "read go; yes 'a line of some length' | head -c 20000000; echo over; read end; exit 4";
    let place = Place::interactive(script, |_| {});
    let mut slow = place.attach().await;
    let mut quick = place.attach().await;
    write(&mut slow.stdin, "go\n").await;
    let all = until_said(&mut quick.stdout, "over\n").await;
    assert_eq!(all.len(), 20_000_000 + "over\n".len(), "it got everything");
    assert_eq!(ended(&slow).await, End::CutOff);
    let first = all_of(&mut slow.stdout).await;
    assert!(
        first.len() >= 64 * 1024 && all.starts_with(&first),
        "{}",
        first.len()
    );
    assert!(slow.stdin.is_some(), "writing is another matter");
    write(&mut quick.stdin, "end\n").await;
    assert_eq!(ended(&quick).await, code(4));
    let exited = place.exited();
    assert_eq!((exited.code, exited.log_dropped_bytes), (4, 0));
}

#[tokio::test]
async fn there_are_no_more_attached_than_may_be() {
    let place = Place::interactive(ECHO, |_| {});
    let mut sessions = Vec::new();
    for _ in 0..ATTACHERS_MAX {
        sessions.push(place.attach().await);
    }
    let refused = attach::connect(&place.dir, ALL).await;
    assert!(matches!(refused, Err(SessionError::Full(ATTACHERS_MAX))));
    sessions.pop();
    sessions.push(place.attach().await);
    let last = sessions.last_mut().unwrap();
    write(&mut last.stdin, "x\n").await;
    for session in &mut sessions {
        assert_eq!(until_said(&mut session.stdout, "\n").await, "out x\n");
    }
}
