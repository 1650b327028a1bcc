//! Names of a small cluster, asked for by messages as clients send them.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as Asked, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::A},
};
use serde_json::{Value, json};

use super::{
    Index, Zone,
    message::{Outcome, Query, Transport},
};
use crate::core::kinds::{ENDPOINT_SLICES, PODS, SERVICES};

const ID: u16 = 0;

fn service(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

fn slice(name: &str, service: &str, endpoints: Value, ports: Value) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": name,
            "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints, "ports": ports,
    })
}

fn pod(name: &str, address: &str, is_ready: bool) -> Value {
    json!({"addresses": [address], "conditions": {"ready": is_ready},
        "targetRef": {"kind": "Pod", "name": name}})
}

fn cluster() -> Vec<(&'static crate::core::kinds::Kind, Value)> {
    let ports = json!([{"name": "http", "port": 80, "protocol": "TCP"},
        {"name": "Talk", "port": 53, "protocol": "UDP"}, {"port": 9}]);
    let mut named = pod("db-f00", "10.0.0.1", true);
    named["hostname"] = json!("db-0");
    let real = json!([{"name": "pg", "port": 31000, "protocol": "TCP"}]);
    let headless = || json!({"clusterIP": "None"});
    vec![
        (
            &SERVICES,
            service(
                "default",
                "web",
                json!({"clusterIP": "127.64.1.2",
            "clusterIPs": ["127.64.1.2", "fd00::2"], "ports": ports}),
            ),
        ),
        (&SERVICES, service("default", "db", headless())),
        // Two slices, as there are when pods differ in their ports; two pods of one node.
        (
            &ENDPOINT_SLICES,
            slice(
                "db-a",
                "db",
                json!([named, pod("db-f01", "10.0.0.1", true)]),
                real.clone(),
            ),
        ),
        (
            &ENDPOINT_SLICES,
            slice(
                "db-b",
                "db",
                json!([
                    pod("db-f02", "10.0.0.2", true),
                    pod("db-f03", "10.0.0.3", false),
                    pod("db-f04", "fd00::4", true)
                ]),
                json!([{"name": "pg", "port": 31001}]),
            ),
        ),
        (&SERVICES, service("default", "none", headless())),
        (
            &ENDPOINT_SLICES,
            slice(
                "none-a",
                "none",
                json!([pod("p", "10.0.0.9", false)]),
                real.clone(),
            ),
        ),
        (
            &SERVICES,
            service(
                "default",
                "early",
                json!({"clusterIP": "None", "publishNotReadyAddresses": true}),
            ),
        ),
        (
            &ENDPOINT_SLICES,
            slice(
                "early-a",
                "early",
                json!([{"addresses": ["10.0.0.8"],
            "conditions": {"ready": false}}]),
                real,
            ),
        ),
        (
            &SERVICES,
            service(
                "shop",
                "out",
                json!({"type": "ExternalName", "externalName": "www.example.com"}),
            ),
        ),
        (
            &SERVICES,
            service(
                "shop",
                "in",
                json!({"type": "ExternalName", "externalName": "web.default.svc.cluster.local"}),
            ),
        ),
        (
            &SERVICES,
            service(
                "shop",
                "a",
                json!({"type": "ExternalName", "externalName": "b.shop.svc.cluster.local"}),
            ),
        ),
        (
            &SERVICES,
            service(
                "shop",
                "b",
                json!({"type": "ExternalName", "externalName": "a.shop.svc.cluster.local"}),
            ),
        ),
    ]
}

fn index() -> Index {
    let mut index = Index::default();
    for (kind, object) in cluster() {
        index.change(kind, None, Some(&object));
    }
    index
}

fn zone() -> Zone {
    Zone::new("cluster.local", "127.64.0.10".parse().ok()).unwrap()
}

