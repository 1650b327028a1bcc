//! Sockets of the loopback interface, and resolvers that the tests are.

use std::time::Duration;

use atoll_world::{
    clock,
    net::{self, Datagrams, Listener},
};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query as Asked},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use serde_json::json;

use super::{
    server::{read_message, serve_connections, serve_datagrams, write_message},
    upstream::others,
    *,
};

/// Longer than nobody takes.
const LIMIT: Duration = Duration::from_secs(20);

fn names(upstream: Vec<SocketAddr>) -> Arc<Names> {
    let zone = Zone::new("cluster.local", None).unwrap();
    Arc::new(Names::new(zone, Upstream::of(upstream)))
}

fn known(names: &Names) {
    let mut index = Index::default();
    for (name, spec) in [
        ("web", json!({"clusterIP": "127.64.1.2"})),
        (
            "out",
            json!({"type": "ExternalName", "externalName": "www.example.com"}),
        ),
    ] {
        let service = json!({"metadata": {"namespace": "default", "name": name}, "spec": spec});
        index.change(&kinds::SERVICES, None, Some(&service));
    }
    *names.index.write() = Some(index);
}

/// A port that is free for both: that it is for one says nothing of the other.
async fn listen() -> (Datagrams, Listener) {
    const TRIES_MAX: usize = 100;
    for _ in 0..TRIES_MAX {
        let connections = net::listen("127.0.0.1:0").await.unwrap();
        let address = connections.local_address().to_string();
        if let Ok(datagrams) = net::listen_datagrams(&address).await {
            return (datagrams, connections);
        }
    }
    panic!("no port is free for TCP and UDP");
}

/// A server; where it is.
async fn serve(names: &Arc<Names>) -> SocketAddr {
    let (datagrams, connections) = listen().await;
    let address = datagrams.local_address();
    task::spawn(serve_datagrams(Arc::new(datagrams), names.clone()));
    task::spawn(serve_connections(connections, names.clone()));
    address
}

/// A resolver that knows one address for every name; of long replies it sends the beginning by UDP.
async fn resolver(is_long: bool) -> SocketAddr {
    let (datagrams, connections) = listen().await;
    let address = datagrams.local_address();
    let reply = |question: &[u8], is_cut: bool| {
        let question = Message::from_vec(question).unwrap();
        let mut reply = question.clone().into_response();
        reply.metadata.truncation = is_cut;
        if !is_cut {
            let owner = question.queries[0].name.clone();
            let data = RData::A(A([192, 0, 2, 1].into()));
            reply.add_answer(Record::from_rdata(owner, 60, data));
        }
        reply.to_vec().unwrap()
    };
    task::spawn(async move {
        let mut bytes = [0; 512];
        loop {
            let (length, from) = datagrams.receive_any(&mut bytes).await;
            // What somebody else may send meanwhile is not taken for it.
            let mut other = reply(&bytes[..length], false);
            other[0] ^= 1;
            datagrams.send_to(&other, from).await.unwrap();
            let own = reply(&bytes[..length], is_long);
            datagrams.send_to(&own, from).await.unwrap();
        }
    });
    task::spawn(async move {
        loop {
            let mut stream = connections.accept().await.plain();
            let question = read_message(&mut stream, 512).await.unwrap();
            let _ = write_message(&mut stream, &reply(&question, false)).await;
        }
    });
    address
}

/// Where nobody answers.
async fn nobody() -> SocketAddr {
    let socket = net::listen_datagrams("127.0.0.1:0").await.unwrap();
    socket.local_address()
}

async fn ask(server: SocketAddr, transport: Transport, name: &str) -> String {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Asked::query(Name::from_ascii(name).unwrap(), RecordType::A));
    let question = message.to_vec().unwrap();
    let asked = async {
        match transport {
            Transport::Udp => {
                let socket = net::datagrams_to(server).await.unwrap();
                socket.send(&question).await.unwrap();
                let mut bytes = vec![0; 512];
                let length = socket.receive(&mut bytes).await.unwrap();
                bytes[..length].to_vec()
            }
            Transport::Tcp => {
                let mut stream = net::connect(&server.to_string(), LIMIT).await.unwrap();
                // Twice, on one connection.
                write_message(&mut stream, &question).await.unwrap();
                read_message(&mut stream, 512).await.unwrap();
                write_message(&mut stream, &question).await.unwrap();
                read_message(&mut stream, 512).await.unwrap()
            }
        }
    };
    let reply = clock::timeout(LIMIT, asked).await.expect("an answer");
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(reply.id, 7);
    match (reply.answers.last(), reply.truncation) {
        (_, true) => "cut".to_owned(),
        (Some(record), _) => record.data.to_string(),
        (None, _) => reply.response_code.to_str().to_owned(),
    }
}

