//! What else is written when an object is: addresses and ports of Services, and Nodes' ranges of
//! addresses for pods, are reserved under keys of their own, in the same write, so that no two ever
//! have the same.
//!
//! An address is one of loopback's by default: the programs of `process` pods share their
//! machine's network, and every node answers there for every Service.

mod ranges;

use std::{collections::BTreeSet, net::Ipv4Addr, ops::RangeInclusive};

use atoll_control::api::ControlApi;
use atoll_world::random;
use bytes::Bytes;
use serde_json::{Value, json};

use super::store::{Change, Store, To};
use crate::core::{
    kinds::{self, Kind},
    object::{self, Name},
    pod_network::PodNetwork,
    status::{Failure, FieldError, Reason},
};

const ADDRESSES: &str = "/atoll/services/addresses/";
const PORTS: &str = "/atoll/services/ports/";
const RANGES: &str = "/atoll/services/ranges/";

/// So often an address or port is drawn that is taken.
const DRAWS_MAX: usize = 64;

/// From where addresses and ports of Services are taken, and ranges of Nodes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The first address of the network.
    pub network: Ipv4Addr,
    /// How many bits of it are fixed, at most 30.
    pub prefix_bits: u8,
    /// An address that no Service gets: the name server's.
    pub reserved: Option<Ipv4Addr>,
    /// Ports that nodes listen on for Services.
    pub node_ports: RangeInclusive<u16>,
    /// The network of pods that have addresses of their own.
    pub pods: PodNetwork,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            network: Ipv4Addr::new(127, 64, 0, 0),
            prefix_bits: 12,
            reserved: None,
            node_ports: 30_000..=32_767,
            pods: PodNetwork::default(),
        }
    }
}

impl Settings {
    fn size(&self) -> u32 {
        1 << (32 - u32::from(self.prefix_bits.clamp(1, 30)))
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        let first = u32::from(self.network);
        let last = first + (self.size() - 1);
        (first + 1..last).contains(&u32::from(address))
    }

    /// Whether an address is kept back. A Service that has it from before keeps it.
    fn is_reserved(&self, address: &str) -> bool {
        let address = address.parse().ok();
        address.is_some() && address == self.reserved
    }

    fn draw(&self) -> Ipv4Addr {
        // Neither the network's own address nor the last one.
        let offset = random::range(1..self.size() - 1);
        Ipv4Addr::from(u32::from(self.network) + offset)
    }
}

/// What is written beside a new object; it may get an address.
///
/// # Errors
/// What it asks for is taken, or there is nothing left.
pub(crate) async fn created<C: ControlApi>(
    store: &Store<C>,
    settings: &Settings,
    name: &Name,
    object: &mut Value,
) -> Result<Vec<Change>, Failure> {
    changed(store, settings, name, &Value::Null, object).await
}

/// What is written beside a change.
///
/// # Errors
/// What it asks for is taken, or there is nothing left.
pub(crate) async fn changed<C: ControlApi>(
    store: &Store<C>,
    settings: &Settings,
    name: &Name,
    old: &Value,
    new: &mut Value,
) -> Result<Vec<Change>, Failure> {
    if name.kind == &kinds::SERVICES {
        let mut chosen = BTreeSet::new();
        choose_address(store, settings, name, new).await?;
        choose_ports(store, settings, name, old, new, &mut chosen).await?;
    } else if name.kind == &kinds::NODES {
        ranges::choose(store, settings, name, old, new).await?;
    }
    let (had, has) = (reserved(name.kind, old), reserved(name.kind, new));
    for key in has.difference(&had) {
        let taken = key.rsplit('/').next().unwrap_or_default();
        let is_reserved = key.starts_with(ADDRESSES) && settings.is_reserved(taken);
        if is_reserved || store.value(key.clone().into()).await?.is_some() {
            return Err(invalid(name, is_taken(key, taken)));
        }
    }
    let holder = Bytes::from(format!("{}/{}", object::namespace(new), object::name(new)));
    let taken = has.difference(&had).map(|key| Change {
        key: key.clone().into(),
        expected: Some(0),
        to: To::Value(holder.clone()),
    });
    let freed = had.difference(&has).map(|key| free(key));
    Ok(taken.chain(freed).collect())
}