fn message(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(ID, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    message.add_query(Asked::query(name, kind));
    message
}

fn read(message: &Message, transport: Transport) -> Result<Query, Option<Vec<u8>>> {
    Query::read(&message.to_vec().unwrap(), transport)
}

fn reply(index: &Index, message: &Message, transport: Transport) -> (Message, usize) {
    let query = read(message, transport).expect("it can be served");
    let Outcome::Reply(bytes) = query.answer(index, &zone()) else {
        panic!("it is answered here");
    };
    (Message::from_vec(&bytes).unwrap(), bytes.len())
}

fn records(list: &[Record]) -> Vec<String> {
    let told = list.iter().map(|it| {
        assert!(
            it.ttl == super::TTL_S && it.dns_class == DNSClass::IN,
            "{it}"
        );
        let name = it.name.to_ascii();
        format!(
            "{} {} {}",
            name.trim_end_matches('.'),
            it.record_type(),
            it.data
        )
    });
    told.collect()
}

/// What is said of a name: the records, or that there are none.
fn said(name: &str, kind: RecordType) -> String {
    let (reply, _) = reply(&index(), &message(name, kind), Transport::Tcp);
    assert!(reply.authoritative && reply.recursion_desired && !reply.truncation);
    let mut authorities = reply.authorities.iter();
    let has_soa = authorities.any(|it| it.record_type() == RecordType::SOA);
    let is_there = reply.answers.last();
    let is_alias = is_there.is_some_and(|it| it.record_type() == RecordType::CNAME);
    let is_alone = reply.answers.is_empty() || is_alias && kind != RecordType::CNAME;
    assert_eq!(is_alone, has_soa, "{reply}");
    match (reply.response_code, reply.answers.is_empty()) {
        (ResponseCode::NoError, true) => "no data".to_owned(),
        (ResponseCode::NXDomain, true) => "no such name".to_owned(),
        (ResponseCode::NoError, false) => {
            let own = format!("{name} ");
            let told = records(&reply.answers).into_iter();
            let told = told.map(|it| it.strip_prefix(&own).unwrap_or(&it).to_owned());
            told.collect::<Vec<_>>().join(" | ")
        }
        _ => panic!("{reply}"),
    }
}

#[test]
fn names_have_what_the_specification_says() {
    let mut count = 0;
    for line in include_str!("testdata/names.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (asked, expected) = line.split_once(" -> ").unwrap();
        let (name, kind) = asked.split_once(' ').unwrap();
        assert_eq!(said(name, kind.parse().unwrap()), expected, "{asked}");
        count += 1;
    }
    assert!(count > 40);
}

#[test]
fn names_of_others_are_forwarded() {
    let index = index();
    for name in [
        "example.com",
        "xcluster.local",
        "local",
        "7.7.7.7.in-addr.arpa",
        "7.7.7.in-addr.arpa",
        // Not ready.
        "9.0.0.10.in-addr.arpa",
    ] {
        let query = read(&message(name, RecordType::A), Transport::Udp).unwrap();
        let outcome = query.answer(&index, &zone());
        assert!(matches!(outcome, Outcome::Forward), "{name}: {outcome:?}");
        assert!(!query.is_inside(&zone()));
        let sent = Message::from_vec(&query.forwarded(77)).unwrap();
        assert_eq!(sent.id, 77);

        let mut theirs = Message::response(77, OpCode::Query);
        theirs.add_queries(sent.queries.clone());
        let address = RData::A(A([192, 0, 2, 1].into()));
        for _ in 0..40 {
            theirs.add_answer(Record::from_rdata(
                sent.queries[0].name.clone(),
                60,
                address.clone(),
            ));
        }
        let long = theirs.to_vec().unwrap();
        assert_eq!(query.relayed(76, long.clone()), None, "of somebody else");
        let cut = Message::from_vec(&query.relayed(77, long.clone()).unwrap()).unwrap();
        assert!(cut.truncation && cut.answers.is_empty() && cut.id == ID);
        let query = read(&message(name, RecordType::A), Transport::Tcp).unwrap();
        let whole = Message::from_vec(&query.relayed(77, long).unwrap()).unwrap();
        assert_eq!((whole.answers.len(), whole.id), (40, ID));
        theirs.queries[0].name = Name::from_ascii("other.example.").unwrap();
        assert_eq!(
            query.relayed(77, theirs.to_vec().unwrap()),
            None,
            "to another question"
        );
        assert_eq!(query.relayed(77, query.forwarded(77)), None, "a question");
    }
}

#[test]
fn a_name_that_leads_outside_is_followed() {
    let asked = message("out.shop.svc.cluster.local", RecordType::A);
    let query = read(&asked, Transport::Udp).unwrap();
    let follow = || match query.answer(&index(), &zone()) {
        Outcome::Follow(follow) => *follow,
        other => panic!("{other:?}"),
    };
    let sent = Message::from_vec(&follow().question(5)).unwrap();
    assert_eq!(sent.queries[0].to_string(), "www.example.com. IN A");
    let mut theirs = Message::response(5, OpCode::Query);
    theirs.add_queries(sent.queries);
    let address = RData::A(A([192, 0, 2, 1].into()));
    let name = Name::from_ascii("www.example.com.").unwrap();
    theirs.add_answer(Record::from_rdata(name, super::TTL_S, address));
    let theirs = follow().read(5, &theirs.to_vec().unwrap());
    assert!(theirs.is_some() && follow().read(6, &[]).is_none());
    let told = Message::from_vec(&query.joined(follow(), theirs)).unwrap();
    assert!(told.id == ID && !told.authoritative);
    assert_eq!(
        records(&told.answers),
        [
            "out.shop.svc.cluster.local CNAME www.example.com.",
            "www.example.com A 192.0.2.1",
        ]
    );
    let failed = Message::from_vec(&query.joined(follow(), None)).unwrap();
    assert_eq!(failed.response_code, ResponseCode::ServFail);

    let circle = message("a.shop.svc.cluster.local", RecordType::A);
    let (reply, _) = reply(&index(), &circle, Transport::Udp);
    assert_eq!(reply.response_code, ResponseCode::ServFail);
}

#[test]
fn services_of_ports_bring_their_addresses_along() {
    let asked = message("_pg._tcp.db.default.svc.cluster.local", RecordType::SRV);
    let (reply, _) = reply(&index(), &asked, Transport::Tcp);
    assert_eq!(
        records(&reply.additionals),
        [
            "db-0.db.default.svc.cluster.local A 10.0.0.1",
            "db-f01.db.default.svc.cluster.local A 10.0.0.1",
            "db-f02.db.default.svc.cluster.local A 10.0.0.2",
            "db-f04.db.default.svc.cluster.local AAAA fd00::4",
        ]
    );
}

/// A headless Service of many.
fn many(count: u32) -> Index {
    let mut index = Index::default();
    let headless = service("default", "many", json!({"clusterIP": "None"}));
    index.change(&SERVICES, None, Some(&headless));
    let address = |at: u32| std::net::Ipv4Addr::from(0x0a00_0000 + at).to_string();
    let endpoints = (0..count).map(|at| pod(&format!("p{at}"), &address(at), true));
    let slice = slice("s", "many", endpoints.collect(), json!([]));
    index.change(&ENDPOINT_SLICES, None, Some(&slice));
    index
}

#[test]
fn what_does_not_fit_is_cut_and_said_to_be() {
    let index = many(2_000);
    let mut asked = message("many.default.svc.cluster.local", RecordType::A);
    let (plain, bytes) = reply(&index, &asked, Transport::Udp);
    assert!(
        plain.truncation && !plain.answers.is_empty() && bytes <= 512,
        "{bytes}"
    );
    let mut edns = Edns::new();
    edns.set_max_payload(9_000);
    asked.set_edns(edns);
    let (more, bytes) = reply(&index, &asked, Transport::Udp);
    assert!(more.truncation && more.answers.len() > plain.answers.len());
    assert!(bytes > 512 && bytes <= 1_232, "{bytes}");
    assert_eq!(more.edns.as_ref().map(Edns::max_payload), Some(1_232));
    let (all, _) = reply(&index, &asked, Transport::Tcp);
    assert!(!all.truncation);
    assert_eq!(all.answers.len(), super::RECORDS_MAX);
    // Clients that differ in their ids begin elsewhere.
    asked.metadata.id = 5;
    let (turned, _) = reply(&index, &asked, Transport::Tcp);
    assert_eq!(turned.answers[0], all.answers[5]);
}

#[test]
fn what_changes_is_followed_and_nothing_is_left_behind() {
    let mut index = index();
    let web = message("web.default.svc.cluster.local", RecordType::A);
    let old = &cluster()[0].1;
    let mut new = old.clone();
    new["spec"]["clusterIP"] = json!("127.64.9.9");
    new["spec"]["clusterIPs"] = json!(["127.64.9.9"]);
    index.change(&SERVICES, Some(old), Some(&new));
    let (told, _) = reply(&index, &web, Transport::Udp);
    assert_eq!(
        records(&told.answers),
        ["web.default.svc.cluster.local A 127.64.9.9"]
    );
    let query = read(
        &message("2.1.64.127.in-addr.arpa", RecordType::PTR),
        Transport::Udp,
    );
    let outcome = query.unwrap().answer(&index, &zone());
    assert!(matches!(outcome, Outcome::Forward), "{outcome:?}");
    index.change(&SERVICES, Some(&new), None);
    for (kind, object) in cluster().into_iter().skip(1).rev() {
        index.change(kind, Some(&object), None);
    }
    assert!(index.is_empty(), "{index:?}");
    assert!(!Index::is_about(&PODS));
}

#[test]
fn what_cannot_be_served_is_refused() {
    let code = |message: &Message| {
        let bytes = read(message, Transport::Udp).expect_err("it is refused")?;
        let reply = Message::from_vec(&bytes).unwrap();
        assert_eq!((reply.id, reply.message_type), (ID, MessageType::Response));
        Some(reply.response_code)
    };
    let plain = || message("web.default.svc.cluster.local", RecordType::A);
    let response = plain().into_response();
    assert_eq!(code(&response), None);
    let mut other = plain();
    other.metadata.op_code = OpCode::Notify;
    assert_eq!(code(&other), Some(ResponseCode::NotImp));
    let mut two = plain();
    two.add_query(two.queries[0].clone());
    assert_eq!(code(&two), Some(ResponseCode::FormErr));
    let mut none = plain();
    none.queries.clear();
    assert_eq!(code(&none), Some(ResponseCode::FormErr));
    let transfer = message("cluster.local", RecordType::AXFR);
    assert_eq!(code(&transfer), Some(ResponseCode::Refused));
    let mut chaos = plain();
    chaos.queries[0].query_class = DNSClass::CH;
    assert_eq!(code(&chaos), Some(ResponseCode::Refused));
    let mut newer = plain();
    let mut edns = Edns::new();
    edns.set_version(1);
    newer.set_edns(edns);
    // BADVERS and BADSIG are one number.
    assert_eq!(code(&newer).map(u16::from), Some(16));
    // So many questions are said to follow.
    let mut lie = plain().to_vec().unwrap();
    lie[4..6].copy_from_slice(&[0xff, 0xff]);
    let refused = Query::read(&lie, Transport::Udp).unwrap_err();
    assert!(refused.is_some_and(|bytes| bytes.len() < 20));
    assert!(matches!(Query::read(&[0; 11], Transport::Udp), Err(None)));
}

#[test]
fn a_zone_is_a_name() {
    for good in ["cluster.local", "cluster.local.", "k8s", "A-1.example"] {
        assert!(Zone::new(good, None).is_ok(), "{good}");
    }
    let long = ["a"; 31].join(".");
    for bad in [
        "",
        ".",
        "a..b",
        "a b",
        "_a",
        "a-.b",
        "ä",
        &long,
        &"a".repeat(64),
    ] {
        assert!(Zone::new(bad, None).is_err(), "{bad}");
    }
    assert_eq!(
        Zone::new("Cluster.Local.", None).unwrap().text(),
        "cluster.local"
    );
}
