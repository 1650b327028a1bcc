//! Who may pass for whom. Handshakes run in memory.

#![allow(clippy::disallowed_methods, reason = "files are damaged on purpose")]

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, pki_types::ServerName,
};
use tempfile::TempDir;

use super::{files::Which, tls::ClientCertificate, *};
use crate::{clock, random};

/// Shakes hands; the error is the first side's that refuses.
fn handshake(
    client: Arc<ClientConfig>,
    name: &str,
    server: Arc<ServerConfig>,
) -> Result<ServerConnection, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(server)?;
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &*wire).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &*wire).unwrap();
        client.process_new_packets()?;
    }
    Ok(server)
}

const A: NodeId = NodeId(0xa);
const B: NodeId = NodeId(0xb0b0_0000_0000_000b);

fn names() -> Vec<String> {
    vec!["127.0.0.1".to_owned(), "example.test".to_owned()]
}

#[test]
fn nodes_know_each_other_by_id() {
    let authority = Authority::create().unwrap();
    let trust = authority.trust();
    let a = authority.issue_node(A, &names(), LEAF_LIFE).unwrap();
    let b = authority.issue_node(B, &[], LEAF_LIFE).unwrap();
    let server = || tls::peer_server_config(&b, &trust).unwrap();
    let client = || tls::peer_client_config(&a, &trust).unwrap();

    let accepted = handshake(client(), &node_dns_name(B), server()).unwrap();
    let shown = Facts::of(&accepted.peer_certificates().unwrap()[0]).unwrap();
    assert_eq!(shown.node_id(), Some(A));
    assert_eq!(accepted.alpn_protocol(), Some(tls::PEER_ALPN));
    assert!(
        handshake(client(), &node_dns_name(A), server()).is_err(),
        "b is not a"
    );
}

#[test]
fn neither_clients_nor_strangers_pass_for_nodes() {
    let authority = Authority::create().unwrap();
    let trust = authority.trust();
    let a = authority.issue_node(A, &[], LEAF_LIFE).unwrap();
    let server = || tls::peer_server_config(&a, &trust).unwrap();

    let user = authority.issue_client("a", LEAF_LIFE).unwrap();
    let client = tls::peer_client_config(&user, &trust).unwrap();
    assert!(handshake(client, &node_dns_name(A), server()).is_err());

    let elsewhere = Authority::create().unwrap();
    let stranger = elsewhere.issue_node(A, &[], LEAF_LIFE).unwrap();
    let client = tls::peer_client_config(&stranger, &trust).unwrap();
    assert!(handshake(client, &node_dns_name(A), server()).is_err());

    let client = tls::client_config(&trust.roots, None, &[tls::PEER_ALPN]).unwrap();
    assert!(
        handshake(client, &node_dns_name(A), server()).is_err(),
        "a certificate is required"
    );
    assert_eq!(user.facts().unwrap().node_id(), None);
}

#[test]
fn clients_may_show_a_certificate() {
    let authority = Authority::create().unwrap();
    let trust = authority.trust();
    let a = authority.issue_node(A, &names(), LEAF_LIFE).unwrap();
    let server =
        || tls::listener_config(&a, &trust, ClientCertificate::Optional, &[b"h2"]).unwrap();
    let client =
        |identity: Option<&Identity>| tls::client_config(&trust.roots, identity, &[b"h2"]).unwrap();

    for name in ["127.0.0.1", "example.test"] {
        let accepted = handshake(client(None), name, server()).unwrap();
        assert!(accepted.peer_certificates().is_none());
    }
    assert!(handshake(client(None), "other.test", server()).is_err());

    let user = authority.issue_client("alice", LEAF_LIFE).unwrap();
    let accepted = handshake(client(Some(&user)), "127.0.0.1", server()).unwrap();
    let shown = Facts::of(&accepted.peer_certificates().unwrap()[0]).unwrap();
    assert_eq!(shown.common_name, "alice");

    let node = authority.issue_node(B, &[], LEAF_LIFE).unwrap();
    assert!(
        handshake(client(Some(&node)), "127.0.0.1", server()).is_err(),
        "a node is no user"
    );
    let elsewhere = Authority::create()
        .unwrap()
        .issue_client("alice", LEAF_LIFE)
        .unwrap();
    assert!(handshake(client(Some(&elsewhere)), "127.0.0.1", server()).is_err());
}

