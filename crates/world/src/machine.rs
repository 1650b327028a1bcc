//! What the operating system says of the machine. What it does not say is empty or 0.

#![allow(
    clippy::disallowed_methods,
    reason = "this module is where the machine is asked"
)]

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use crate::{process, random};

/// What is known of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub host: String,
    /// How many processors this process may use.
    pub processors: u64,
    /// Its memory, or what the control group allows, in bytes.
    pub memory_bytes: u64,
    /// The size of the file system of a folder, in bytes.
    pub disk_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The system's name.
    pub os: String,
    /// The machine's id (machine-id(5)).
    pub machine_id: String,
    /// The id of this start of it.
    pub boot_id: String,
}

/// What is known of this machine, and of the disk that a folder is on.
pub fn facts(folder: &Path) -> Facts {
    let line = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.trim().to_owned()
    };
    let processors = std::thread::available_parallelism();
    Facts {
        host: process::host_name().unwrap_or_else(|| "localhost".to_owned()),
        processors: processors.map_or(1, |count| count.get() as u64),
        memory_bytes: memory_bytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        disk_bytes: rustix::fs::statvfs(folder)
            .map(|disk| disk.f_frsize.saturating_mul(disk.f_blocks))
            .unwrap_or(0),
        kernel: line("/proc/sys/kernel/osrelease"),
        os: os_name(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
        machine_id: line("/etc/machine-id"),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
    }
}

/// The file system that a folder is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All of it, in bytes.
    pub bytes: u64,
    /// What can still be had by who is not its owner, in bytes.
    pub free_bytes: u64,
}

/// How much room there is where a folder is; none if it can't be told.
pub fn room(folder: &Path) -> Option<Room> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(Room {
        bytes: disk.f_frsize.saturating_mul(disk.f_blocks),
        free_bytes: disk.f_frsize.saturating_mul(disk.f_bavail),
    })
}

/// What all of a machine uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since the machine was started, of all processors, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory that could not be had for something else now, in bytes.
    pub memory_bytes: u64,
}

/// What all of this machine uses; nothing in a simulation, which has none.
pub fn usage() -> Usage {
    if random::is_simulated() {
        return Usage::default();
    }
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let ns_per_tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let free = meminfo_bytes(&meminfo, "MemAvailable:");
    Usage {
        cpu_ns: busy_ticks(&stat).saturating_mul(ns_per_tick),
        memory_bytes: memory_bytes(&meminfo).saturating_sub(free),
    }
}

/// The longest text about resolvers that is read, in bytes.
const RESOLVERS_BYTES_MAX: u64 = 64 << 10;

/// How names are resolved here: the text of /etc/resolv.conf (resolv.conf(5)), or of the file
/// that systemd-resolved keeps about the resolvers behind it, where the first one names that
/// service alone. Who is asked by it has to ask others, not it: that would be a circle.
pub fn resolv_conf() -> String {
    let text = start_of("/etc/resolv.conf");
    match is_stub(&text) {
        true => Some(start_of("/run/systemd/resolve/resolv.conf"))
            .filter(|behind| !behind.is_empty())
            .unwrap_or(text),
        false => text,
    }
}

fn start_of(path: &str) -> String {
    let read = || {
        let mut bytes = Vec::new();
        let file = fs::File::open(path)?;
        file.take(RESOLVERS_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// Whether nobody is named but systemd-resolved (systemd-resolved.service(8)).
fn is_stub(resolv_conf: &str) -> bool {
    let mut servers = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        words.next()
    });
    let mut is_named = false;
    let stands_alone = servers.all(|server| {
        is_named = true;
        matches!(server, "127.0.0.53" | "127.0.0.54")
    });
    is_named && stands_alone
}

/// All but idle and waiting for disks, of the first line of /proc/stat (proc(5)).
fn busy_ticks(stat: &str) -> u64 {
    let line = stat.lines().next().unwrap_or_default();
    let ticks = line.strip_prefix("cpu ").unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted there, too.
    let ticks = ticks.split_whitespace().take(8).enumerate();
    let busy = ticks.filter(|(at, _)| !matches!(at, 3 | 4));
    busy.filter_map(|(_, ticks)| ticks.parse::<u64>().ok())
        .sum()
}

fn memory_bytes(meminfo: &str) -> u64 {
    meminfo_bytes(meminfo, "MemTotal:")
}

/// A line of /proc/meminfo.
fn meminfo_bytes(meminfo: &str, what: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(what));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1_024)
}

/// `PRETTY_NAME` of /etc/os-release.
fn os_name(release: &str) -> String {
    let line = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.map_or("Linux", |name| name.trim_matches('"'))
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_asks_others_is_told_apart_from_them() {
        assert!(is_stub("# x\nnameserver 127.0.0.53\noptions edns0\n"));
        assert!(!is_stub("nameserver 127.0.0.53\nnameserver 10.0.0.2\n"));
        assert!(!is_stub("nameserver 10.0.0.2\n"));
        assert!(!is_stub("search 127.0.0.53\n"));
    }

    #[test]
    fn what_the_system_says_is_read() {
        assert_eq!(
            memory_bytes("MemTotal:       16 kB\nMemFree: 1 kB\n"),
            16_384
        );
        assert_eq!(memory_bytes("garbage"), 0);
        assert_eq!(
            os_name("NAME=x\nPRETTY_NAME=\"Some System 1\"\n"),
            "Some System 1"
        );
        assert_eq!(os_name(""), "Linux");
        assert_eq!(busy_ticks("cpu  1 2 3 40 50 6 7 8 9\ncpu0 1 1"), 27);
        assert_eq!(busy_ticks("garbage"), 0);
        let used = usage();
        assert!(used.cpu_ns > 0 && used.memory_bytes > 0);
        let facts = facts(Path::new("/"));
        assert!(facts.processors > 0 && facts.memory_bytes > 0 && facts.disk_bytes > 0);
    }
}
