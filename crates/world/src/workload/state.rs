//! The files in a workload's directory, beside `spec.json` and the log.
//!
//! | file | written by | holds |
//! |---|---|---|
//! | `lock` | the node, then held by the shim | nothing; locked as long as the shim lives |
//! | `shim.json` | the shim, first of all | [`ShimFile`] |
//! | `state.json` | the shim, once the program runs | [`StateFile`] |
//! | `shim.sock` | the shim | nothing; see [`super::wire`] |
//! | `exit.json` | the shim at the end, or the node when the shim is lost | [`ExitFile`] |
//! | `shim.err` | the shim | what it printed when something went wrong inside it |
//!
//! Each is put in its place whole and durably. What can't be read counts as not there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{WorkloadError, proc::Identity};

pub(super) const SPEC: &str = "spec.json";
pub(super) const LOCK: &str = "lock";
pub(super) const SHIM: &str = "shim.json";
pub(super) const STATE: &str = "state.json";
pub(super) const EXIT: &str = "exit.json";
pub(super) const SHIM_ERRORS: &str = "shim.err";

/// No file of ours is longer; what is, is not ours.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Who the shim is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShimFile {
    pub(super) version: u32,
    pub(super) shim: Identity,
    /// Tells this start of the machine from others: numbers of processes begin anew.
    pub(super) boot_id: String,
    /// See [`super::members`].
    pub(super) mark: Option<u64>,
    /// Who knows it may ask at the socket. Shims of version 1 have no socket.
    #[serde(default)]
    pub(super) key: Option<String>,
}

/// The running program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StateFile {
    pub(super) version: u32,
    pub(super) main: Identity,
    pub(super) started_ms: u64,
    #[serde(default)]
    pub(super) enforced: Enforced,
}

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ExitFile {
    pub(super) version: u32,
    pub(super) code: i32,
    #[serde(default)]
    pub(super) signal: Option<i32>,
    #[serde(default)]
    pub(super) oom_killed: bool,
    #[serde(default)]
    pub(super) started_ms: Option<u64>,
    pub(super) finished_ms: u64,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) log_dropped_bytes: u64,
    /// The shim did not live to see the end.
    #[serde(default)]
    pub(super) lost: bool,
}

/// How far a limit holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Force {
    /// It was not asked for.
    #[default]
    NotAsked,
    /// It holds, for all processes together.
    Full,
    /// It holds in part: see the notes.
    Partly,
    /// It does not hold: see the notes.
    None,
}

/// Which limits hold for a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// `v1`, `v2`, `hybrid`, or `none` if it has no control group.
    pub cgroup: String,
    /// The limit of processor time.
    pub cpu: Force,
    /// The limit of memory.
    pub memory: Force,
    /// The limit of processes.
    pub pids: Force,
    /// The limits of what it can reach in the file system.
    pub landlock: Force,
    /// Why something does not hold as asked.
    pub notes: Vec<String>,
}

pub(super) fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Option<T> {
    serde_json::from_slice(&read_bytes(dir, name).ok()?).ok()
}

pub(super) fn read_bytes(dir: &Path, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(dir.join(name))?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts a file in its place. Only our own user can read it: environments hold secrets.
pub(super) fn write<T: Serialize>(
    dir: &Path,
    name: &str,
    content: &T,
) -> Result<(), WorkloadError> {
    let path = dir.join(name);
    let write = || -> io::Result<()> {
        let temporary = dir.join(format!("{name}.tmp"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&serde_json::to_vec(content)?)?;
        file.sync_data()?;
        fs::rename(&temporary, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| WorkloadError::file("write", &path, source))
}

/// The shim's lock, taken for it by whoever starts it, so that there is no moment in which a
/// second start could slip in. `None` if it is held.
pub(super) fn lock(dir: &Path) -> Result<Option<File>, WorkloadError> {
    let path = dir.join(LOCK);
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let file = opened.map_err(|source| WorkloadError::file("open", &path, source))?;
    flock(&path, file, FlockOperation::NonBlockingLockExclusive)
}

/// A shim holds the lock.
pub(super) fn is_locked(dir: &Path) -> Result<bool, WorkloadError> {
    let path = dir.join(LOCK);
    match File::open(&path) {
        // Shared, so that two who look don't see each other.
        Ok(file) => Ok(flock(&path, file, FlockOperation::NonBlockingLockShared)?.is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(WorkloadError::file("open", &path, source)),
    }
}

fn flock(
    path: &Path,
    file: File,
    operation: FlockOperation,
) -> Result<Option<File>, WorkloadError> {
    match rustix::fs::flock(&file, operation) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(WorkloadError::file("lock", path, errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newer nodes read what older shims wrote.
    #[test]
    fn version_1_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        put(
            SHIM,
            r#"{"version":1,"shim":{"pid":7,"start_ticks":8},"boot_id":"b","mark":9}"#,
        );
        put(
            STATE,
            r#"{"version":1,"main":{"pid":1,"start_ticks":2},"started_ms":3,"enforced":
            {"cgroup":"v2","cpu":"full","memory":"partly","pids":"none","landlock":"not_asked",
            "notes":["n"]}}"#,
        );
        put(
            EXIT,
            r#"{"version":1,"code":137,"signal":9,"finished_ms":4,"new":true}"#,
        );
        let shim: ShimFile = read(dir.path(), SHIM).unwrap();
        assert_eq!((shim.shim.pid, shim.mark), (7, Some(9)));
        let state: StateFile = read(dir.path(), STATE).unwrap();
        assert_eq!(state.enforced.memory, Force::Partly);
        let exit: ExitFile = read(dir.path(), EXIT).unwrap();
        assert_eq!((exit.code, exit.signal, exit.lost), (137, Some(9), false));
    }

    #[test]
    fn files_are_private_and_locks_exclude() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_locked(dir.path()).unwrap());
        write(dir.path(), EXIT, &ExitFile::default()).unwrap();
        let mode = fs::metadata(dir.path().join(EXIT))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let held = lock(dir.path()).unwrap().unwrap();
        assert!(is_locked(dir.path()).unwrap() && lock(dir.path()).unwrap().is_none());
        rustix::fs::flock(&held, FlockOperation::Unlock).unwrap();
        assert!(!is_locked(dir.path()).unwrap());
    }
}
