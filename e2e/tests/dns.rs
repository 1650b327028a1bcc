//! Names of Services on real nodes: asked for as a program's resolver does.
// Edge of the house: real processes and sockets.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{net::Ipv4Addr, time::Duration};

use atoll_e2e::{cluster::Cluster, command::Server, kubernetes::Api, ports};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// An answer that takes longer is asked for again.
const TRY: Duration = Duration::from_millis(500);

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

/// Asks by UDP; none while nobody answers.
async fn asked(server: &str, name: &str, kind: RecordType) -> Option<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    let ask = async {
        let question = question(name, kind).to_vec().unwrap();
        socket.send(&question).await.ok()?;
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).await.ok()?;
        Message::from_vec(&bytes[..length]).ok()
    };
    timeout(TRY, ask).await.ok()?
}

/// Asks by UDP until it is answered as it is wanted: changes take a while.
async fn until(
    server: &str,
    name: &str,
    kind: RecordType,
    is_wanted: impl Fn(&Message) -> bool,
) -> Message {
    common::until(&format!("the answer for {name}"), async || {
        asked(server, name, kind).await.filter(&is_wanted)
    })
    .await
}

fn data(message: &Message) -> Vec<String> {
    let records = message.answers.iter();
    records.map(|record| record.data.to_string()).collect()
}

#[tokio::test]
async fn names_of_services_are_resolved_and_go_on_being_when_a_node_dies() {
    let server = format!("127.64.0.10:{}", ports::free_port());
    let environment = [("ATOLL_SERVICES_DNS", &server[..])];
    let mut cluster = Cluster::start_with(&Server::under_test(), 3, &environment)
        .await
        .unwrap();
    let mut api = Api::of(&cluster.nodes[1]);
    let labels = json!({"app": "db"});
    let pod = json!({
        "metadata": {"name": "db", "labels": labels,
            "annotations": {"atoll.dev/free-ports": "true"}},
        "spec": {
            "hostname": "one", "subdomain": "db",
            "terminationGracePeriodSeconds": 2,
            "containers": [{"name": "app", "command": ["sleep", "600"],
                "ports": [{"name": "pg", "containerPort": 5432}]}],
        },
    });
    let made = api.post("/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let services = "/api/v1/namespaces/default/services";
    let ports = json!([{"name": "pg", "port": 5432, "targetPort": "pg"}]);
    let mut addresses = Vec::new();
    for (name, spec) in [
        (
            "db",
            json!({"selector": labels, "ports": ports, "clusterIP": "None"}),
        ),
        ("front", json!({"selector": labels, "ports": ports})),
    ] {
        let service = json!({"metadata": {"name": name}, "spec": spec});
        let made = api.post(services, &service).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let address = made.json()["spec"]["clusterIP"].clone();
        addresses.push(address.as_str().unwrap().to_owned());
    }
    let own = json!({"metadata": {"name": "own"}, "spec": {"clusterIP": "127.64.0.10"}});
    let refused = api.post(services, &own).await;
    assert_eq!(refused.status, 422, "{}", refused.body);

    let front = "front.default.svc.cluster.local.";
    let is_there = |reply: &Message| !reply.answers.is_empty();
    let reply = until(&server, front, RecordType::A, is_there).await;
    assert_eq!(data(&reply), [addresses[1].clone()]);
    // The endpoint, as soon as it is ready; by its own name, too.
    let db = "db.default.svc.cluster.local.";
    let of_pod = until(&server, db, RecordType::A, is_there).await;
    let one = until(&server, &format!("one.{db}"), RecordType::A, is_there).await;
    assert_eq!(data(&of_pod), data(&one));
    assert_eq!(data(&one), [Ipv4Addr::LOCALHOST.to_string()]);
    let reply = until(
        &server,
        &format!("_pg._tcp.{db}"),
        RecordType::SRV,
        is_there,
    )
    .await;
    let now = api.get("/api/v1/namespaces/default/pods/db").await.json();
    let real = now["metadata"]["annotations"]["atoll.dev/ports"].as_str();
    let real: serde_json::Value = serde_json::from_str(real.unwrap()).unwrap();
    match &reply.answers[0].data {
        RData::SRV(found) => {
            assert_eq!(u64::from(found.port), real["pg"]);
            assert_eq!(found.target.to_ascii(), format!("one.{db}"));
        }
        other => panic!("{other}"),
    }
    let no = asked(&server, "no.default.svc.cluster.local.", RecordType::A).await;
    assert_eq!(no.unwrap().response_code, ResponseCode::NXDomain);

    // The same by TCP.
    let mut stream = TcpStream::connect(&server).await.unwrap();
    let bytes = question(front, RecordType::A).to_vec().unwrap();
    stream.write_u16(bytes.len() as u16).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut bytes).await.unwrap();
    let reply = Message::from_vec(&bytes).unwrap();
    assert_eq!(data(&reply), [addresses[1].clone()]);

    // The node that listens, as it is: the first one. Another one does then.
    cluster.nodes[0].kill();
    let reply = until(&server, front, RecordType::A, is_there).await;
    assert_eq!(data(&reply), [addresses[1].clone()]);
    let deleted = api.delete(&format!("{services}/front")).await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    let is_gone = |reply: &Message| reply.response_code == ResponseCode::NXDomain;
    until(&server, front, RecordType::A, is_gone).await;
}
