//! Prints what restarts took: medians of each server, and the ratio of each pair of turns.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{End, Restart, RestartTurn};
use crate::{
    redis::options::Keeping,
    report::{cell, mebibytes, median, ratios},
};

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Kill => "kill",
        }
    }
}

/// The restarts of one server of one kind.
type Groups<'a> = BTreeMap<(Keeping, End, &'static str), Vec<(&'a RestartTurn, &'a Restart)>>;

pub(crate) fn table(turns: &Vec<RestartTurn>) -> String {
    let mut groups = Groups::new();
    for turn in turns {
        for restart in &turn.restarts {
            let group = (turn.durability, restart.after, turn.server);
            groups.entry(group).or_default().push((turn, restart));
        }
    }
    let mut text = format!(
        "{:<11}{:<7}{:<8}{:>5}{:>7}{:>9}{:>8}{:>8}{:>10}{:>9}{:>9}{:>12}{:>11}{:>11}{:>10}{:>12}{:>9}{:>7}\n",
        "durability",
        "after",
        "server",
        "runs",
        "GB",
        "fill s",
        "stop s",
        "PONG s",
        "served s",
        "s/GB",
        "CPU s",
        "before MiB",
        "after MiB",
        "most MiB",
        "disk MiB",
        "looked at",
        "missing",
        "wrong"
    );
    for ((durability, after, server), group) in &groups {
        let of = |value: fn(&Restart) -> f64| -> Vec<f64> {
            group.iter().map(|(_, restart)| value(restart)).collect()
        };
        let middle = |value: fn(&Restart) -> u64| -> String {
            let all: Vec<f64> = group.iter().map(|(_, it)| value(it) as f64).collect();
            mebibytes(median(&all) as u64)
        };
        let sum = |value: fn(&Restart) -> u64| -> u64 {
            group.iter().map(|(_, restart)| value(restart)).sum()
        };
        let fills: Vec<f64> = group.iter().map(|(turn, _)| turn.fill_seconds).collect();
        let _ = writeln!(
            text,
            "{:<11}{:<7}{:<8}{:>5}{:>7}{:>9}{:>8}{:>8}{:>10}{:>9}{:>9}{:>12}{:>11}{:>11}{:>10}{:>12}{:>9}{:>7}",
            durability.name(),
            after.name(),
            server,
            group.len(),
            cell(&of(|it| it.data_bytes as f64 / 1e9)),
            cell(&fills),
            format!("{:.2}", median(&of(|it| it.stop_seconds))),
            format!("{:.2}", median(&of(|it| it.pong_seconds))),
            format!("{:.2}", median(&of(|it| it.served_seconds))),
            format!("{:.2}", median(&of(|it| it.served_seconds_per_gigabyte))),
            cell(&of(|it| it.cpu_seconds)),
            middle(|it| it.rss_bytes_before),
            middle(|it| it.rss_bytes_after),
            middle(|it| it.rss_bytes_start_max),
            middle(|it| it.disk_bytes),
            sum(|it| it.right),
            sum(|it| it.missing),
            sum(|it| it.wrong),
        );
    }
    for ((durability, after, server), ours) in &groups {
        let Some(theirs) = groups.get(&(*durability, *after, "redis")) else {
            continue;
        };
        if *server == "atoll" {
            let per_gigabyte = |group: &[(&RestartTurn, &Restart)]| -> Vec<f64> {
                let all = group.iter();
                all.map(|(_, it)| it.served_seconds_per_gigabyte).collect()
            };
            let _ = writeln!(
                text,
                "{}, {}: Atoll's time of Redis's {}",
                durability.name(),
                after.name(),
                ratios(&per_gigabyte(ours), &per_gigabyte(theirs))
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(server: &'static str, served_seconds: f64) -> RestartTurn {
        let restart = |after| Restart {
            after,
            data_bytes: 2_000_000_000,
            keys: 2,
            stop_seconds: 0.1,
            disk_bytes: 1 << 20,
            pong_seconds: 1.0,
            served_seconds,
            served_seconds_per_gigabyte: served_seconds / 2.0,
            cpu_seconds: 1.0,
            rss_bytes_before: 7 << 20,
            rss_bytes_after: 8 << 20,
            rss_bytes_start_max: 9 << 20,
            right: 2,
            missing: 0,
            wrong: 0,
        };
        RestartTurn {
            server,
            durability: Keeping::Always,
            run: 0,
            value_bytes: 1_024,
            cold: false,
            data_bytes: 2_000_000_000,
            fill_seconds: 9.0,
            fill_retries: 0,
            fill_cpu_seconds: 5.0,
            restarts: vec![restart(End::Stop), restart(End::Kill)],
        }
    }

    #[test]
    fn a_row_for_each_server_and_end_and_a_ratio_for_each_end() {
        let told = table(&vec![turn("atoll", 3.0), turn("redis", 2.0)]);
        assert_eq!(told.lines().count(), 1 + 4 + 2);
        assert!(told.contains("always, kill: Atoll's time of Redis's 1.50 [1.50–1.50]"));
        let alone = table(&vec![turn("atoll", 3.0)]);
        assert_eq!(alone.lines().count(), 1 + 2);
    }
}
