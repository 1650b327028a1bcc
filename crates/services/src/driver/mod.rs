//! Owns the cores and moves bytes between them, the control plane, other nodes, and programs.
//!
//! One write's way: face → [`objects`] → [`store`] → the control plane → [`mirror`] → a planner →
//! [`execute`] → [`objects`]…, until what is seen is what is wanted.

pub mod admission;
mod agent;
mod client;
mod controllers;
pub mod dns;
mod events;
mod eviction;
mod execute;
mod heartbeat;
mod image_status;
pub mod images;
mod lead;
mod logs;
mod meter;
mod mirror;
pub(crate) mod objects;
pub(crate) mod offers;
mod pipes;
mod scheduling;
mod shelves;
pub(crate) mod store;
mod streams;
mod traffic;

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use atoll_base::id::NodeId;
use atoll_control::{api::ControlApi, face::Guest};
use atoll_world::{
    machine::Facts,
    peers::Peers,
    pod_network::BRIDGE_PREFIX,
    workload::{Cgroups, Launcher},
};
use ipnet::Ipv4Net;
use tokio::sync::watch;

use self::{
    agent::{
        Machine,
        process::{Around, NetworkSetup, Process, Resolver},
        registration::OwnNode,
        runtime::Runtime,
    },
    events::Events,
    execute::Executor,
    heartbeat::{Ear, Heard, Heart, Names},
    images::{Images, Shelf},
    lead::Lead,
    logs::Everywhere,
    meter::Meters,
    mirror::Mirror,
    objects::{Objects, Writer},
    offers::{Offers, counter::Hatch},
};
pub use self::{
    agent::{
        registration::SimulatedSize,
        simulated::{Habits, Observer, Ran, Simulated},
    },
    client::{Client, List},
};
use crate::{
    api::{Doors, Traffic},
    core::scheduler,
    face::{self, Api},
};

/// What this node's part of services is made of.
pub struct Setup<C> {
    /// The control plane.
    pub control: C,
    /// The links to the other nodes.
    pub peers: Arc<dyn Peers>,
    /// This node.
    pub node: NodeId,
    /// The name that its Node is to have: a DNS-1123 subdomain.
    pub name: String,
    /// Where it is reached, as an IP address.
    pub address: String,
    /// Where its gateway listens.
    pub doors: Doors,
    /// From where Services get addresses and ports.
    pub addresses: admission::Settings,
    /// Where names of Services are resolved; none: they are not.
    pub dns: Option<dns::Settings>,
    /// How pods are run here; none: they are not.
    pub pods: Option<PodSetup>,
    /// Nodes beside this one whose pods are simulated.
    pub fleet: Option<Fleet>,
}

/// Nodes that are there in the API alone: whatever is bound to them is reported as if it ran.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// How many.
    pub nodes: usize,
    /// Each of them.
    pub size: SimulatedSize,
    /// The machine that the nodes are said to be like.
    pub facts: Facts,
    /// The version of this program.
    pub version: String,
}

/// How pods are run.
pub struct PodSetup {
    /// The folder for what belongs to pods, which nobody else uses.
    pub folder: PathBuf,
    /// What is known of the machine. Nodes of one machine, which its name tells, share its ports.
    pub facts: Facts,
    /// The version of this program.
    pub version: String,
    /// What runs them.
    pub runtime: RuntimeSetup,
}

/// What runs pods.
pub enum RuntimeSetup {
    /// Containers are processes of the machine.
    Machine {
        /// The file by which programs know how long they may run.
        lease: PathBuf,
        /// How a shim is started.
        launcher: Launcher,
        /// Where control groups can be made.
        cgroups: Cgroups,
        /// The images of this node.
        images: Images,
    },
    /// Nothing runs, and is reported as if.
    Simulated(Simulated),
}

/// What runs at this node.
pub struct Services<C> {
    /// The Kubernetes API.
    pub api: Api<C>,
    /// The same objects, for programs of this process.
    pub client: Client<C>,
    /// What a gateway has to know, as it changes.
    pub traffic: watch::Receiver<Arc<Traffic>>,
    /// Offers to frameworks, for the control plane's listener.
    pub offers: Guest,
}

/// Starts this node's part of services, which runs as long as the node does.
pub fn start<C: ControlApi>(mut setup: Setup<C>) -> Services<C> {
    match setup.pods.take() {
        None => start_with::<C, Process>(setup, None, None),
        Some(pods) => match pods.runtime {
            RuntimeSetup::Machine {
                lease,
                launcher,
                cgroups,
                images,
            } => {
                let shortcoming = cgroups.shortcoming().unwrap_or_default();
                let machine = machine(&setup, pods.facts, (pods.version, shortcoming));
                let around = Around {
                    images: images.clone(),
                    resolver: resolver(&setup),
                    network: network(&setup),
                };
                let folder = pods.folder.clone();
                let runtime = Process::new(pods.folder, lease, launcher, cgroups, around);
                let shelf = Shelf::new(images, runtime.used_images());
                shelf.keep_room(folder);
                start_with(setup, Some((machine, runtime)), Some(shelf))
            }
            RuntimeSetup::Simulated(runtime) => {
                let machine = machine(&setup, pods.facts, (pods.version, String::new()));
                start_with(setup, Some((machine, runtime)), None)
            }
        },
    }
}

