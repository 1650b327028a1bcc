//! Programs that run: what they are given, what they print, and who finds them again.

use super::*;

#[test]
fn exit_codes_and_signals_are_told() {
    let place = Place::new();
    place.started("exit 7");
    let exited = place.exited();
    assert_eq!(
        (exited.code, exited.signal, exited.oom_killed),
        (7, None, false)
    );
    assert!(exited.started_ms.unwrap() <= exited.finished_ms);
    assert!(now_ms() - exited.finished_ms < PATIENCE.as_millis() as u64);
    assert!(exited.message.is_empty() && exited.log_dropped_bytes == 0);

    let place = Place::new();
    place.started("kill -USR1 $$; sleep 1000");
    let exited = place.exited();
    assert_eq!((exited.code, exited.signal), (128 + 10, Some(10)));
    let reaped = || place.shim().reap().then_some(());
    until("nothing is left of the shim", reaped);
    assert!(Stat::of(place.shim().pid).is_none_or(|stat| stat.identity != place.shim()));
}

#[test]
fn what_can_t_be_started_says_why() {
    let place = Place::new();
    let script = place.temporary.path().join("script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let script = script.to_str().unwrap();
    let cases = [
        (
            "foo",
            127,
            "exec: \"foo\": executable file not found in $PATH".to_owned(),
        ),
        (
            "/etc/passwd",
            126,
            "exec: \"/etc/passwd\": permission denied".to_owned(),
        ),
        (
            script,
            127,
            format!("exec {script:?}: no such file or directory"),
        ),
    ];
    for (program, code, message) in cases {
        let place = Place::new();
        let mut spec = place.shell("");
        spec.argv = vec![program.to_owned()];
        let State::Exited(exited) = place.start(&spec) else {
            panic!("{program} was started");
        };
        assert_eq!((exited.code, exited.started_ms), (code, None));
        assert_eq!(exited.message, message);
    }
    let mut spec = place.shell("true");
    spec.cwd = PathBuf::from("/no/such/place");
    let State::Exited(exited) = place.start(&spec) else {
        panic!("it was started nowhere");
    };
    let message = "chdir to cwd (\"/no/such/place\") failed: no such file or directory";
    assert_eq!((exited.code, exited.message.as_str()), (126, message));
}

#[test]
fn environment_directory_arguments_and_mask_are_as_given() {
    let place = Place::new();
    let mut spec = place.shell("");
    spec.argv = vec!["/usr/bin/env".to_owned()];
    spec.env = vec![
        ("B".to_owned(), "two words\nand a line".to_owned()),
        ("A".to_owned(), "1".to_owned()),
    ];
    place.start(&spec);
    place.exited();
    let log = place.log();
    let lines: BTreeSet<&str> = log.lines().collect();
    assert_eq!(lines, BTreeSet::from(["A=1", "B=two words", "and a line"]));

    let place = Place::new();
    let mut spec = place.shell("pwd; umask; echo \"$0 $*\"; ls /proc/self/fd; cat");
    spec.argv.extend(["name", "a", "b c"].map(str::to_owned));
    spec.umask = Some(0o027);
    place.start(&spec);
    assert_eq!(place.exited().code, 0);
    let cwd = fs::canonicalize(&spec.cwd).unwrap();
    let expected = format!("{}\n0027\nname a b c\n0\n1\n2\n3\n", cwd.display());
    assert_eq!(place.log(), expected, "ls itself opens the fourth");
}

#[test]
fn lines_keep_their_order_and_stream() {
    let place = Place::new();
    let script = "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; \
                  printf end; head -c 40000 /dev/zero | tr '\\0' x >&2";
    place.started(script);
    place.exited();
    for (stream, word) in [(log::Stream::Stdout, "out"), (log::Stream::Stderr, "err")] {
        let query = LogQuery {
            stream: Some(stream),
            ..LogQuery::default()
        };
        let page = read(&place.dir.join("log"), &query).unwrap();
        let text = String::from_utf8(page.text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().take(500).enumerate() {
            assert_eq!(*line, format!("{word} {number}"));
        }
        let last = lines[500];
        match stream {
            log::Stream::Stdout => assert_eq!(last, "end"),
            log::Stream::Stderr => assert_eq!(last, "x".repeat(40_000)),
        }
    }
    let raw = fs::read_to_string(place.dir.join("log")).unwrap();
    assert_eq!(
        raw.lines()
            .filter(|line| line.contains(" stderr P x"))
            .count(),
        2
    );
}

#[test]
fn a_program_that_prints_much_costs_bounded_disk() {
    let place = Place::new();
    let mut spec = place.shell("yes 'a line of some length' | head -c 100000000; echo done");
    spec.log_bytes_max = 1_000_000;
    spec.log_files_max = 3;
    place.start(&spec);
    assert_eq!(place.exited().log_dropped_bytes, 0);
    let mut files = 0;
    for entry in fs::read_dir(&place.dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("log") {
            files += 1;
            assert!(entry.metadata().unwrap().len() <= spec.log_bytes_max);
        }
    }
    assert_eq!(files, 3);
    let query = LogQuery {
        tail_lines: Some(1),
        ..LogQuery::default()
    };
    let page = read(&place.dir.join("log"), &query).unwrap();
    assert_eq!(page.text, b"a line of sodone\n");
}

/// Starts the workload in the given directory and dies, as a node that is killed.
#[test]
fn node_entry() {
    if let Some(dir) = given_dir() {
        let spec = state::read(&dir, "asked.json").unwrap();
        fs::remove_file(dir.join(state::LOCK)).unwrap();
        let state = start(&launcher(), &dir, &spec).unwrap();
        assert!(matches!(state, State::Running(_)));
        std::process::abort();
    }
}

#[test]
fn a_node_that_died_leaves_all_to_the_next() {
    let place = Place::new();
    fs::create_dir(&place.dir).unwrap();
    let spec = place.shell("echo begun; while [ ! -e go ]; do sleep 0.01; done; echo over; exit 3");
    state::write(&place.dir, "asked.json", &spec).unwrap();
    fs::write(place.dir.join(state::LOCK), "").unwrap();
    let node = own_test("workload::tests::runs::node_entry");
    let status = Command::new(node.program)
        .args(node.arguments)
        .arg(&place.dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(6)
    );

    let State::Running(running) = place.look() else {
        panic!("it does not run");
    };
    assert!(is_alive(running.pid));
    assert!(matches!(
        start(&launcher(), &place.dir, &spec),
        Err(WorkloadError::Started(_))
    ));
    assert!(matches!(remove(&place.dir), Err(WorkloadError::Running(_))));
    fs::write(place.temporary.path().join("go"), "").unwrap();
    let exited = place.exited();
    assert_eq!(
        (exited.code, exited.started_ms),
        (3, Some(running.started_ms))
    );
    assert_eq!(place.log(), "begun\nover\n");
    remove(&place.dir).unwrap();
    assert!(!place.dir.exists());
    assert_eq!(place.look(), State::NotStarted);
}

#[test]
fn a_workload_is_started_once() {
    let place = Place::new();
    let spec = place.shell("true");
    assert_eq!(place.look(), State::NotStarted);
    let mut wrong = launcher();
    wrong.program = PathBuf::from("/no/such/program");
    let refused = start(&wrong, &place.dir, &spec);
    assert!(matches!(refused, Err(WorkloadError::Spawn { .. })));
    let wrong = Launcher::own("--no-such-flag");
    let failed = start(&wrong, &place.dir, &spec).unwrap_err();
    assert!(failed.to_string().contains("no-such-flag"), "{failed}");
    place.start(&spec);
    place.exited();
    let again = start(&launcher(), &place.dir, &spec);
    assert!(matches!(again, Err(WorkloadError::Started(_))));
    let spec = Spec::new(Vec::new(), PathBuf::from("/"));
    assert!(matches!(
        start(&launcher(), &place.dir, &spec),
        Err(WorkloadError::Spec(_))
    ));
}
