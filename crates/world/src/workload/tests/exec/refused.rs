//! What can't be run, and who can't have something run.

use super::{
    super::super::wire::{self, Ask, Event, Request, Which},
    *,
};

#[tokio::test]
async fn what_can_t_be_run_says_why() {
    let place = Place::waiting(None);
    let missing = Program {
        argv: vec!["foo".to_owned()],
        ..Program::default()
    };
    for (program, expected, text) in [
        (
            missing.clone(),
            127,
            "exec: \"foo\": executable file not found in $PATH",
        ),
        (Program::default(), 126, "no command specified"),
    ] {
        let refused = exec::start(&place.dir, program).await.unwrap_err();
        let SessionError::Refused { code, message } = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((code, message.as_str()), (expected, text));
    }
    let long = Program {
        argv: vec!["x".repeat(1 << 20)],
        ..Program::default()
    };
    let refused = exec::start(&place.dir, long).await;
    assert!(matches!(refused, Err(SessionError::TooLong)));
    kill(&place.dir).unwrap();
    let refused = exec::start(&place.dir, missing.clone()).await;
    assert!(matches!(refused, Err(SessionError::NotRunning)));
    let refused = exec::start(Path::new("/no/such/place"), missing).await;
    assert!(matches!(refused, Err(SessionError::NotRunning)));
}

#[tokio::test]
async fn there_are_no_more_than_may_be() {
    let place = Place::waiting(None);
    let mut sessions = Vec::new();
    for _ in 0..EXECS_MAX {
        sessions.push(place.exec(shell("cat")).await);
    }
    let refused = exec::start(&place.dir, shell("cat")).await;
    assert!(matches!(refused, Err(SessionError::Full(EXECS_MAX))));
    let mut last = sessions.pop().unwrap();
    close(&mut last.stdin).await;
    assert_eq!(ended(&last).await, code(0));
    place.exec(shell("cat")).await;
}

#[tokio::test]
async fn who_has_no_key_gets_nothing() {
    let place = Place::waiting(None);
    let exec = |key: &str| Request {
        key: key.to_owned(),
        ask: Ask::Exec {
            argv: vec!["touch".to_owned(), "touched".to_owned()],
            tty: false,
            which: Which::default(),
        },
    };
    let ask = |request: &Request| {
        let socket = wire::reach(&place.dir).unwrap();
        wire::send(&socket, request, &[]).unwrap();
        until("it answers", || match wire::receive::<Event>(&socket) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            answer => Some(answer.unwrap().unwrap().0),
        })
    };
    let key = state::read::<ShimFile>(&place.dir, state::SHIM).unwrap();
    let key = key.key.unwrap();
    for wrong in ["", &key[1..], &key.replace(|_| true, "0")] {
        let event = ask(&exec(wrong));
        let message = "the key is another".to_owned();
        assert_eq!(event, Event::Invalid { message });
    }
    assert!(!place.temporary.path().join("touched").exists());

    // Garbage, silence and newer versions do no harm.
    let silent: Vec<_> = (0..4).map(|_| wire::reach(&place.dir).unwrap()).collect();
    for garbage in [&b"\x02{}"[..], b"\x01", b"\x01{\"key\":1}", b"x"] {
        let socket = wire::reach(&place.dir).unwrap();
        rustix::io::write(&socket, garbage).unwrap();
        let answer = until("it answers", || wire::receive::<Event>(&socket).ok());
        assert!(matches!(answer, Some((Event::Invalid { .. }, _))));
    }
    assert_eq!(ask(&exec(&key)), Event::Started);
    drop(silent);

    let mode = fs::metadata(place.dir.join(wire::SOCKET)).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_shim_of_the_first_version_can_t_do_it() {
    let place = Place::waiting(None);
    let mut shim: ShimFile = state::read(&place.dir, state::SHIM).unwrap();
    (shim.version, shim.key) = (1, None);
    state::write(&place.dir, state::SHIM, &shim).unwrap();
    let refused = exec::start(&place.dir, shell("true")).await;
    assert!(matches!(refused, Err(SessionError::Unsupported)));
}

#[tokio::test]
async fn all_that_may_run_can_be_asked_for_at_once() {
    let place = Place::waiting(None);
    let asked = (0..EXECS_MAX).map(|_| exec::start(&place.dir, shell("cat")));
    for session in futures_util::future::join_all(asked).await {
        let mut session = session.unwrap();
        close(&mut session.stdin).await;
        assert_eq!(ended(&session).await, code(0));
    }
}
