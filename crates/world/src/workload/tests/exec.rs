//! Programs that are run beside a workload's own.

use super::{
    super::exec::{self, End, Input, Output, Program, Session, SessionError},
    *,
};
use crate::clock;

mod ends;
mod refused;

fn shell(script: &str) -> Program {
    Program {
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        stdin: true,
        stdout: true,
        stderr: true,
        ..Program::default()
    }
}

fn on_terminal(script: &str) -> Program {
    Program {
        tty: true,
        size: Some(Size {
            columns: 120,
            rows: 40,
        }),
        ..shell(script)
    }
}

impl Place {
    /// A workload that waits.
    fn waiting(cgroup: Option<CgroupSpec>) -> Place {
        let place = Place::new();
        let mut spec = place.shell("echo $$ >main; exec sleep 1000");
        spec.cgroup = cgroup;
        place.start(&spec);
        place.file("main");
        place
    }

    async fn exec(&self, program: Program) -> Session {
        exec::start(&self.dir, program).await.unwrap()
    }
}

pub(super) fn code(code: i32) -> End {
    End::Exited { code, signal: None }
}

/// What doesn't come, must fail the test and not hold it up.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let waited = clock::timeout(PATIENCE, future).await;
    waited.expect("waited in vain")
}

pub(super) async fn ended(session: &Session) -> End {
    in_time(session.wait()).await
}

async fn read(output: &mut Option<Output>, all: &mut Vec<u8>) -> usize {
    let mut buffer = vec![0; 64 * 1024];
    let output = output.as_mut().unwrap();
    let read = in_time(output.read(&mut buffer)).await.unwrap();
    all.extend_from_slice(&buffer[..read]);
    read
}

pub(super) async fn all_of(output: &mut Option<Output>) -> String {
    let mut all = Vec::new();
    while read(output, &mut all).await > 0 {}
    String::from_utf8(all).unwrap()
}

/// All up to these words, which must be the last that is there for now.
pub(super) async fn until_said(output: &mut Option<Output>, words: &str) -> String {
    let mut all = Vec::new();
    while !all.ends_with(words.as_bytes()) {
        let read = read(output, &mut all).await;
        assert!(
            read > 0,
            "it ended after {:?}",
            String::from_utf8_lossy(&all)
        );
    }
    String::from_utf8(all).unwrap()
}

pub(super) async fn write(input: &mut Option<Input>, text: &str) {
    let input = input.as_mut().unwrap();
    in_time(input.write_all(text.as_bytes())).await.unwrap();
}

pub(super) async fn close(input: &mut Option<Input>) {
    input.take().unwrap().close().await.unwrap();
}

#[tokio::test]
async fn it_has_streams_and_all_that_the_program_has() {
    let place = Place::new();
    let mut spec = place.shell("exec sleep 1000");
    spec.env.push(("EXTRA".to_owned(), "yes".to_owned()));
    spec.umask = Some(0o027);
    spec.rlimits = vec![RlimitSpec {
        resource: "nofile".to_owned(),
        soft: Some(100),
        hard: Some(100),
    }];
    place.start(&spec);
    let script = "echo $EXTRA $TERM $(pwd) $(umask) $(ulimit -n); cat; echo wrong >&2; \
                  [ $(ps -o sid= -p $$) = $$ ] && exit 3";
    let mut session = place.exec(shell(script)).await;
    assert!(!session.is_terminal());
    write(&mut session.stdin, "some ").await;
    write(&mut session.stdin, "words").await;
    close(&mut session.stdin).await;
    let cwd = fs::canonicalize(&spec.cwd).unwrap();
    let expected = format!("yes {} 0027 100\nsome words", cwd.display());
    assert_eq!(all_of(&mut session.stdout).await, expected);
    assert_eq!(all_of(&mut session.stderr).await, "wrong\n");
    assert_eq!(ended(&session).await, code(3));
    assert_eq!(ended(&session).await, code(3), "it can be asked again");
    assert_eq!(place.log(), "", "it is not the workload's output");

    let nothing = Program {
        argv: vec!["cat".to_owned()],
        ..Program::default()
    };
    let session = place.exec(nothing).await;
    assert!(session.stdin.is_none() && session.stdout.is_none() && session.stderr.is_none());
    assert_eq!(ended(&session).await, code(0), "its input is empty");
}

