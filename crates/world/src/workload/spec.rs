//! What a container's program is to be: the content of `spec.json`.
//!
//! Written by the node, read by the shim, which is the same binary, and by nodes of newer
//! versions as long as the workload is there. What an older version wrote is read as if this one
//! had; a version that is not known here is an error and not a guess.
//!
//! | version | since then there are |
//! |---|---|
//! | 1 | all but the following |
//! | 2 | `stdin`, `stdin_once`, `tty`: false where nothing is said |
//! | 3 | `sandbox`: none where nothing is said |

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    cgroup::{Cgroups, Group},
    sandbox::{self, SandboxSpec},
    state,
};

/// The version of the files of this module.
pub const VERSION: u32 = 3;
/// A log file is closed and a new one begun at this size, unless the spec says otherwise.
pub const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// So many log files are kept, unless the spec says otherwise.
pub const LOG_FILES_MAX: u32 = 5;
/// So many processes and threads a workload has at most, unless the spec says otherwise.
pub const PIDS_MAX: u64 = 4_096;
/// A group's name may have so many parts.
const GROUP_PARTS_MAX: usize = 8;
/// A part of a group's name may have so many bytes.
const GROUP_PART_BYTES_MAX: usize = 200;

/// A program, how it is started, and what it may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// [`VERSION`].
    #[serde(deserialize_with = "upgraded")]
    pub version: u32,
    /// The program and its arguments. A program without a slash is looked for in the `PATH` of
    /// `env`.
    pub argv: Vec<String>,
    /// The whole environment; of a name given twice, the last counts.
    pub env: Vec<(String, String)>,
    /// The directory where it starts.
    pub cwd: PathBuf,
    /// Its log file; a relative path is taken from the workload's directory.
    #[serde(default = "default_log")]
    pub log: PathBuf,
    /// Size at which the log is rotated, in bytes.
    #[serde(default = "default_log_bytes_max")]
    pub log_bytes_max: u64,
    /// Number of log files, the current one included.
    #[serde(default = "default_log_files_max")]
    pub log_files_max: u32,
    /// Limits of all its processes together.
    #[serde(default)]
    pub cgroup: Option<CgroupSpec>,
    /// Limits of each of its processes.
    #[serde(default)]
    pub rlimits: Vec<RlimitSpec>,
    /// The user it runs as, by number; ours if none is given.
    #[serde(default)]
    pub user: Option<u32>,
    /// The group it runs as, by number; the number of the user if only that is given.
    #[serde(default)]
    pub group: Option<u32>,
    /// Further groups, by number. They count only together with a user or a group.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// Mask of the permissions that new files don't get.
    #[serde(default)]
    pub umask: Option<u32>,
    /// How readily the kernel ends it when memory runs out, -1000 to 1000.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// It can't gain rights by running a set-user-id program.
    #[serde(default)]
    pub no_new_privs: bool,
    /// What it can reach in the file system. Implies `no_new_privs`.
    #[serde(default)]
    pub landlock: Option<LandlockSpec>,
    /// The file of the node's [lease](super::lease::renew), with whose end the program is killed.
    #[serde(default)]
    pub lease: Option<PathBuf>,
    /// Its input stays open for who [attaches](super::attach::connect); it is empty otherwise.
    #[serde(default)]
    pub stdin: bool,
    /// One may write to it, and when that one goes, the input ends. That of a terminal does not.
    #[serde(default)]
    pub stdin_once: bool,
    /// It runs on a terminal. There is one stream of output then.
    #[serde(default)]
    pub tty: bool,
    /// It runs apart from the machine. Landlock's rules are not for it.
    #[serde(default)]
    pub sandbox: Option<SandboxSpec>,
}

/// A container's control group. Limits that can't be had are told in the state, and not errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupSpec {
    /// Where groups can be made, as [`Cgroups::detect`] found it.
    pub cgroups: Cgroups,
    /// Its path below those places, unique on this machine: words of letters, digits, `.`, `_`
    /// and `-`, with slashes between.
    pub name: String,
    /// At most so much processor time, in thousandths of a processor.
    #[serde(default)]
    pub cpu_milli: Option<u64>,
    /// Its share of the processors when all are busy, in thousandths of a processor.
    #[serde(default)]
    pub cpu_request_milli: Option<u64>,
    /// At most so much memory, in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// At most so many processes and threads; [`PIDS_MAX`] if none is given.
    #[serde(default)]
    pub pids_max: Option<u64>,
}

/// A limit as of setrlimit(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RlimitSpec {
    /// Its name in lower case without `RLIMIT_`, such as `nofile`.
    pub resource: String,
    /// What counts; unlimited if none is given.
    pub soft: Option<u64>,
    /// How far the process may raise it; unlimited if none is given.
    pub hard: Option<u64>,
}

