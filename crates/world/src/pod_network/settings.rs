//! The kernel's settings of interfaces, files in `/proc/sys/net`: those of the calling thread's
//! network namespace.

use std::{fs, io, path::PathBuf};

use super::NetworkError;

/// Sets one of IPv4, of an interface. What it is already is not written, so that it works where
/// somebody else has set it and the files can only be read.
pub(super) fn set_ipv4(interface: &str, setting: &str, value: &str) -> Result<(), NetworkError> {
    set(&format!("ipv4/conf/{interface}/{setting}"), value)
}

/// Switches IPv6 off for an interface, or with `default` for those that are made later; fine where
/// there is no IPv6.
pub(super) fn disable_ipv6(interface: &str) -> Result<(), NetworkError> {
    let setting = format!("ipv6/conf/{interface}/disable_ipv6");
    match path(&setting).exists() {
        true => set(&setting, "1"),
        false => Ok(()),
    }
}

fn path(setting: &str) -> PathBuf {
    // This thread's, which may be in another namespace than the process's first one is.
    PathBuf::from("/proc/sys/net").join(setting)
}

fn set(setting: &str, value: &str) -> Result<(), NetworkError> {
    let path = path(setting);
    let failed = |error: io::Error| {
        let operation = format!("set net/{setting} to {value}");
        NetworkError::system(operation)(error)
    };
    if fs::read_to_string(&path).map_err(failed)?.trim() == value {
        return Ok(());
    }
    fs::write(&path, value).map_err(failed)
}
