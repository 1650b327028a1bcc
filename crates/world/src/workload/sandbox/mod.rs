//! Programs apart from the machine: in namespaces of their own, on the layers of an image.
//!
//! The shim makes ready all that can be made before the new process is ([`Stage`]): folders are
//! opened, volumes are cloned as mounts that nobody sees yet, devices are made. The new process
//! then takes the few steps that only it can, from fork to exec, without asking for memory. What
//! is mounted inside is mounted after the root was changed, so that no link of an image leads to
//! a place of the machine. Invariants:
//! - the first program is the first process of its process namespace: with its end, all that it
//!   started ends;
//! - what is changed in the root goes to the workload's own folder and nowhere else;
//! - nobody inside gets a capability that is not asked for, whatever user it runs as.
//!
//! There is no user namespace: it takes root to make a sandbox, and root inside is root, without
//! most of its capabilities (capabilities(7)) and behind masks over what belongs to the machine in
//! `/proc` and `/sys` (as the OCI runtime specification's defaults have it). Programs that are run
//! beside the first one ([`Inside`]) join its namespaces.

mod capabilities;
mod devices;
mod inside;
mod stage;
mod users;
mod volumes;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::capabilities::{CAPABILITIES, USUAL};
pub(super) use self::{
    capabilities::Kept,
    inside::{Apart, Inside},
    stage::{Stage, part_name},
};
use super::Spec;

/// A sandbox has no more mounts.
pub const MOUNTS_MAX: usize = 128;
/// A layer of overlayfs more than that is refused by the kernel.
pub const LAYERS_MAX: usize = 500;
/// So much can be kept in `/dev/shm`, unless the spec says otherwise: what Docker allows.
pub const SHM_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The longest host name that the kernel takes, in bytes.
const HOST_NAME_BYTES_MAX: usize = 64;

/// What a program sees in place of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The folders of its image's layers, the lowest first.
    pub layers: Vec<PathBuf>,
    /// A folder of its own, where what it changes of them is kept; made if it is not there.
    pub folder: PathBuf,
    /// What it is called inside.
    pub host_name: String,
    /// The file of a network namespace; the machine's network if there is none.
    #[serde(default)]
    pub network: Option<PathBuf>,
    /// What is mounted inside, in this order.
    #[serde(default)]
    pub mounts: Vec<MountSpec>,
    /// Nothing can be changed but in what is mounted.
    #[serde(default)]
    pub read_only: bool,
    /// Whom it runs as if the spec names no user: `USER[:GROUP]`, names of the image's own
    /// `passwd` and `group` or numbers; root if it is empty.
    #[serde(default)]
    pub user: String,
    /// It is not started as root.
    #[serde(default)]
    pub not_root: bool,
    /// What it may do beside a plain user: names of [`CAPABILITIES`].
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// It sees `/proc` and `/sys` whole, and may change what the machine's root may.
    #[serde(default)]
    pub is_privileged: bool,
    /// How much can be kept in `/dev/shm`, in bytes.
    #[serde(default = "default_shm_bytes_max")]
    pub shm_bytes_max: u64,
}

/// Something of the machine that is seen inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// A folder or file of the machine.
    pub source: PathBuf,
    /// A place below it, where no link leads out of it; made as a folder if it is not there.
    #[serde(default)]
    pub sub_path: Option<PathBuf>,
    /// Where it is inside; made if it is not there.
    pub target: PathBuf,
    /// Nothing there can be changed.
    #[serde(default)]
    pub read_only: bool,
}

fn default_shm_bytes_max() -> u64 {
    SHM_BYTES_MAX
}

impl SandboxSpec {
    /// An image's layers with nothing mounted on them, and what is usually permitted.
    pub fn new(layers: Vec<PathBuf>, folder: PathBuf) -> Self {
        SandboxSpec {
            layers,
            folder,
            host_name: "sandbox".to_owned(),
            network: None,
            mounts: Vec::new(),
            read_only: false,
            user: String::new(),
            not_root: false,
            capabilities: USUAL.map(str::to_owned).to_vec(),
            is_privileged: false,
            shm_bytes_max: SHM_BYTES_MAX,
        }
    }

    /// What is wrong with it, if something is.
    pub(super) fn check(&self) -> Result<(), String> {
        let whole = |path: &PathBuf| path.is_absolute();
        let sources = self.mounts.iter().map(|mount| &mount.source);
        let targets = self.mounts.iter().map(|mount| &mount.target);
        let network = self.network.iter();
        let mut paths = self
            .layers
            .iter()
            .chain(sources)
            .chain(targets)
            .chain(network);
        if let Some(path) = paths.find(|path| !whole(path)) {
            return Err(format!("{} is not absolute", path.display()));
        }
        if !whole(&self.folder) {
            return Err(format!("{} is not absolute", self.folder.display()));
        }
        if self.mounts.len() > MOUNTS_MAX {
            return Err(format!("there are more than {MOUNTS_MAX} mounts"));
        }
        if self.layers.len() > LAYERS_MAX {
            return Err(format!("there are more than {LAYERS_MAX} layers"));
        }
        let name = self.host_name.as_bytes();
        if name.is_empty() || name.len() > HOST_NAME_BYTES_MAX || name.contains(&0) {
            return Err(format!("{:?} can't be a host name", self.host_name));
        }
        Kept::of(self).map(drop)
    }
}

/// Says whom the program of a sandbox runs as, and where that one is at home, as its image has it.
///
/// # Errors
/// Nobody is called so there; or it would be root, and must not be.
pub(super) fn resolve(spec: &mut Spec) -> Result<(), String> {
    let Some(sandbox) = &spec.sandbox else {
        return Ok(());
    };
    let asked = users::Asked {
        name: &sandbox.user,
        user: spec.user,
        group: spec.group,
    };
    let found = users::find(&sandbox.layers, &asked)?;
    if sandbox.not_root && found.user == 0 {
        return Err("container has runAsNonRoot and image will run as root".to_owned());
    }
    spec.user = Some(found.user);
    spec.group = Some(found.group);
    spec.groups.extend(found.groups);
    if spec.env("HOME").is_none() {
        spec.env.push(("HOME".to_owned(), found.home));
    }
    Ok(())
}
