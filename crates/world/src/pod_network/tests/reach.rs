//! Who reaches whom on one machine.

use std::{io, net::TcpListener};

use super::{
    places::{assert_talk, at, inside, on_machine, setting},
    *,
};

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
fn a_pod_has_no_ipv6_and_nothing_more_is_forwarded() {
    on_machine(|machine| {
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        let addresses = inside(&web, || {
            std::fs::read_to_string("/proc/thread-self/net/if_inet6")
        });
        assert_eq!(addresses.unwrap(), "");
        assert_eq!(setting("pods", "forwarding"), "1");
        assert_eq!(setting("lo", "forwarding"), "0");
        assert_eq!(setting("all", "forwarding"), "0");
    });
}
