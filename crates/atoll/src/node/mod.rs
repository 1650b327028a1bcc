//! A node, put together from its rooms.
//!
//! Order of a start: lock the directory, learn who this node is (or become somebody: found a
//! cluster, or join one), bind the listeners, link to the peers, start the control plane,
//! serve clients. Order of a stop: no new requests, hand leadership over, write what is in
//! memory, release the directory.

mod certificates;
mod global;
pub(crate) mod hot;
mod join;
mod privacy;
pub(crate) mod record;
mod serve;
mod services;
#[cfg(test)]
pub(crate) mod tests;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use atoll_base::{
    config::{CompactionMode, Config, Durability},
    id::{ClusterId, NodeId},
};
use atoll_control::{
    api::ControlApi as _,
    core::level::{FeatureLevel, SERVED},
    driver::{
        control::{AutoCompaction, Control, Place, Settings},
        generations::StoreSource,
        peer_address,
        watch::WatchConfig,
    },
    face::{self, Limits, Router},
    log::LogSettings,
    proto::raft,
};
use atoll_kv::driver::ClusterAddress;
use atoll_world::{
    disk::{self, Disk, DiskLock},
    journal,
    net::{self, Listener, TlsAcceptor},
    peers::{Peers as _, tls::TlsPeers},
    pki::{self, Authority, Keyring},
    process, random,
    store::StoreOptions,
    task,
};
use tokio::sync::watch;

use self::{certificates::Certificates, record::Record};
pub(crate) use self::{
    global::Coordinator,
    hot::{EVENTUAL_BEHIND_MS, EVENTUAL_UNKNOWN},
    services::{API_FILE, PODS_DIR, SHIM_COMMAND},
};
use crate::error::CliError;

/// The file whose lock says that a process has the directory open.
const LOCK_FILE: &str = "LOCK";

/// The folder of certificates.
pub(crate) const PKI_DIR: &str = "pki";

/// How long connections may take to end when the node stops.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A locked data directory.
pub(crate) struct Directory {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    _lock: Box<dyn DiskLock>,
}

