//! The lease of a node: for how long it may let its programs run.
//!
//! The cluster's leader renews it again and again; after its end, others may run the same
//! programs. The agent writes the end into a file, one per node, and each
//! [shim](super::shim_main) whose spec names that file looks there a few times a second. So the
//! programs end in time even if the agent is dead or hangs. Invariants:
//! - its time is the machine's since its start, suspended or not (`CLOCK_BOOTTIME`), which nobody
//!   can set; what was written before the machine's last start has ended;
//! - a shim that can't read the file does not outlive the end that it has read before.
//!
//! The file holds one record, overwritten in place by a single small write and never synced: it
//! says nothing to a machine that was started anew. A file system in memory suits it best; no
//! program may be able to write there.
//!
//! | bytes | hold |
//! |---|---|
//! | 0 | the version |
//! | 1–7 | 0 |
//! | 8–15 | the end in milliseconds, little endian |
//! | 16–31 | which start of the machine: the beginning of its boot id's SHA-256, or 0 if unknown |
//! | 32–35 | CRC-32C of all before, little endian |

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{io::Errno, thread::ClockId, time::Timespec};
use sha2::{Digest, Sha256};

use super::{WorkloadError, proc};
use crate::clock;

/// The version of the record.
const RECORD_VERSION: u8 = 1;
const RECORD_BYTES: usize = 36;
const SUM_AT: usize = 32;
/// So often a shim looks.
const LOOK_MS: u64 = 200;
/// A lease that could not be read for so long has ended.
const BLIND_MS_MAX: u64 = 1_000;
/// A record may be read while it is being written; the next try sees it whole.
const READ_TRIES: u32 = 3;
/// Which start of the machine this is.
type Boot = [u8; 16];
/// The kernel did not tell.
const BOOT_UNKNOWN: Boot = [0; 16];

/// The time since the start of the machine, which leases are measured by; in a simulation, since
/// its beginning.
pub fn now() -> Duration {
    if let Some(simulated) = clock::simulated() {
        return simulated;
    }
    let now = rustix::time::clock_gettime(ClockId::Boottime);
    Duration::try_from(now).unwrap_or_default()
}

fn now_ms() -> u64 {
    millis(now())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Lets the lease end so long from now, whatever its end was before; at once if it is zero.
///
/// # Errors
/// `File`.
pub fn renew(path: &Path, span: Duration) -> Result<(), WorkloadError> {
    renew_until(path, now().saturating_add(span))
}

/// Lets the lease end at a time of [`now`]'s clock. Who counts it from the moment when the
/// leader was asked can be held up at any point and still doesn't get a longer lease than given.
///
/// # Errors
/// `File`.
pub fn renew_until(path: &Path, end: Duration) -> Result<(), WorkloadError> {
    write(path, &record(millis(end), boot()))
}

/// How long the lease lasts from now on. `None` if it has ended or can't be read.
pub fn left(path: &Path) -> Option<Duration> {
    let left_ms = read(path)?.checked_sub(now_ms()).filter(|left| *left > 0)?;
    Some(Duration::from_millis(left_ms))
}

fn boot() -> Boot {
    boot_of(&proc::boot_id())
}

fn boot_of(id: &str) -> Boot {
    let mut boot = BOOT_UNKNOWN;
    if !id.is_empty() {
        boot.copy_from_slice(&Sha256::digest(id)[..BOOT_UNKNOWN.len()]);
    }
    boot
}

fn record(end_ms: u64, boot: Boot) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[0] = RECORD_VERSION;
    record[8..16].copy_from_slice(&end_ms.to_le_bytes());
    record[16..SUM_AT].copy_from_slice(&boot);
    let sum = crc32c::crc32c(&record[..SUM_AT]);
    record[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
    record
}

/// The end that a record tells to a machine; 0, which is long ago, if it is of another start.
fn end_of(bytes: &[u8; RECORD_BYTES], boot: Boot) -> Option<u64> {
    let mut end = [0; 8];
    end.copy_from_slice(&bytes[8..16]);
    let end_ms = u64::from_le_bytes(end);
    let mut of = BOOT_UNKNOWN;
    of.copy_from_slice(&bytes[16..SUM_AT]);
    if *bytes != record(end_ms, of) {
        return None;
    }
    if of == boot {
        return Some(end_ms);
    }
    let both_known = of != BOOT_UNKNOWN && boot != BOOT_UNKNOWN;
    both_known.then_some(0)
}

fn write(path: &Path, record: &[u8; RECORD_BYTES]) -> Result<(), WorkloadError> {
    let write = || -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match file.write_at(record, 0)? {
            RECORD_BYTES => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    };
    write().map_err(|source| WorkloadError::file("write", path, source))
}

/// The end in milliseconds. `None` if it can't be read.
fn read(path: &Path) -> Option<u64> {
    let boot = boot();
    let file = File::open(path).ok()?;
    (0..READ_TRIES).find_map(|_| {
        let mut bytes = [0; RECORD_BYTES];
        let taken = file.read_at(&mut bytes, 0).ok()?;
        end_of(&bytes, boot).filter(|_| taken == RECORD_BYTES)
    })
}

/// A shim's view of a lease.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    /// As it was last read.
    end_ms: u64,
    /// Since when it can't be read.
    blind_since_ms: Option<u64>,
}

