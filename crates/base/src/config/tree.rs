//! The settings themselves. Each is declared here, once.

use std::path::PathBuf;

use super::{
    load::Chosen,
    types::{Address, CompactionMode, Durability, EvictionPolicy, Kind, LogFormat, Setting},
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

/// The one word of `words`, or nothing: an optional part of a declaration.
const fn optional(words: &[&'static str]) -> &'static str {
    if words.is_empty() { "" } else { words[0] }
}

macro_rules! tree {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:literal, $kind:expr
                    $(, unit $unit:literal)? $(, flag $flag:literal)? ;
            )*
        }
    )*) => {
        /// The whole tree, checked.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $section_doc])+ pub $section: $Section,)*
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {
                $($(#[doc = $doc])+ pub $field: $type,)*
            }
        )*

        /// Every setting, in the order of docs/configuration.md.
        pub const SETTINGS: &[Setting] = &[$($(
            Setting {
                path: concat!(stringify!($section), ".", stringify!($field)),
                doc: concat!($($doc),+).trim_ascii(),
                unit: optional(&[$($unit)?]),
                default: $default,
                kind: $kind,
                flag_short: optional(&[$($flag)?]),
            },
        )*)*];

        /// Every section with its doc line, in order.
        pub(crate) const SECTIONS: &[(&str, &str)] = &[$(
            (stringify!($section), concat!($($section_doc),+).trim_ascii()),
        )*];

        impl Config {
            pub(super) fn from_chosen(chosen: &Chosen) -> Config {
                Config {
                    $($section: $Section {
                        $($field: chosen.typed(concat!(stringify!($section), ".", stringify!($field))),)*
                    },)*
                }
            }
        }

        /// Whether `text` is a value of the type that the setting at `path` has.
        pub(super) fn check_type(path: &str, text: &str) -> Result<(), String> {
            match path {
                $($(concat!(stringify!($section), ".", stringify!($field)) => {
                    <$type as super::types::FromText>::from_text(text).map(drop)
                })*)*
                _ => unreachable!("no setting `{path}` in the tree"),
            }
        }
    };
}

