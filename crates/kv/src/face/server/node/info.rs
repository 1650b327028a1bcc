//! INFO (Redis: "INFO"). What is not counted here is left out, or 0 where tools insist on it.

use std::fmt::Write as _;

use atoll_world::clock;
use bytes::Bytes;

use super::config::Setting;
use crate::{
    api::{Answer, Api, Body, Call, Condition, Consistency, Request},
    core::{command, data::DATABASES, reply::Reply},
    face::{
        server::{Server, members::Member},
        session::{ClientKind, REDIS_VERSION},
    },
    hub::{Hub, Topic},
    memory::{Memory, Tuning},
};

/// Sections, in their order.
const SECTIONS: [&str; 14] = [
    "Server",
    "Clients",
    "Memory",
    "Persistence",
    "Stats",
    "Replication",
    "CPU",
    "Modules",
    "Commandstats",
    "Errorstats",
    "Latencystats",
    "Cluster",
    "Keyspace",
    "Eventual",
];

/// Long ones, which are told only to those who ask for them or for all.
const LONG: [&str; 2] = ["Commandstats", "Latencystats"];

impl<A: Api> Server<A> {
    /// The sections that the words name; all, if none.
    pub(super) async fn info(&self, asker: &Member, words: &[Bytes]) -> Reply {
        let is_named = |name: &str| {
            let mut words = words.iter();
            words.any(|word| word.eq_ignore_ascii_case(name.as_bytes()))
        };
        let is_all = ["all", "everything"].into_iter().any(is_named);
        let is_default = is_all || words.is_empty() || is_named("default");
        let mut text = String::new();
        for section in SECTIONS {
            let is_short = !LONG.contains(&section);
            let is_told = is_all || is_default && is_short || is_named(section);
            if !is_told {
                continue;
            }
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let lines = match section {
                "Server" => self.about_server(asker),
                "Clients" => self.about_clients(),
                "Memory" => about_memory(&self.0.memory, &self.0.hub),
                "Persistence" => about_persistence(),
                "Stats" => self.about_stats(),
                "Replication" => {
                    "role:master\nconnected_slaves:0\nmaster_repl_offset:0\n".to_owned()
                }
                "CPU" => "used_cpu_sys:0.000000\nused_cpu_user:0.000000\n".to_owned(),
                "Commandstats" => self.0.commands.about_commands(),
                "Errorstats" => self.0.commands.about_errors(),
                "Latencystats" => self.0.commands.about_times(),
                "Cluster" => {
                    let is_cluster = u8::from(asker.session.lock().is_in_cluster());
                    format!("cluster_enabled:{is_cluster}\n")
                }
                "Keyspace" => self.about_keyspace().await,
                "Eventual" => about_eventual(&*self.0.api.condition()),
                _ => String::new(),
            };
            // Writing to a string does not fail.
            let _ = write!(text, "# {section}\r\n{}", lines.replace('\n', "\r\n"));
        }
        Reply::Verbatim(text.into())
    }

    fn about_server(&self, asker: &Member) -> String {
        let shared = &self.0;
        let mode = if asker.session.lock().is_in_cluster() {
            "cluster"
        } else {
            "standalone"
        };
        let uptime_s = clock::now().duration_since(shared.begun).as_secs();
        let port = asker.local_port();
        format!(
            "redis_version:{REDIS_VERSION}\nredis_mode:{mode}\natoll_version:{}\nos:{} {}\n\
             arch_bits:{}\nprocess_id:{}\nrun_id:{}\ntcp_port:{port}\nserver_time_usec:{}\n\
             uptime_in_seconds:{uptime_s}\nuptime_in_days:{}\n",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            std::env::consts::ARCH,
            usize::BITS,
            std::process::id(),
            shared.run_id,
            clock::wall_ms() * 1000,
            uptime_s / (24 * 60 * 60),
        )
    }

    fn about_clients(&self) -> String {
        let members = self.0.members.all();
        // One that was killed is gone, though its connection may end a moment later.
        let there = members.iter().filter(|member| !member.is_killed());
        let infos: Vec<_> = there.map(|member| member.info()).collect();
        let waiting = infos.iter().filter(|it| it.traffic.is_waiting).count();
        let listening = infos.iter().filter(|it| it.kind == ClientKind::PubSub);
        format!(
            "connected_clients:{}\nmaxclients:{}\nblocked_clients:{waiting}\npubsub_clients:{}\n\
             tracking_clients:{}\n",
            infos.len(),
            self.0.config.get(Setting::ConnectionsMax),
            listening.count(),
            self.0.hub.trackers().counts().clients,
        )
    }

