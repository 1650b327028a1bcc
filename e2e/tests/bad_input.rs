//! A real process and what it must withstand: bytes that mean nothing, clients that stop in the
//! middle, a folder that a newer version wrote.
// Edge of the house: real processes, sockets and files.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::{fs, net::Ipv4Addr};

use atoll_e2e::{
    cluster::Cluster,
    command::{Entry, Kind, Server, atoll_path, data_dir},
    node::Error,
};
use common::{get, put};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// What somebody might send to a port.
const NOISE: [&[u8]; 6] = [
    b"",
    b"\0\0\0\0\0\0\0\0\0\0\0\0",
    b"GET / HTTP/9.9\r\n\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x16\x03\x01\xff\xff\x01\x00\xff\xff\xff\x03\x03",
];

fn server() -> Server {
    Server {
        kind: Kind::Atoll,
        path: atoll_path().to_path_buf(),
    }
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .unwrap()
}

#[tokio::test]
async fn noise_on_every_port_disturbs_nobody() {
    let mut cluster = Cluster::start(&server(), 1).await.unwrap();
    let endpoint = cluster.nodes[0].endpoint();
    put(&endpoint, "a", "1").await;
    let layout = cluster.nodes[0].layout().clone();
    let mut half_open = Vec::new();
    for port in [layout.client_port, layout.peer_port] {
        for noise in NOISE {
            let mut stream = connect(port).await;
            // The node may have closed it already.
            let _ = stream.write_all(noise).await;
            stream.shutdown().await.ok();
            let mut rest = Vec::new();
            // It ends, by whichever side: nothing here is worth an open connection.
            let ended = timeout(common::WAIT, stream.read_to_end(&mut rest)).await;
            assert!(
                ended.is_ok(),
                "{} stays open on {port}",
                noise.escape_ascii()
            );
            // The same, from somebody who then goes silent.
            let mut stream = connect(port).await;
            let _ = stream.write_all(noise).await;
            half_open.push(stream);
        }
    }
    put(&endpoint, "a", "2").await;
    assert_eq!(get(&endpoint, "a").await.0.as_deref(), Some("2"));
    assert!(cluster.nodes[0].is_running());
    // With all of them open, a stop is as clean as ever.
    cluster.nodes[0].stop().await.unwrap();
    drop(half_open);
}

/// Replaces text in a file of the node's folder, tries to start it, and answers what it said.
async fn refused_with(cluster: &mut Cluster, file: &str, from: &str, to: &str) -> String {
    let path = data_dir(cluster.nodes[0].layout()).join(file);
    let sound = fs::read_to_string(&path).unwrap();
    assert!(sound.contains(from), "{sound}");
    let changed = sound.replace(from, to);
    fs::write(&path, &changed).unwrap();
    let refused = cluster.nodes[0].start(&Entry::Again).await.unwrap_err();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        changed,
        "it is left alone"
    );
    fs::write(&path, sound).unwrap();
    match refused {
        Error::Ended { log, .. } => log,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_refused_and_left_alone() {
    let mut cluster = Cluster::start(&server(), 1).await.unwrap();
    let endpoint = cluster.nodes[0].endpoint();
    put(&endpoint, "a", "1").await;
    cluster.nodes[0].stop().await.unwrap();

    let told = refused_with(&mut cluster, "node.json", "\"format\": 2", "\"format\": 3").await;
    assert!(
        told.contains("has format 3, this atoll reads up to 2"),
        "{told}"
    );
    let told = refused_with(&mut cluster, "node.json", "\"boot\"", "\"boots\"").await;
    assert!(
        told.contains("node.json cannot be read: it is damaged"),
        "{told}"
    );

    cluster.nodes[0].start(&Entry::Again).await.unwrap();
    assert_eq!(get(&endpoint, "a").await.0.as_deref(), Some("1"));
}