/// What is written beside a deletion.
pub(crate) fn deleted(name: &Name, object: &Value) -> Vec<Change> {
    let reserved = reserved(name.kind, object);
    reserved.iter().map(|key| free(key)).collect()
}

/// What is said of something that another one has.
fn is_taken(key: &str, taken: &str) -> FieldError {
    let (field, value, why) = match key {
        key if key.starts_with(PORTS) => (
            "spec.ports[0].nodePort",
            json!(taken.parse::<u16>().ok()),
            "provided port is already allocated",
        ),
        key if key.starts_with(RANGES) => ("spec.podCIDRs", json!([taken]), "it is another node's"),
        _ => (
            "spec.clusterIPs",
            json!([taken]),
            "failed to allocate IP: provided IP is already allocated",
        ),
    };
    FieldError::invalid(field, &value, why)
}

/// It belongs to the object as long as that is there, which is compared.
fn free(key: &str) -> Change {
    Change {
        key: key.to_owned().into(),
        expected: None,
        to: To::Gone,
    }
}

/// The keys that stand for what an object has.
fn reserved(kind: &'static Kind, object: &Value) -> BTreeSet<String> {
    if kind == &kinds::NODES {
        ranges::reserved(object).into_iter().collect()
    } else if kind == &kinds::SERVICES {
        reserved_by_service(object)
    } else {
        BTreeSet::new()
    }
}

fn reserved_by_service(service: &Value) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let address = service["spec"]["clusterIP"].as_str().unwrap_or_default();
    if address.parse::<Ipv4Addr>().is_ok() {
        keys.insert(format!("{ADDRESSES}{address}"));
    }
    for port in ports(service) {
        if let Some(number) = node_port(port) {
            keys.insert(format!("{PORTS}{number}"));
        }
    }
    keys
}

fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service["spec"]["ports"].as_array().into_iter().flatten()
}

fn node_port(port: &Value) -> Option<u64> {
    port["nodePort"].as_u64().filter(|number| *number > 0)
}

/// What was chosen for an object stays, where the new state does not say otherwise: a Service's
/// address, unless it becomes one without, and a Node's range.
pub(crate) fn carry(name: &Name, old: &Value, new: &mut Value) {
    if name.kind == &kinds::NODES {
        return ranges::carry(old, new);
    }
    if name.kind != &kinds::SERVICES {
        return;
    }
    let had = old["spec"]["clusterIP"].as_str().unwrap_or_default();
    let says = new["spec"]["clusterIP"].as_str().unwrap_or_default();
    if new["spec"]["type"] == "ExternalName" {
        let spec = object::child_mut(new, "spec");
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    } else if says.is_empty() && !had.is_empty() {
        set_address(new, had);
    }
}

fn set_address(service: &mut Value, address: &str) {
    let spec = object::child_mut(service, "spec");
    spec.insert("clusterIP".to_owned(), json!(address));
    spec.insert("clusterIPs".to_owned(), json!([address]));
}

