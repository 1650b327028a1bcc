//! What came of it: for people, for programs, and as the exit status.

use serde::Serialize;

use super::{nodes::Victim, services, tally::Struck};
use crate::{error::CliError, output::View};

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) seconds: f64,
    pub(super) kills: u64,
    /// At both ports.
    pub(super) acknowledged: u64,
    pub(super) lost: u64,
    /// The nodes that were asked for every acknowledged write.
    pub(super) nodes_asked: Vec<String>,
    pub(super) etcd: PortSummary,
    pub(super) redis: PortSummary,
    /// Who was killed, in order.
    pub(super) killed: Vec<Killed>,
    /// The keys that they owned.
    pub(super) killed_owners_keys: Option<StruckSummary>,
    /// The web service; none if nobody was to be killed.
    pub(super) services: Option<services::Told>,
}

/// What came of it at one port.
#[derive(Debug, Serialize)]
pub(super) struct PortSummary {
    pub(super) acknowledged: u64,
    pub(super) reads: u64,
    /// Reads under load that did not find what had been acknowledged before.
    pub(super) missed_reads: u64,
    /// Acknowledged writes that the node with the most losses does not have.
    pub(super) lost: u64,
    /// Some of them.
    pub(super) lost_examples: Vec<String>,
    /// The longest time in which nothing was acknowledged to any client.
    pub(super) longest_gap_ms: f64,
    pub(super) write_p50_ms: f64,
    pub(super) write_p99_ms: f64,
}

/// A node that was killed.
#[derive(Debug, Serialize)]
pub(super) struct Killed {
    name: String,
    partitions_owned: usize,
    partitions: usize,
}

impl From<&Victim> for Killed {
    fn from(victim: &Victim) -> Killed {
        Killed {
            name: victim.name.clone(),
            partitions_owned: victim.owned,
            partitions: victim.partitions,
        }
    }
}

/// The keys that killed nodes owned, as clients of the other nodes saw them after the kill.
#[derive(Debug, Serialize)]
pub(super) struct StruckSummary {
    acknowledged: u64,
    /// The longest time in which somebody waited and nobody got anything acknowledged, from the
    /// kill on.
    longest_gap_ms: f64,
    /// The longest that one write took.
    longest_write_ms: f64,
}

impl From<Struck> for StruckSummary {
    fn from(struck: Struck) -> StruckSummary {
        StruckSummary {
            acknowledged: struck.writes,
            longest_gap_ms: struck.longest_gap.as_secs_f64() * 1e3,
            longest_write_ms: struck.longest_wait.as_secs_f64() * 1e3,
        }
    }
}

impl Summary {
    /// Fails if anything acknowledged was lost, or was not there when it was read.
    pub(super) fn verdict(&self) -> Result<(), CliError> {
        let mut wrongs = Vec::new();
        for (name, port) in self.ports() {
            if port.lost > 0 {
                let lost = writes(port.lost, "acknowledged write");
                let examples = port.lost_examples.join("; ");
                wrongs.push(format!("{lost} at the {name} port lost ({examples})"));
            }
            if port.missed_reads > 0 {
                let missed = port.missed_reads;
                wrongs.push(format!(
                    "{missed} reads at the {name} port did not find what had been acknowledged"
                ));
            }
        }
        if wrongs.is_empty() {
            return Ok(());
        }
        Err(CliError::failed(
            wrongs.join("; "),
            "This must never happen. Run it again with --keep and report it with the folders.",
        ))
    }

