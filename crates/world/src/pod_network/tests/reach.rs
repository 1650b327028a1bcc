//! Who reaches whom on one machine.

use std::{io, net::TcpListener};

use super::{
    places::{assert_talk, at, inside, on_machine, route, setting},
    *,
};
use crate::pod_network::{kernel::LOCAL_TABLE, nftables::Batch};

/// So long is waited for connections that are not to be.
const REFUSAL: Duration = Duration::from_millis(300);

#[test]
fn pods_reach_each_other_and_the_machine_reaches_them() {
    on_machine(|machine| {
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        let db = machine.join(&network, "db", "10.9.1.3");
        let listener = machine.listen(&db, "0.0.0.0:80");
        let client = connect_within(&web, at("10.9.1.3:80"), WAIT).unwrap();
        assert_eq!(assert_talk(&client, &listener).ip().to_string(), "10.9.1.2");
        let client = machine.connect("10.9.1.3:80").unwrap();
        assert_eq!(assert_talk(&client, &listener).ip().to_string(), "10.9.1.1");
    });
}

#[test]
fn pods_have_the_same_ports_each() {
    on_machine(|machine| {
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        let db = machine.join(&network, "db", "10.9.1.3");
        let _one = machine.listen(&web, "0.0.0.0:80");
        let _another = machine.listen(&db, "0.0.0.0:80");
        let _own = TcpListener::bind("0.0.0.0:80").unwrap();
    });
}

#[test]
fn addresses_of_the_cluster_are_the_machine_s_and_loopback_is_a_pod_s_own() {
    on_machine(|machine| {
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        let service = TcpListener::bind("127.64.3.4:80").unwrap();
        let client = connect_within(&web, at("127.64.3.4:80"), WAIT).unwrap();
        assert_eq!(assert_talk(&client, &service).ip().to_string(), "10.9.1.2");

        let _own = TcpListener::bind("127.0.0.1:80").unwrap();
        let refused = connect_within(&web, at("127.0.0.1:80"), WAIT).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let inner = machine.listen(&web, "127.0.0.1:80");
        let client = connect_within(&web, at("127.0.0.1:80"), WAIT).unwrap();
        assert_talk(&client, &inner);
    });
}

#[test]
fn a_pod_has_no_ipv6_but_on_loopback() {
    on_machine(|machine| {
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        let addresses = inside(&web, || {
            std::fs::read_to_string("/proc/thread-self/net/if_inet6")
        });
        let addresses = addresses.unwrap();
        let names = addresses.split_whitespace().skip(5).step_by(6);
        assert_eq!(names.collect::<Vec<_>>(), ["lo"]);
        let listener = machine.listen(&web, "[::1]:80");
        let client = connect_within(&web, at("[::1]:80"), WAIT).unwrap();
        assert_talk(&client, &listener);
    });
}

#[test]
fn nothing_is_forwarded_but_for_pods() {
    on_machine(|machine| {
        let _network = machine.open("10.9.1.0/24");
        assert_eq!(setting("pods", "forwarding"), "1");
        assert_eq!(setting("lo", "forwarding"), "0");
        assert_eq!(setting("all", "forwarding"), "0");
    });
}

#[test]
fn packets_of_pods_are_no_longer_than_what_leaves_the_machine() {
    on_machine(|machine| {
        let mtu = |link: &str| Kernel::open().unwrap().link(link).unwrap().unwrap().mtu;
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        assert_eq!(inside(&web, || mtu("eth0")), 1_500);
        machine.neighbour();
        machine.route("0.0.0.0/0", "192.168.7.2");
        let mut kernel = Kernel::open().unwrap();
        let uplink = kernel.link("wan").unwrap().unwrap();
        kernel.set_mtu(&uplink, 1_400).unwrap();
        machine.join(&network, "web", "10.9.1.2");
        assert_eq!(inside(&web, || mtu("eth0")), 1_400);
        assert_eq!(mtu("pods"), 1_400);
    });
}

#[test]
fn what_leaves_the_cluster_leaves_as_the_machine_s() {
    on_machine(|machine| {
        let outside = machine.neighbour();
        machine.route("0.0.0.0/0", "192.168.7.2");
        let network = machine.open("10.9.1.0/24");
        network.way_out().unwrap();
        let web = machine.join(&network, "web", "10.9.1.2");
        let listener = machine.listen(&outside, "192.168.7.2:80");
        let client = connect_within(&web, at("192.168.7.2:80"), WAIT).unwrap();
        assert_eq!(
            assert_talk(&client, &listener).ip().to_string(),
            "192.168.7.1"
        );
        // The node starts anew.
        let _network = machine.open("10.9.1.0/24");
        let client = connect_within(&web, at("192.168.7.2:80"), WAIT).unwrap();
        assert_eq!(
            assert_talk(&client, &listener).ip().to_string(),
            "192.168.7.1"
        );
    });
}

#[test]
fn a_way_out_that_comes_later_is_found() {
    on_machine(|machine| {
        let network = machine.open("10.9.1.0/24");
        let outside = machine.neighbour();
        machine.route("0.0.0.0/0", "192.168.7.2");
        assert_eq!(setting("wan", "forwarding"), "0");
        network.route(&[]).unwrap();
        let web = machine.join(&network, "web", "10.9.1.2");
        let _listener = machine.listen(&outside, "192.168.7.2:80");
        connect_within(&web, at("192.168.7.2:80"), WAIT).unwrap();
    });
}

/// A pod that sends packets for loopback to who is not itself, as it could by hand with `NET_RAW`.
#[test]
fn loopback_is_guarded() {
    on_machine(|machine| {
        let network = machine.open("10.9.1.0/24");
        network.guard().unwrap();
        let web = machine.join(&network, "web", "10.9.1.2");
        let db = machine.join(&network, "db", "10.9.1.3");
        let _own = TcpListener::bind("127.0.0.1:80").unwrap();
        let _inner = machine.listen(&db, "127.0.0.1:80");
        for (over, guarded) in [("10.9.1.1", None), ("10.9.1.3", Some(&db))] {
            inside(&web, || {
                places::take_loopback();
                route(LOCAL_TABLE, "127.0.0.1/32", over);
            });
            let connect = || connect_within(&web, at("127.0.0.1:80"), REFUSAL);
            assert_eq!(
                connect().unwrap_err().kind(),
                io::ErrorKind::TimedOut,
                "{over}"
            );
            // It is the guard that keeps it out.
            let unguard = || Batch::remove("pods").apply().unwrap();
            match guarded {
                None => unguard(),
                Some(pod) => inside(pod, unguard),
            }
            connect_within(&web, at("127.0.0.1:80"), WAIT).unwrap();
        }
    });
}
