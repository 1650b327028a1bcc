//! How slow the disk itself is while a run goes on: small synced writes beside the nodes'.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{
    error::{Error, Result},
    load::histogram,
};

const WRITE_BYTES: usize = 4096;
/// Often enough for a 99th percentile of a run of seconds, seldom enough not to be a load.
const PAUSE: Duration = Duration::from_millis(10);

/// Writes and syncs until it is stopped or dropped.
pub(super) struct DiskProbe {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<Histogram<u64>>>>,
}

impl DiskProbe {
    pub(super) fn start(disk: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(disk).map_err(Error::io("make a file on the disk"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::spawn(move || probe(&file, &told));
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// The 99th percentile of its syncs, in milliseconds.
    pub(super) fn stop(mut self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(0.0);
        };
        let syncs_us = thread
            .join()
            .map_err(|_| Error::Protocol("the disk's probe panicked"))?
            .map_err(Error::io("write and sync on the disk"))?;
        Ok(syncs_us.value_at_quantile(0.99) as f64 / 1e3)
    }
}

impl Drop for DiskProbe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn probe(file: &File, stop: &AtomicBool) -> io::Result<Histogram<u64>> {
    let mut syncs_us = histogram();
    let block = [0xa5; WRITE_BYTES];
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        file.write_all_at(&block, 0)?;
        file.sync_data()?;
        let us = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        syncs_us.record(us).expect("the histogram grows");
        thread::sleep(PAUSE);
    }
    Ok(syncs_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_something() {
        let probe = DiskProbe::start(&std::env::temp_dir()).unwrap();
        assert!(probe.stop().unwrap() < 60_000.0);
    }
}