#[test]
fn a_listener_may_require_a_certificate() {
    let authority = Authority::create().unwrap();
    let trust = authority.trust();
    let a = authority.issue_node(A, &names(), LEAF_LIFE).unwrap();
    let server =
        || tls::listener_config(&a, &trust, ClientCertificate::Required, &[b"h2"]).unwrap();
    let shakes = |identity: Option<&Identity>| {
        let client = tls::client_config(&trust.roots, identity, &[b"h2"]).unwrap();
        handshake(client, "127.0.0.1", server()).map(drop)
    };
    let user = authority.issue_client("alice", LEAF_LIFE).unwrap();
    shakes(Some(&user)).unwrap();
    assert_eq!(
        shakes(None),
        Err(rustls::Error::NoCertificatesPresented),
        "nobody comes in without"
    );
    let elsewhere = Authority::create().unwrap();
    let stranger = elsewhere.issue_client("alice", LEAF_LIFE).unwrap();
    assert!(shakes(Some(&stranger)).is_err());
    let node = authority.issue_node(B, &[], LEAF_LIFE).unwrap();
    assert!(shakes(Some(&node)).is_err(), "a node is no user");
    random::seed_thread(1); // whose date is in the past
    let ended = authority
        .issue_client("alice", Duration::from_secs(3600))
        .unwrap();
    random::unseed_thread();
    assert!(matches!(
        shakes(Some(&ended)),
        Err(rustls::Error::InvalidCertificate(
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. }
        ))
    ));
}

#[test]
fn nobody_outlives_the_issuer() {
    let authority = Authority::create().unwrap();
    let issuer = Facts::of(&authority.trust().clients[0]).unwrap();
    let user = authority.issue_client("alice", 2 * ISSUER_LIFE).unwrap();
    assert_eq!(user.facts().unwrap().not_after_ms, issuer.not_after_ms);
}

#[test]
fn a_joiner_knows_the_root_and_nothing_else() {
    let authority = Authority::create().unwrap();
    let trust = authority.trust();
    let a = authority.issue_node(A, &[], LEAF_LIFE).unwrap();
    let listener = |identity: &Identity| {
        tls::listener_config(identity, &trust, ClientCertificate::Optional, &[b"h2"]).unwrap()
    };
    let joiner = |root| tls::joiner_config(root, &[b"h2"]).unwrap();

    handshake(joiner(trust.fingerprint()), "192.0.2.1", listener(&a)).unwrap();
    let wrong = Authority::create().unwrap().trust().fingerprint();
    assert!(handshake(joiner(wrong), "192.0.2.1", listener(&a)).is_err());
    let user = authority.issue_client("mallory", LEAF_LIFE).unwrap();
    assert!(handshake(joiner(trust.fingerprint()), "192.0.2.1", listener(&user)).is_err());

    // Somebody else's node that shows our root beside its own chain.
    let elsewhere = Authority::create()
        .unwrap()
        .issue_node(A, &[], LEAF_LIFE)
        .unwrap();
    let mut chain = elsewhere.chain().to_vec();
    chain.extend(trust.roots.clone());
    let forged = Identity {
        chain,
        key_pem: elsewhere.key_pem.clone(),
    };
    assert!(handshake(joiner(trust.fingerprint()), "192.0.2.1", listener(&forged)).is_err());
}

#[test]
fn a_request_is_certified_for_whom_the_authority_says() {
    let authority = Authority::create().unwrap();
    let request = KeyRequest::new().unwrap();
    let chain = authority
        .sign_node(request.csr_pem(), B, &names(), LEAF_LIFE)
        .unwrap();
    let identity = request.certified(&chain).unwrap();
    let facts = identity.facts().unwrap();
    assert_eq!(facts.node_id(), Some(B));
    assert_eq!(
        facts.names,
        [
            node_dns_name(B),
            "127.0.0.1".to_owned(),
            "example.test".to_owned()
        ]
    );

    let request = KeyRequest::new().unwrap();
    let chain = authority
        .sign_client(request.csr_pem(), "bob", LEAF_LIFE)
        .unwrap();
    assert!(matches!(
        KeyRequest::new().unwrap().certified(&chain),
        Err(PkiError::WrongKey { common_name }) if common_name == "bob"
    ));
    assert_eq!(
        request
            .certified(&chain)
            .unwrap()
            .facts()
            .unwrap()
            .common_name,
        "bob"
    );
    for nonsense in ["", "nonsense", &chain] {
        assert!(authority.sign_client(nonsense, "bob", LEAF_LIFE).is_err());
    }
}