    fn ports(&self) -> [(&'static str, &PortSummary); 2] {
        [("etcd", &self.etcd), ("Redis", &self.redis)]
    }

    fn killed(&self) -> String {
        let one = |it: &Killed| {
            format!(
                "{}, which led and owned {} of {} partitions",
                it.name, it.partitions_owned, it.partitions
            )
        };
        let all: Vec<String> = self.killed.iter().map(one).collect();
        match &all[..] {
            [] => "nobody".to_owned(),
            all => all.join("\n                    "),
        }
    }
}

fn writes(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

impl View for Summary {
    fn text(&self) -> String {
        let (etcd, redis) = (&self.etcd, &self.redis);
        let row = |name: &str, of: fn(&PortSummary) -> String| {
            format!("\n  {name:<16}  {:>14}  {:>14}", of(etcd), of(redis))
        };
        let mut text = format!(
            "
  killed            {killed}
  lost              {lost} of {all} acknowledged writes (asked: {asked})

                         etcd port      Redis port",
            killed = self.killed(),
            lost = self.lost,
            all = self.acknowledged,
            asked = self.nodes_asked.join(", "),
        );
        text += &row("acknowledged", |it| it.acknowledged.to_string());
        text += &row("read back at once", |it| it.reads.to_string());
        text += &row("lost", |it| it.lost.to_string());
        text += &row("longest gap", |it| format!("{:.0} ms", it.longest_gap_ms));
        text += &row("write p50", |it| format!("{:.1} ms", it.write_p50_ms));
        text += &row("write p99", |it| format!("{:.1} ms", it.write_p99_ms));
        if let Some(struck) = &self.killed_owners_keys {
            text += &format!(
                "

  Keys that the killed node owned, for clients of the other nodes: the longest gap was
  {:.0} ms, the longest write took {:.0} ms.",
                struck.longest_gap_ms, struck.longest_write_ms
            );
        }
        if let Some(services) = &self.services {
            text += "\n";
            text += &services.text();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(acknowledged: u64) -> PortSummary {
        PortSummary {
            acknowledged,
            reads: acknowledged,
            missed_reads: 0,
            lost: 0,
            lost_examples: Vec::new(),
            longest_gap_ms: 412.4,
            write_p50_ms: 1.25,
            write_p99_ms: 9.0,
        }
    }

    fn summary() -> Summary {
        Summary {
            seconds: 20.0,
            kills: 1,
            acknowledged: 30,
            lost: 0,
            nodes_asked: vec!["node-2".into(), "node-3".into()],
            etcd: port(10),
            redis: port(20),
            killed: vec![Killed {
                name: "node-1".into(),
                partitions_owned: 700,
                partitions: 1_024,
            }],
            services: None,
            killed_owners_keys: Some(StruckSummary {
                acknowledged: 7,
                longest_gap_ms: 38.2,
                longest_write_ms: 41.0,
            }),
        }
    }

    #[test]
    fn a_loss_is_told_by_the_exit_status() {
        let mut summary = summary();
        assert!(summary.verdict().is_ok());
        summary.redis.lost = 2;
        summary.redis.lost_examples = vec!["a is not there".into(), "b holds \"x\"".into()];
        let error = summary.verdict().unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 acknowledged writes at the Redis port lost (a is not there; b holds \"x\")"
        );
        assert_eq!(error.exit_code(), 1);
        assert!(error.next_step().contains("--keep"));
        summary.etcd.missed_reads = 3;
        let error = summary.verdict().unwrap_err().to_string();
        assert!(
            error.starts_with("3 reads at the etcd port did not find"),
            "{error}"
        );
    }

    #[test]
    fn the_story_is_told_to_people() {
        let text = summary().text();
        for part in [
            "killed            node-1, which led and owned 700 of 1024 partitions\n",
            "lost              0 of 30 acknowledged writes (asked: node-2, node-3)\n",
            "                         etcd port      Redis port\n",
            "  longest gap               412 ms          412 ms\n",
            "the longest gap was\n  38 ms, the longest write took 41 ms.",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
        let mut alone = summary();
        alone.killed.clear();
        alone.killed_owners_keys = None;
        assert!(alone.text().contains("killed            nobody\n"));
    }

    #[test]
    fn and_to_programs() {
        let json = serde_json::to_value(summary()).unwrap();
        assert_eq!(json["redis"]["longest_gap_ms"], 412.4);
        assert_eq!(json["killed"][0]["partitions_owned"], 700);
        assert_eq!(json["killed_owners_keys"]["longest_gap_ms"], 38.2);
    }
}
