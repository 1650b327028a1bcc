//! Makes a plan that fails as small as it gets: parts are left out for as long as the run still
//! contradicts the same property (delta debugging, Zeller and Hildebrandt 2002, section 3).

use crate::plan::Plan;

/// The smallest plan found that `fails`; `plan` itself must.
pub fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut smallest = plan.clone();
    let mut part = smallest.0.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        let mut is_smaller = false;
        while at < smallest.0.len() {
            let mut without = smallest.clone();
            let end = (at + part).min(without.0.len());
            without.0.drain(at..end);
            if fails(&without) {
                smallest = without;
                is_smaller = true;
            } else {
                at = end;
            }
        }
        if !is_smaller {
            part /= 2;
        }
    }
    smallest
}

/// The property that a violation contradicts: what stands before its first colon.
pub fn property(violation: &str) -> &str {
    violation.split(':').next().unwrap_or(violation)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{Fault, Step};

    fn plan(resets: &[usize]) -> Plan {
        let step = |at: &usize| Step {
            at: Duration::ZERO,
            turns: 0,
            fault: Fault::Reset(*at, 0),
        };
        Plan(resets.iter().map(step).collect())
    }

    #[test]
    fn only_what_it_takes_is_left() {
        let all: Vec<usize> = (0..17).collect();
        let needed = plan(&[3, 4, 15]);
        let fails = |plan: &Plan| needed.0.iter().all(|step| plan.0.contains(step));
        assert_eq!(shrink(&plan(&all), fails), needed);
    }
}