impl Directory {
    /// Makes the directory if need be, and locks it. It is closed to other users, and so is what
    /// this process makes from now on.
    ///
    /// # Errors
    /// Another process has it, or it cannot be made.
    pub(crate) fn open(path: &std::path::Path) -> Result<Directory, CliError> {
        let disk: Arc<dyn Disk> = disk::real();
        let failed = |error: disk::DiskError| {
            CliError::failed(error.to_string(), "Choose another folder with --dir.")
        };
        // What is above it is nobody's.
        if let Some(above) = path.parent() {
            disk.create_dir_all(above).map_err(failed)?;
        }
        process::keep_private();
        disk.create_dir_all(path).map_err(failed)?;
        disk.create_dir_all(&path.join(PKI_DIR)).map_err(failed)?;
        let lock = disk.lock(&path.join(LOCK_FILE)).map_err(|error| {
            if error.is_locked() {
                CliError::failed(
                    format!("{} is open in another atoll", path.display()),
                    "Stop that one first, or give this node a folder of its own with --dir (and --port-offset).",
                )
            } else {
                failed(error)
            }
        })?;
        privacy::close(path);
        Ok(Directory {
            disk,
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.path.join(PKI_DIR)
    }

    /// Who the directory says it is.
    ///
    /// # Errors
    /// See [`Record::load`].
    pub(crate) fn record(&self) -> Result<Option<Record>, CliError> {
        Record::load(&self.disk, &self.path)
    }

    /// Makes this directory the founder of a new cluster.
    ///
    /// # Errors
    /// The disk, or making keys.
    pub(crate) fn found(&self, hosts: &[String]) -> Result<Record, CliError> {
        let record = self.certify(hosts)?;
        record.save(&self.disk, &self.path)?;
        Ok(record)
    }

    /// Makes the authority of a new cluster and the certificate of its first node. The
    /// directory holds a node once the answer is saved in it.
    ///
    /// # Errors
    /// The disk, or making keys.
    pub(crate) fn certify(&self, hosts: &[String]) -> Result<Record, CliError> {
        let authority = Authority::create().map_err(pki_failed)?;
        let record = Record::new(
            ClusterId(random::u64().max(1)),
            NodeId(random::u64().max(1)),
            true,
        );
        let identity = authority
            .issue_node(record.node, hosts, pki::LEAF_LIFE)
            .map_err(pki_failed)?;
        Keyring::create(&self.pki(), &identity, &authority.trust(), &authority, None)
            .map_err(pki_failed)?;
        Ok(record)
    }
}

pub(crate) fn pki_failed(error: pki::PkiError) -> CliError {
    CliError::failed(error.to_string(), "")
}

/// How a node comes to be.
#[derive(Clone)]
pub(crate) enum Origin {
    /// Its directory says who it is; an empty one founds a cluster, where that is allowed.
    Directory,
    /// It joins a cluster, unless its directory says that it has.
    Join {
        /// A member's peer listener.
        address: String,
        /// The token.
        token: String,
    },
}

/// A running node.
pub(crate) struct Node {
    /// Its control plane.
    pub(crate) control: Control,
    /// Who it is.
    pub(crate) record: Record,
    /// Where clients reach it, as URL.
    pub(crate) client_url: String,
    /// Where Redis clients reach it.
    pub(crate) redis_address: SocketAddr,
    /// Where clients of Redis Cluster reach it.
    pub(crate) redis_cluster_address: SocketAddr,
    /// Where clients of the Kubernetes API reach it, as URL.
    pub(crate) kubernetes_url: String,
    /// Where peers reach it, `host:port`.
    pub(crate) peer_address: String,
    hot: hot::Hot,
    peers: Arc<TlsPeers>,
    stopping: watch::Sender<bool>,
    router: Router<Control>,
    services: services::Services,
    _directory: Directory,
}

impl Node {
    /// Starts a node.
    ///
    /// # Errors
    /// The directory, the listeners, the cluster it wants to join, or what is on disk.
    pub(crate) async fn start(config: &Config, origin: Origin) -> Result<Node, CliError> {
        let directory = Directory::open(&config.node.dir)?;
        let known = directory.record()?;
        let exposed = config.leaves_loopback() && !config.security.insecure;
        if exposed && known.is_none() && matches!(origin, Origin::Directory) {
            return Err(open_door());
        }

        let peer_listener = bind(&config.peer_address().to_string()).await?;
        let client_listener = bind(&config.client_address().to_string()).await?;
        let redis_listener = bind(&config.redis_address().to_string()).await?;
        let cluster_listener = bind(&config.redis_cluster_address().to_string()).await?;
        let kubernetes_listener = bind(&config.kubernetes_address().to_string()).await?;
        let settings = settings(config)?;
        let mut member = member(config, &peer_listener, &client_listener, exposed);
        settings.levels.announce(&mut member);

        let mut record = match (known, origin) {
            (Some(known), _) => known,
            (None, Origin::Join { address, token }) => {
                join::join(&directory, &address, &token, &member, &hosts(config)).await?
            }
            (None, Origin::Directory) => directory.found(&hosts(config))?,
        };
        record.boot += 1;
        record.save(&directory.disk, &directory.path)?;

        let keyring = Arc::new(Keyring::open(&directory.pki()).map_err(pki_failed)?);
        let calls = pki::tls::peer_client_config(&keyring.identity(), &keyring.trust());
        let peers_tls = calls.map_err(pki_failed)?;
        let peers = TlsPeers::new(record.node, record.cluster, peers_tls);
        for (node, address) in &record.members {
            peers.set_address(*node, address.clone());
        }
        let certificates = Certificates::new(config, record.node, keyring.clone(), peers.clone())?;

        let control = start_control(
            config,
            settings,
            &directory,
            &record,
            keyring.clone(),
            peers.clone(),
        )
        .await?;
        if record.founder {
            control
                .found(member.clone())
                .await
                .map_err(|error| CliError::failed(error.to_string(), ""))?;
        }
        let (stopping, stopped) = watch::channel(false);
        let door = join::Door::new(control.clone(), keyring, record.cluster);
        task::spawn(serve::peers(
            peer_listener,
            certificates.peer_side.clone(),
            peers.clone(),
            door,
            stopped.clone(),
        ));
        if exposed && let Err(error) = logins_are_on(&control).await {
            stopping.send_replace(true);
            control.stop().await;
            peers.close();
            return Err(error);
        }
        let hot = hot::Hot::default();
        let (coordinator, transactions) =
            global::start(config, &record, control.clone(), peers.clone(), &hot)?;
        let services = services::start(
            config,
            &directory,
            &record,
            control.clone(),
            peers.clone(),
            &hot,
            services::Door {
                listener: kubernetes_listener,
                tls: certificates.clients.clone(),
                stopped: stopped.clone(),
            },
        )?;
        let metrics = crate::telemetry::metrics(
            control.clone(),
            peers.clone(),
            coordinator,
            hot.clone(),
            services.gateway.stats(),
        );
        let figures = hot.figures();
        let guests = vec![
            transactions,
            atoll_txn::face::hot::guest(hot.clone()),
            services.offers.clone(),
        ];
        let router = face::router_with(control.clone(), limits(config), metrics, guests, figures);
        let tls = exposed.then(|| certificates.clients.clone());
        let redis_address = redis_listener.local_address();
        let redis_cluster_address = cluster_listener.local_address();
        hot::start(
            config,
            &directory,
            &record,
            control.clone(),
            peers.clone(),
            hot::Door {
                listener: redis_listener,
                cluster_address: ClusterAddress {
                    host: reached_at(config, &config.listen.redis_cluster.host),
                    port: redis_cluster_address.port(),
                },
                cluster_listener,
                tls: tls.clone(),
                stopped: stopped.clone(),
            },
            &hot,
        );
        task::spawn(serve::clients(
            client_listener,
            tls,
            router.clone(),
            stopped,
        ));
        task::spawn(announce(control.clone(), member.clone()));
        task::spawn(certificates.clone().renew());
        task::spawn(certificates.follow(control.clone()));

        let client_url = member.client_urls.first().cloned().unwrap_or_default();
        let peer_address = peer_address(&member).unwrap_or_default();
        Ok(Node {
            control,
            record,
            client_url,
            redis_address,
            redis_cluster_address,
            kubernetes_url: services.url.clone(),
            peer_address,
            hot,
            peers,
            stopping,
            router,
            services,
            _directory: directory,
        })
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.stopping.send_replace(true);
        self.services.stop(DRAIN_MAX).await;
        self.hot.stop().await;
        self.control.stop().await;
        drop(self.router);
        // Connections hold a receiver; they end by themselves or are cut off.
        let _ = atoll_world::clock::timeout(DRAIN_MAX, self.stopping.closed()).await;
        self.peers.close();
    }
}

async fn bind(address: &str) -> Result<Listener, CliError> {
    net::listen(address)
        .await
        .map_err(|error| CliError::failed(error.to_string(), ""))
}

/// The names and addresses that certificates of this node are for.
pub(crate) fn hosts(config: &Config) -> Vec<String> {
    let mut hosts = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    let own = [
        &config.listen.advertise_host,
        &config.listen.client.host,
        &config.listen.redis.host,
        &config.listen.redis_cluster.host,
        &config.listen.kubernetes.host,
        &config.listen.peer.host,
    ];
    for host in own {
        let unspecified = matches!(host.as_str(), "" | "0.0.0.0" | "::");
        if !unspecified && !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }
    hosts
}

/// The names under which browsers and other HTTP clients reach this node, besides addresses. On
/// loopback the machine's own name is none of them: name servers may send it anywhere.
fn web_hosts(config: &Config) -> Vec<String> {
    let mut names = hosts(config);
    if !config.listen.client.is_loopback() {
        names.extend(atoll_world::process::host_name());
    }
    names
}

/// The name or address under which others reach a listener of this host.
fn reached_at(config: &Config, configured: &str) -> String {
    match (config.listen.advertise_host.as_str(), configured) {
        ("", "0.0.0.0" | "::") => "127.0.0.1",
        ("", host) => host,
        (advertised, _) => advertised,
    }
    .to_owned()
}

fn member(config: &Config, peer: &Listener, client: &Listener, tls: bool) -> raft::Node {
    let url = |scheme: &str, configured: &str, port: u16| {
        let host = reached_at(config, configured);
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host
        };
        format!("{scheme}://{host}:{port}")
    };
    let name = if config.node.name.is_empty() {
        atoll_world::process::host_name().unwrap_or_else(|| "atoll".into())
    } else {
        config.node.name.clone()
    };
    raft::Node {
        name,
        peer_urls: vec![url(
            "https",
            &config.listen.peer.host,
            peer.local_address().port(),
        )],
        client_urls: vec![url(
            if tls { "https" } else { "http" },
            &config.listen.client.host,
            client.local_address().port(),
        )],
        ..raft::Node::default()
    }
}

/// A listener that others can reach is never without a lock: returns when this node knows that
/// clients have to log in, which it may have to hear from the others first.
///
/// # Errors
/// They have not.
async fn logins_are_on(control: &Control) -> Result<(), CliError> {
    let mut said = false;
    loop {
        // What this node knew when it stopped may be old. If logins were switched off since,
        // requests are refused one by one (`Limits::login_required`).
        if control.auth_status().0 {
            return Ok(());
        }
        match control.barrier().await {
            Ok(()) if control.auth_status().0 => return Ok(()),
            Ok(()) => return Err(open_door()),
            Err(error) if !said => {
                said = true;
                tracing::warn!(%error, "no client is let in before the cluster has said whether they have to log in");
            }
            Err(_) => {}
        }
    }
}

fn open_door() -> CliError {
    CliError::usage(
        "a listener that leaves this machine needs a cluster with TLS and logins, and this folder holds none, or one where logins are switched off",
        "Start it on loopback and say `atoll auth enable`, make one with `atoll init --listen HOST`, join one with `atoll start --join HOST:PORT --token TOKEN`, \
         or say --insecure if everybody who can reach this machine may read and write everything.",
    )
}

async fn start_control(
    config: &Config,
    settings: Settings,
    directory: &Directory,
    record: &Record,
    keyring: Arc<Keyring>,
    peers: Arc<TlsPeers>,
) -> Result<Control, CliError> {
    let place = Place {
        cluster: record.cluster,
        node: record.node,
        boot: record.boot,
        disk: directory.disk.clone(),
        dir: directory.path.clone(),
        stores: stores(config),
        journal: journal_options(config),
        keyring: Some(keyring),
        peers,
        fatal: Arc::new(|reason| crate::telemetry::die(&reason)),
    };
    Control::start(place, settings)
        .await
        .map_err(|error| CliError::failed(error.to_string(), ""))
}

/// Where the node's store lies, and what it may use.
pub(crate) fn stores(config: &Config) -> Arc<StoreSource> {
    Arc::new(StoreSource::Directories(StoreOptions {
        cache_bytes: config.store.cache_bytes,
    }))
}

pub(crate) fn journal_options(config: &Config) -> journal::Options {
    journal::Options {
        segment_bytes: config.journal.segment_bytes,
        durability: durability(config.journal.durability),
        reserve_bytes: config.journal.reserve_bytes,
        fatal: Arc::new(|error| crate::telemetry::die(&error.to_string())),
        ..journal::Options::default()
    }
}

fn durability(setting: Durability) -> journal::Durability {
    match setting {
        Durability::Always => journal::Durability::Always,
        Durability::Interval { interval_ms } => {
            journal::Durability::Interval(Duration::from_millis(interval_ms))
        }
        Durability::None => journal::Durability::None,
    }
}

fn settings(config: &Config) -> Result<Settings, CliError> {
    let control = &config.control;
    let mut watch = WatchConfig {
        progress_interval: Duration::from_secs(control.watch_progress_s),
        ..WatchConfig::default()
    };
    watch.limits.stream_watchers_max =
        usize::try_from(control.watches_per_stream_max).unwrap_or(usize::MAX);
    watch.limits.ring_revisions_max =
        usize::try_from(control.watch_history_revisions).unwrap_or(usize::MAX);
    let levels = match control.feature_level_max {
        0 => SERVED,
        limit => SERVED
            .held_at(FeatureLevel(u32::try_from(limit).unwrap_or(u32::MAX)))
            .map_err(|error| {
                CliError::usage(error.to_string(), "Set it higher, or leave it out.")
            })?,
    };
    Ok(Settings {
        log: LogSettings {
            heartbeat: Duration::from_millis(control.heartbeat_ms),
            election_min: Duration::from_millis(control.election_ms_min),
            election_max: Duration::from_millis(control.election_ms_max),
            snapshot_entries: control.snapshot_entries,
            kept_entries: control.snapshot_entries / 2,
        },
        request_timeout: Duration::from_millis(control.request_timeout_ms),
        quota_bytes: control.quota_bytes,
        auto_compaction: match control.auto_compaction_mode {
            CompactionMode::Off => AutoCompaction::Off,
            CompactionMode::Periodic => {
                AutoCompaction::Periodic(Duration::from_secs(control.auto_compaction_retention_s))
            }
            CompactionMode::Revision => {
                AutoCompaction::Revisions(control.auto_compaction_retention_revisions)
            }
        },
        leases_max: usize::try_from(control.leases_max).unwrap_or(usize::MAX),
        login_required: config.leaves_loopback() && !config.security.insecure,
        login_ttl: match config.security.login_ttl_s {
            0 => None,
            seconds => Some(Duration::from_secs(seconds)),
        },
        watch,
        levels,
    })
}

fn limits(config: &Config) -> Limits {
    let control = &config.control;
    Limits {
        request_bytes_max: usize::try_from(control.request_bytes_max).unwrap_or(usize::MAX),
        txn_ops_max: usize::try_from(control.txn_ops_max).unwrap_or(usize::MAX),
        streams_per_connection_max: u32::try_from(control.streams_per_connection_max)
            .unwrap_or(u32::MAX),
        login_required: config.leaves_loopback() && !config.security.insecure,
        hosts: web_hosts(config),
        user_certificate_life: Duration::from_secs(config.security.user_certificate_life_s),
        ..Limits::default()
    }
}

/// Tells the cluster where this node is, until it knows.
async fn announce(control: Control, member: raft::Node) {
    const RETRY_INTERVAL: Duration = Duration::from_secs(1);
    loop {
        if control.barrier().await.is_ok() {
            match control.announce(member.clone()).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%error, "the cluster does not know this node's address yet")
                }
            }
        }
        atoll_world::clock::sleep(RETRY_INTERVAL).await;
    }
}

/// What a listener for clients speaks.
pub(crate) const CLIENT_ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// Listeners' certificates, shared with whoever renews them.
pub(crate) type Acceptor = TlsAcceptor;
