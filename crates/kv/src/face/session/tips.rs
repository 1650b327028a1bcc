//! What COMMAND tells cluster clients beyond places of keys: which nodes to ask, and how their
//! answers become one (Redis: "Command tips").

use crate::core::command::Command;

/// The tips of a command, as Redis 7.4 writes them.
pub(super) fn of(command: &Command) -> &'static [&'static str] {
    match command.name {
        "dbsize" => &["request_policy:all_shards", "response_policy:agg_sum"],
        "keys" => &["request_policy:all_shards", "nondeterministic_output_order"],
        "randomkey" => &[
            "request_policy:all_shards",
            "response_policy:special",
            "nondeterministic_output",
        ],
        "scan" => &[
            "nondeterministic_output",
            "request_policy:special",
            "response_policy:special",
        ],
        "flushall" | "flushdb" | "ping" => {
            &["request_policy:all_shards", "response_policy:all_succeeded"]
        }
        "del" | "exists" | "touch" | "unlink" => {
            &["request_policy:multi_shard", "response_policy:agg_sum"]
        }
        "mget" => &["request_policy:multi_shard"],
        "mset" => &[
            "request_policy:multi_shard",
            "response_policy:all_succeeded",
        ],
        "wait" | "waitaof" => &["request_policy:all_shards", "response_policy:agg_min"],
        "info" => &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        "config|resetstat" | "config|rewrite" | "config|set" | "slowlog|reset" => {
            &["request_policy:all_nodes", "response_policy:all_succeeded"]
        }
        "slowlog|get" => &["request_policy:all_nodes", "nondeterministic_output"],
        "slowlog|len" => &[
            "request_policy:all_nodes",
            "response_policy:agg_sum",
            "nondeterministic_output",
        ],
        "client|list" | "cluster|info" | "cluster|links" | "cluster|nodes" | "cluster|replicas"
        | "cluster|shards" | "cluster|slaves" | "cluster|slots" | "spop" | "srandmember"
        | "hrandfield" | "zrandmember" | "sscan" | "hscan" | "zscan" | "xadd" | "time" => {
            &["nondeterministic_output"]
        }
        "hgetall" | "hkeys" | "hvals" | "sdiff" | "sinter" | "smembers" | "sunion" => {
            &["nondeterministic_output_order"]
        }
        _ => &[],
    }
}