#[tokio::test]
async fn names_are_answered_by_both_transports() {
    let names = names(vec![nobody().await, resolver(false).await]);
    let server = serve(&names).await;
    let web = "web.default.svc.cluster.local.";
    for transport in [Transport::Udp, Transport::Tcp] {
        // Nobody is told that a name is not there before that is known.
        assert_eq!(ask(server, transport, web).await, "Server Failure");
        assert_eq!(ask(server, transport, "example.com.").await, "192.0.2.1");
    }
    known(&names);
    for transport in [Transport::Udp, Transport::Tcp] {
        assert_eq!(ask(server, transport, web).await, "127.64.1.2");
        let no = ask(server, transport, "no.default.svc.cluster.local.").await;
        assert_eq!(no, "Non-Existent Domain");
        let out = ask(server, transport, "out.default.svc.cluster.local.").await;
        assert_eq!(out, "192.0.2.1");
    }
}

#[tokio::test]
async fn what_resolvers_cut_is_asked_for_by_tcp() {
    let names = names(vec![resolver(true).await]);
    known(&names);
    let server = serve(&names).await;
    assert_eq!(ask(server, Transport::Udp, "example.com.").await, "cut");
    assert_eq!(
        ask(server, Transport::Tcp, "example.com.").await,
        "192.0.2.1"
    );
    // Who asks for this one can't know that its end is long.
    let out = ask(server, Transport::Udp, "out.default.svc.cluster.local.").await;
    assert_eq!(out, "192.0.2.1");
}

#[tokio::test]
async fn without_resolvers_other_names_fail_at_once() {
    let names = names(Vec::new());
    known(&names);
    let server = serve(&names).await;
    for name in ["example.com.", "out.default.svc.cluster.local."] {
        let failed = ask(server, Transport::Udp, name).await;
        assert!(
            failed == "Server Failure" || failed == "www.example.com.",
            "{failed}"
        );
    }
    let server = serve(&names).await;
    let _all = names.places.try_acquire_many(FORWARDED_MAX as u32).unwrap();
    assert_eq!(
        ask(server, Transport::Udp, "example.com.").await,
        "Server Failure"
    );
}

#[tokio::test]
async fn another_node_takes_over_when_one_is_gone() {
    let first = net::listen_datagrams("127.0.0.1:0").await.unwrap();
    let address = first.local_address();
    let names = names(Vec::new());
    known(&names);
    task::spawn(server::listen(address, names));
    let web = "web.default.svc.cluster.local.";
    let mut bytes = [0; 512];
    let asks = ask(address, Transport::Udp, web);
    let hears = async {
        first.receive_any(&mut bytes).await;
        drop(first);
    };
    // The one that is gone has not answered; so it is asked again.
    tokio::select! {
        () = hears => {}
        _ = asks => panic!("nobody else listens yet"),
    }
    let found = async {
        loop {
            let socket = net::connect(&address.to_string(), LIMIT).await;
            if socket.is_ok() {
                return ask(address, Transport::Udp, web).await;
            }
            clock::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = clock::timeout(Duration::from_secs(2), found).await;
    assert_eq!(found.as_deref(), Ok("127.64.1.2"));
}

#[test]
fn the_server_does_not_ask_itself() {
    let text = "nameserver 127.64.0.10\nnameserver 10.0.0.2\nnameserver 127.0.0.1\nnameserver ::1\n\
        nameserver 10.0.0.3\n";
    let others = |own: &str| {
        let others = others(text, own.parse().unwrap()).into_iter();
        others.map(|it| it.ip().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(others("127.64.0.10:53"), ["10.0.0.2", "127.0.0.1", "::1"]);
    assert_eq!(others("0.0.0.0:53"), ["10.0.0.2", "10.0.0.3"]);
    assert_eq!(
        others("127.0.0.1:5353"),
        ["127.64.0.10", "10.0.0.2", "127.0.0.1"]
    );
}