#[test]
fn certificates_end_and_are_renewed_before() {
    let authority = Authority::create().unwrap();
    let now = clock::wall_ms();
    let brief = authority
        .issue_node(A, &[], Duration::from_secs(2 * 3600))
        .unwrap();
    let facts = brief.facts().unwrap();
    assert!(facts.not_before_ms < now && facts.not_after_ms > now + 7_190_000);
    // Backdated by one hour, it lives for three.
    assert!(!facts.needs_renewal(facts.not_after_ms - 3_700_000));
    assert!(facts.needs_renewal(facts.not_after_ms - 3_500_000));
    assert!(facts.needs_renewal(facts.not_after_ms + 1));

    let trust = authority.trust();
    random::seed_thread(1); // whose date is in the past
    let ended = authority
        .issue_node(A, &[], Duration::from_secs(3600))
        .unwrap();
    random::unseed_thread();
    let server = tls::peer_server_config(&brief, &trust).unwrap();
    let client = tls::peer_client_config(&ended, &trust).unwrap();
    assert!(handshake(client, &node_dns_name(A), server).is_err());
}

#[test]
fn everything_is_found_again_in_its_files() {
    let dir = TempDir::new().unwrap();
    let authority = Authority::create().unwrap();
    assert!(
        files::load_authority(dir.path(), Which::Current)
            .unwrap()
            .is_none()
    );
    files::save_authority(dir.path(), Which::Current, &authority).unwrap();
    files::save_trust(dir.path(), &authority.trust()).unwrap();
    let node = authority.issue_node(A, &[], LEAF_LIFE).unwrap();
    files::save_identity(dir.path(), "node", &node).unwrap();
    files::save_identity(dir.path(), "node", &node).unwrap();

    assert_eq!(files::load_trust(dir.path()).unwrap(), authority.trust());
    let again = files::load_identity(dir.path(), "node").unwrap();
    assert_eq!(again.facts().unwrap(), node.facts().unwrap());
    for name in ["node.key", "authority.key"] {
        let mode = std::fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }

    let again = files::load_authority(dir.path(), Which::Current)
        .unwrap()
        .unwrap();
    let trust = again.trust();
    assert_eq!(trust, authority.trust());
    let other = again.issue_node(B, &[], LEAF_LIFE).unwrap();
    let server = tls::peer_server_config(&other, &trust).unwrap();
    handshake(
        tls::peer_client_config(&node, &trust).unwrap(),
        &node_dns_name(B),
        server,
    )
    .unwrap();

    std::fs::write(dir.path().join("node.pem"), other.chain_pem()).unwrap();
    assert!(matches!(
        files::load_identity(dir.path(), "node"),
        Err(PkiError::WrongKey { .. })
    ));
    assert!(matches!(
        files::load_identity(dir.path(), "none"),
        Err(PkiError::File { .. })
    ));
    assert!(format!("{node:?} {authority:?}").find("PRIVATE").is_none());
}

#[test]
fn fingerprints_are_text() {
    let fingerprint = Authority::create().unwrap().trust().fingerprint();
    assert_eq!(
        fingerprint.to_string().parse::<Fingerprint>().unwrap(),
        fingerprint
    );
    for wrong in ["", "12", &"x".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
        assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
    }
}

#[test]
fn old_and_new_authorities_stand_side_by_side() {
    let old = Authority::create().unwrap();
    let new = Authority::create().unwrap();
    let mut trust = old.trust();
    trust.merge(&new.trust());
    trust.merge(&new.trust());
    assert_eq!(
        (trust.roots.len(), trust.nodes.len(), trust.clients.len()),
        (2, 2, 2)
    );
    let a = old.issue_node(A, &[], LEAF_LIFE).unwrap();
    let b = new.issue_node(B, &[], LEAF_LIFE).unwrap();
    for (from, to, name) in [(&a, &b, B), (&b, &a, A)] {
        let server = tls::peer_server_config(to, &trust).unwrap();
        let client = tls::peer_client_config(from, &trust).unwrap();
        handshake(client, &node_dns_name(name), server).unwrap();
    }
}

/// A folder of a node, filled.
fn keyring(dir: &TempDir, authority: &Authority) -> Keyring {
    let node = authority.issue_node(A, &names(), LEAF_LIFE).unwrap();
    Keyring::create(dir.path(), &node, &authority.trust(), authority, None).unwrap();
    Keyring::open(dir.path()).unwrap()
}

fn listens(keyring: &Keyring) -> Arc<ServerConfig> {
    let optional = ClientCertificate::Optional;
    tls::listener_config(&keyring.identity(), &keyring.trust(), optional, &[b"h2"]).unwrap()
}

