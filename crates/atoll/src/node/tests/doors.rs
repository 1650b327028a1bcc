//! Whether a listener may leave this machine is decided by what the cluster says now.

use atoll_base::config::Config;
use atoll_control::{
    api::ControlApi as _,
    driver::system_identity,
    proto::{etcdserverpb as pb, internal::command::Op},
};
use atoll_world::{
    net,
    pki::{Trust, tls},
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Life, Lone, WAIT, client_of, put, settings, users::refusal};
use crate::{init, node::Origin};

/// The status of a page, asked for under a name, by a page of an origin.
async fn page(life: &Life, trust: &Trust, host: &str, origin: Option<&str>) -> u16 {
    let config = tls::client_config(&trust.roots, None, &[b"http/1.1"]).unwrap();
    let port = life.node.client_url.rsplit(':').next().unwrap().to_owned();
    let mut stream = net::connect_tls(&format!("127.0.0.1:{port}"), "localhost", config, WAIT)
        .await
        .unwrap();
    let origin = origin.map_or_else(String::new, |it| format!("Origin: {it}\r\n"));
    let request = format!(
        "GET /version HTTP/1.1\r\nHost: {host}:{port}\r\n{origin}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn pages_are_served_under_the_names_that_the_node_is_told_by() {
    let more = [("listen.advertise_host", "atoll.example")];
    let lone = Lone::start(&more).await;
    let trust = lone.trust();
    let own = atoll_world::process::host_name();
    let known = [
        "atoll.example",
        "ATOLL.example",
        "localhost",
        "10.1.2.3",
        "[::1]",
    ];
    for host in known.into_iter().chain(own.as_deref()) {
        assert_eq!(page(&lone.life, &trust, host, None).await, 200, "{host}");
    }
    for host in ["evil.example", "atoll.example.evil", ""] {
        assert_eq!(page(&lone.life, &trust, host, None).await, 403, "{host}");
    }
    let foreign = Some("https://evil.example");
    assert_eq!(
        page(&lone.life, &trust, "atoll.example", foreign).await,
        403
    );
    lone.life.stop().await;
}

fn on_loopback(config: &Config) -> Config {
    let mut private = config.clone();
    private.listen.client.host = "127.0.0.1".into();
    private
}

#[tokio::test]
async fn a_door_opens_when_logins_were_switched_on_later() {
    let dir = TempDir::new().unwrap();
    let config = settings(dir.path(), &[]);
    let refused = Life::start(&config, Origin::Directory).await.err().unwrap();
    assert!(
        refused
            .to_string()
            .contains("needs a cluster with TLS and logins")
    );

    let life = Life::start(&on_loopback(&config), Origin::Directory).await;
    let life = life.unwrap();
    life.node.control.barrier().await.unwrap();
    life.stop().await;
    // It holds a cluster now; nobody has to log in there.
    let refused = Life::start(&config, Origin::Directory).await.err().unwrap();
    assert!(refused.to_string().contains("switched off"), "{refused}");

    let life = Life::start(&on_loopback(&config), Origin::Directory).await;
    let life = life.unwrap();
    init::set_up(&life.node, "secret").await.unwrap();
    life.stop().await;
    let life = Life::start(&config, Origin::Directory).await.unwrap();
    let trust = atoll_world::pki::files::load_trust(&dir.path().join("pki")).unwrap();
    let stranger = client_of(&life.node, &trust, None, None);
    assert!(refusal(put(&stranger, "a").await).contains("user name is empty"));
    let root = client_of(&life.node, &trust, Some(("root", "secret")), None);
    put(&root, "a").await.unwrap();
    life.stop().await;
}

#[tokio::test]
async fn a_door_stays_shut_when_logins_were_switched_off_later() {
    let lone = Lone::start(&[]).await;
    let config = settings(lone.dir.path(), &[]);
    let off = || Op::AuthDisable(pb::AuthDisableRequest {});
    let control = lone.node().control.clone();
    let refused = control.propose(system_identity(), off()).await.unwrap_err();
    assert!(
        refused.text().contains("cannot be switched off"),
        "{refused}"
    );
    drop(control);
    lone.life.stop().await;

    let life = Life::start(&on_loopback(&config), Origin::Directory).await;
    let life = life.unwrap();
    let control = life.node.control.clone();
    control.barrier().await.unwrap();
    control.propose(system_identity(), off()).await.unwrap();
    drop(control);
    life.stop().await;
    let refused = Life::start(&config, Origin::Directory).await.err().unwrap();
    assert!(refused.to_string().contains("switched off"), "{refused}");
    assert!(refused.next_step().contains("atoll auth enable"));
}
