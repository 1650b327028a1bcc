//! Machines of tests, and who listens there.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use ipnet::Ipv4Net;
use netlink_packet_route::route::RouteProtocol;
use rustix::{
    mount::{MountPropagationFlags, mount_change},
    thread::{CapabilitySet, UnshareFlags},
};

use super::WAIT;
use crate::pod_network::{
    PodNetwork, Setup,
    kernel::{Address, Kernel, MAIN_TABLE, Route},
    namespace,
};

/// A machine with nothing but its loopback.
pub(super) struct Machine {
    folder: tempfile::TempDir,
}

/// Does a test on a machine of its own: a thread with namespaces of its own, for networks, and for
/// the mounts that keep them.
pub(super) fn on_machine(test: impl FnOnce(&Machine) + Send) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("passed over: networks of pods need root");
        return;
    }
    let done = thread::scope(|scope| scope.spawn(|| test(&Machine::enter())).join());
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
}

impl Machine {
    fn enter() -> Machine {
        namespace::leave_network().unwrap();
        #[allow(unsafe_code, reason = "it is unsafe for file tables only")]
        // SAFETY: descriptors are not among what is no longer shared.
        unsafe {
            rustix::thread::unshare_unsafe(UnshareFlags::NEWNS).unwrap();
        }
        let apart = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", apart).unwrap();
        let mut kernel = Kernel::open().unwrap();
        let loopback = kernel.link("lo").unwrap().unwrap();
        kernel.set_up(&loopback).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Machine { folder }
    }

    pub(super) fn setup(&self, bridge: &str, range: &str) -> Setup {
        Setup {
            bridge: bridge.to_owned(),
            range: net(range),
            loopback: vec![net("127.64.0.0/12")],
            cluster: net("10.9.0.0/16"),
        }
    }

    /// The network of its node.
    pub(super) fn open(&self, range: &str) -> PodNetwork {
        PodNetwork::open(self.setup("pods", range)).unwrap()
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file of a pod that is there now.
    pub(super) fn join(&self, network: &PodNetwork, name: &str, address: &str) -> PathBuf {
        let file = self.file(name);
        network.join(&file, name, address.parse().unwrap()).unwrap();
        file
    }

    /// Somebody who listens in a pod.
    pub(super) fn listen(&self, pod: &Path, at: &str) -> TcpListener {
        inside(pod, || TcpListener::bind(at)).unwrap()
    }

    /// A connection from the machine.
    pub(super) fn connect(&self, to: &str) -> io::Result<TcpStream> {
        TcpStream::connect_timeout(&to.parse().unwrap(), WAIT)
    }

    /// The names of its interfaces, in order.
    pub(super) fn links(&self) -> Vec<String> {
        let links = Kernel::open().unwrap().links().unwrap();
        links.into_iter().map(|link| link.name).collect()
    }

    /// Its routes that were set: where to, and over whom.
    pub(super) fn routes(&self) -> Vec<(Ipv4Net, Ipv4Addr)> {
        let routes = Kernel::open().unwrap().routes().unwrap();
        let set = routes
            .iter()
            .filter_map(|route| Some((route.to, route.via?)));
        set.collect()
    }

    /// Another machine, 192.168.7.2, in a network with this one, 192.168.7.1: a namespace that
    /// knows no way back to pods.
    pub(super) fn neighbour(&self) -> PathBuf {
        let file = self.file("neighbour");
        let namespace = namespace::make(&file).unwrap();
        let mut kernel = Kernel::open().unwrap();
        kernel.add_bridge("wan", [2, 0, 0, 0, 0, 1]).unwrap();
        let wan = give(&mut kernel, "wan", "192.168.7.1/24");
        let other = ("wan", namespace.as_fd());
        kernel
            .add_pair(("wan0", wan), other, [2, 0, 0, 0, 0, 2])
            .unwrap();
        inside(&file, || {
            let mut kernel = Kernel::open().unwrap();
            give(&mut kernel, "lo", "127.0.0.1/8");
            give(&mut kernel, "wan", "192.168.7.2/24");
        });
        file
    }

    /// Sets a route by hand.
    pub(super) fn route(&self, to: &str, via: &str) {
        route(MAIN_TABLE, to, via);
    }
}

/// Sets a route by hand where the calling thread is.
pub(super) fn route(table: u8, to: &str, via: &str) {
    let route = Route {
        table,
        to: net(to),
        via: Some(via.parse().unwrap()),
        index: None,
        protocol: RouteProtocol::Static,
        metric: 0,
    };
    Kernel::open().unwrap().set_route(&route).unwrap();
}

/// Has no address be the loopback's own where the calling thread is.
pub(super) fn take_loopback() {
    let mut kernel = Kernel::open().unwrap();
    let index = kernel.link("lo").unwrap().unwrap().index;
    for address in kernel.addresses().unwrap() {
        if address.index == index {
            kernel.remove_address(address).unwrap();
        }
    }
}

/// Gives an interface an address, and switches it on.
fn give(kernel: &mut Kernel, name: &str, address: &str) -> u32 {
    let link = kernel.link(name).unwrap().unwrap();
    let (index, net) = (link.index, net(address));
    kernel.add_address(Address { index, net }).unwrap();
    kernel.set_up(&link).unwrap();
    index
}

/// A program in a pod that does nothing, and ends with its test.
pub(super) struct Program(pub(super) Child);

impl Program {
    pub(super) fn start(pod: &Path) -> Program {
        let mut command = Command::new("sleep");
        command
            .arg("1000")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Program(inside(pod, || command.spawn().unwrap()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Does something in a pod.
pub(super) fn inside<T: Send>(pod: &Path, work: impl FnOnce() -> T + Send) -> T {
    namespace::within(&File::open(pod).unwrap(), work).unwrap()
}

pub(super) fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

pub(super) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Whether what one end says comes out at the other, which says whom it sees.
pub(super) fn assert_talk(mut client: &TcpStream, listener: &TcpListener) -> SocketAddr {
    let (mut server, from) = listener.accept().unwrap();
    server.set_read_timeout(Some(WAIT)).unwrap();
    client.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    from
}

/// A setting of the kernel, of an interface.
pub(super) fn setting(interface: &str, setting: &str) -> String {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/{setting}");
    fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Has the calling thread be one that may do nothing to networks.
pub(super) fn give_up_network() {
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::NET_ADMIN);
    rustix::thread::set_capabilities(None, sets).unwrap();
}
