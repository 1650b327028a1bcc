//! How far behind replicas of eventual keyspaces may be, as `atoll status` tells it.

use std::collections::BTreeMap;

use atoll_control::proto::etcdserverpb::StatusResponse;
use serde::Serialize;

use super::status::Answers;
use crate::node::{EVENTUAL_BEHIND_MS, EVENTUAL_UNKNOWN};

/// The worst of what nodes tell of an eventual keyspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct EventualLag {
    keyspace: String,
    /// Each replica has at least what each other had so long ago, in milliseconds.
    behind_ms: u64,
    /// The node with that replica.
    node: String,
    /// Pairs of replicas that have not compared what they hold yet, of all nodes.
    unknown: u64,
}

/// What nodes that answered tell, in the order of names.
pub(super) fn lags(answers: &Answers) -> Vec<EventualLag> {
    let mut all: BTreeMap<&str, EventualLag> = BTreeMap::new();
    let told = answers.iter();
    let told = told.filter_map(|(id, answer)| Some((*id, answer.as_ref().ok()?)));
    for (id, status) in told {
        for (keyspace, behind_ms) in figures(status, EVENTUAL_BEHIND_MS) {
            let lag = all.entry(keyspace).or_insert_with(|| EventualLag {
                keyspace: keyspace.to_owned(),
                behind_ms,
                node: format!("{id:x}"),
                unknown: 0,
            });
            if behind_ms > lag.behind_ms {
                (lag.behind_ms, lag.node) = (behind_ms, format!("{id:x}"));
            }
        }
        for (keyspace, unknown) in figures(status, EVENTUAL_UNKNOWN) {
            if let Some(lag) = all.get_mut(keyspace) {
                lag.unknown += unknown;
            }
        }
    }
    all.into_values().collect()
}

fn figures<'a>(status: &'a StatusResponse, name: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    let figures = status.atoll_figures.iter();
    let named = figures.filter(move |figure| figure.name == name);
    named.map(|figure| (&*figure.of, figure.value))
}

impl EventualLag {
    /// In a line; `name` says how nodes are called.
    pub(super) fn line(&self, name: impl Fn(&str) -> String) -> String {
        let tenths = self.behind_ms / 100;
        let unknown = match self.unknown {
            0 => String::new(),
            pairs => format!("; {pairs} pairs of replicas have yet to compare what they hold"),
        };
        format!(
            "eventual keyspace {}: replicas are at most {}.{} s behind, on {}{unknown}",
            self.keyspace,
            tenths / 10,
            tenths % 10,
            name(&self.node)
        )
    }
}

#[cfg(test)]
mod tests {
    use atoll_control::proto::etcdserverpb::AtollFigure;

    use super::*;

    fn answer(figures: &[(&str, &str, u64)]) -> Result<StatusResponse, String> {
        let figures = figures.iter().map(|(name, of, value)| AtollFigure {
            name: (*name).to_owned(),
            of: (*of).to_owned(),
            value: *value,
        });
        Ok(StatusResponse {
            atoll_figures: figures.collect(),
            ..StatusResponse::default()
        })
    }

    #[test]
    fn the_worst_is_told_with_its_node() {
        let answers = Answers::from([
            (
                0xa,
                answer(&[
                    (EVENTUAL_BEHIND_MS, "carts", 950),
                    (EVENTUAL_UNKNOWN, "carts", 2),
                ]),
            ),
            (
                0xb,
                answer(&[
                    (EVENTUAL_BEHIND_MS, "carts", 12_345),
                    (EVENTUAL_UNKNOWN, "carts", 0),
                    (EVENTUAL_BEHIND_MS, "views", 7),
                    ("another", "carts", 1 << 40),
                ]),
            ),
            (0xc, Err("down".to_owned())),
        ]);
        let lags = lags(&answers);
        let lines: Vec<String> = lags
            .iter()
            .map(|lag| lag.line(|id| format!("node-{id}")))
            .collect();
        assert_eq!(
            lines,
            [
                "eventual keyspace carts: replicas are at most 12.3 s behind, on node-b; 2 pairs of replicas have yet to compare what they hold",
                "eventual keyspace views: replicas are at most 0.0 s behind, on node-b",
            ]
        );
        let json = serde_json::to_value(&lags[0]).expect("it is JSON");
        assert_eq!(
            json,
            serde_json::json!({"keyspace": "carts", "behind_ms": 12_345, "node": "b", "unknown": 2})
        );
    }
}