impl Watch {
    pub(super) fn new(path: PathBuf) -> Watch {
        Watch {
            path,
            end_ms: u64::MAX,
            blind_since_ms: None,
        }
    }

    /// When to look again, at the latest; `None` once the lease has ended.
    pub(super) fn look(&mut self) -> Option<u64> {
        let end_ms = read(&self.path);
        self.judge(end_ms, now_ms())
    }

    fn judge(&mut self, end_ms: Option<u64>, now_ms: u64) -> Option<u64> {
        if let Some(end_ms) = end_ms {
            self.end_ms = end_ms;
            self.blind_since_ms = None;
        } else {
            self.blind_since_ms.get_or_insert(now_ms);
        }
        let blind_end_ms = self
            .blind_since_ms
            .map_or(u64::MAX, |since| since.saturating_add(BLIND_MS_MAX));
        let end_ms = self.end_ms.min(blind_end_ms);
        (end_ms > now_ms).then(|| end_ms.min(now_ms.saturating_add(LOOK_MS)))
    }
}

/// Sleeps until then, or less if a signal comes. A time that passed while the machine was
/// suspended, or this process stopped, has passed when it goes on.
pub(super) fn sleep_until(time_ms: u64) {
    let span = Duration::from_millis(time_ms);
    let slept = Timespec::try_from(span)
        .map_err(|_| Errno::INVAL)
        .and_then(|time| rustix::thread::clock_nanosleep_absolute(ClockId::Boottime, &time));
    if !matches!(slept, Ok(()) | Err(Errno::INTR)) {
        std::thread::sleep(Duration::from_millis(time_ms.saturating_sub(now_ms())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(1000);

    struct Place {
        _dir: tempfile::TempDir,
        path: PathBuf,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lease");
        Place { _dir: dir, path }
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_simulation_it_is_measured_by_virtual_time() {
        crate::random::seed_thread(7);
        let before = now();
        clock::sleep(LONG).await;
        assert_eq!(now(), before + LONG);
        crate::random::unseed_thread();
    }

    #[test]
    fn each_renewal_takes_the_place_of_the_one_before() {
        let Place { path, .. } = &place();
        assert_eq!(left(path), None, "there is none yet");
        renew(path, LONG).unwrap();
        let first = left(path).unwrap();
        assert!(first <= LONG && first > LONG / 2, "{first:?}");
        renew(path, Duration::MAX).unwrap();
        assert!(left(path).is_some_and(|left| left > LONG));
        renew_until(path, now() + LONG / 2).unwrap();
        assert!(left(path).unwrap() <= LONG / 2);
        renew_until(path, now()).unwrap();
        assert_eq!(left(path), None, "who was held up gets no longer lease");
        renew(path, LONG).unwrap();
        renew(path, Duration::ZERO).unwrap();
        assert_eq!(left(path), None);
        assert_eq!(std::fs::metadata(path).unwrap().len(), RECORD_BYTES as u64);
        assert!(renew(Path::new("/nowhere/lease"), LONG).is_err());
    }

    #[test]
    fn what_is_damaged_is_no_lease() {
        let Place { path, .. } = &place();
        let whole = record(u64::MAX, boot());
        std::fs::write(path, whole).unwrap();
        assert!(left(path).is_some());
        for at in 0..RECORD_BYTES {
            let mut bytes = whole;
            bytes[at] ^= 1;
            std::fs::write(path, bytes).unwrap();
            assert_eq!(read(path), None, "byte {at} is another");
            std::fs::write(path, &whole[..at]).unwrap();
            assert_eq!(read(path), None, "there are {at} bytes");
        }
        let mut newer = whole;
        newer[0] = RECORD_VERSION + 1;
        let sum = crc32c::crc32c(&newer[..SUM_AT]);
        newer[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(end_of(&newer, boot()), None, "its meaning is not known");
    }

    #[test]
    fn a_lease_of_another_start_of_the_machine_has_ended() {
        let (one, other) = (boot_of("one"), boot_of("other"));
        assert_eq!(end_of(&record(7, one), one), Some(7));
        assert_eq!(end_of(&record(u64::MAX, one), other), Some(0));
        // Where the kernel does not tell, it can't be known either way.
        assert_eq!(end_of(&record(7, boot_of("")), one), None);
        assert_eq!(end_of(&record(7, one), boot_of("")), None);
        assert_eq!(end_of(&record(7, boot_of("")), boot_of("")), Some(7));
    }

    #[test]
    fn it_is_read_whole_while_it_is_written() {
        let Place { path, .. } = &place();
        renew(path, LONG).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0..5_000 {
                    renew(path, LONG * (1 + round % 1000)).unwrap();
                }
            });
            while !writer.is_finished() {
                assert!(left(path).is_some());
            }
        });
    }

    #[test]
    fn a_shim_looks_often_and_up_to_the_end() {
        let mut watch = Watch::new(PathBuf::new());
        assert_eq!(watch.judge(Some(u64::MAX), 1000), Some(1000 + LOOK_MS));
        assert_eq!(watch.judge(Some(1300), 1200), Some(1300));
        assert_eq!(watch.judge(Some(1301), 1300), Some(1301));
        assert_eq!(watch.judge(Some(1301), 1301), None);
        assert_eq!(watch.judge(Some(0), 1), None);
    }

    #[test]
    fn a_lease_out_of_sight_lasts_a_moment_but_no_longer_than_known() {
        let mut watch = Watch::new(PathBuf::new());
        assert_eq!(watch.judge(None, 1000), Some(1200));
        assert_eq!(watch.judge(None, 1900), Some(2000));
        // It can be read again, and then not: the moment begins anew.
        assert_eq!(watch.judge(Some(9000), 1999), Some(2199));
        assert_eq!(watch.judge(None, 3000), Some(3200));
        assert_eq!(watch.judge(None, 3999), Some(4000));
        assert_eq!(watch.judge(None, 4000), None);

        assert_eq!(watch.judge(Some(5000), 4500), Some(4700));
        assert_eq!(watch.judge(None, 4900), Some(5000));
        assert_eq!(watch.judge(None, 5000), None);
    }

    #[test]
    fn sleep_lasts_until_the_time_or_not_at_all() {
        let begun = now_ms();
        sleep_until(0);
        let end = now_ms() + 5;
        while now_ms() < end {
            sleep_until(end);
        }
        assert!(now_ms() < begun + LOOK_MS * 100);
    }
}
