//! What a name has, of the type that is asked for.
//!
//! A name that has nothing, and below which nothing is, does not exist (NXDOMAIN); one that has
//! something of another type, or names below it, has no data (RFC 2308). Both say by the zone's SOA
//! how long that may be kept.

use std::{collections::BTreeSet, net::IpAddr};

use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, NS, PTR, SOA, SRV, TXT},
    },
};

use super::{
    Index, RECORDS_MAX, SCHEMA_VERSION, TTL_S, Zone,
    index::{At, Entry, Port, Service},
    name,
};

/// So many names an answer leads through, each of which stands for the next one.
const CHAIN_MAX: usize = 8;
/// Endpoints are equal: clients choose among records of one priority by weight (RFC 2782).
const SRV_PRIORITY: u16 = 0;
const SRV_WEIGHT: u16 = 10;
/// What secondary servers would go by, in seconds; there are none.
const SOA_REFRESH_S: i32 = 7_200;
const SOA_RETRY_S: i32 = 1_800;
const SOA_EXPIRE_S: i32 = 86_400;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Question {
    /// The name.
    pub name: Name,
    /// The type.
    pub kind: RecordType,
    /// Records that are equal begin with this one, so that not every client takes the first.
    pub turn: usize,
    /// So many records can be told.
    pub records_max: usize,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether the name is there.
    pub code: ResponseCode,
    /// What it has.
    pub records: Vec<Record>,
    /// The zone's SOA, where there is nothing.
    pub authority: Option<Record>,
    /// Addresses of names that the records lead to.
    pub additional: Vec<Record>,
    /// The records end with another name for this one, which somebody else knows.
    pub leads_to: Option<Name>,
    /// There is more than can be told.
    pub is_cut: bool,
}

/// What is known of a name.
enum Found {
    /// It is none of ours.
    Elsewhere,
    /// It does not exist.
    Nothing,
    /// It stands for another one.
    Alias(Name),
    /// It exists; what it has of the type, and what may be told beside that.
    Data(Vec<RData>, Vec<Record>),
}

/// Answers; none if somebody else has to.
pub fn answer(index: &Index, zone: &Zone, question: &Question) -> Option<Answer> {
    let mut answer = Answer {
        code: ResponseCode::NoError,
        records: Vec::new(),
        authority: None,
        additional: Vec::new(),
        leads_to: None,
        is_cut: false,
    };
    let mut owner = question.name.clone();
    let view = View { index, zone };
    for step in 0..CHAIN_MAX {
        match view.look(&owner, question.kind) {
            Found::Elsewhere if step == 0 => return None,
            Found::Elsewhere => answer.leads_to = Some(owner),
            Found::Nothing => {
                answer.code = ResponseCode::NXDomain;
                answer.authority = Some(view.soa(&owner));
            }
            Found::Alias(target) => {
                let alias = RData::CNAME(CNAME(target.clone()));
                answer.records.push(record(&owner, alias));
                owner = target;
                continue;
            }
            Found::Data(mut data, additional) => {
                if data.is_empty() {
                    answer.authority = Some(view.soa(&owner));
                } else {
                    let first = question.turn % data.len();
                    data.rotate_left(first);
                }
                answer.is_cut = data.len() > question.records_max;
                data.truncate(question.records_max);
                answer.additional = additional;
                let records = data.into_iter().map(|data| record(&owner, data));
                answer.records.extend(records);
            }
        }
        return Some(answer);
    }
    // Names that lead to each other.
    answer.code = ResponseCode::ServFail;
    Some(answer)
}

fn record(owner: &Name, data: RData) -> Record {
    Record::from_rdata(owner.clone(), TTL_S, data)
}

fn is_asked(asked: RecordType, kind: RecordType) -> bool {
    asked == kind || asked == RecordType::ANY
}

/// Those of the family that is asked for.
fn address_data(addresses: impl IntoIterator<Item = IpAddr>, kind: RecordType) -> Vec<RData> {
    let data = addresses.into_iter().map(RData::from);
    let data = data.filter(|data| is_asked(kind, data.record_type()));
    data.take(RECORDS_MAX).collect()
}

struct View<'a> {
    index: &'a Index,
    zone: &'a Zone,
}

