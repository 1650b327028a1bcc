//! Ends the processes of a workload when the lease of its node ends: a thread of the shim.
//!
//! It needs nothing of the shim's other threads, so a disk that hangs under one of those doesn't
//! keep the programs alive. The end itself is for the shim to see and to write down.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Pauses,
    lease::{self, Watch},
    members::Members,
};

/// How the end of a lease is told, as the message of what it ended.
pub const LEASE_ENDED: &str = "the node's lease has ended";

/// A guard at work. It goes with the process.
#[derive(Debug)]
pub(super) struct Guard {
    lease_ended: Arc<AtomicBool>,
}

impl Guard {
    pub(super) fn start(watch: Watch, members: Arc<Members>) -> io::Result<Guard> {
        let lease_ended = Arc::new(AtomicBool::new(false));
        let told = lease_ended.clone();
        std::thread::Builder::new()
            .name("lease".to_owned())
            .spawn(move || run(watch, &members, &told))?;
        Ok(Guard { lease_ended })
    }

    /// The processes are being killed, or were.
    pub(super) fn lease_ended(&self) -> bool {
        self.lease_ended.load(Ordering::SeqCst)
    }
}

fn run(mut watch: Watch, members: &Members, lease_ended: &AtomicBool) {
    while let Some(again_ms) = watch.look() {
        lease::sleep_until(again_ms);
    }
    // Told first, so that whoever sees the program's end by this knows why.
    lease_ended.store(true, Ordering::SeqCst);
    let mut pauses = Pauses::new();
    loop {
        members.kill();
        if members.list().is_empty() {
            return;
        }
        pauses.pause();
    }
}
