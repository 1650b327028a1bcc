//! What can be wrong with the network of pods.

use std::{io, net::Ipv4Addr, path::Path};

use ipnet::Ipv4Net;
use rustix::io::Errno;

/// Why something could not be done for the network of pods.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The process may not.
    #[error(
        "can't {operation}: {source}; networks of pods need a node that runs as root, with the \
         capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN, and with a /proc/sys that it can write to"
    )]
    Denied {
        /// What was tried.
        operation: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has no such thing.
    #[error("can't {operation}: {source}; the kernel needs its modules {modules} for it")]
    Unsupported {
        /// What was tried.
        operation: String,
        /// What it takes.
        modules: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else has addresses of the range.
    #[error(
        "the range {range} of this node's pods is in use on this machine: {by}; set \
         services.pod_network to a range that is free in all of the network"
    )]
    Taken {
        /// The range that was to be used.
        range: Ipv4Net,
        /// What has it.
        by: String,
    },
    /// The range can't be changed now.
    #[error(
        "the bridge {bridge} has {pods} pods with addresses of {before}, and can get the range \
         {range} only when they have ended"
    )]
    Attached {
        /// The bridge.
        bridge: String,
        /// How many pods there are.
        pods: usize,
        /// Its range.
        before: Ipv4Net,
        /// The range that it was to have.
        range: Ipv4Net,
    },
    /// There is an interface of the bridge's name that is none.
    #[error("the interface {0} is there and is not a bridge; remove it, or rename it")]
    NotABridge(String),
    /// Another machine is no neighbour.
    #[error(
        "the machine {machine} is not in a network that this machine is in, so that no route to \
         its pods {range} can be set; routers between need one"
    )]
    NotDirect {
        /// The range of its pods.
        range: Ipv4Net,
        /// Its address.
        machine: Ipv4Addr,
    },
    /// What was asked for can't be.
    #[error("{0}")]
    Invalid(String),
    /// The operating system said no.
    #[error("can't {operation}: {source}")]
    System {
        /// What was tried.
        operation: String,
        /// What it said.
        source: io::Error,
    },
}

impl NetworkError {
    /// What became of something that needs modules of the kernel.
    pub(super) fn of(
        operation: impl Into<String>,
        modules: &'static str,
    ) -> impl FnOnce(io::Error) -> NetworkError {
        let operation = operation.into();
        move |source| match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::PERM | Errno::ACCESS | Errno::ROFS) => {
                NetworkError::Denied { operation, source }
            }
            Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::NOENT)
                if !modules.is_empty() =>
            {
                NetworkError::Unsupported {
                    operation,
                    modules,
                    source,
                }
            }
            _ => NetworkError::System { operation, source },
        }
    }

    /// What became of something that every kernel can.
    pub(super) fn system(operation: impl Into<String>) -> impl FnOnce(io::Error) -> NetworkError {
        NetworkError::of(operation, "")
    }

    /// What became of a file.
    pub(super) fn file(operation: &str, file: &Path) -> impl FnOnce(io::Error) -> NetworkError {
        NetworkError::system(format!("{operation} {}", file.display()))
    }
}