impl View<'_> {
    fn look(&self, asked: &Name, kind: RecordType) -> Found {
        let lower = asked.to_lowercase();
        if !self.zone.name.zone_of(&lower) {
            return self.reverse(&lower, kind);
        }
        let own = lower.iter().count() - self.zone.name.iter().count();
        let labels = lower.iter().take(own).map(std::str::from_utf8);
        let Ok(labels) = labels.collect::<Result<Vec<&str>, _>>() else {
            return Found::Nothing;
        };
        let exists = |data: Vec<RData>| Found::Data(data, Vec::new());
        match labels[..] {
            [] => exists(self.apex(kind)),
            ["dns-version"] if is_asked(kind, RecordType::TXT) => {
                exists(vec![RData::TXT(TXT::new(vec![SCHEMA_VERSION.to_owned()]))])
            }
            ["ns", "dns"] => exists(address_data(self.zone.server, kind)),
            ["dns-version"] | ["dns"] | ["svc"] => exists(Vec::new()),
            [namespace, "svc"] if self.index.has_namespace(namespace) => exists(Vec::new()),
            [ref below @ .., service, namespace, "svc"] => {
                match self.index.service(namespace, service) {
                    Some((entry, known)) => {
                        let own = Own {
                            view: self,
                            path: [service, namespace, "svc"],
                            entry,
                            service: known,
                        };
                        own.look(below, kind)
                    }
                    None => Found::Nothing,
                }
            }
            _ => Found::Nothing,
        }
    }

    fn apex(&self, kind: RecordType) -> Vec<RData> {
        let mut data = Vec::new();
        if is_asked(kind, RecordType::SOA) {
            data.push(self.soa(&self.zone.name).data);
        }
        if is_asked(kind, RecordType::NS)
            && let Some(server) = self.server()
        {
            data.push(RData::NS(NS(server)));
        }
        data
    }

    fn server(&self) -> Option<Name> {
        name(&["ns", "dns"], &self.zone.name)
    }

    /// The SOA of the zone that a name is in.
    fn soa(&self, of: &Name) -> Record {
        let zone = match self.zone.name.zone_of(of) {
            true => &self.zone.name,
            // Of an address: each is a zone of its own.
            false => of,
        };
        let root = Name::root;
        let soa = SOA::new(
            self.server().unwrap_or_else(root),
            name(&["hostmaster"], &self.zone.name).unwrap_or_else(root),
            self.index.serial(),
            SOA_REFRESH_S,
            SOA_RETRY_S,
            SOA_EXPIRE_S,
            TTL_S,
        );
        record(zone, RData::SOA(soa))
    }

    /// An address as a name, as `1.0.0.10.in-addr.arpa`.
    fn reverse(&self, asked: &Name, kind: RecordType) -> Found {
        let net = asked.parse_arpa_name().ok();
        let address = net.filter(|net| net.prefix_len() == net.max_prefix_len());
        let Some(address) = address.map(|net| net.addr()) else {
            return Found::Elsewhere;
        };
        let mut names = BTreeSet::new();
        for holder in self.index.holders(address) {
            let path = [&holder.service[..], &holder.namespace[..], "svc"];
            let Some((entry, service)) = self.index.service(&holder.namespace, &holder.service)
            else {
                continue;
            };
            match &service.at {
                At::Addresses(own) if own.contains(&address) => {
                    names.extend(name(&path, &self.zone.name));
                }
                At::Endpoints => {
                    let there = entry.endpoints();
                    let there = there.filter(|(it, _)| it.addresses.contains(&address));
                    let below = name(&path, &self.zone.name);
                    names.extend(
                        there.filter_map(|(endpoint, _)| {
                            name(&[&endpoint.hostname], below.as_ref()?)
                        }),
                    );
                }
                _ => {}
            }
        }
        if names.is_empty() {
            return Found::Elsewhere;
        }
        let names = names.into_iter().take(RECORDS_MAX);
        let data = names.map(|name| RData::PTR(PTR(name)));
        match is_asked(kind, RecordType::PTR) {
            true => Found::Data(data.collect(), Vec::new()),
            false => Found::Data(Vec::new(), Vec::new()),
        }
    }
}

