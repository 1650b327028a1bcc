//! Services and their endpoints, as names need them. An object that changes costs what it is, and
//! not what all are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use hickory_proto::rr::Name;
use serde_json::Value;

use crate::core::{
    kinds::{self, Kind},
    object,
};

/// The label by which a slice says whose it is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The longest label of a name, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// What has a name: Services, and their endpoints.
#[derive(Debug, Default)]
pub struct Index {
    /// By namespace and name.
    services: BTreeMap<(String, String), Entry>,
    /// Who has an address.
    addresses: BTreeMap<IpAddr, BTreeSet<Holder>>,
    /// How many changes there were.
    changes: u32,
}

/// A Service has an address itself, or by a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder {
    pub(super) namespace: String,
    pub(super) service: String,
    /// Empty: itself.
    slice: String,
}

/// What is known of a Service: of slices without one, too, since either may come first.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) service: Option<Service>,
    slices: BTreeMap<String, Slice>,
}

#[derive(Debug)]
pub(super) struct Service {
    pub(super) at: At,
    pub(super) ports: Vec<Port>,
    publishes_all: bool,
}

/// Where a Service is.
#[derive(Debug)]
pub(super) enum At {
    /// At addresses of its own.
    Addresses(Vec<IpAddr>),
    /// Where its endpoints are.
    Endpoints,
    /// At another name.
    Name(Name),
}

/// A port that has a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) name: String,
    /// In small letters.
    pub(super) protocol: String,
    pub(super) number: u16,
}

#[derive(Debug)]
struct Slice {
    ports: Vec<Port>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    /// What it is called among those of its Service.
    pub(super) hostname: String,
    pub(super) addresses: Vec<IpAddr>,
    is_ready: bool,
}

impl Index {
    /// Whether a kind's objects have names.
    pub fn is_about(kind: &'static Kind) -> bool {
        kind == &kinds::SERVICES || kind == &kinds::ENDPOINT_SLICES
    }

    /// An object was made, changed, or is gone.
    pub fn change(&mut self, kind: &'static Kind, old: Option<&Value>, new: Option<&Value>) {
        if !Index::is_about(kind) {
            return;
        }
        self.changes = self.changes.wrapping_add(1);
        let is_service = kind == &kinds::SERVICES;
        if let Some(old) = old {
            match is_service {
                true => self.take_service(old),
                false => self.take_slice(old),
            }
        }
        if let Some(new) = new {
            match is_service {
                true => self.put_service(new),
                false => self.put_slice(new),
            }
        }
    }

    fn put_service(&mut self, object: &Value) {
        let holder = Holder::of(object, object::name(object), "");
        let service = Service::of(object);
        if let Some(At::Addresses(addresses)) = service.as_ref().map(|it| &it.at) {
            self.hold(addresses, &holder);
        }
        self.entry(&holder).service = service;
    }

    fn take_service(&mut self, object: &Value) {
        let holder = Holder::of(object, object::name(object), "");
        let service = self.entry(&holder).service.take();
        if let Some(At::Addresses(addresses)) = service.map(|it| it.at) {
            self.let_go(&addresses, &holder);
        }
        self.tidy(&holder);
    }

    fn put_slice(&mut self, object: &Value) {
        let Some(service) = object::label(object, SERVICE_NAME) else {
            return;
        };
        let holder = Holder::of(object, service, object::name(object));
        let slice = Slice::of(object);
        for endpoint in &slice.endpoints {
            self.hold(&endpoint.addresses, &holder);
        }
        let slices = &mut self.entry(&holder).slices;
        slices.insert(holder.slice, slice);
    }

    fn take_slice(&mut self, object: &Value) {
        let Some(service) = object::label(object, SERVICE_NAME) else {
            return;
        };
        let holder = Holder::of(object, service, object::name(object));
        let slice = self.entry(&holder).slices.remove(&holder.slice);
        for endpoint in slice.into_iter().flat_map(|slice| slice.endpoints) {
            self.let_go(&endpoint.addresses, &holder);
        }
        self.tidy(&holder);
    }

    fn entry(&mut self, of: &Holder) -> &mut Entry {
        let key = (of.namespace.clone(), of.service.clone());
        self.services.entry(key).or_default()
    }

    fn tidy(&mut self, of: &Holder) {
        let key = (of.namespace.clone(), of.service.clone());
        let entry = self.services.get(&key);
        if entry.is_some_and(|entry| entry.service.is_none() && entry.slices.is_empty()) {
            self.services.remove(&key);
        }
    }

    fn hold(&mut self, addresses: &[IpAddr], holder: &Holder) {
        for address in addresses {
            let holders = self.addresses.entry(*address).or_default();
            holders.insert(holder.clone());
        }
    }

    fn let_go(&mut self, addresses: &[IpAddr], holder: &Holder) {
        for address in addresses {
            if let Some(holders) = self.addresses.get_mut(address) {
                holders.remove(holder);
                if holders.is_empty() {
                    self.addresses.remove(address);
                }
            }
        }
    }

