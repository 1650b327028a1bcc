//! A disk that really runs full below a running node: the alarm comes first, nothing that was
//! acknowledged is lost, and with room again writes go on.
//!
//! The node's directory lies on a small file system of its own, in memory. Mounting that needs
//! root. Where it can't be done the test says so, and fails only where CI is `true`.
// Edge of the house: real processes, files and mounts.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use atoll_control::proto::etcdserverpb::{
    AlarmRequest, AlarmType, DeleteRangeRequest, PutRequest, RangeRequest,
    alarm_request::AlarmAction,
};
use atoll_e2e::{
    command::{Entry, Server, atoll_path, data_dir},
    node::{Node, run},
};
use common::{get, kv, maintenance, until};
use tonic::{Code, Status};

/// The whole disk.
const DISK_BYTES: u64 = 256 << 20;
/// What the node keeps free; it refuses writes at twice that.
const RESERVE_BYTES: u64 = 40 << 20;
const SEGMENT_BYTES: u64 = 4 << 20;
/// Of each value written.
const VALUE_BYTES: usize = 256 << 10;
/// etcd's words.
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// A file system that is unmounted when dropped, whatever became of the test.
struct Mount(PathBuf);

impl Mount {
    fn new(dir: PathBuf) -> Result<Mount, String> {
        fs::create_dir_all(&dir).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={DISK_BYTES},mode=0700"))
            .arg("atoll-full-disk")
            .arg(&dir)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Mount(dir)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn free_bytes(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.0).unwrap();
        found.f_bavail * found.f_frsize
    }

    /// Makes it twice as large, as somebody would who gives the node more disk.
    fn grow(&self) {
        let grown = Command::new("mount")
            .args(["-o", &format!("remount,size={}", 2 * DISK_BYTES)])
            .arg(&self.0)
            .status();
        assert!(grown.unwrap().success());
    }

    /// Takes room until only so much is free.
    fn fill(&self, free_bytes: u64) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        let mut piece = vec![0xff; 1 << 20];
        while !piece.is_empty() && self.free_bytes() > free_bytes {
            match file.write_all(&piece) {
                Ok(()) => {}
                // To the last byte.
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    piece.truncate(piece.len() / 2);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still be in it.
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if !matches!(unmounted, Ok(status) if status.success()) {
            eprintln!("{} stays mounted: {unmounted:?}", self.0.display());
        }
    }
}

fn key(number: usize) -> String {
    format!("full/{number:06}")
}

/// A value that cannot be compressed, another one for each number.
fn value(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut value = Vec::with_capacity(VALUE_BYTES);
    while value.len() < VALUE_BYTES {
        // Xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend_from_slice(&state.to_le_bytes());
    }
    value
}

async fn try_put(endpoint: &str, number: usize) -> Result<(), Status> {
    let request = PutRequest {
        key: key(number).into(),
        value: value(number).into(),
        ..PutRequest::default()
    };
    kv(endpoint).put(request).await.map(drop)
}

async fn alarms(endpoint: &str) -> Vec<i32> {
    let request = AlarmRequest {
        action: AlarmAction::Get.into(),
        ..AlarmRequest::default()
    };
    let answer = maintenance(endpoint)
        .alarm(request)
        .await
        .unwrap()
        .into_inner();
    answer.alarms.iter().map(|alarm| alarm.alarm).collect()
}

/// Reads back everything that was acknowledged.
async fn all_there(endpoint: &str, acknowledged: usize) {
    for number in 0..acknowledged {
        let request = RangeRequest {
            key: key(number).into(),
            ..RangeRequest::default()
        };
        let answer = kv(endpoint).range(request).await.unwrap().into_inner();
        let found = answer.kvs.first().map(|kv| kv.value == value(number));
        assert_eq!(found, Some(true), "{} was acknowledged", key(number));
    }
}

fn disarm(endpoint: &str) {
    let mut command = Server::under_test().command();
    run(command.args(["node", "disarm", "--endpoint", endpoint])).unwrap();
}

/// The node told what stopped it.
fn said(log: &str) {
    let told = ["No space left on device", "no space for the journal"];
    assert!(told.iter().any(|words| log.contains(words)), "{log}");
}

/// A node whose data lie on a disk of their own; none where that can't be had.
async fn node_on(parent: &Path) -> Option<(Node, Mount)> {
    let server = Server {
        kind: atoll_e2e::command::Kind::Atoll,
        path: atoll_path().to_path_buf(),
    };
    let mut node = Node::new(server, parent, "full").unwrap();
    let mount = match Mount::new(data_dir(node.layout())) {
        Ok(mount) => mount,
        Err(reason) => {
            let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!in_ci, "no disk can be mounted here: {reason}");
            eprintln!("not tested: no disk can be mounted here: {reason}");
            return None;
        }
    };
    node.set_environment(&[
        ("ATOLL_JOURNAL_RESERVE_BYTES", &RESERVE_BYTES.to_string()),
        ("ATOLL_JOURNAL_SEGMENT_BYTES", &SEGMENT_BYTES.to_string()),
    ]);
    node.start(&Entry::Found).await.unwrap();
    Some((node, mount))
}