/// A Service that is asked for.
struct Own<'a> {
    view: &'a View<'a>,
    /// Its name's labels in the zone.
    path: [&'a str; 3],
    entry: &'a Entry,
    service: &'a Service,
}

impl Own<'_> {
    fn look(&self, below: &[&str], kind: RecordType) -> Found {
        if let At::Name(target) = &self.service.at {
            return match below {
                [] if kind == RecordType::CNAME => {
                    Found::Data(vec![RData::CNAME(CNAME(target.clone()))], Vec::new())
                }
                [] => Found::Alias(target.clone()),
                _ => Found::Nothing,
            };
        }
        match below {
            [] => match &self.service.at {
                At::Addresses(own) => self.data(own.iter().copied(), kind),
                _ => self.some(self.entry.addresses(), kind),
            },
            [port, protocol] => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                (Some(port), Some(protocol)) => self.ports(port, protocol, kind),
                _ => Found::Nothing,
            },
            [one] => match one.strip_prefix('_') {
                Some(protocol) => match self.has_port(|port| port.protocol == protocol) {
                    true => Found::Data(Vec::new(), Vec::new()),
                    false => Found::Nothing,
                },
                None => self.some(self.host(one), kind),
            },
            _ => Found::Nothing,
        }
    }

    fn data(&self, addresses: impl IntoIterator<Item = IpAddr>, kind: RecordType) -> Found {
        Found::Data(address_data(addresses, kind), Vec::new())
    }

    /// Without any address the name does not exist.
    fn some(&self, addresses: BTreeSet<IpAddr>, kind: RecordType) -> Found {
        match addresses.is_empty() {
            true => Found::Nothing,
            false => self.data(addresses, kind),
        }
    }

    /// The addresses of the endpoints of a name.
    fn host(&self, hostname: &str) -> BTreeSet<IpAddr> {
        let named = self.entry.endpoints();
        let named = named.filter(|(endpoint, _)| endpoint.hostname == hostname);
        named
            .flat_map(|(endpoint, _)| endpoint.addresses.iter().copied())
            .collect()
    }

    fn has_port(&self, is_wanted: impl Fn(&Port) -> bool) -> bool {
        match &self.service.at {
            At::Addresses(_) => self.service.ports.iter().any(is_wanted),
            _ => {
                let mut ports = self.entry.endpoints().flat_map(|(_, ports)| ports);
                ports.any(is_wanted)
            }
        }
    }

    fn ports(&self, port: &str, protocol: &str, kind: RecordType) -> Found {
        let is_wanted = |it: &Port| it.name == port && it.protocol == protocol;
        if !self.has_port(is_wanted) {
            return Found::Nothing;
        }
        if !is_asked(kind, RecordType::SRV) {
            return Found::Data(Vec::new(), Vec::new());
        }
        let zone = &self.view.zone.name;
        let Some(service) = name(&self.path, zone) else {
            return Found::Nothing;
        };
        let mut targets = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        match &self.service.at {
            At::Addresses(own) => {
                let ports = self.service.ports.iter().filter(|it| is_wanted(it));
                targets.extend(ports.map(|it| (service.clone(), it.number)));
                addresses.extend(own.iter().map(|address| (service.clone(), *address)));
            }
            _ => {
                for (endpoint, ports) in self.entry.endpoints().take(RECORDS_MAX) {
                    let numbers = ports.iter().filter(|it| is_wanted(it));
                    let Some(host) = name(&[&endpoint.hostname], &service) else {
                        continue;
                    };
                    let before = targets.len();
                    targets.extend(numbers.map(|it| (host.clone(), it.number)));
                    if targets.len() > before {
                        let own = endpoint.addresses.iter();
                        addresses.extend(own.map(|address| (host.clone(), *address)));
                    }
                }
            }
        }
        let data = targets
            .into_iter()
            .take(RECORDS_MAX)
            .map(|(target, port)| RData::SRV(SRV::new(SRV_PRIORITY, SRV_WEIGHT, port, target)));
        let additional = addresses.into_iter().take(RECORDS_MAX);
        let additional = additional.map(|(owner, address)| record(&owner, RData::from(address)));
        Found::Data(data.collect(), additional.collect())
    }
}
