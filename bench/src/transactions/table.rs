//! Prints what was measured: medians, ranges, and what a commit costs beside single writes.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Choice, Deed, Report};

/// Server and its nodes.
type Server = (&'static str, usize);
/// Clients, choice, deed.
type Row = (usize, Choice, Deed);

pub(crate) fn table(reports: &Vec<Report>) -> String {
    let mut rows: BTreeMap<(Row, Server), Vec<&Report>> = BTreeMap::new();
    for report in reports {
        let row = (report.clients, report.choice, report.deed);
        let server = (report.server, report.nodes);
        rows.entry((row, server)).or_default().push(report);
    }
    let mut text = format!(
        "{:<8}{:<7}{:<10}{:<14}{:>22}{:>24}{:>22}{:>22}{:>9}{:>12}{:>10}\n",
        "clients",
        "choice",
        "load",
        "server",
        "commits/s",
        "CPU µs/commit",
        "p50 µs",
        "p99 µs",
        "aborts",
        "CPU/writes",
        "p50/write"
    );
    for ((row, server), reports) in &rows {
        let (clients, choice, deed) = *row;
        let single = rows.get(&((clients, choice, Deed::Write), *server));
        let aborts: u64 = reports.iter().map(|report| report.aborts).sum();
        // Of the same turn, median of the turns.
        let beside = |measure: fn(&Report) -> f64, times: f64| {
            let single = single?;
            let ratios = reports.iter().filter_map(|report| {
                let write = single.iter().find(|write| write.run == report.run)?;
                Some(measure(report) / (times * measure(write)))
            });
            Some(format!("{:.2}", middle(ratios.collect())?.1))
        };
        let cpu = beside(|it| it.cpu_us_per_commit, deed.accounts() as f64);
        let p50 = beside(|it| it.p50_us as f64, 1.0);
        let _ = writeln!(
            text,
            "{clients:<8}{:<7}{:<10}{:<14}{:>22}{:>24}{:>22}{:>22}{aborts:>9}{:>12}{:>10}",
            choice.name(),
            deed.name(),
            format!("{} ×{}", server.0, server.1),
            range(reports, |it| it.commits_per_second),
            range(reports, |it| it.cpu_us_per_commit),
            range(reports, |it| it.p50_us as f64),
            range(reports, |it| it.p99_us as f64),
            cpu.unwrap_or_default(),
            p50.unwrap_or_default(),
        );
    }
    text.push_str(
        "\nCPU/writes: a commit's CPU as a multiple of that of as many single writes; p50/write: \
         of one single write. Medians [least to most].\n",
    );
    text
}

/// Least, median and most.
fn middle(mut values: Vec<f64>) -> Option<(f64, f64, f64)> {
    values.sort_by(f64::total_cmp);
    let median = *values.get(values.len() / 2)?;
    Some((*values.first()?, median, *values.last()?))
}

fn range(reports: &[&Report], measure: fn(&Report) -> f64) -> String {
    let values = reports.iter().map(|report| measure(report)).collect();
    match middle(values) {
        Some((least, median, most)) => format!("{median:.0} [{least:.0}–{most:.0}]"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(deed: Deed, run: usize, cpu: f64, p50_us: u64) -> Report {
        Report {
            server: "atoll",
            nodes: 1,
            run,
            deed,
            choice: Choice::Even,
            clients: 32,
            commits: 10,
            aborts: 1,
            commits_per_second: 10.0,
            p50_us,
            p99_us: 2 * p50_us,
            cpu_us_per_commit: cpu,
        }
    }

    #[test]
    fn a_commit_is_told_beside_as_many_single_writes() {
        let reports = vec![
            report(Deed::Write, 0, 10.0, 100),
            report(Deed::Write, 1, 20.0, 200),
            report(Deed::Two, 0, 50.0, 230),
            report(Deed::Two, 1, 100.0, 460),
        ];
        let text = table(&reports);
        let two = text.lines().find(|line| line.contains(" two ")).unwrap();
        assert!(two.ends_with("2.50      2.30"), "{two}");
        assert!(two.contains("100 [50–100]"), "{two}");
    }
}
