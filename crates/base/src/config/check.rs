//! Values that are each in range and still do not go together.

use super::{Config, ConfigError, error::Side, load::Chosen};

/// How many heartbeats must fit into the shortest election timeout: one may be lost and one
/// late without an election (Raft dissertation, section 9.3, asks for an order of magnitude
/// between the two; three is the least that holds up on a LAN).
const HEARTBEATS_PER_ELECTION_MIN: u64 = 3;

/// One rule: whether it is broken, which two settings it is about, and what must hold.
type Rule = (bool, &'static str, &'static str, &'static str);

pub(super) fn contradictions(config: &Config, chosen: &Chosen) -> Result<(), ConfigError> {
    let side = |path| {
        let (value, origin) = chosen.get(path);
        Side {
            path,
            value: value.to_owned(),
            origin: origin.clone(),
        }
    };
    for (broken, first, second, rule) in rules(config) {
        if broken {
            return Err(ConfigError::Contradiction {
                sides: Box::new([side(first), side(second)]),
                rule,
            });
        }
    }
    Ok(())
}

fn rules(config: &Config) -> Vec<Rule> {
    let Config {
        node,
        listen,
        security,
        control,
        journal,
        ..
    } = config;
    let too_high = |port: u16| port.checked_add(node.port_offset).is_none();
    vec![
        (
            control.election_ms_min < HEARTBEATS_PER_ELECTION_MIN * control.heartbeat_ms,
            "control.election_ms_min",
            "control.heartbeat_ms",
            "the shortest election timeout must be at least three heartbeats, or a late one unseats a healthy leader",
        ),
        (
            control.election_ms_max <= control.election_ms_min,
            "control.election_ms_max",
            "control.election_ms_min",
            "the longest election timeout must be more than the shortest, or nodes stand for election at once",
        ),
        (
            control.request_timeout_ms <= control.election_ms_max,
            "control.request_timeout_ms",
            "control.election_ms_max",
            "a request must be allowed to take longer than an election, or none lives through one",
        ),
        (
            listen.client.port == listen.peer.port && listen.client.port != 0,
            "listen.client",
            "listen.peer",
            "clients and nodes come in through different ports",
        ),
        (
            listen.redis.port != 0
                && [listen.client.port, listen.peer.port].contains(&listen.redis.port),
            "listen.redis",
            "listen.client",
            "clients of each protocol, and nodes, come in through different ports",
        ),
        (
            listen.redis_cluster.port != 0
                && [listen.client.port, listen.peer.port, listen.redis.port]
                    .contains(&listen.redis_cluster.port),
            "listen.redis_cluster",
            "listen.redis",
            "clients of Redis Cluster, other clients, and nodes, come in through different ports",
        ),
        (
            listen.kubernetes.port != 0
                && [
                    listen.client.port,
                    listen.peer.port,
                    listen.redis.port,
                    listen.redis_cluster.port,
                ]
                .contains(&listen.kubernetes.port),
            "listen.kubernetes",
            "listen.client",
            "clients of the Kubernetes API, other clients, and nodes, come in through different ports",
        ),
        (
            too_high(listen.https.port),
            "listen.https",
            "node.port_offset",
            "the port and the offset together must not be above 65535",
        ),
        (
            too_high(listen.http.port),
            "listen.http",
            "node.port_offset",
            "the port and the offset together must not be above 65535",
        ),
        (
            too_high(listen.kubernetes.port),
            "listen.kubernetes",
            "node.port_offset",
            "the port and the offset together must not be above 65535",
        ),
        (
            too_high(listen.redis_cluster.port),
            "listen.redis_cluster",
            "node.port_offset",
            "the port and the offset together must not be above 65535",
        ),
        (
            too_high(listen.redis.port),
            "listen.redis",
            "node.port_offset",
            "the port and the offset together must not be above 65535",
        ),
        (
            too_high(listen.client.port),
            "listen.client",
            "node.port_offset",
            "the port and the offset together must not be above 65535",
        ),
        (
            too_high(listen.peer.port),
            "listen.peer",
            "node.port_offset",
            "the port and the offset together must not be above 65535",
        ),
        (
            security.insecure && security.require_client_cert,
            "security.insecure",
            "security.require_client_cert",
            "without TLS no client can show a certificate",
        ),
        (
            control.request_bytes_max >= control.quota_bytes,
            "control.request_bytes_max",
            "control.quota_bytes",
            "one request must be smaller than the whole store",
        ),
        (
            journal.segment_bytes < control.request_bytes_max.saturating_mul(2),
            "journal.segment_bytes",
            "control.request_bytes_max",
            "a segment must have room for two of the largest requests",
        ),
    ]
}
