//! The control plane's runs.

use std::{path::Path, process::ExitCode, time::Duration};

use atoll_sim::{
    plan::{Plan, Script},
    scenario::{chaos, failover},
    shrink,
};
use atoll_world::journal::Durability;

use super::Run;
use crate::Arguments;

#[derive(Default)]
struct Sums {
    calls: usize,
    answered: usize,
    changes: usize,
    boots: u64,
    compactions: usize,
    leases: usize,
    replacements: usize,
    undecided: usize,
    gaps: Vec<Duration>,
}

/// Runs seeds.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let total = super::seeds(arguments, |seed| one(seed, arguments), add);
    let sums = total.sums;
    println!(
        "{} seeds in {} s: {} calls, {} answered, {} changes, {} compactions, {} leases, {} starts of nodes, {} replacements, {} keys undecided",
        total.seeds,
        total.took.as_secs(),
        sums.calls,
        sums.answered,
        sums.changes,
        sums.compactions,
        sums.leases,
        sums.boots,
        sums.replacements,
        sums.undecided
    );
    println!(
        "failover, longest gap between acknowledgements: {}",
        super::spread(sums.gaps)
    );
    let code = super::verdict(&total.failures, "");
    if let Some(seed) = total.failures.keys().next().filter(|_| arguments.shrink) {
        println!("{}", smallest(*seed));
    }
    code
}

/// Runs the plan in a file.
pub(crate) fn replay(file: &Path) -> ExitCode {
    match super::read(file, Script::parse) {
        Ok(script) => {
            let report = chaos::run_plan(script.seed, &script.plan, Durability::Always);
            super::verdict_of_plan(file, &report.verdict.violations)
        }
        Err(code) => code,
    }
}

/// The smallest plan that still contradicts what a seed's run contradicts first, as a file.
fn smallest(seed: u64) -> String {
    let plan = chaos::plan(seed);
    let violations = |plan: &_| {
        let report = chaos::run_plan(seed, plan, Durability::Always);
        report.verdict.violations
    };
    let Some(first) = violations(&plan).into_iter().next() else {
        return format!("seed {seed}: its storm does not fail by itself");
    };
    let property = shrink::property(&first);
    let fails = |plan: &Plan| {
        let found = violations(plan);
        found
            .iter()
            .any(|found| shrink::property(found) == property)
    };
    let script = Script {
        version: Script::VERSION,
        about: first.clone(),
        seed,
        plan: Plan(shrink::shrink(&plan.0, |steps| {
            fails(&Plan(steps.to_vec()))
        })),
    };
    serde_json::to_string_pretty(&script).expect("a plan has only what JSON knows")
}

/// A storm, twice.
fn storm(seed: u64, trace: bool) -> chaos::Report {
    if trace {
        eprintln!("plan of seed {seed}:\n{}", chaos::plan(seed));
    }
    let mut report = chaos::run(seed);
    let again = chaos::run(seed);
    if again.trace != report.trace {
        let two_ways = super::two_ways(report.trace, again.trace);
        report.verdict.violations.push(two_ways);
    }
    if trace {
        eprintln!(
            "seed {seed}: {} calls, {} answered, {} changes, {} starts of nodes, trace {:016x}",
            report.calls.0, report.calls.1, report.changes, report.boots, report.trace
        );
    }
    report
}

fn one(seed: u64, arguments: &Arguments) -> Run<Sums> {
    let report = if arguments.failover {
        chaos::Report::default()
    } else {
        storm(seed, arguments.trace)
    };
    let mut found = report.verdict.violations;
    let gap = failover::run(seed);
    match &gap {
        Ok(gap) if *gap < failover::GAP_MAX => {}
        Ok(gap) => found.push(format!(
            "failover: {gap:?} without an acknowledgement; {:?} are promised",
            failover::GAP_MAX
        )),
        Err(error) => found.push(format!("failover: {error}")),
    }
    if arguments.trace {
        eprintln!("seed {seed}: failover {gap:?}");
    }
    let sums = Sums {
        calls: report.calls.0,
        answered: report.calls.1,
        changes: report.changes,
        boots: report.boots,
        compactions: report.compactions,
        leases: report.leases,
        replacements: report.replacements,
        undecided: report.verdict.undecided,
        gaps: gap.into_iter().collect(),
    };
    Run { found, sums }
}

fn add(total: &mut Sums, run: Sums) {
    total.calls += run.calls;
    total.answered += run.answered;
    total.changes += run.changes;
    total.boots += run.boots;
    total.compactions += run.compactions;
    total.leases += run.leases;
    total.replacements += run.replacements;
    total.undecided += run.undecided;
    total.gaps.extend(run.gaps);
}
