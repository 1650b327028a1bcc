//! A sandbox that is made ready, and the steps of the new process into it. None of those asks for
//! memory: what they need was made before.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::{DupFlags, Errno},
    mount::{MountFlags, MountPropagationFlags, UnmountFlags},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space},
};

use super::{
    Kept, SandboxSpec,
    devices::Devices,
    volumes::{Place, Volume, attach, make_folder},
};

/// Of the kernel's own file systems, what belongs to the machine can be read and not changed
/// (OCI runtime specification, `readonlyPaths`, as Docker and containerd fill it).
const READ_ONLY: [&CStr; 5] = [
    c"/proc/bus",
    c"/proc/fs",
    c"/proc/irq",
    c"/proc/sys",
    c"/proc/sysrq-trigger",
];
/// Files of it that can't even be read (`maskedPaths`).
const MASKED_FILES: [&CStr; 6] = [
    c"/proc/interrupts",
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/latency_stats",
    c"/proc/sched_debug",
    c"/proc/timer_list",
];
/// The same, folders.
const MASKED_FOLDERS: [&CStr; 5] = [
    c"/proc/acpi",
    c"/proc/asound",
    c"/proc/scsi",
    c"/sys/devices/virtual/powercap",
    c"/sys/firmware",
];
const CLOSED: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The steps that can fail, so that it can be told which one did.
#[derive(Clone, Copy)]
enum Part {
    Network,
    Namespaces,
    HostName,
    Private,
    Layers,
    Root,
    Devices,
    Kernel,
    Masks,
    Directory,
    ReadOnly,
    Capabilities,
}

const PARTS: [&str; 12] = [
    "join the network of its pod",
    "make namespaces",
    "set its host name",
    "leave the machine's mounts",
    "mount the layers of its image",
    "change its root",
    "mount its devices",
    "mount /proc and /sys",
    "mask /proc and /sys",
    "make its directory",
    "make its root read-only",
    "give up capabilities",
];

/// What a step is called that a new process told of; a number from that of the parts on stands
/// for a mount.
pub(in super::super) fn part_name(number: u8, sandbox: Option<&SandboxSpec>) -> String {
    let number = usize::from(number);
    match PARTS.get(number) {
        Some(part) => (*part).to_owned(),
        None => {
            let mount = sandbox.and_then(|it| it.mounts.get(number - PARTS.len()));
            let target = mount.map_or(Path::new(""), |mount| mount.target.as_path());
            format!("mount {}", target.display())
        }
    }
}

/// What a new process needs to enter a sandbox that is not there yet.
#[derive(Debug)]
pub(in super::super) struct Stage {
    network: Option<File>,
    host_name: Vec<u8>,
    root: CString,
    layers: CString,
    /// What is named in `layers`, by its number.
    opened: Vec<(CString, OwnedFd)>,
    devices: Devices,
    volumes: Vec<Volume>,
    cwd: Place,
    is_read_only: bool,
    is_masked: bool,
    kept: Kept,
}

