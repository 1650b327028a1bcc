//! Commands that the node answers by itself: INFO, CONFIG, SLOWLOG and the like.

mod acl;
pub(super) mod acl_log;
pub(super) mod commands;
pub(super) mod config;
mod histogram;
mod info;
mod keyspaces;
pub(super) mod latency;
mod memory;
pub(super) mod slowlog;
pub(super) mod stats;

use std::time::Duration;

use atoll_world::clock;
use bytes::Bytes;

use super::{Server, members::Member};
use crate::{
    api::Api,
    core::{command::CommandError, data::parse_integer, reply::Reply},
    face::session::{NodeCall, REDIS_VERSION},
};

/// DEBUG SLEEP takes no longer.
const SLEEP_S_MAX: f64 = 60.0;

impl<A: Api> Server<A> {
    /// Answers a command of `asker`.
    pub(super) async fn node(&self, asker: &Member, call: NodeCall) -> Reply {
        self.run_node(asker, call.name, &call.words)
            .await
            .unwrap_or_else(|error| Reply::Error(error.to_string().into()))
    }

    async fn run_node(
        &self,
        asker: &Member,
        name: &'static str,
        words: &[Bytes],
    ) -> Result<Reply, CommandError> {
        let shared = &self.0;
        let now_ms = clock::wall_ms();
        let now_s = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        Ok(match name {
            "info" => self.info(asker, &words[1..]).await,
            "time" => Reply::Array(vec![
                Reply::bulk(now_s.to_string()),
                Reply::bulk((now_ms % 1000 * 1000).to_string()),
            ]),
            "role" => Reply::Array(vec![
                Reply::bulk("master"),
                Reply::Integer(0),
                Reply::Array(Vec::new()),
            ]),
            "lolwut" => Reply::Verbatim(
                format!("A ring of islands around one quiet lagoon. Redis ver. {REDIS_VERSION}\n")
                    .into(),
            ),
            // What was acknowledged is on disk.
            "lastsave" => Reply::Integer(now_s),
            "save" | "bgrewriteaof" => Reply::OK,
            "bgsave" => match &words[1..] {
                [] => Reply::OK,
                [word] if word.eq_ignore_ascii_case(b"SCHEDULE") => Reply::OK,
                _ => return Err(CommandError::Syntax),
            },
            "shutdown" => {
                return Err(CommandError::Other(
                    "ERR SHUTDOWN is refused: a node is stopped by whoever runs it",
                ));
            }
            "config|get" => shared
                .config
                .tell(&words[2..], asker, &shared.hub, &shared.commands),
            "config|set" => {
                let changed =
                    shared
                        .config
                        .change(&words[2..], asker, &shared.hub, &shared.commands);
                changed.map_err(CommandError::Text)?;
                // Who is idle may be so for too long now.
                shared.members.wake();
                Reply::OK
            }
            "config|resetstat" => {
                shared.stats.reset();
                shared.memory.reset_evicted_keys();
                shared.commands.reset();
                Reply::OK
            }
            "config|rewrite" => {
                return Err(CommandError::Other(
                    "ERR The server is running without a config file",
                ));
            }
            "slowlog|get" => {
                let count = words.get(2).map(|word| {
                    let count = parse_integer(word).filter(|count| *count >= -1);
                    count.ok_or(CommandError::Other(
                        "ERR count should be greater than or equal to -1",
                    ))
                });
                shared.slowlog.tell(count.transpose()?)
            }
            "slowlog|len" => shared.slowlog.len(),
            "slowlog|reset" => {
                shared.slowlog.reset();
                Reply::OK
            }
            "latency|doctor" => {
                let threshold_ms = shared.config.get(config::Setting::SlowCommandMs);
                shared.latency.doctor(threshold_ms)
            }
            "memory|stats" => memory::stats(&shared.memory),
            "memory|doctor" => memory::doctor(&shared.memory),
            "memory|malloc-stats" => {
                Reply::Verbatim("Stats not supported for the current allocator".into())
            }
            // What is freed goes back by itself.
            "memory|purge" => Reply::OK,
            "memory|help" => memory::help(),
            "latency|graph" => {
                let refused = || {
                    let name = String::from_utf8_lossy(&words[2]);
                    CommandError::Text(format!("ERR No samples available for event '{name}'"))
                };
                shared.latency.graph(&words[2]).ok_or_else(refused)?
            }
            "latency|histogram" => shared.commands.histograms(&words[2..]),
            "latency|history" => shared.latency.history(&words[2]),
            "latency|latest" => shared.latency.latest(),
            "latency|reset" => shared.latency.reset(&words[2..]),
            "debug|sleep" => {
                clock::sleep(sleep_of(&words[2])?).await;
                Reply::OK
            }
            "atoll.keyspace|create" => keyspaces::create(&shared.api, words).await?,
            name if name.starts_with("acl|") => {
                return self.acl(asker, &name["acl|".len()..], words).await;
            }
            "config|help" | "debug|help" | "latency|help" | "slowlog|help" => help(name),
            // A container without the word that it needs.
            _ => return Err(CommandError::Arity(name)),
        })
    }
}

/// How long DEBUG SLEEP is to take.
fn sleep_of(word: &[u8]) -> Result<Duration, CommandError> {
    std::str::from_utf8(word)
        .ok()
        .and_then(|word| word.parse::<f64>().ok())
        .filter(|seconds| (0.0..=SLEEP_S_MAX).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or(CommandError::Other(
            "ERR DEBUG SLEEP takes from 0 to 60 seconds",
        ))
}

fn help(name: &'static str) -> Reply {
    let lines: &[&'static str] = match name {
        "config|help" => &[
            "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "GET <pattern> [<pattern> ...]",
            "    Tell the settings whose names match.",
            "SET <name> <value> [<name> <value> ...]",
            "    Change settings of this node, until it stops. Those of how small values are",
            "    packed go with commands that come to this node: smaller numbers than Redis's own",
            "    count, larger ones are kept and change nothing, and neither do those of lists",
            "    and stream-node-max-bytes.",
            "RESETSTAT",
            "    Begin to count anew.",
            "REWRITE",
            "    Is refused: there is no file of these settings.",
        ],
        "debug|help" => &[
            "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "SLEEP <seconds>",
            "    Let this connection wait.",
        ],
        "latency|help" => &[
            "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "DOCTOR",
            "    Tell what slow commands there were.",
            "GRAPH <event>",
            "    Draw the samples of an event: command, or fast-command.",
            "HISTOGRAM [<command> ...]",
            "    Tell how often commands took how long.",
            "HISTORY <event>",
            "    Tell the samples of an event.",
            "LATEST",
            "    Tell the last sample of each event, and the longest of all.",
            "RESET [<event> ...]",
            "    Forget events, and count them.",
        ],
        _ => &[
            "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "GET [<count>]",
            "    Tell the last slow commands (default: 10, -1 means all).",
            "LEN",
            "    Count them.",
            "RESET",
            "    Forget them.",
        ],
    };
    help_of(lines)
}

/// These lines, and what HELP itself does.
fn help_of(lines: &[&'static str]) -> Reply {
    let end = ["HELP", "    Print this help."];
    let lines = lines.iter().copied().chain(end);
    Reply::Array(lines.map(Reply::Status).collect())
}