#[tokio::test]
async fn a_full_disk_stops_writes_and_loses_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let Some((mut node, mount)) = node_on(parent.path()).await else {
        return;
    };
    let endpoint = node.endpoint();

    // Clients fill it, up to the alarm.
    let mut acknowledged = 0;
    let refused = loop {
        match try_put(&endpoint, acknowledged).await {
            Ok(()) => acknowledged += 1,
            Err(refused) => break refused,
        }
        let written = (acknowledged * VALUE_BYTES) as u64;
        assert!(
            written < DISK_BYTES,
            "more was taken than there is room for"
        );
    };
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::ResourceExhausted, NO_SPACE)
    );
    assert!(acknowledged > 100, "{acknowledged}");
    let raised = [i32::from(AlarmType::Nospace)];
    until("the alarm is raised", async || {
        (alarms(&endpoint).await == raised).then_some(())
    })
    .await;
    assert!(
        mount.free_bytes() > 0,
        "the alarm comes before the disk is full"
    );

    all_there(&endpoint, acknowledged).await;
    let refused = try_put(&endpoint, acknowledged).await.unwrap_err();
    assert_eq!(refused.message(), NO_SPACE);

    // Told to go on too early, it finds out again.
    mount.fill(RESERVE_BYTES * 3 / 2);
    disarm(&endpoint);
    until("the alarm is raised again", async || {
        (!alarms(&endpoint).await.is_empty()).then_some(())
    })
    .await;
    // Somebody else takes the rest, to the last byte. A node that has something to write at
    // that moment ends, and says why; another one goes on answering.
    mount.fill(0);
    if node.is_running() && try_put(&endpoint, acknowledged).await.is_ok() {
        panic!("there is no room for what was acknowledged");
    }
    if !node.is_running() {
        said(&node.log_tail());
    }

    // Without any room it starts as well, or says what is wrong.
    node.kill();
    if let Err(error) = node.start(&Entry::Again).await {
        said(&error.to_string());
    }
    node.kill();

    // With room again it starts, and still refuses until it is told to go on.
    fs::remove_file(mount.filler()).unwrap();
    node.start(&Entry::Again).await.unwrap();
    all_there(&endpoint, acknowledged).await;
    let refused = try_put(&endpoint, acknowledged).await.unwrap_err();
    assert_eq!(refused.message(), NO_SPACE);

    // Taking away is never refused.
    let delete = DeleteRangeRequest {
        key: key(acknowledged - 1).into(),
        ..DeleteRangeRequest::default()
    };
    let deleted = kv(&endpoint).delete_range(delete).await.unwrap();
    assert_eq!(deleted.into_inner().deleted, 1);

    mount.grow();
    // More than once, if it looked at the disk just before.
    until("writes go on", async || {
        disarm(&endpoint);
        try_put(&endpoint, acknowledged).await.ok()
    })
    .await;

    node.kill();
    node.start(&Entry::Again).await.unwrap();
    all_there(&endpoint, acknowledged - 1).await;
    assert_eq!(get(&endpoint, &key(acknowledged - 1)).await.0, None);
    let added = RangeRequest {
        key: key(acknowledged).into(),
        ..RangeRequest::default()
    };
    let added = kv(&endpoint).range(added).await.unwrap().into_inner();
    assert_eq!(added.kvs[0].value, value(acknowledged));
}
