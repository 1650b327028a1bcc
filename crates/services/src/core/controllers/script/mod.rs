//! Stories of a small cluster, as text, and random histories of it.

mod cluster;
mod cron_history;
mod daemons;
mod executor;
mod flights;
mod history;
mod job_history;
mod properties;
mod scaling;
mod show;
mod stateful_history;
mod stateful_properties;
mod story;

use std::path::PathBuf;

/// Runs a story; panics at the first line whose answer differs. With `ATOLL_WRITE_GOLDEN` set, it
/// writes the answers into the file instead.
fn run(name: &str, text: &str) {
    let mut story = story::Story::new();
    let mut told = String::new();
    for (number, line) in text.lines().enumerate() {
        let (step, want) = line.split_once("->").unwrap_or((line, ""));
        let step = step.trim();
        if step.is_empty() || step.starts_with('#') {
            told += &format!("{line}\n");
            continue;
        }
        let got = story.step(step);
        match got.as_str() {
            "" => told += &format!("{step}\n"),
            got => told += &format!("{step} -> {got}\n"),
        }
        if !is_writing() {
            assert_eq!(got, want.trim(), "{name}:{}: {step}", number + 1);
        }
    }
    story.cluster.assert_at_rest();
    if is_writing() {
        write(name, &told);
    }
}

fn is_writing() -> bool {
    std::env::var_os("ATOLL_WRITE_GOLDEN").is_some()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file of the source tree, on request"
)]
fn write(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/core/controllers/testdata")
        .join(format!("{name}.txt"));
    std::fs::write(path, text).expect("the tree is writable");
}

macro_rules! stories {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let text = include_str!(concat!("../testdata/", stringify!($name), ".txt"));
            run(stringify!($name), text);
        }
    )*};
}

stories! {
    replica_sets
    rolling_updates
    revisions
    deadlines
    recreation
    sizes
    stateful_sets
    stateful_set_places
    daemon_sets
    jobs
    jobs_ending
    jobs_indexed
    jobs_pods
    jobs_policies
    cron_jobs
    replication_controllers
    autoscalers
    disruptions
    endpoint_slices
    load_balancers
    namespaces
    garbage
}
