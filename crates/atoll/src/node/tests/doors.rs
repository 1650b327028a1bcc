//! Whether a listener may leave this machine is decided by what the cluster says now.

use atoll_base::config::Config;
use atoll_control::{
    api::ControlApi as _,
    driver::system_identity,
    proto::{etcdserverpb as pb, internal::command::Op},
};
use tempfile::TempDir;

use super::{Life, Lone, client_of, put, settings, users::refusal};
use crate::{init, node::Origin};

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