/// What a program can reach in the file system. Everything can be read and run, but for what
/// lies under `denied`; nothing can be written but under `writable` and a few devices. What is
/// both under `denied` and, deeper, under `writable` can be read and written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockSpec {
    /// Directories that can't be looked into.
    pub denied: Vec<PathBuf>,
    /// Directories and files that can be changed. Those that don't exist are passed over.
    pub writable: Vec<PathBuf>,
    /// The same, but for those under `denied`.
    #[serde(default)]
    pub foreign: Vec<PathBuf>,
    /// Directories and files that can be read although they are under `denied`.
    #[serde(default)]
    pub readable: Vec<PathBuf>,
}

fn upgraded<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let version = u32::deserialize(from)?;
    // All that is new has a default.
    Ok(match version {
        1..VERSION => VERSION,
        version => version,
    })
}

fn default_log() -> PathBuf {
    PathBuf::from("log")
}

fn default_log_bytes_max() -> u64 {
    LOG_BYTES_MAX
}

fn default_log_files_max() -> u32 {
    LOG_FILES_MAX
}

impl Spec {
    /// A program with nothing limited and an empty environment.
    pub fn new(argv: Vec<String>, cwd: PathBuf) -> Self {
        Spec {
            version: VERSION,
            argv,
            env: Vec::new(),
            cwd,
            log: default_log(),
            log_bytes_max: LOG_BYTES_MAX,
            log_files_max: LOG_FILES_MAX,
            cgroup: None,
            rlimits: Vec::new(),
            user: None,
            group: None,
            groups: Vec::new(),
            umask: None,
            oom_score_adj: None,
            no_new_privs: false,
            landlock: None,
            lease: None,
            stdin: false,
            stdin_once: false,
            tty: false,
            sandbox: None,
        }
    }

    /// How many processes and threads it may have.
    pub(super) fn pids_max(&self) -> u64 {
        let asked = self.cgroup.as_ref().and_then(|cgroup| cgroup.pids_max);
        asked.unwrap_or(PIDS_MAX)
    }

    /// That of the workload in `dir`, if it can be, and with its user by number.
    pub(super) fn read(dir: &Path) -> Result<Self, String> {
        let read = state::read_bytes(dir, state::SPEC).map_err(|error| error.to_string());
        let spec = read
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
        let told = |error| format!("{} can't be read: {error}", state::SPEC);
        let mut spec: Spec = spec.map_err(told)?;
        spec.check()?;
        sandbox::resolve(&mut spec)?;
        Ok(spec)
    }

    /// The value of an environment variable.
    pub(super) fn env(&self, name: &str) -> Option<&str> {
        let mut values = self.env.iter().rev();
        values
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Where the log of the workload in `dir` lies.
    pub fn log_path(&self, dir: &Path) -> PathBuf {
        dir.join(&self.log)
    }

    /// Its control group; an empty one if there is none.
    pub(super) fn cgroup_of(&self) -> Group {
        self.cgroup
            .as_ref()
            .map_or_else(Group::default, |spec| Group::of(&spec.cgroups, &spec.name))
    }

    /// What is wrong with it, if something is.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!(
                "the spec has version {}, this program knows {VERSION}",
                self.version
            ));
        }
        if self.argv.first().is_none_or(String::is_empty) {
            return Err("no command specified".to_owned());
        }
        let strings = self.argv.iter().chain(self.env.iter().map(|pair| &pair.1));
        if strings.into_iter().any(|text| text.contains('\0')) {
            return Err("an argument or a variable holds a NUL byte".to_owned());
        }
        for (name, _) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(format!("{name:?} can't be the name of a variable"));
            }
        }
        if !self.cwd.is_absolute() {
            return Err(format!("cwd {} is not absolute", self.cwd.display()));
        }
        // The shim leaves the directory that it was started in.
        if let Some(lease) = self.lease.as_ref().filter(|path| !path.is_absolute()) {
            return Err(format!("lease {} is not absolute", lease.display()));
        }
        if self.log_bytes_max == 0 || self.log_files_max == 0 {
            return Err("log_bytes_max and log_files_max must not be 0".to_owned());
        }
        if let Some(sandbox) = &self.sandbox {
            sandbox.check()?;
        }
        match &self.cgroup {
            Some(cgroup) => check_group_name(&cgroup.name),
            None => Ok(()),
        }
    }
}

/// The name becomes a path where we may have all rights, so nothing in it may lead elsewhere.
fn check_group_name(name: &str) -> Result<(), String> {
    let parts: Vec<&str> = name.split('/').collect();
    let part_is_fine = |part: &&str| {
        !part.is_empty()
            && part.len() <= GROUP_PART_BYTES_MAX
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if parts.len() <= GROUP_PARTS_MAX && parts.iter().all(part_is_fine) {
        Ok(())
    } else {
        Err(format!("{name:?} can't be the name of a control group"))
    }
}

#[cfg(test)]
mod tests;