tree! {
    /// Who this node is, and where it keeps its data.
    node: Node {
        /// The name that people see; the machine's name where it is empty. Only a label: a node is known by its id.
        name: String = "", Kind::Text { bytes_max: 63 }, flag "name";
        /// The folder that holds everything this node knows. One node has one folder, and only one process opens it.
        dir: PathBuf = "./atoll-data", Kind::Path, flag "dir";
        /// Added to every port, so that several nodes fit on one machine.
        port_offset: u16 = "0", Kind::Integer { min: 0, max: 60_000 }, unit "ports", flag "port-offset";
    }
    /// Where others reach this node.
    listen: Listen {
        /// Where clients come in: the etcd v3 API over gRPC, its JSON gateway, health and metrics.
        client: Address = "127.0.0.1:2379", Kind::Address;
        /// Where Redis clients come in. Every node serves every key.
        redis: Address = "127.0.0.1:6379", Kind::Address;
        /// Where clients of Redis Cluster come in. Each key is served by the node that owns it; clients are told which one that is, and sent there.
        redis_cluster: Address = "127.0.0.1:7379", Kind::Address;
        /// Where kubectl and other clients of the Kubernetes API come in. Always TLS, and always with a credential.
        kubernetes: Address = "127.0.0.1:6443", Kind::Address;
        /// Where requests come in that Ingresses lead to Services. Nobody listens there as long as there are no Ingresses.
        http: Address = "127.0.0.1:8080", Kind::Address;
        /// Where the same requests come in by TLS, for Ingresses that name a certificate. Nobody listens there as long as there are none.
        https: Address = "127.0.0.1:8443", Kind::Address;
        /// Where the other nodes come in. Always mutual TLS.
        peer: Address = "127.0.0.1:2380", Kind::Address;
        /// The name or address under which others are told to reach this node; the listener's own host where it is empty.
        advertise_host: String = "", Kind::Text { bytes_max: 253 };
    }
    /// Who may come in.
    security: Security {
        /// Serve beyond this machine without TLS and without passwords. Only for those who mean it.
        insecure: bool = "false", Kind::Flag, flag "insecure";
        /// How long a login lasts that nobody uses; each use renews it, and 0 is for ever. The leader's setting counts, so it should be the same on every node.
        login_ttl_s: u64 = "300", Kind::Integer { min: 0, max: 31_536_000 }, unit "s";
        /// Refuse clients that show no certificate of this cluster.
        require_client_cert: bool = "false", Kind::Flag;
        /// The longest that a user's certificate is made good for, and how long it is if nobody says otherwise. There is no list of revoked certificates: one ends by its time, or with its user.
        user_certificate_life_s: u64 = "31536000", Kind::Integer { min: 60, max: 315_360_000 }, unit "s";
    }
    /// The replicated log, and what the etcd v3 API allows.
    control: Control {
        /// How often a leader says that it is there.
        heartbeat_ms: u64 = "50", Kind::Integer { min: 5, max: 10_000 }, unit "ms";
        /// The least silence of the leader after which a node stands for election. At least three heartbeats.
        election_ms_min: u64 = "250", Kind::Integer { min: 15, max: 60_000 }, unit "ms";
        /// The most silence of the leader after which a node stands for election. Each node draws its own time between the two, so that they seldom stand at once.
        election_ms_max: u64 = "380", Kind::Integer { min: 20, max: 120_000 }, unit "ms";
        /// How long a request may take inside the cluster before it is given up. Longer than an election, so that requests live through one.
        request_timeout_ms: u64 = "5000", Kind::Integer { min: 100, max: 600_000 }, unit "ms";
        /// The highest feature level that this node offers to the cluster; 0 is all that this version serves. Holds new formats back while an upgrade is watched. A node never starts below the level that its cluster has reached.
        feature_level_max: u64 = "0", Kind::Integer { min: 0, max: 1_000_000 }, unit "level";
        /// After how many log entries a snapshot is made and the log before it is freed.
        snapshot_entries: u64 = "10000", Kind::Integer { min: 100, max: 10_000_000 }, unit "entries";
        /// The size of the store at which writes are refused with NOSPACE, while reads and deletes go on.
        quota_bytes: u64 = "2147483648", Kind::Integer { min: 16 * MIB, max: TIB }, unit "bytes";
        /// What is compacted without being asked for: nothing, what is older than a time, or all but the newest revisions.
        auto_compaction_mode: CompactionMode = "off", Kind::Choice(CompactionMode::WORDS);
        /// With mode periodic: how long old revisions stay readable.
        auto_compaction_retention_s: u64 = "3600", Kind::Integer { min: 1, max: 31_536_000 }, unit "s";
        /// With mode revision: how many of the newest revisions stay readable.
        auto_compaction_retention_revisions: u64 = "10000", Kind::Integer { min: 1, max: 1_000_000_000 }, unit "revisions";
        /// The largest request.
        request_bytes_max: u64 = "1572864", Kind::Integer { min: KIB, max: 64 * MIB }, unit "bytes";
        /// The most operations in one transaction.
        txn_ops_max: u64 = "128", Kind::Integer { min: 1, max: 100_000 }, unit "operations";
        /// The most watches in one stream of a client.
        watches_per_stream_max: u64 = "100000", Kind::Integer { min: 1, max: 10_000_000 }, unit "watches";
        /// The most requests and streams that one connection may have open at once.
        streams_per_connection_max: u64 = "4096", Kind::Integer { min: 1, max: 1_000_000 }, unit "streams";
        /// The most leases in the cluster.
        leases_max: u64 = "1000000", Kind::Integer { min: 1, max: 100_000_000 }, unit "leases";
        /// How many of the newest revisions a node keeps in memory for watchers; older ones come from the store.
        watch_history_revisions: u64 = "16384", Kind::Integer { min: 16, max: 10_000_000 }, unit "revisions";
        /// How often an idle watcher that asked for progress is told where the cluster stands.
        watch_progress_s: u64 = "600", Kind::Integer { min: 1, max: 86_400 }, unit "s";
    }
    /// Hot data: what Redis clients read and write.
    kv: Kv {
        /// Into how many parts the data of a new cluster is cut, each with a log of its own; never changed after that. With 1, everything is one log.
        partitions: u16 = "1024", Kind::Integer { min: 1, max: 1_024 }, unit "partitions";
        /// How many threads of work this node deals its partitions to; 0 is one for each processor.
        shards: u64 = "0", Kind::Integer { min: 0, max: 256 }, unit "shards";
        /// When a write is on the disk: always is before it is acknowledged; with an interval, or none, machines that lose power may lose what was acknowledged.
        durability: Durability = "always", Kind::Durability;
        /// How long a command is tried inside the cluster before it is given up.
        request_timeout_ms: u64 = "5000", Kind::Integer { min: 500, max: 600_000 }, unit "ms";
        /// How long a script or function may run; then it is ended, and nothing of what it did is kept.
        script_time_limit_ms: u64 = "5000", Kind::Integer { min: 1, max: 600_000 }, unit "ms";
        /// So much memory the data that this node holds may take, copies of other nodes' data included; 0 is no limit. It should be the same on every node: what is evicted goes from all of them. CONFIG SET maxmemory changes it until the node stops.
        maxmemory_bytes: u64 = "0", Kind::Integer { min: 0, max: 1_024 * TIB }, unit "bytes";
        /// What goes when the data takes more memory than it may: nothing, so that writes are refused, or keys by Redis's policies. CONFIG SET maxmemory-policy changes it until the node stops.
        maxmemory_policy: EvictionPolicy = "noeviction", Kind::Choice(EvictionPolicy::WORDS);
    }
    /// Transactions with participants outside of the cluster. These settings should be the same on every node: any of them may have to go on with what another one began.
    txn: Txn {
        /// The hosts that nodes send callbacks to for clients who name services as participants: HOST or HOST:PORT, separated by commas. Empty: services on this machine, as long as clients come from this machine only; else none.
        http_hosts: String = "", Kind::Text { bytes_max: 4_096 };
        /// A TOML file with the PostgreSQL databases that take part, by the names that clients call them: sections with a url each, as postgresql://USER:PASSWORD@HOST:PORT/DATABASE. Only this node's user should be able to read it.
        postgres_file: String = "", Kind::Text { bytes_max: 4_096 };
        /// A PEM file with the authorities by which services that are called by https, and databases on other machines, prove who they are; empty: there are none.
        roots_file: String = "", Kind::Text { bytes_max: 4_096 };
        /// How long participants have to vote.
        vote_ms: u64 = "5000", Kind::Integer { min: 100, max: 600_000 }, unit "ms";
        /// The longest time that a client may ask for until its transaction is given up.
        timeout_ms_max: u64 = "86400000", Kind::Integer { min: 1_000, max: 604_800_000 }, unit "ms";
        /// The longest pause before a participant that has not answered is told again.
        retry_ms_max: u64 = "30000", Kind::Integer { min: 100, max: 3_600_000 }, unit "ms";
        /// How long a transaction that has ended is kept, for clients that missed the answer.
        keep_s: u64 = "600", Kind::Integer { min: 1, max: 604_800 }, unit "s";
        /// The most transactions that one node brings to their ends at a time.
        transactions_max: u64 = "10000", Kind::Integer { min: 1, max: 1_000_000 }, unit "transactions";
    }
    /// Services: pods and what looks after them.
    services: Services {
        /// Whether pods may run on this node.
        run_pods: bool = "true", Kind::Flag;
        /// How many Nodes this one simulates, for tests and measurements: NAME-sim-00001 and so on, each with 32 processors, 256 GiB and room for 250 pods, in ten zones. Their pods are reported as if they ran, and nothing runs.
        simulated_nodes: u64 = "0", Kind::Integer { min: 0, max: 10_000 }, unit "nodes";
        /// The network that addresses of services are taken from: ADDRESS/BITS. It should be the same on every node. Programs of `process` pods share their machine's network, so it is a part of loopback's unless somebody routes another one.
        network: String = "127.64.0.0/12", Kind::Text { bytes_max: 18 };
        /// The network that pods of images get their addresses from: ADDRESS/BITS, with 8 to 24 bits. Each node has 256 addresses of it. It should be the same on every node, and no part of it may be in use on the machines.
        pod_network: String = "10.244.0.0/16", Kind::Text { bytes_max: 18 };
        /// The ports that nodes listen on for services of type NodePort and LoadBalancer, at the host of listen.http: FIRST-LAST. They should be the same on every node.
        node_ports: String = "30000-32767", Kind::Text { bytes_max: 11 };
        /// The host at which this node listens on the own ports of services of type LoadBalancer, as 0.0.0.0; empty: on their node ports only.
        balancer_host: String = "", Kind::Text { bytes_max: 253 };
        /// Where names of services are resolved, by UDP and TCP: ADDRESS:PORT; empty: nowhere. It should be the same on every node. Whoever reaches it has other names resolved, too, so keep it on loopback or in a network of yours. No service gets the address. Port 53 needs a node that may listen there, and is the only one that /etc/resolv.conf can mean.
        dns: String = "127.64.0.10:53", Kind::Text { bytes_max: 64 };
        /// The zone that names of services are in, as web.default.svc.cluster.local. It should be the same on every node.
        dns_zone: String = "cluster.local", Kind::Text { bytes_max: 60 };
    }
    /// The gateway, beside what Services and Ingresses ask of it.
    gateway: Gateway {
        /// A TOML file with listeners, routes, backends and policies: docs/gateway.md. It is read again when it changes; empty: there is none.
        file: String = "", Kind::Text { bytes_max: 4_096 };
    }
    /// The write-ahead log on the disk.
    journal: Journal {
        /// The size of one file of the log.
        segment_bytes: u64 = "67108864", Kind::Integer { min: MIB, max: GIB }, unit "bytes";
        /// When a write is on the disk: always is before it is acknowledged; with an interval, or none, a machine that loses power may lose what was acknowledged.
        durability: Durability = "always", Kind::Durability;
        /// The free space below which writes are refused with NOSPACE, so that the disk never fills up.
        reserve_bytes: u64 = "268435456", Kind::Integer { min: 0, max: TIB }, unit "bytes";
    }
    /// The revisions on the disk.
    store: Store {
        /// The memory that the store may keep blocks in.
        cache_bytes: u64 = "67108864", Kind::Integer { min: MIB, max: 256 * GIB }, unit "bytes";
    }
    /// What the node says about itself.
    log: Log {
        /// What is logged, in tracing's words: a level, or levels by crate, as info,atoll_control=debug.
        filter: String = "info,openraft=warn,openraft::core::heartbeat=error,openraft::replication=error,openraft::engine::handler::replication_handler=error,fjall=warn,lsm_tree=warn,atoll_gateway::access=off", Kind::Text { bytes_max: 1_000 };
        /// How log lines are written.
        format: LogFormat = "text", Kind::Choice(LogFormat::WORDS);
    }
}

