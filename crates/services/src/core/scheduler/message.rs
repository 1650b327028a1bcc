//! What people are told of a pod that has no node, in kube-scheduler's words (`FitError`).

use std::collections::BTreeMap;

/// The longest message, as of notes of events.
const MESSAGE_BYTES_MAX: usize = 1_024;
const CUT: &str = " ...";

/// There is nothing to choose from.
pub(super) const NO_NODES: &str = "no nodes available to schedule pods";
pub(super) const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
pub(super) const NO_VICTIMS: &str = "No preemption victims found for incoming pod";
pub(super) const NEVER: &str = "not eligible due to preemptionPolicy=Never";
pub(super) const TERMINATING: &str = "not eligible due to a terminating pod on the nominated node";

/// How many nodes gave which reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reasons(BTreeMap<String, usize>);

impl Reasons {
    /// One node more.
    pub(super) fn add(&mut self, reason: &str) {
        match self.0.get_mut(reason) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(reason.to_owned(), 1);
            }
        }
    }

    /// All of them, of so many nodes: `0/5 nodes are available: 2 Insufficient cpu, ….`
    pub(super) fn told(&self, nodes: usize) -> String {
        let mut told: Vec<String> = self
            .0
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        told.sort();
        format!("0/{nodes} nodes are available: {}.", told.join(", "))
    }
}

/// The same, and why nobody is driven away for it.
pub(super) fn with_preemption(told: &str, why: &str) -> String {
    let dot = if why.ends_with('.') { "" } else { "." };
    format!("{told} preemption: {why}{dot}")
}

/// A message that is not too long to be kept.
pub(super) fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX - CUT.len()));
        message.push_str(CUT);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sorted_as_texts() {
        let mut reasons = Reasons::default();
        for _ in 0..10 {
            reasons.add("Insufficient memory");
        }
        for _ in 0..4 {
            reasons.add("Insufficient cpu");
        }
        reasons.add("node(s) were unschedulable");
        let told = reasons.told(15);
        assert_eq!(
            told,
            "0/15 nodes are available: 1 node(s) were unschedulable, 10 Insufficient memory, 4 Insufficient cpu."
        );
        let long = bounded("é".repeat(600));
        assert_eq!((long.len(), long.ends_with("é ...")), (1_024, true));
        let mut preemption = Reasons::default();
        preemption.add(NO_VICTIMS);
        assert_eq!(
            with_preemption(
                "0/1 nodes are available: 1 Insufficient cpu.",
                &preemption.told(1)
            ),
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        );
        assert_eq!(
            with_preemption("x.", NEVER),
            "x. preemption: not eligible due to preemptionPolicy=Never."
        );
    }
}