    fn about_stats(&self) -> String {
        let (counted, hub) = (self.0.stats.count(), &self.0.hub);
        let tracking = hub.trackers().counts();
        format!(
            "total_connections_received:{}\ntotal_commands_processed:{}\n\
             total_net_input_bytes:{}\ntotal_net_output_bytes:{}\nrejected_connections:{}\n\
             total_error_replies:{}\nexpired_keys:{}\nevicted_keys:{}\npubsub_channels:{}\npubsub_patterns:{}\npubsubshard_channels:{}\n\
             tracking_total_keys:{}\ntracking_total_items:{}\ntracking_total_prefixes:{}\n",
            counted.connections,
            counted.commands,
            counted.received_bytes,
            counted.sent_bytes,
            counted.refused,
            self.0.commands.errors_total(),
            hub.expired(),
            self.0.memory.evicted_keys(),
            hub.count(Topic::Channel),
            hub.count(Topic::Pattern),
            hub.count(Topic::Shard),
            tracking.keys,
            tracking.items,
            tracking.prefixes,
        )
    }

    /// Numbers of keys; how many of them end is not counted.
    async fn about_keyspace(&self) -> String {
        let words = vec![Bytes::from_static(b"DBSIZE")];
        let Some(command) = command::find(&words) else {
            return String::new();
        };
        let request = |database| Request {
            consistency: Consistency::Stale,
            by: None,
            caller: None,
            body: Body::Call {
                database,
                call: Call {
                    command,
                    words: words.clone(),
                },
            },
        };
        let answers = self.0.api.ask((0..DATABASES).map(request).collect()).await;
        let mut lines = String::new();
        for (database, answer) in answers.into_iter().enumerate() {
            if let Answer::Reply(Reply::Integer(keys)) = answer
                && keys > 0
            {
                // Writing to a string does not fail.
                let _ = writeln!(lines, "db{database}:keys={keys},expires=0,avg_ttl=0");
            }
        }
        lines
    }
}

/// How this node's replicas of eventual keyspaces are, and how far behind they may be.
fn about_eventual(condition: &dyn Condition) -> String {
    let keyspaces = condition.keyspaces();
    let mut lines = String::new();
    for (number, status) in condition.eventual_status() {
        let name = keyspaces.numbered(number).map_or("", |it| &it.name);
        // Writing to a string does not fail.
        let _ = writeln!(
            lines,
            "db{number}:name={name},partitions={},filling={},behind_ms={},unknown={},keys={},\
             bytes={},tombstones={},hints_bytes={},hints_dropped={}",
            status.partitions,
            status.filling,
            status.behind_ms,
            status.unknown,
            status.keys,
            status.bytes,
            status.tombstones,
            status.hints_bytes,
            status.hints_dropped,
        );
    }
    lines
}

/// What hot data takes; what else the process needs is not counted. What is removed is freed at
/// once, whichever command removes it.
fn about_memory(memory: &Memory, hub: &Hub) -> String {
    let (used, peak) = (memory.used_bytes(), memory.peak_bytes());
    let max = memory.tuned(Tuning::BytesMax);
    format!(
        "used_memory:{used}\nused_memory_human:{}\nused_memory_peak:{peak}\n\
         used_memory_peak_human:{}\nused_memory_dataset:{used}\nmaxmemory:{max}\n\
         maxmemory_human:{}\nmaxmemory_policy:{}\nnumber_of_cached_scripts:{}\n\
         mem_allocator:libc\nlazyfree_pending_objects:0\nlazyfreed_objects:0\n",
        human(used),
        human(peak),
        human(max),
        memory.policy().name(),
        hub.scripts(),
    )
}

/// A number of bytes as Redis shows it to people.
fn human(bytes: u64) -> String {
    let units = [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    let unit = units.into_iter().find(|(bits, _)| bytes >> bits > 0);
    match unit {
        Some((bits, name)) => format!("{:.2}{name}", bytes as f64 / f64::from(bits).exp2()),
        None => format!("{bytes}B"),
    }
}

/// What was acknowledged is on disk.
fn about_persistence() -> String {
    format!(
        "loading:0\nasync_loading:0\nrdb_changes_since_last_save:0\nrdb_bgsave_in_progress:0\n\
         rdb_last_save_time:{}\nrdb_last_bgsave_status:ok\naof_enabled:1\n\
         aof_rewrite_in_progress:0\naof_rewrite_scheduled:0\naof_last_bgrewrite_status:ok\n\
         aof_last_write_status:ok\n",
        clock::wall_ms() / 1000
    )
}
