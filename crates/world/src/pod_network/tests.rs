//! Networks of pods, in a network namespace that is the "machine". They need root, and are passed
//! over without.

mod places;
mod reach;
mod routes;

use std::{io, net::Ipv4Addr, time::Duration};

use rustix::io::Errno;

use self::places::{Machine, net, on_machine};
use super::*;

/// More than any connection here takes that is made.
const WAIT: Duration = Duration::from_secs(10);

#[test]
fn what_is_there_is_found_and_left_alone() {
    on_machine(|machine: &Machine| {
        let network = machine.open("10.9.1.0/24");
        let (web, db) = (
            machine.join(&network, "web", "10.9.1.2"),
            machine.join(&network, "db", "10.9.1.3"),
        );
        let listener = machine.listen(&db, "10.9.1.3:80");
        let opened = connect_within(&web, "10.9.1.3:80".parse().unwrap(), WAIT).unwrap();
        let before = machine.links();
        // The node starts anew.
        let network = machine.open("10.9.1.0/24");
        machine.join(&network, "web", "10.9.1.2");
        machine.join(&network, "db", "10.9.1.3");
        assert_eq!(machine.links(), before);
        places::assert_talk(&opened, &listener);
        // Another address is another interface.
        machine.join(&network, "web", "10.9.1.9");
        let opened = connect_within(&web, "10.9.1.3:80".parse().unwrap(), WAIT).unwrap();
        assert_eq!(
            opened.local_addr().unwrap().ip(),
            Ipv4Addr::new(10, 9, 1, 9)
        );
    });
}

#[test]
fn a_network_is_found_by_who_is_in_it() {
    on_machine(|machine: &Machine| {
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        let program = places::Program::start(&web);
        let pid = program.0.id();
        assert!(network.find_again(&web, pid).unwrap());
        // Its mount is lost, as that of a service that starts anew is.
        let before = machine.links();
        rustix::mount::unmount(&web, rustix::mount::UnmountFlags::DETACH).unwrap();
        let own = rustix::thread::gettid().as_raw_nonzero().get();
        assert!(!network.find_again(&web, own.cast_unsigned()).unwrap());
        assert!(network.find_again(&web, pid).unwrap());
        machine.join(&network, "web", "10.9.1.2");
        assert_eq!(machine.links(), before);
        drop(program);
        leave("pods", &web, "web").unwrap();
        assert!(network.find_again(&web, pid).is_err());
    });
}

#[test]
fn a_pair_that_is_torn_is_made_whole() {
    on_machine(|machine: &Machine| {
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        let mut kernel = Kernel::open().unwrap();
        let pair = pod::pair_name("pods", "web");
        let link = kernel.link(&pair).unwrap().unwrap();
        kernel.remove_link(&link).unwrap();
        machine.join(&network, "web", "10.9.1.2");
        let _listener = machine.listen(&web, "10.9.1.2:80");
        machine.connect("10.9.1.2:80").unwrap();
    });
}

#[test]
fn what_is_left_is_gone() {
    on_machine(|machine: &Machine| {
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        assert!(!close_if_unused("pods").unwrap());
        leave("pods", &web, "web").unwrap();
        leave("pods", &web, "web").unwrap();
        assert!(!web.exists());
        let refused = connect_within(&web, "10.9.1.2:80".parse().unwrap(), WAIT).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        assert_eq!(machine.links(), ["lo", "pods"]);
        assert!(close_if_unused("pods").unwrap());
        assert!(close_if_unused("pods").unwrap());
        assert_eq!(machine.links(), ["lo"]);
        let failed = network
            .join(&web, "web", Ipv4Addr::new(10, 9, 1, 2))
            .unwrap_err();
        assert!(failed.to_string().contains("pods is gone"), "{failed}");
    });
}

#[test]
fn a_file_that_keeps_nothing_after_a_restart_of_the_machine_is_taken() {
    on_machine(|machine: &Machine| {
        std::fs::write(machine.file("web"), "").unwrap();
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        let _listener = machine.listen(&web, "10.9.1.2:80");
        machine.connect("10.9.1.2:80").unwrap();
    });
}

