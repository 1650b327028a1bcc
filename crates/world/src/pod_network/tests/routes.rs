//! Pods of other nodes.

use super::{
    places::{assert_talk, at, inside, on_machine},
    *,
};

#[test]
fn pods_of_two_nodes_of_a_machine_reach_each_other() {
    on_machine(|machine| {
        let one = machine.open("10.9.1.0/24");
        let two = PodNetwork::open(machine.setup("more", "10.9.2.0/24")).unwrap();
        let web = machine.join(&one, "web", "10.9.1.2");
        let file = machine.file("of-two");
        two.join(&file, "web", Ipv4Addr::new(10, 9, 2, 2)).unwrap();
        let listener = machine.listen(&file, "0.0.0.0:80");
        let client = connect_within(&web, at("10.9.2.2:80"), WAIT).unwrap();
        assert_eq!(assert_talk(&client, &listener).ip().to_string(), "10.9.1.2");
        // Its own address leads nowhere else.
        let failed = one
            .route(&[(net("10.9.2.0/24"), Ipv4Addr::new(10, 9, 2, 1))])
            .unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        assert!(machine.routes().is_empty());
    });
}

#[test]
fn routes_are_set_and_taken_back() {
    on_machine(|machine| {
        let network = machine.open("10.9.1.0/24");
        let _uplink = PodNetwork::open(machine.setup("uplink", "192.168.7.0/24")).unwrap();
        let [one, two] = [net("10.9.2.0/24"), net("10.9.3.0/24")];
        let [a, b, far] =
            ["192.168.7.2", "192.168.7.3", "172.16.0.1"].map(|it| it.parse().unwrap());
        let failed = network.route(&[(one, a), (two, far)]).unwrap();
        let told: Vec<String> = failed.iter().map(|(_, error)| error.to_string()).collect();
        assert!(
            matches!(told.as_slice(), [it] if it.contains("172.16.0.1") && it.contains("10.9.3.0/24")),
            "{told:?}"
        );
        assert_eq!(machine.routes(), [(one, a)]);
        // Said again, another machine, one more, none.
        for others in [
            vec![(one, a)],
            vec![(one, b)],
            vec![(one, b), (two, a)],
            vec![],
        ] {
            assert!(network.route(&others).unwrap().is_empty());
            assert_eq!(machine.routes(), others);
        }
        // Somebody took it away.
        assert!(network.route(&[(one, a)]).unwrap().is_empty());
        let mut kernel = Kernel::open().unwrap();
        let routes = kernel.routes().unwrap();
        let lost = routes.iter().find(|route| route.to == one).unwrap();
        kernel.remove_route(lost).unwrap();
        assert!(network.route(&[(one, a)]).unwrap().is_empty());
        assert_eq!(machine.routes(), [(one, a)]);
        // Where a route led before is nowhere when its machine is far.
        assert!(network.route(&[(one, a)]).unwrap().is_empty());
        assert_eq!(network.route(&[(one, far)]).unwrap().len(), 1);
        assert!(machine.routes().is_empty());
        // What the range of this node overlaps is refused.
        assert_eq!(network.route(&[(net("10.9.0.0/16"), a)]).unwrap().len(), 1);
    });
}

#[test]
fn routes_of_others_are_left_alone() {
    on_machine(|machine| {
        let network = machine.open("10.9.1.0/24");
        let other = PodNetwork::open(machine.setup("uplink", "192.168.7.0/24")).unwrap();
        let (far, at) = (net("10.9.2.0/24"), "192.168.7.2".parse().unwrap());
        machine.route("10.99.0.0/16", "192.168.7.9");
        let by_hand = (net("10.99.0.0/16"), "192.168.7.9".parse().unwrap());
        // Both nodes of the machine have one to the same place.
        assert!(network.route(&[(far, at)]).unwrap().is_empty());
        assert!(other.route(&[(far, at)]).unwrap().is_empty());
        assert_eq!(machine.routes(), [(far, at), (far, at), by_hand]);
        assert!(network.route(&[]).unwrap().is_empty());
        assert_eq!(machine.routes(), [(far, at), by_hand]);
        assert!(close_if_unused(&other.setup().bridge).unwrap());
    });
}

#[test]
fn pods_of_two_machines_reach_each_other_as_who_they_are() {
    on_machine(|machine| {
        let other_machine = machine.neighbour();
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        let db = machine.file("db");
        inside(&other_machine, || {
            let network = machine.open("10.9.2.0/24");
            machine.join(&network, "db", "10.9.2.2");
            let back = (net("10.9.1.0/24"), "192.168.7.1".parse().unwrap());
            assert!(network.route(&[back]).unwrap().is_empty());
        });
        let there = (net("10.9.2.0/24"), "192.168.7.2".parse().unwrap());
        assert!(network.route(&[there]).unwrap().is_empty());
        let listener = machine.listen(&db, "0.0.0.0:80");
        let client = connect_within(&web, at("10.9.2.2:80"), WAIT).unwrap();
        assert_eq!(assert_talk(&client, &listener).ip().to_string(), "10.9.1.2");
        // And the node itself, which looks whether they are ready.
        let client = machine.connect("10.9.2.2:80").unwrap();
        assert_eq!(
            assert_talk(&client, &listener).ip().to_string(),
            "192.168.7.1"
        );
    });
}
