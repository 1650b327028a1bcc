//! A crate may use only crates on lower floors, and the main binary never links `compute`.
// Asks cargo, a process outside.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    process::Command,
};

use serde_json::Value;

/// Every crate's floor, those that are yet to be opened included. Crates of one floor don't
/// know each other.
const FLOORS: [(&str, u32); 13] = [
    // Knows no other crate, as its users don't.
    ("atoll-client", 0),
    ("atoll-base", 0),
    ("atoll-world", 1),
    ("atoll-ring", 2),
    ("atoll-control", 3),
    ("atoll-kv", 4),
    ("atoll-txn", 5),
    ("atoll-files", 5),
    ("atoll-services", 5),
    ("atoll-compute", 6),
    ("atoll-gateway", 6),
    ("atoll-console", 7),
    ("atoll", 8),
];

/// Programs that test and measure from outside: they may use every crate and each other, and no
/// crate of the house may use them.
const OUTSIDE: [&str; 3] = ["atoll-sim", "atoll-bench", "atoll-e2e"];

/// Each crate of the workspace with the crates of the workspace that it uses: linked, at build
/// and in tests alike.
type Edges = BTreeMap<String, BTreeSet<String>>;

fn broken(edges: &Edges) -> Vec<String> {
    let floors = BTreeMap::from(FLOORS);
    let mut found = Vec::new();
    for (user, used) in edges {
        if OUTSIDE.contains(&user.as_str()) {
            continue;
        }
        let Some(floor) = floors.get(user.as_str()) else {
            found.push(format!("{user} has no floor"));
            continue;
        };
        for used in used {
            match floors.get(used.as_str()) {
                Some(below) if below < floor => {}
                Some(other) => found.push(format!(
                    "{user} (floor {floor}) uses {used} (floor {other})"
                )),
                None => found.push(format!(
                    "{user} (floor {floor}) uses {used}, which has none"
                )),
            }
        }
    }
    if reachable(edges, "atoll").contains("atoll-compute") {
        found.push("atoll links atoll-compute".to_owned());
    }
    found
}

fn reachable<'a>(edges: &'a Edges, from: &'a str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        if seen.insert(name) {
            open.extend(edges.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    seen
}

fn workspace() -> Edges {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let own: BTreeSet<String> = packages.iter().map(name).collect();
    packages
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().expect("dependencies");
            let used = used.iter().map(name).filter(|it| own.contains(it));
            (name(package), used.collect())
        })
        .collect()
}

#[test]
fn crates_use_only_lower_floors() {
    let edges = workspace();
    assert!(edges.contains_key("atoll"), "the workspace was read");
    assert_eq!(broken(&edges), Vec::<String>::new());
}

#[test]
fn the_check_finds_what_it_looks_for() {
    let edges = |list: &[(&str, &[&str])]| -> Edges {
        let own = |name: &&str| (*name).to_owned();
        list.iter()
            .map(|(user, used)| (own(user), used.iter().map(own).collect()))
            .collect()
    };
    let up = edges(&[("atoll-world", &["atoll-control"])]);
    assert_eq!(broken(&up).len(), 1, "an edge upwards");
    let beside = edges(&[("atoll-txn", &["atoll-files"])]);
    assert_eq!(broken(&beside).len(), 1, "an edge on one floor");
    let test_tool = edges(&[("atoll-base", &["atoll-e2e"])]);
    assert_eq!(broken(&test_tool).len(), 1, "the house uses no test tool");
    let unknown = edges(&[("atoll-attic", &[])]);
    assert_eq!(broken(&unknown).len(), 1, "a crate without a floor");
    let compute = edges(&[
        ("atoll", &["atoll-console"]),
        ("atoll-console", &["atoll-compute"]),
    ]);
    assert_eq!(broken(&compute), ["atoll links atoll-compute"]);
    let outside = edges(&[("atoll-bench", &["atoll", "atoll-e2e"])]);
    assert!(broken(&outside).is_empty(), "programs outside may use all");
}