#[test]
fn a_range_that_somebody_has_is_refused() {
    on_machine(|machine: &Machine| {
        let _other = PodNetwork::open(machine.setup("other", "10.9.0.0/16")).unwrap();
        let failed = PodNetwork::open(machine.setup("pods", "10.9.1.0/24")).unwrap_err();
        let told = failed.to_string();
        assert!(
            told.contains("10.9.0.1/16 is an address of the interface other"),
            "{told}"
        );
        assert!(told.contains("services.pod_network"), "{told}");
        assert_eq!(machine.links(), ["lo", "other"]);

        machine.route("10.77.0.0/16", "10.9.0.7");
        let failed = PodNetwork::open(machine.setup("pods", "10.77.1.0/24")).unwrap_err();
        let told = failed.to_string();
        assert!(
            told.contains("a route to 10.77.0.0/16 by the interface other"),
            "{told}"
        );
    });
}

#[test]
fn the_bridge_of_a_node_that_is_gone_makes_room_once_it_has_no_pods() {
    on_machine(|machine: &Machine| {
        let gone = PodNetwork::open(machine.setup("atb1", "10.9.1.0/24")).unwrap();
        let web = machine.join(&gone, "web", "10.9.1.2");
        let next = || PodNetwork::open(machine.setup("atb2", "10.9.1.0/24"));
        assert!(matches!(next(), Err(NetworkError::Taken { .. })));
        leave("atb1", &web, "web").unwrap();
        next().unwrap();
        assert_eq!(machine.links(), ["lo", "atb2"]);
    });
}

#[test]
fn another_range_is_taken_up_when_no_pod_is_left() {
    on_machine(|machine: &Machine| {
        let network = machine.open("10.9.1.0/24");
        let web = machine.join(&network, "web", "10.9.1.2");
        let failed = PodNetwork::open(machine.setup("pods", "10.9.2.0/24")).unwrap_err();
        assert!(
            matches!(failed, NetworkError::Attached { pods: 1, .. }),
            "{failed}"
        );
        leave("pods", &web, "web").unwrap();
        let network = machine.open("10.9.2.0/24");
        let web = machine.join(&network, "web", "10.9.2.2");
        let _listener = machine.listen(&web, "10.9.2.2:80");
        machine.connect("10.9.2.2:80").unwrap();
    });
}

#[test]
fn what_can_t_be_is_refused() {
    on_machine(|machine: &Machine| {
        for (bridge, range) in [
            ("a/b", "10.9.1.0/24"),
            ("", "10.9.1.0/24"),
            ("far-too-long-name", "10.9.1.0/24"),
            ("pods", "10.9.1.0/31"),
        ] {
            let failed = PodNetwork::open(machine.setup(bridge, range)).unwrap_err();
            assert!(matches!(failed, NetworkError::Invalid(_)), "{failed}");
        }
        let failed = PodNetwork::open(machine.setup("lo", "10.9.1.0/24")).unwrap_err();
        assert!(matches!(failed, NetworkError::NotABridge(_)), "{failed}");
        let network = machine.open("10.9.1.0/24");
        for address in ["10.9.1.0", "10.9.1.1", "10.9.1.255", "10.9.2.2"] {
            let failed = network.join(&machine.file("x"), "x", address.parse().unwrap());
            assert!(matches!(failed, Err(NetworkError::Invalid(_))), "{address}");
        }
        assert_eq!(net("10.9.1.0/24"), network.setup().range);
    });
}

#[test]
fn who_may_not_is_told_what_it_takes() {
    on_machine(|machine: &Machine| {
        places::give_up_network();
        let told = PodNetwork::open(machine.setup("pods", "10.9.1.0/24"))
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("can't make the bridge pods: Operation not permitted"),
            "{told}"
        );
        assert!(told.contains("CAP_NET_ADMIN"), "{told}");
    });
}

#[test]
fn what_the_kernel_lacks_is_told() {
    for errno in [Errno::OPNOTSUPP, Errno::PROTONOSUPPORT, Errno::NOENT] {
        let failed = NetworkError::of("make a table", "nf_tables")(errno.into());
        let told = failed.to_string();
        assert!(matches!(failed, NetworkError::Unsupported { .. }), "{told}");
        assert!(
            told.starts_with("can't make a table: ") && told.contains("modules nf_tables"),
            "{told}"
        );
    }
    let failed = NetworkError::of("make a table", "nf_tables")(Errno::NOBUFS.into());
    assert!(matches!(failed, NetworkError::System { .. }), "{failed}");
}