#[test]
fn a_new_authority_takes_the_place_of_the_old_one() {
    let dir = TempDir::new().unwrap();
    let old = Authority::create().unwrap();
    let ring = keyring(&dir, &old);
    let peer = old.issue_node(B, &[], LEAF_LIFE).unwrap();
    let client_of =
        |roots: &[CertificateDer<'static>]| tls::client_config(roots, None, &[b"h2"]).unwrap();
    let joiner_of = |trust: &Trust| tls::joiner_config(trust.fingerprint(), &[b"h2"]).unwrap();
    let meet =
        |client, keyring: &Keyring| handshake(client, "127.0.0.1", listens(keyring)).map(drop);
    // Made: nobody sees anything of it yet.
    let new = ring.make_next().unwrap();
    assert_eq!(ring.fingerprint(), old.fingerprint());
    assert!(meet(client_of(&new.roots), &ring).is_err());

    // Trusted: nodes of both come in.
    let both = old.trust().with(&new);
    assert!(ring.set_trust(both.clone()).unwrap() && !ring.set_trust(both.clone()).unwrap());
    assert_eq!(ring.standing().unwrap().shown, Some(old.fingerprint()));

    // Turned to: who knows one root or the other gets in, and so does who was told either.
    assert!(ring.turn_to(new.fingerprint()).unwrap());
    ring.set_trust(new.with(&old.trust())).unwrap();
    assert!(ring.show_current(A, &names()).unwrap() && !ring.show_current(A, &[]).unwrap());
    let standing = ring.standing().unwrap();
    assert_eq!(standing.shown, Some(new.fingerprint()));
    assert_eq!(standing.held, [new.fingerprint()]);
    assert_eq!(standing.trusted, [new.fingerprint(), old.fingerprint()]);
    for trust in [&old.trust(), &new, &both] {
        meet(client_of(&trust.roots), &ring).unwrap();
        meet(joiner_of(trust), &ring).unwrap();
    }
    let server = tls::peer_server_config(&peer, &both).unwrap();
    let client = tls::peer_client_config(&ring.identity(), &ring.trust()).unwrap();
    handshake(client, &node_dns_name(B), server).unwrap();
    let user = old.issue_client("alice", LEAF_LIFE).unwrap();
    let as_user = || tls::client_config(&new.roots, Some(&user), &[b"h2"]).unwrap();
    meet(as_user(), &ring).unwrap();

    // Settled: the old one opens no door any more, in either direction.
    assert!(ring.settle().unwrap() && !ring.settle().unwrap());
    ring.set_trust(new.clone()).unwrap();
    meet(client_of(&new.roots), &ring).unwrap();
    meet(joiner_of(&new), &ring).unwrap();
    assert!(meet(client_of(&old.trust().roots), &ring).is_err());
    assert!(meet(joiner_of(&old.trust()), &ring).is_err());
    assert!(meet(as_user(), &ring).is_err());
    let server = tls::peer_server_config(&ring.identity(), &ring.trust()).unwrap();
    let client = tls::peer_client_config(&peer, &both).unwrap();
    assert!(handshake(client, &node_dns_name(A), server).is_err());

    // And all of it is in the files.
    let again = Keyring::open(dir.path()).unwrap();
    assert_eq!(again.standing().unwrap(), ring.standing().unwrap());
    assert_eq!(again.identity().chain(), ring.identity().chain());
    meet(client_of(&new.roots), &again).unwrap();
}

#[test]
fn an_authority_of_another_member_is_taken_over_only_if_it_is_the_one() {
    let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let old = Authority::create().unwrap();
    let (ring, other) = (keyring(&first, &old), keyring(&second, &old));
    let new = ring.make_next().unwrap();
    let pem = ring.authority_pem(new.fingerprint()).unwrap();
    let stranger = Authority::create().unwrap();
    assert!(other.take_next(&stranger.to_pem(), &new).is_err());
    assert!(other.take_next("", &new).is_err());
    assert!(!other.turn_to(new.fingerprint()).unwrap());
    other.take_next(&pem, &new).unwrap();
    // Not this one.
    other.drop_next(stranger.fingerprint()).unwrap();
    assert!(other.turn_to(new.fingerprint()).unwrap());

    // A crash after the first of the two files.
    files::save_authority(
        first.path(),
        Which::Current,
        &Authority::from_pem(&pem).unwrap(),
    )
    .unwrap();
    let crashed = Keyring::open(first.path()).unwrap();
    assert!(crashed.turn_to(new.fingerprint()).unwrap());
    assert!(
        files::load_authority(first.path(), Which::Next)
            .unwrap()
            .is_none()
    );

    // What is given up is gone.
    let given_up = other.make_next().unwrap();
    other.drop_next(given_up.fingerprint()).unwrap();
    assert!(other.authority_pem(given_up.fingerprint()).is_none());
    assert!(
        files::load_authority(second.path(), Which::Next)
            .unwrap()
            .is_none()
    );
}
