//! One probe of one container: when it is due, and what its answers add up to (KEP-950 for
//! startup probes; `Probe` of `core/v1`). At most one run of it is under way; a run without an
//! answer has failed at its timeout, and what it says later is not heard.

use serde_json::Value;

use super::{action::Action, messages::ProbeKind, pod::seconds_ms};

/// A probe and its answers so far.
pub(super) struct Probe {
    pub(super) kind: ProbeKind,
    pub(super) action: Result<Action, String>,
    pub(super) timeout_ms: u64,
    /// For a container that it has to stop; none: the pod's own.
    pub(super) grace_ms: Option<u64>,
    initial_delay_ms: u64,
    period_ms: u64,
    success_threshold: u64,
    failure_threshold: u64,
    /// Tells one run from the others.
    serial: u64,
    next_at_ms: u64,
    running_until_ms: Option<u64>,
    /// The last answer, and how often it came in a row.
    streak: (bool, u64),
    has_passed: bool,
}

/// What a probe wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// To be run.
    Run { serial: u64 },
    /// To be looked at again then.
    Wait { until_ms: u64 },
    /// Its run has gone on for too long.
    TimedOut,
}

impl Probe {
    /// Reads a container's probe, if it has that one.
    pub(super) fn read(kind: ProbeKind, container: &Value) -> Option<Probe> {
        let probe = container.get(format!("{kind}Probe"))?.as_object()?;
        let probe = &Value::Object(probe.clone());
        let count = |field: &str, or| probe[field].as_u64().filter(|&n| n > 0).unwrap_or(or);
        let action = Action::read(probe, container);
        Some(Probe {
            kind,
            action: action.and_then(|action| action.with_static_env(container)),
            timeout_ms: count("timeoutSeconds", 1).saturating_mul(1000),
            grace_ms: probe
                .get("terminationGracePeriodSeconds")
                .map(|s| seconds_ms(s, 0)),
            initial_delay_ms: seconds_ms(&probe["initialDelaySeconds"], 0),
            period_ms: count("periodSeconds", 10).saturating_mul(1000),
            success_threshold: count("successThreshold", 1),
            failure_threshold: count("failureThreshold", 3),
            serial: 0,
            next_at_ms: 0,
            running_until_ms: None,
            streak: (false, 0),
            has_passed: false,
        })
    }

    /// A new run of the container has begun. `has_passed` of a run that is taken over.
    pub(super) fn begin(&mut self, started_ms: u64, has_passed: bool) {
        self.next_at_ms = started_ms.saturating_add(self.initial_delay_ms);
        self.running_until_ms = None;
        self.streak = (false, 0);
        self.has_passed = has_passed;
    }

    /// Whether its last verdict was good; not before the first.
    pub(super) fn has_passed(&self) -> bool {
        self.has_passed
    }

    /// What it wants now. A run that is wanted is under way from then on.
    pub(super) fn poll(&mut self, now_ms: u64) -> Wants {
        match self.running_until_ms {
            Some(until_ms) if now_ms < until_ms => Wants::Wait { until_ms },
            Some(_) => Wants::TimedOut,
            None if now_ms < self.next_at_ms => Wants::Wait {
                until_ms: self.next_at_ms,
            },
            None => {
                self.serial += 1;
                self.next_at_ms = now_ms.saturating_add(self.period_ms);
                self.running_until_ms = Some(now_ms.saturating_add(self.timeout_ms));
                Wants::Run {
                    serial: self.serial,
                }
            }
        }
    }

    /// Whether this run is the one under way.
    pub(super) fn awaits(&self, serial: u64) -> bool {
        self.running_until_ms.is_some() && self.serial == serial
    }

    /// Takes the answer of the run under way; tells the verdict if enough have come in a row.
    pub(super) fn answer(&mut self, is_good: bool) -> Option<bool> {
        self.running_until_ms = None;
        let (last, count) = self.streak;
        let count = if last == is_good {
            count.saturating_add(1)
        } else {
            1
        };
        self.streak = (is_good, count);
        let enough = if is_good {
            self.success_threshold
        } else {
            self.failure_threshold
        };
        if count < enough {
            return None;
        }
        self.has_passed = is_good;
        Some(is_good)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn probe(fields: Value) -> Probe {
        let mut fields = fields;
        fields["exec"] = json!({"command": ["true"]});
        let container = json!({"readinessProbe": fields});
        let mut probe = Probe::read(ProbeKind::Readiness, &container).unwrap();
        probe.begin(10_000, false);
        probe
    }

    #[test]
    fn a_probe_waits_for_its_delay_and_its_period_and_runs_once_at_a_time() {
        let fields = json!({"initialDelaySeconds": 5, "periodSeconds": 4, "timeoutSeconds": 6});
        let mut probe = probe(fields);
        assert_eq!(probe.poll(10_000), Wants::Wait { until_ms: 15_000 });
        assert_eq!(probe.poll(15_000), Wants::Run { serial: 1 });
        assert_eq!(probe.poll(19_500), Wants::Wait { until_ms: 21_000 });
        assert_eq!(probe.poll(21_000), Wants::TimedOut);
        assert!(probe.awaits(1) && !probe.awaits(2));
        assert_eq!(probe.answer(false), None);
        assert!(
            !probe.awaits(1),
            "what comes after the timeout is not heard"
        );
        assert_eq!(
            probe.poll(21_000),
            Wants::Run { serial: 2 },
            "its period is long over"
        );
    }

    #[test]
    fn verdicts_need_a_row_of_answers() {
        let mut probe = probe(json!({"successThreshold": 2, "failureThreshold": 3}));
        let mut answers = |all: &[bool]| -> Vec<(Option<bool>, bool)> {
            all.iter()
                .map(|&good| (probe.answer(good), probe.has_passed()))
                .collect()
        };
        assert_eq!(answers(&[true, false, true]), [(None, false); 3]);
        assert_eq!(answers(&[true]), [(Some(true), true)]);
        assert_eq!(answers(&[false, false]), [(None, true); 2]);
        assert_eq!(answers(&[false]), [(Some(false), false)]);
    }
}