#[tokio::test]
async fn much_passes_both_ways_at_once() {
    const BYTES: usize = 8_000_000;
    let place = Place::waiting(None);
    let mut session = place.exec(shell("cat")).await;
    let mut stdin = session.stdin.take().unwrap();
    let sent = tokio::spawn(async move {
        let piece = vec![b'x'; 100_000];
        for _ in 0..BYTES / piece.len() {
            stdin.write_all(&piece).await.unwrap();
        }
        stdin.close().await.unwrap();
    });
    assert_eq!(all_of(&mut session.stdout).await.len(), BYTES);
    sent.await.unwrap();
    assert_eq!(ended(&session).await, code(0));

    let mut session = place
        .exec(shell("exec <&-; echo closed; cat <&- ; exec sleep 1000"))
        .await;
    until_said(&mut session.stdout, "closed\n").await;
    let stdin = session.stdin.as_mut().unwrap();
    let kind = loop {
        // Whatever this process starts just now may have it open for a moment.
        if let Err(error) = in_time(stdin.write_all(b"x")).await {
            break error.kind();
        }
    };
    assert_eq!(kind, std::io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn on_a_terminal_it_is_as_at_a_keyboard() {
    let place = Place::waiting(None);
    let script = "echo $TERM; stty size; trap 'stty size; exit 5' WINCH; tty; echo wrong >&2; \
                  echo ready; while :; do sleep 0.02; done";
    let mut session = place.exec(on_terminal(script)).await;
    assert!(session.is_terminal() && session.stderr.is_none());
    let said = until_said(&mut session.stdout, "ready\r\n").await;
    assert!(said.starts_with("xterm\r\n40 120\r\n/dev/pts/"), "{said:?}");
    assert!(said.contains("\r\nwrong\r\n"), "{said:?}");
    session
        .resize(Size {
            columns: 99,
            rows: 33,
        })
        .unwrap();
    until_said(&mut session.stdout, "33 99\r\n").await;
    assert_eq!(ended(&session).await, code(5));

    // What is typed is shown and read, and its end is an end of file.
    for typed in ["a line\n", "a line\nand more"] {
        let mut session = place.exec(on_terminal("cat; echo over; exit 4")).await;
        write(&mut session.stdin, typed).await;
        close(&mut session.stdin).await;
        let said = all_of(&mut session.stdout).await;
        assert_eq!(said.matches("a line\r\n").count(), 2, "{said:?}");
        assert!(said.ends_with("over\r\n"), "{said:?}");
        assert_eq!(ended(&session).await, code(4));
    }

    // Keys that are signals.
    let mut session = place.exec(on_terminal("echo ready; exec sleep 1000")).await;
    until_said(&mut session.stdout, "ready\r\n").await;
    write(&mut session.stdin, "\u{3}").await;
    let end = ended(&session).await;
    assert!(
        matches!(
            end,
            End::Exited {
                signal: Some(2),
                ..
            }
        ),
        "{end:?}"
    );
}

#[tokio::test]
async fn it_is_in_the_workload_s_control_group() {
    let groups = TestGroups::new();
    if groups.0.trees.is_empty() {
        eprintln!("not tested: {:?}", groups.0.notes);
        return;
    }
    let place = Place::waiting(Some(groups.spec()));
    let main = place.pids("main")[0];
    let mut session = place.exec(shell("cat /proc/self/cgroup")).await;
    let of_main = fs::read_to_string(format!("/proc/{main}/cgroup")).unwrap();
    assert_eq!(all_of(&mut session.stdout).await, of_main);
    assert!(of_main.contains("/pod/container"), "{of_main}");
}

#[tokio::test]
async fn it_is_the_user_that_the_program_is() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let mut spec = place.shell("exec sleep 1000");
    spec.cwd = PathBuf::from("/");
    (spec.user, spec.group) = (Some(12345), Some(23456));
    place.start(&spec);
    let script = "id -u; id -g; echo written >/dev/stdout; echo on it >/dev/tty";
    let mut session = place.exec(on_terminal(script)).await;
    let said = all_of(&mut session.stdout).await;
    assert_eq!(said, "12345\r\n23456\r\nwritten\r\non it\r\n");
    let mut session = place
        .exec(shell("echo written >/dev/stdout; cat /dev/stdin"))
        .await;
    write(&mut session.stdin, "read").await;
    close(&mut session.stdin).await;
    assert_eq!(all_of(&mut session.stdout).await, "written\nread");
}

#[tokio::test]
async fn what_is_denied_to_the_program_is_denied_to_it() {
    let place = Place::new();
    let secret = place.temporary.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("file"), "secret\n").unwrap();
    let mut spec = place.shell("exec sleep 1000");
    spec.cwd = PathBuf::from("/");
    spec.landlock = Some(LandlockSpec {
        denied: vec![place.temporary.path().to_path_buf()],
        ..LandlockSpec::default()
    });
    let State::Running(running) = place.start(&spec) else {
        panic!("it does not run");
    };
    if running.enforced.landlock != Force::Full {
        eprintln!(
            "not tested: Landlock is in force {:?}",
            running.enforced.landlock
        );
        return;
    }
    let script = format!("cat {}/file; stty size; echo over", secret.display());
    let mut session = place.exec(on_terminal(&script)).await;
    let said = all_of(&mut session.stdout).await;
    assert!(!said.contains("secret\r\n"), "{said:?}");
    assert!(said.ends_with("40 120\r\nover\r\n"), "{said:?}");
}

/// Ends of programs are not mixed up, and the workload's own is seen.
#[tokio::test]
async fn many_end_at_once() {
    let place = Place::new();
    place.started("while [ ! -e go ]; do (exit 9) & sleep 0.01; done; exit 6");
    let mut running = Vec::new();
    for number in 0..60 {
        let script = format!("(sleep 0.01 &); exit {}", number % 30);
        running.push((number % 30, place.exec(shell(&script)).await));
        if running.len() == EXECS_MAX / 2 {
            for (number, session) in running.drain(..) {
                assert_eq!(ended(&session).await, code(number));
            }
        }
    }
    fs::write(place.temporary.path().join("go"), "").unwrap();
    assert_eq!(place.exited().code, 6);
}
