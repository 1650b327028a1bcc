//! What the kernel says about processes (Linux's /proc), and signals that reach whom they are
//! meant for.

use std::fs;

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitOptions},
};
use serde::{Deserialize, Serialize};

/// A process, told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: u32,
    /// When it began, in ticks since the machine started.
    pub(super) start_ticks: u64,
}

/// The part of proc_pid_stat(5) that is needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) identity: Identity,
    /// It has ended, and its parent has not looked yet.
    pub(super) ended: bool,
    pub(super) parent: u32,
    /// The process that began its session.
    pub(super) session: u32,
    /// Processor time of itself.
    pub(super) own_ticks: u64,
    /// Processor time of those children whose end it has seen.
    pub(super) children_ticks: u64,
    pub(super) resident_pages: u64,
}

impl Stat {
    pub(super) fn of(pid: u32) -> Option<Stat> {
        parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// All processes that can be seen.
    pub(super) fn all() -> Vec<Stat> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Stat::of)
            .collect()
    }
}

fn parse(stat: &str) -> Option<Stat> {
    // The second field, the program's name, may hold anything, brackets and spaces too.
    let (pid, _) = stat.split_once(' ')?;
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        identity: Identity {
            pid: pid.parse().ok()?,
            start_ticks: field(22)?,
        },
        ended: matches!(*fields.first()?, "Z" | "X" | "x"),
        parent: u32::try_from(field(4)?).ok()?,
        session: u32::try_from(field(6)?).ok()?,
        own_ticks: field(14)?.saturating_add(field(15)?),
        children_ticks: field(16)?.saturating_add(field(17)?),
        resident_pages: field(24)?,
    })
}

impl Identity {
    pub(super) fn of(pid: u32) -> Option<Identity> {
        Some(Stat::of(pid)?.identity)
    }

    pub(super) fn is_alive(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.identity == self && !stat.ended)
    }

    /// Sends a signal; `false` if the process is gone.
    pub(super) fn send(self, signal: Signal) -> Result<bool, Errno> {
        let Some(pid) = pid(self.pid) else {
            return Ok(false);
        };
        let sent = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            // The handle stands for one process; whose it is, is sure once it is open.
            Ok(handle) if self.is_alive() => rustix::process::pidfd_send_signal(handle, signal),
            Ok(_) => return Ok(false),
            Err(Errno::NOSYS) if self.is_alive() => rustix::process::kill_process(pid, signal),
            Err(Errno::NOSYS) => return Ok(false),
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a signal to all processes of the group that it leads. `false` if it is gone.
    pub(super) fn send_to_group(self, signal: Signal) -> Result<bool, Errno> {
        let Some(pid) = pid(self.pid).filter(|_| self.is_alive()) else {
            return Ok(false);
        };
        match rustix::process::kill_process_group(pid, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes note of its end, if it was a child of ours: otherwise the kernel keeps its number.
    /// `true` once there is nothing left to take note of.
    pub(super) fn reap(self) -> bool {
        // Its number may be that of another child by now, whose end is not ours to see.
        let pid = pid(self.pid).filter(|_| Identity::of(self.pid) == Some(self));
        match pid {
            Some(pid) => !matches!(
                rustix::process::waitpid(Some(pid), WaitOptions::NOHANG),
                Ok(None) | Err(Errno::INTR)
            ),
            None => true,
        }
    }
}

fn pid(pid: u32) -> Option<Pid> {
    // 1 is the system's first process, which never belongs to a container.
    Pid::from_raw(i32::try_from(pid).ok().filter(|pid| *pid > 1)?)
}

/// How many processes and threads a user has, as the kernel counts them for RLIMIT_NPROC.
pub(super) fn tasks_of(user: u32) -> u64 {
    let statuses = Stat::all()
        .into_iter()
        .filter_map(|stat| fs::read_to_string(format!("/proc/{}/status", stat.identity.pid)).ok());
    statuses.map(|status| tasks_in(&status, user)).sum()
}

fn tasks_in(status: &str, user: u32) -> u64 {
    let field = |name: &str| {
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(name))?;
        value.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    // The first of its users is the real one, which counts.
    match field("Uid:") {
        Some(of) if of == u64::from(user) => field("Threads:").unwrap_or(1),
        _ => 0,
    }
}

/// Differs with each start of the machine; empty if the kernel doesn't tell.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The hard limit of real-time scheduling of a process, which serves as a [mark](super::members).
pub(super) fn mark_of(pid: u32) -> Option<u64> {
    parse_mark(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?)
}

fn parse_mark(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max realtime timeout"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_with_odd_names_are_understood() {
        let line = "42 (a) R ) S 7 42 43 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 12345 999 55 \
                    18446744073709551615 1 1";
        let stat = parse(line).unwrap();
        let identity = Identity {
            pid: 42,
            start_ticks: 12345,
        };
        assert_eq!(
            stat,
            Stat {
                identity,
                ended: false,
                parent: 7,
                session: 43,
                own_ticks: 30,
                children_ticks: 70,
                resident_pages: 55,
            }
        );
        let status = "Name:\tx\nUid:\t5\t0\t0\t0\nThreads:\t3\n";
        assert_eq!((tasks_in(status, 5), tasks_in(status, 0)), (3, 0));
        for garbage in ["", "42", "42 (x", "42 (x) S 1", "x (x) Z"] {
            assert_eq!(parse(garbage), None);
        }
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax realtime timeout   12   34   us\n";
        assert_eq!(parse_mark(limits), Some(34));
        assert_eq!(
            parse_mark("Max realtime timeout unlimited unlimited us"),
            None
        );
    }

    #[test]
    fn signals_don_t_reach_others() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        let other = Identity {
            start_ticks: me.start_ticks + 1,
            ..me
        };
        assert!(!other.is_alive());
        assert_eq!(other.send(Signal::KILL), Ok(false), "it would end the test");
        assert_eq!(other.send_to_group(Signal::KILL), Ok(false));
        let first = Identity::of(1).unwrap();
        assert_eq!(first.send(Signal::CONT), Ok(false));
        assert!(Stat::all().iter().any(|stat| stat.identity == me));
    }
}