    /// What is known of a Service, if there is one.
    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<(&Entry, &Service)> {
        let key = (namespace.to_owned(), name.to_owned());
        let entry = self.services.get(&key)?;
        Some((entry, entry.service.as_ref()?))
    }

    /// Whether a namespace has a Service.
    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        let from = (namespace.to_owned(), String::new());
        let inside = self.services.range(from..);
        inside
            .take_while(|((of, _), _)| of == namespace)
            .any(|(_, entry)| entry.service.is_some())
    }

    /// Who has an address, each Service once.
    pub(super) fn holders(&self, address: IpAddr) -> Vec<&Holder> {
        let holders = self.addresses.get(&address).into_iter().flatten();
        let mut each: Vec<&Holder> = holders.collect();
        each.dedup_by(|a, b| (&a.namespace, &a.service) == (&b.namespace, &b.service));
        each
    }

    /// How many changes there were: what the zone's serial number is.
    pub(super) fn serial(&self) -> u32 {
        self.changes
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.addresses.is_empty()
    }
}

impl Holder {
    fn of(object: &Value, service: &str, slice: &str) -> Holder {
        Holder {
            namespace: object::namespace(object).to_owned(),
            service: service.to_owned(),
            slice: slice.to_owned(),
        }
    }
}

impl Entry {
    /// The endpoints that have names now, and their ports.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (&Endpoint, &[Port])> {
        let publishes_all = self.service.as_ref().is_some_and(|it| it.publishes_all);
        self.slices.values().flat_map(move |slice| {
            let named = slice.endpoints.iter();
            let named = named.filter(move |endpoint| endpoint.is_ready || publishes_all);
            named.map(|endpoint| (endpoint, &slice.ports[..]))
        })
    }

    /// The addresses of those endpoints, each once.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        let addresses = self.endpoints().flat_map(|(endpoint, _)| {
            let addresses = endpoint.addresses.iter();
            addresses.copied()
        });
        addresses.collect()
    }
}

impl Service {
    /// None: it is nowhere.
    fn of(object: &Value) -> Option<Service> {
        let spec = &object["spec"];
        let more = object::items(&spec["clusterIPs"]);
        let addresses: BTreeSet<IpAddr> = more
            .chain([&spec["clusterIP"]])
            .filter_map(|address| address.as_str()?.parse().ok())
            .collect();
        let at = if spec["type"] == "ExternalName" {
            let mut name = Name::from_ascii(spec["externalName"].as_str()?).ok()?;
            name.set_fqdn(true);
            At::Name(name)
        } else if spec["clusterIP"] == "None" {
            At::Endpoints
        } else if addresses.is_empty() {
            return None;
        } else {
            At::Addresses(addresses.into_iter().collect())
        };
        Some(Service {
            at,
            ports: ports(&spec["ports"]),
            publishes_all: spec["publishNotReadyAddresses"] == true,
        })
    }
}

impl Slice {
    fn of(object: &Value) -> Slice {
        let endpoints = object::items(&object["endpoints"]);
        Slice {
            ports: ports(&object["ports"]),
            endpoints: endpoints.filter_map(Endpoint::of).collect(),
        }
    }
}

impl Endpoint {
    fn of(endpoint: &Value) -> Option<Endpoint> {
        let addresses = object::items(&endpoint["addresses"]);
        let addresses: Vec<IpAddr> = addresses
            .filter_map(|address| address.as_str()?.parse().ok())
            .collect();
        let target = &endpoint["targetRef"];
        // Several pods may have one address, that of their node, so pods go by their names.
        let pod = target["name"].as_str().filter(|_| target["kind"] == "Pod");
        let named = [endpoint["hostname"].as_str(), pod].into_iter().flatten();
        let hostname = named.map(str::to_ascii_lowercase).find(|name| {
            !name.is_empty() && name.len() <= LABEL_BYTES_MAX && !name.contains(['.', '_'])
        });
        Some(Endpoint {
            hostname: hostname.unwrap_or_else(|| dashed(addresses.first())),
            is_ready: endpoint["conditions"]["ready"] != false,
            addresses: Some(addresses).filter(|addresses| !addresses.is_empty())?,
        })
    }
}

fn dashed(address: Option<&IpAddr>) -> String {
    let text = address.map(IpAddr::to_string).unwrap_or_default();
    let text = text.replace(['.', ':'], "-");
    // A label neither begins nor ends with a dash.
    match text.starts_with('-') || text.ends_with('-') {
        true => format!("0{text}0"),
        false => text,
    }
}

fn ports(list: &Value) -> Vec<Port> {
    let named = object::items(list).filter_map(|port| {
        let name = port["name"].as_str().filter(|name| !name.is_empty())?;
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        Some(Port {
            name: name.to_ascii_lowercase(),
            protocol: protocol.to_ascii_lowercase(),
            number: port["port"].as_u64().and_then(|it| it.try_into().ok())?,
        })
    });
    named.collect()
}
