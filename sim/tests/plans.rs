//! Plans that are kept: what once went wrong, as small as it got, and moments worth a run each.

use std::{fs, path::Path};

use atoll_sim::{plan::Script, scenario::chaos};
use atoll_world::journal::Durability;

#[test]
#[allow(clippy::disallowed_methods, reason = "the files are real")]
fn kept_plans_find_nothing() {
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut seen = 0;
    for file in fs::read_dir(plans).expect("there is a folder of plans") {
        let path = file.expect("its files can be listed").path();
        // Plans of other simulations are in folders.
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a plan can be read");
        let script = Script::parse(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let report = chaos::run_plan(script.seed, &script.plan, Durability::Always);
        assert_eq!(
            report.verdict.violations,
            Vec::<String>::new(),
            "{path:?}: {}",
            script.about
        );
        seen += 1;
    }
    assert!(seen > 0, "no plan was found");
}
