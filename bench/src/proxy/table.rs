//! Medians of the turns, and ratios to HAProxy.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    compare::{ProxyReport, ProxyTurn},
    options::Load,
};
use crate::report::{cell, ratios};

/// What is measured, and where it stands.
type Measure = (&'static str, fn(&ProxyReport) -> f64);
const MEASURES: [Measure; 3] = [
    ("requests/s", |it| it.requests_per_second),
    ("CPU µs/req", |it| it.cpu_us_per_request),
    ("p99 µs", |it| it.p99_us),
];

type Row = (Load, usize, usize);

/// One row for each load and measure.
pub(crate) fn table(turns: &[ProxyTurn]) -> String {
    let mut rows: BTreeMap<Row, BTreeMap<&str, Vec<&ProxyReport>>> = BTreeMap::new();
    let mut ordered: Vec<&ProxyTurn> = turns.iter().collect();
    // Ratios are taken between turns of the same run.
    ordered.sort_by_key(|turn| turn.run);
    for turn in ordered {
        for report in &turn.reports {
            let row = (report.load, report.body_bytes, report.connections);
            let of_row = rows.entry(row).or_default();
            of_row.entry(turn.proxy).or_default().push(report);
        }
    }
    let mut text = format!(
        "{:<12}{:>8}{:>7}  {:<11}{:>10}{:>10}{:>10}   {:<22}{}\n",
        "load",
        "bytes",
        "conns",
        "measure",
        "atoll",
        "haproxy",
        "nginx",
        "atoll/haproxy",
        "nginx/haproxy"
    );
    for ((load, bytes, connections), proxies) in &rows {
        for (name, value) in MEASURES {
            let of = |proxy: &str| -> Vec<f64> {
                let reports = proxies.get(proxy).map_or(&[][..], Vec::as_slice);
                reports.iter().map(|it| value(it)).collect()
            };
            let (atoll, haproxy, nginx) = (of("atoll"), of("haproxy"), of("nginx"));
            let _ = writeln!(
                text,
                "{:<12}{bytes:>8}{connections:>7}  {name:<11}{:>10}{:>10}{:>10}   {:<22}{}",
                load.name(),
                cell(&atoll),
                cell(&haproxy),
                cell(&nginx),
                ratios(&atoll, &haproxy),
                ratios(&nginx, &haproxy)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(proxy: &'static str, run: usize, cpu_us_per_request: f64) -> ProxyTurn {
        ProxyTurn {
            proxy,
            run,
            core: 1,
            reports: vec![ProxyReport {
                load: Load::Http1,
                connections: 64,
                body_bytes: 100,
                requests: 1,
                requests_per_second: 2_000.0,
                p99_us: 10.0,
                cpu_us_per_request,
            }],
        }
    }

    #[test]
    fn ratios_are_to_haproxy_in_the_same_run() {
        let text = table(&[
            turn("atoll", 0, 10.0),
            turn("haproxy", 0, 20.0),
            turn("nginx", 0, 40.0),
            turn("haproxy", 1, 10.0),
            turn("nginx", 1, 10.0),
            turn("atoll", 1, 15.0),
        ]);
        let line = text.lines().find(|line| line.contains("CPU")).unwrap();
        assert!(line.contains("1.00 [0.50–1.50]"), "{line}");
        assert!(line.ends_with("1.50 [1.00–2.00]"), "{line}");
    }
}
