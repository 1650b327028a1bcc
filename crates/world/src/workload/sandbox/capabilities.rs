//! What a program may do beside a plain user (capabilities(7)). All others are taken from the
//! bounding set, so that not even root or a set-user-id program has them.

use rustix::{io::Errno, thread::CapabilitySet};

use super::SandboxSpec;

/// Every capability there is (Linux 5.9), without `CAP_`, by its number.
pub const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// What containers have where nobody says otherwise: Docker's, without `NET_RAW` (with which one
/// can pretend to be another pod) and `MKNOD` (devices can't be used anyhow).
pub const USUAL: [&str; 12] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "AUDIT_WRITE",
    "SETFCAP",
];

/// What the programs of a sandbox keep.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Kept(CapabilitySet);

impl Kept {
    /// What a sandbox permits.
    ///
    /// # Errors
    /// It names something that is no capability.
    pub(in super::super) fn of(sandbox: &SandboxSpec) -> Result<Kept, String> {
        let mut bits = 0;
        for name in &sandbox.capabilities {
            let number = CAPABILITIES.iter().position(|known| known == name);
            let number = number.ok_or_else(|| format!("{name:?} is no capability"))?;
            bits |= 1_u64 << number;
        }
        Ok(Kept(CapabilitySet::from_bits_retain(bits)))
    }

    /// Takes all others from the calling thread and what it will run. Asks for no memory.
    pub(in super::super) fn give_up(self) -> Result<(), Errno> {
        for number in 0..CAPABILITIES.len() {
            let one = CapabilitySet::from_bits_retain(1 << number);
            if self.0.contains(one) {
                continue;
            }
            match rustix::thread::remove_capability_from_bounding_set(one) {
                // An older kernel does not know it.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}
