//! Real programs under real shims. The shim's program is this test program, told to run
//! [`shim_entry`] alone.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use rustix::process::Signal;

use super::{
    control::spawn_shim,
    log::{LogQuery, read},
    proc::{Identity, Stat},
    state::{ShimFile, StateFile},
    *,
};

mod attach;
mod ends;
mod exec;
mod lease;
mod limits;
mod runs;
mod sandbox;

/// Far more than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const SIGTERM: i32 = 15;

/// The directory that was added to the arguments, if this process is to be a helper.
fn given_dir() -> Option<PathBuf> {
    let last = PathBuf::from(std::env::args().next_back()?);
    (last.is_absolute() && last.join(state::LOCK).exists()).then_some(last)
}

#[test]
fn shim_entry() {
    if let Some(dir) = given_dir() {
        let _ = shim_main(&dir);
        std::process::exit(0);
    }
}

fn launcher() -> Launcher {
    own_test("workload::tests::shim_entry")
}

/// This program, running one test alone. (The path of the module depends on who mounts it.)
fn own_test(name: &str) -> Launcher {
    let root = module_path!().trim_end_matches("workload::tests");
    let root = root.split_once("::").map_or("", |(_, root)| root);
    Launcher {
        program: PathBuf::from("/proc/self/exe"),
        arguments: vec![
            "--exact".into(),
            "--nocapture".into(),
            format!("{root}{name}").into(),
        ],
    }
}

/// A workload's directory, which doesn't outlive its test, nor does what runs there.
struct Place {
    temporary: tempfile::TempDir,
    dir: PathBuf,
}

impl Place {
    fn new() -> Place {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("workload");
        Place { temporary, dir }
    }

    fn start(&self, spec: &Spec) -> State {
        start(&launcher(), &self.dir, spec).unwrap()
    }

    fn look(&self) -> State {
        look(&self.dir).unwrap()
    }

    fn started(&self, script: &str) -> State {
        self.start(&self.shell(script))
    }

    fn shell(&self, script: &str) -> Spec {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        let mut spec = Spec::new(argv, self.temporary.path().to_path_buf());
        spec.env
            .push(("PATH".to_owned(), "/usr/bin:/bin".to_owned()));
        spec
    }

    fn exited(&self) -> Exited {
        until("it ended", || match self.look() {
            State::Exited(exited) => Some(exited),
            State::Running(_) | State::Starting => None,
            other => panic!("{other:?}"),
        })
    }

    /// What a program writes to a file in its own directory, once it is there.
    fn file(&self, name: &str) -> String {
        let path = self.temporary.path().join(name);
        until("a file is written", || {
            let text = fs::read_to_string(&path).ok()?;
            text.ends_with('\n').then_some(text)
        })
    }

    fn pids(&self, name: &str) -> Vec<u32> {
        let text = self.file(name);
        text.split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    }

    fn log(&self) -> String {
        let page = read(&self.dir.join("log"), &LogQuery::default()).unwrap();
        String::from_utf8(page.text).unwrap()
    }

    fn shim(&self) -> Identity {
        state::read::<ShimFile>(&self.dir, state::SHIM)
            .unwrap()
            .shim
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = kill(&self.dir);
        let _ = remove(&self.dir);
    }
}

fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut pauses = Pauses::new();
    loop {
        if let Some(met) = condition() {
            return met;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        pauses.pause();
    }
}

fn is_alive(pid: u32) -> bool {
    Stat::of(pid).is_some_and(|stat| !stat.ended)
}

/// Control groups of a test's own.
struct TestGroups(Cgroups);

impl TestGroups {
    fn new() -> TestGroups {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        TestGroups(Cgroups::detect(&format!("atoll-test-{pid}-{count}")))
    }

    fn spec(&self) -> CgroupSpec {
        CgroupSpec {
            cgroups: self.0.clone(),
            name: "pod/container".to_owned(),
            cpu_milli: None,
            cpu_request_milli: None,
            memory_bytes: None,
            pids_max: None,
        }
    }
}

impl Drop for TestGroups {
    fn drop(&mut self) {
        for tree in &self.0.trees {
            let _ = fs::remove_dir(&tree.base);
        }
    }
}

/// Runs a test with whatever control groups this machine has, and without.
fn with_and_without_groups(test: impl Fn(&Place, Option<CgroupSpec>)) {
    test(&Place::new(), None);
    let groups = TestGroups::new();
    if groups.0.trees.is_empty() {
        eprintln!("not tested with control groups: {:?}", groups.0.notes);
        return;
    }
    test(&Place::new(), Some(groups.spec()));
}
