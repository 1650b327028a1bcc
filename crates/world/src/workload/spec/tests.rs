//! What is refused, and what of older versions is read.

use super::*;
use crate::workload::sandbox::MountSpec;
use crate::{
    golden::golden,
    workload::cgroup::{Controller, Interface, Tree},
};

fn spec() -> Spec {
    Spec::new(vec!["true".to_owned()], PathBuf::from("/"))
}

type Change = fn(&mut Spec);

#[test]
fn what_no_process_can_have_is_refused() {
    assert_eq!(spec().check(), Ok(()));
    let cases: [(&str, Change); 11] = [
        ("version 4", |spec| spec.version = VERSION + 1),
        ("no command", |spec| spec.argv.clear()),
        ("NUL", |spec| spec.argv.push("a\0b".to_owned())),
        ("NUL", |spec| {
            spec.env.push(("A".to_owned(), "\0".to_owned()));
        }),
        ("variable", |spec| {
            spec.env.push(("A=B".to_owned(), String::new()));
        }),
        ("absolute", |spec| spec.cwd = PathBuf::from("here")),
        ("lease here", |spec| {
            spec.lease = Some(PathBuf::from("here"));
        }),
        ("log_files_max", |spec| spec.log_files_max = 0),
        ("control group", |spec| {
            spec.cgroup = Some(CgroupSpec {
                cgroups: Cgroups::default(),
                name: "a/../../b".to_owned(),
                cpu_milli: None,
                cpu_request_milli: None,
                memory_bytes: None,
                pids_max: None,
            });
        }),
        ("no capability", |spec| {
            let mut sandbox = SandboxSpec::new(Vec::new(), PathBuf::from("/s"));
            sandbox.capabilities.push("FLY".to_owned());
            spec.sandbox = Some(sandbox);
        }),
        ("layer is not absolute", |spec| {
            let layers = vec![PathBuf::from("layer")];
            spec.sandbox = Some(SandboxSpec::new(layers, PathBuf::from("/s")));
        }),
    ];
    for (text, change) in cases {
        let mut spec = spec();
        change(&mut spec);
        let message = spec.check().unwrap_err();
        assert!(message.contains(text), "{message} should tell of {text}");
    }
}

#[test]
fn group_names_stay_below_their_place() {
    for name in ["a", "pod1/c-1_x.y"] {
        assert!(check_group_name(name).is_ok(), "{name}");
    }
    let long = "x".repeat(300);
    for name in [
        "", "/a", "a/", "a//b", ".", "..", "a/..", "a b", "ä", "a\0", &long,
    ] {
        assert!(check_group_name(name).is_err(), "{name}");
    }
}

fn full() -> Spec {
    Spec {
        env: vec![
            ("A".to_owned(), "1".to_owned()),
            ("A".to_owned(), "2".to_owned()),
        ],
        cgroup: Some(CgroupSpec {
            cgroups: Cgroups {
                trees: vec![Tree {
                    interface: Interface::V2,
                    base: PathBuf::from("/sys/fs/cgroup/atoll"),
                    controllers: vec![Controller::Memory],
                }],
                notes: vec!["n".to_owned()],
            },
            name: "pod/c".to_owned(),
            cpu_milli: Some(1),
            cpu_request_milli: Some(2),
            memory_bytes: Some(3),
            pids_max: None,
        }),
        rlimits: vec![RlimitSpec {
            resource: "nofile".to_owned(),
            soft: Some(1),
            hard: None,
        }],
        user: Some(1),
        group: Some(2),
        groups: vec![3],
        umask: Some(0o22),
        oom_score_adj: Some(-4),
        no_new_privs: true,
        landlock: Some(LandlockSpec {
            denied: vec![PathBuf::from("/d")],
            writable: vec![PathBuf::from("/w")],
            foreign: Vec::new(),
            readable: vec![PathBuf::from("/r")],
        }),
        lease: Some(PathBuf::from("/lease")),
        ..spec()
    }
}

/// Workloads outlive the nodes that started them, so a newer node reads what an older one wrote.
#[test]
fn specs_of_all_versions_are_read() {
    let second = Spec {
        stdin: true,
        stdin_once: true,
        tty: true,
        landlock: full().landlock.map(|landlock| LandlockSpec {
            foreign: vec![PathBuf::from("/f")],
            ..landlock
        }),
        ..full()
    };
    let newest = Spec {
        sandbox: Some(SandboxSpec {
            host_name: "h".to_owned(),
            network: Some(PathBuf::from("/n")),
            mounts: vec![MountSpec {
                source: PathBuf::from("/v"),
                sub_path: Some(PathBuf::from("s")),
                target: PathBuf::from("/t"),
                read_only: true,
            }],
            read_only: true,
            user: "u:g".to_owned(),
            not_root: true,
            is_privileged: true,
            ..SandboxSpec::new(vec![PathBuf::from("/l")], PathBuf::from("/s"))
        }),
        ..second.clone()
    };
    let stored = golden(
        "workload-spec-3.json",
        &serde_json::to_vec(&newest).unwrap(),
    );
    assert_eq!(serde_json::from_slice::<Spec>(&stored).unwrap(), newest);

    let stored = include_bytes!("../../../../../docs/formats/golden/workload-spec-2.json");
    let read: Spec = serde_json::from_slice(stored).unwrap();
    assert_eq!(read, second, "as if this version had written it");

    let first = include_bytes!("../../../../../docs/formats/golden/workload-spec-1.json");
    let read: Spec = serde_json::from_slice(first).unwrap();
    assert_eq!(read, full(), "as if this version had written it");
    assert_eq!(read.check(), Ok(()));

    let least = r#"{"version":1,"argv":["true"],"env":[],"cwd":"/"}"#;
    let read: Spec = serde_json::from_str(least).unwrap();
    assert_eq!(read, spec());
    assert_eq!(read.pids_max(), PIDS_MAX);
}

#[test]
fn of_a_variable_the_last_counts() {
    assert_eq!((full().env("A"), full().env("B")), (Some("2"), None));
    let log = spec().log_path(Path::new("/w/c"));
    assert_eq!(log, PathBuf::from("/w/c/log"));
}