async fn choose_address<C: ControlApi>(
    store: &Store<C>,
    settings: &Settings,
    name: &Name,
    service: &mut Value,
) -> Result<(), Failure> {
    if service["spec"]["type"] == "ExternalName" {
        // It is a name elsewhere, and nobody listens for it here.
        let spec = object::child_mut(service, "spec");
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
        return Ok(());
    }
    let asked = service["spec"]["clusterIP"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if asked == "None" {
        set_address(service, "None");
        return Ok(());
    }
    if !asked.is_empty() {
        let is_ours = asked
            .parse()
            .is_ok_and(|address| settings.contains(address));
        if !is_ours {
            let why = format!(
                "failed to allocate IP {asked}: the provided IP is not in the valid range. The range of valid IPs is {}/{}",
                settings.network, settings.prefix_bits
            );
            let error = FieldError::invalid("spec.clusterIPs", &json!([asked]), why);
            return Err(invalid(name, error));
        }
        set_address(service, &asked);
        return Ok(());
    }
    for _ in 0..DRAWS_MAX {
        let address = settings.draw().to_string();
        let is_free = !settings.is_reserved(&address)
            && store
                .value(format!("{ADDRESSES}{address}").into())
                .await?
                .is_none();
        if is_free {
            set_address(service, &address);
            return Ok(());
        }
    }
    Err(exhausted("address", "service"))
}

/// Each port that nodes are to listen on has a number; those of before are kept.
async fn choose_ports<C: ControlApi>(
    store: &Store<C>,
    settings: &Settings,
    name: &Name,
    old: &Value,
    service: &mut Value,
    chosen: &mut BTreeSet<u64>,
) -> Result<(), Failure> {
    let kind = service["spec"]["type"].as_str().unwrap_or_default();
    let wants = match kind {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    };
    chosen.extend(ports(service).filter_map(node_port));
    let had = |port: &Value| {
        let same = |it: &&Value| it["port"] == port["port"] && it["protocol"] == port["protocol"];
        ports(old).find(same).and_then(node_port)
    };
    let Some(list) = service["spec"]["ports"].as_array() else {
        return Ok(());
    };
    let mut list = list.clone();
    for (at, port) in list.iter_mut().enumerate() {
        let Some(fields) = port.as_object_mut() else {
            continue;
        };
        if !wants {
            fields.remove("nodePort");
            continue;
        }
        let asked = fields.get("nodePort").and_then(Value::as_u64).unwrap_or(0);
        if asked > 0 {
            let is_ours = u16::try_from(asked).is_ok_and(|it| settings.node_ports.contains(&it));
            let had_it = ports(old).filter_map(node_port).any(|it| it == asked);
            if !is_ours && !had_it {
                let why = format!(
                    "provided port is not in the valid range. The range of valid ports is {}-{}",
                    settings.node_ports.start(),
                    settings.node_ports.end()
                );
                let field = format!("spec.ports[{at}].nodePort");
                return Err(invalid(
                    name,
                    FieldError::invalid(field, &json!(asked), why),
                ));
            }
            continue;
        }
        let number = match had(&Value::Object(fields.clone())).filter(|it| !chosen.contains(it)) {
            Some(number) => number,
            None => draw_port(store, settings, chosen).await?,
        };
        chosen.insert(number);
        fields.insert("nodePort".to_owned(), json!(number));
    }
    object::child_mut(service, "spec").insert("ports".to_owned(), Value::Array(list));
    Ok(())
}

async fn draw_port<C: ControlApi>(
    store: &Store<C>,
    settings: &Settings,
    chosen: &BTreeSet<u64>,
) -> Result<u64, Failure> {
    for _ in 0..DRAWS_MAX {
        let number = u64::from(random::range(settings.node_ports.clone()));
        let is_free = !chosen.contains(&number)
            && store
                .value(format!("{PORTS}{number}").into())
                .await?
                .is_none();
        if is_free {
            return Ok(number);
        }
    }
    Err(exhausted("node port", "service"))
}

fn invalid(name: &Name, error: FieldError) -> Failure {
    Failure::invalid("", name.kind.kind, &name.name, &[error])
}

fn exhausted(what: &str, of: &str) -> Failure {
    let message = format!(
        "no free {what} was found for the {of}; delete {of}s that nobody needs, or give one"
    );
    Failure::new(Reason::InternalError, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_inside_their_network() {
        let settings = Settings::default();
        for _ in 0..1_000 {
            assert!(settings.contains(settings.draw()));
        }
        assert!(!settings.contains(Ipv4Addr::new(127, 64, 0, 0)));
        assert!(!settings.contains(Ipv4Addr::new(127, 79, 255, 255)));
        assert!(!settings.contains(Ipv4Addr::new(127, 0, 0, 1)));
    }

    #[test]
    fn the_name_servers_address_is_kept_back() {
        let settings = Settings {
            reserved: Some(Ipv4Addr::new(127, 64, 0, 10)),
            ..Settings::default()
        };
        assert!(settings.is_reserved("127.64.0.10"));
        assert!(!settings.is_reserved("127.64.0.11") && !settings.is_reserved("None"));
        assert!(!Settings::default().is_reserved("None"));
    }

    #[test]
    fn what_a_service_has_is_reserved() {
        let service = json!({"spec": {"clusterIP": "127.64.0.9", "ports": [
            {"port": 80, "nodePort": 30080}, {"port": 81}]}});
        let of = |service| reserved(&kinds::SERVICES, service);
        let keys: Vec<_> = of(&service).into_iter().collect();
        assert_eq!(
            keys,
            [
                "/atoll/services/addresses/127.64.0.9",
                "/atoll/services/ports/30080"
            ]
        );
        assert!(of(&json!({"spec": {"clusterIP": "None"}})).is_empty());
    }
}