/// How names are resolved in containers: resolvers ask on one port only.
fn resolver<C>(setup: &Setup<C>) -> Resolver {
    const PORT: u16 = 53;
    let dns = setup.dns.as_ref();
    let server = dns.filter(|dns| dns.address.port() == PORT);
    Resolver {
        zone: dns.map_or_else(String::new, |dns| dns.zone.text()),
        server: server.map(|dns| dns.address.ip()),
    }
}

/// What the bridge of a node is called.
pub fn bridge(node: NodeId) -> String {
    /// The kernel takes names of at most 15 bytes.
    const ID_MASK: u64 = (1 << 48) - 1;
    format!("{BRIDGE_PREFIX}{:012x}", node.0 & ID_MASK)
}

/// The network of pods with addresses of their own. They reach Services, and their names.
fn network<C>(setup: &Setup<C>) -> NetworkSetup {
    let services = Ipv4Net::new(setup.addresses.network, setup.addresses.prefix_bits);
    let names = setup.dns.as_ref().and_then(|dns| match dns.address.ip() {
        IpAddr::V4(address) => Some(Ipv4Net::from(address)),
        IpAddr::V6(_) => None,
    });
    let mut reached = services.into_iter().collect::<Vec<_>>();
    reached.extend(names.filter(|it| !reached.iter().any(|net| net.contains(it))));
    reached.retain(|net| net.addr().is_loopback());
    NetworkSetup {
        bridge: bridge(setup.node),
        all: setup.addresses.pods.all(),
        loopback: reached,
    }
}

/// The machine, with the program's version, and what can't be limited.
fn machine<C>(setup: &Setup<C>, facts: Facts, told: (String, String)) -> Machine {
    let (name, address) = (setup.name.clone(), setup.address.clone());
    Machine::of(setup.node, name, address, facts, told, setup.doors)
}

/// The nodes of a fleet.
fn simulated<C>(setup: &Setup<C>, fleet: &Fleet) -> Vec<(Machine, Simulated)> {
    let told = (fleet.version.clone(), String::new());
    let like = machine(setup, fleet.facts.clone(), told);
    let numbers = 1..=fleet.nodes.min(heartbeat::TOLD_MAX);
    let node = |number| (like.simulated(number, &fleet.size), Simulated::default());
    numbers.map(node).collect()
}

fn start_with<C: ControlApi, R: Runtime>(
    setup: Setup<C>,
    pods: Option<(Machine, R)>,
    shelf: Option<Shelf>,
) -> Services<C> {
    let fleet = setup.fleet.as_ref().map(|fleet| simulated(&setup, fleet));
    let objects = Objects::new(setup.control.clone(), setup.addresses);
    let mirror = Mirror::start(objects.store.clone());
    let executor = Executor {
        events: Events::new(objects.clone(), &setup.name),
        objects: objects.clone(),
        writer: Writer::own("atoll"),
    };
    let heard = Heard::default();
    let hatch = Hatch::default();
    let ear = Ear {
        control: setup.control.clone(),
        mirror: mirror.clone(),
        node: setup.node,
        heard: heard.clone(),
    };
    heartbeat::listen(&setup.peers, ear.clone());
    let heart = || Heart {
        peers: setup.peers.clone(),
        ear: ear.clone(),
        names: Names::default(),
    };
    if let Some(nodes) = fleet {
        agent::start(mirror.clone(), executor.clone(), heart(), nodes);
    }
    let runtime = pods.map(|(machine, runtime)| {
        let nodes = vec![(machine, runtime.clone())];
        agent::start(mirror.clone(), executor.clone(), heart(), nodes);
        runtime
    });
    let own = OwnNode::new(&setup.name, setup.node);
    let traffic = traffic::follow(mirror.clone(), own.clone());
    if let Some(settings) = setup.dns {
        dns::start(mirror.clone(), settings);
    }
    let (peers, node) = (setup.peers, setup.node);
    let meters = Meters::start(runtime.clone(), mirror.clone(), peers.clone(), node);
    Lead {
        node: setup.node,
        mirror: mirror.clone(),
        executor: executor.clone(),
        heard,
        meter: meters.clone(),
        scheduling: scheduler::Settings::default(),
        hatch: hatch.clone(),
    }
    .start();
    let sessions = streams::Everywhere::new(runtime.clone(), mirror.clone(), peers.clone(), node);
    if let Some(shelf) = shelf.clone() {
        image_status::follow(shelf, mirror.clone(), objects.clone(), own);
    }
    let shelves = shelves::Everywhere::new(shelf, mirror.clone(), peers.clone(), node);
    let logs = Everywhere::new(runtime, mirror, peers.clone(), node);
    let offers = Offers::new(setup.control.clone(), peers, node, hatch);
    let offers = face::offers::guest(setup.control, offers);
    Services {
        client: Client::new(objects.clone()),
        api: Api::new(
            objects,
            Arc::new(logs),
            Arc::new(sessions),
            Arc::new(meters),
            Arc::new(shelves),
            offers.clone(),
        ),
        traffic,
        offers,
    }
}