impl Config {
    /// Where clients come in, the offset added.
    pub fn client_address(&self) -> Address {
        self.offset(&self.listen.client)
    }

    /// Where the other nodes come in, the offset added.
    pub fn peer_address(&self) -> Address {
        self.offset(&self.listen.peer)
    }

    /// Where Redis clients come in, the offset added.
    pub fn redis_address(&self) -> Address {
        self.offset(&self.listen.redis)
    }

    /// Where clients of Redis Cluster come in, the offset added.
    pub fn redis_cluster_address(&self) -> Address {
        self.offset(&self.listen.redis_cluster)
    }

    /// Where clients of the Kubernetes API come in, the offset added.
    pub fn kubernetes_address(&self) -> Address {
        self.offset(&self.listen.kubernetes)
    }

    /// Where requests for Ingresses come in, the offset added.
    pub fn http_address(&self) -> Address {
        self.offset(&self.listen.http)
    }

    /// Where requests for Ingresses come in by TLS, the offset added.
    pub fn https_address(&self) -> Address {
        self.offset(&self.listen.https)
    }

    /// Whether any listener can be reached from another machine.
    pub fn leaves_loopback(&self) -> bool {
        let listen = &self.listen;
        let listeners = [
            &listen.client,
            &listen.redis,
            &listen.redis_cluster,
            &listen.kubernetes,
            &listen.http,
            &listen.https,
            &listen.peer,
        ];
        listeners.iter().any(|listener| !listener.is_loopback())
    }

    fn offset(&self, address: &Address) -> Address {
        // Port 0 lets the system choose; an offset would turn it into a fixed one.
        let offset = if address.port == 0 {
            0
        } else {
            self.node.port_offset
        };
        Address {
            host: address.host.clone(),
            port: address
                .port
                .checked_add(offset)
                .expect("a checked configuration has no port above 65535"),
        }
    }
}