impl Stage {
    /// Makes ready what can be made before the process is.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(in super::super) fn new(sandbox: &SandboxSpec, cwd: &Path) -> Result<Stage, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("containers of images need a node that runs as root".to_owned());
        }
        let told = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let (layers, opened) = layers(sandbox).map_err(told("its layers can't be opened"))?;
        let root = sandbox.folder.join("root");
        let network = sandbox.network.as_ref().map(File::open).transpose();
        let volumes = sandbox.mounts.iter().map(Volume::open);
        Ok(Stage {
            network: network.map_err(told("the network of its pod is not there"))?,
            host_name: sandbox.host_name.clone().into_bytes(),
            root: c_path(&root).map_err(told("its root"))?,
            layers,
            opened,
            devices: Devices::make(sandbox.shm_bytes_max)
                .map_err(told("its devices can't be made"))?,
            volumes: volumes.collect::<Result<_, _>>()?,
            cwd: Place::new(cwd)?,
            is_read_only: sandbox.read_only,
            is_masked: !sandbox.is_privileged,
            kept: Kept::of(sandbox)?,
        })
    }

    /// Has the calling process enter it. If a step fails: which, as [`part_name`] knows it.
    pub(in super::super) fn enter(&mut self) -> Result<(), (u8, Errno)> {
        let step = |part: Part, done: Result<(), Errno>| done.map_err(|errno| (part as u8, errno));
        if let Some(network) = &self.network {
            let joined =
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network));
            step(Part::Network, joined)?;
        }
        rustix::process::umask(Mode::from_raw_mode(0o022));
        #[allow(unsafe_code, reason = "it is unsafe for file tables only")]
        // SAFETY: descriptors are not among what is no longer shared.
        let unshared = unsafe {
            rustix::thread::unshare_unsafe(
                UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS,
            )
        };
        step(Part::Namespaces, unshared)?;
        step(Part::HostName, rustix::system::sethostname(&self.host_name))?;
        let apart = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        step(Part::Private, rustix::mount::mount_change(c"/", apart))?;
        step(Part::Layers, self.mount_layers())?;
        step(Part::Root, self.change_root())?;
        step(Part::Devices, self.mount_devices())?;
        step(Part::Kernel, mount_kernel(self.is_masked))?;
        if self.is_masked {
            step(Part::Masks, mask())?;
        }
        for (number, volume) in self.volumes.iter().enumerate() {
            let number = u8::try_from(PARTS.len() + number).unwrap_or(u8::MAX);
            volume.attach().map_err(|errno| (number, errno))?;
        }
        step(Part::Directory, self.cwd.make())?;
        if self.is_read_only {
            let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV;
            step(
                Part::ReadOnly,
                rustix::mount::mount_remount(c"/", flags, c""),
            )?;
        }
        step(Part::Capabilities, self.kept.give_up())
    }

    fn mount_layers(&mut self) -> Result<(), Errno> {
        // The kernel takes folders of this mount namespace only, and it is a new one.
        for (path, number) in &mut self.opened {
            let folder = rustix::fs::open(&**path, FOLDER, Mode::empty())?;
            rustix::io::dup3(&folder, number, DupFlags::CLOEXEC)?;
        }
        // No device of an image is one.
        let flags = MountFlags::NODEV;
        rustix::mount::mount(c"overlay", &*self.root, c"overlay", flags, &*self.layers)
    }

    /// The new root is put over the old one, which is then let go (pivot_root(2), Notes).
    fn change_root(&self) -> Result<(), Errno> {
        rustix::process::chdir(&*self.root)?;
        rustix::process::pivot_root(c".", c".")?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        rustix::process::chdir(c"/")
    }

    fn mount_devices(&self) -> Result<(), Errno> {
        let Devices { dev, pts, shm } = &self.devices;
        for (tree, at) in [(dev, c"/dev"), (pts, c"/dev/pts"), (shm, c"/dev/shm")] {
            make_folder(at)?;
            attach(tree.as_fd(), at)?;
        }
        rustix::mount::mount(c"mqueue", c"/dev/mqueue", c"mqueue", CLOSED, None)
    }
}

fn mount_kernel(is_masked: bool) -> Result<(), Errno> {
    make_folder(c"/proc")?;
    rustix::mount::mount(c"proc", c"/proc", c"proc", CLOSED, None)?;
    make_folder(c"/sys")?;
    let flags = match is_masked {
        true => CLOSED | MountFlags::RDONLY,
        false => CLOSED,
    };
    rustix::mount::mount(c"sysfs", c"/sys", c"sysfs", flags, None)
}

fn mask() -> Result<(), Errno> {
    let closed = CLOSED | MountFlags::BIND | MountFlags::RDONLY;
    for path in READ_ONLY {
        match rustix::mount::mount_bind_recursive(path, path) {
            Ok(()) => rustix::mount::mount_remount(path, closed, c"")?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    for path in MASKED_FILES {
        match rustix::mount::mount_bind(c"/dev/null", path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    for path in MASKED_FOLDERS {
        let flags = CLOSED | MountFlags::RDONLY;
        match rustix::mount::mount(c"tmpfs", path, c"tmpfs", flags, None) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The options of overlayfs, and what they name: folders by their descriptors, since a page has
/// to hold them all.
fn layers(sandbox: &SandboxSpec) -> io::Result<(CString, Vec<(CString, OwnedFd)>)> {
    let make = |name: &str| -> io::Result<PathBuf> {
        let path = sandbox.folder.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    };
    let (upper, work, _root) = (make("upper")?, make("work")?, make("root")?);
    let mut lower: Vec<PathBuf> = sandbox.layers.iter().rev().cloned().collect();
    if lower.is_empty() {
        lower.push(make("empty")?);
    }
    let mut opened = Vec::new();
    let mut open = |path: &PathBuf| -> io::Result<String> {
        let folder = rustix::fs::open(path, FOLDER, Mode::empty())?;
        let name = format!("/proc/self/fd/{}", folder.as_raw_fd());
        opened.push((c_path(path)?, folder));
        Ok(name)
    };
    let names = lower
        .iter()
        .map(&mut open)
        .collect::<io::Result<Vec<_>>>()?;
    let (upper, work) = (open(&upper)?, open(&work)?);
    let lower = names.join(":");
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let options = CString::new(options).map_err(io::Error::from)?;
    Ok((options, opened))
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}
