//! What the operating system accounts to the servers: CPU time and resident memory.

use std::{fs, time::Duration};

use crate::error::{Error, Result};

/// Linux counts in /proc/PID/stat in hundredths of a second, whatever the kernel's own tick
/// (USER_HZ, proc(5)).
const TICK: Duration = Duration::from_millis(10);

/// The sum over some processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time since their start, ended threads and ended children included: a
    /// server that rewrites its log in a child pays for it.
    pub(crate) cpu: Duration,
    /// Resident memory.
    pub(crate) rss_bytes: u64,
    /// The most that was resident at any time.
    pub(crate) rss_bytes_max: u64,
}

/// Reads the usage of these processes now.
pub(crate) fn usage(pids: &[u32]) -> Result<Usage> {
    let mut sum = Usage::default();
    for pid in pids {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        let status = read(&format!("/proc/{pid}/status"))?;
        sum.cpu += TICK * ticks(&stat).ok_or(Error::Protocol("/proc/PID/stat is short"))?;
        sum.rss_bytes += status_bytes(&status, "VmRSS:").unwrap_or(0);
        sum.rss_bytes_max += status_bytes(&status, "VmHWM:").unwrap_or(0);
    }
    Ok(sum)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io(path))
}

/// utime + stime + cutime + cstime: fields 14 to 17. The name in field 2 may hold spaces and parentheses.
fn ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut sum: u32 = 0;
    for _ in 0..4 {
        let ticks: u32 = fields.next()?.parse().ok()?;
        sum = sum.checked_add(ticks)?;
    }
    Some(sum)
}

fn status_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_behind_a_name_with_parentheses() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 2 3 4 25 17 3 1 20 0 9 0";
        assert_eq!(ticks(stat), Some(46));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn reads_kibibytes() {
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_bytes(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(status_bytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(status_bytes(status, "VmSwap:"), None);
    }

    #[test]
    fn sees_itself() {
        let own = usage(&[std::process::id()]).unwrap();
        assert!(own.rss_bytes > 0 && own.rss_bytes_max >= own.rss_bytes);
    }
}
