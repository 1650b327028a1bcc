//! How fast and how eagerly a number may change: `spec.behavior`, with Kubernetes' defaults.
//!
//! A recommendation is first held back to the lowest (when it goes up) or the highest (when it
//! goes down) of its window, then cut to what the policies allow in their periods, and to the
//! autoscaler's bounds (Kubernetes documentation, "Horizontal Pod Autoscaling", "Configurable
//! scaling behavior").

use serde_json::Value;

use super::history::History;
use crate::core::{object, quantity};

/// Longer windows and periods are not remembered; validation of Kubernetes refuses them.
const WINDOW_S_MAX: u64 = 3_600;
const PERIOD_S_MAX: u64 = 1_800;
/// A metric this near to its target changes nothing, in thousandths.
const TOLERANCE_MILLI: i64 = 100;
/// After a number went down for one moment, so long it does not follow.
const DOWN_WINDOW_S: u64 = 300;

/// One bound of a change within a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    is_percent: bool,
    value: i64,
    period_ms: u64,
}

/// Which of several policies counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Select {
    Largest,
    Smallest,
    Disabled,
}

/// How it may go in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    window_ms: u64,
    select: Select,
    policies: Vec<Policy>,
    /// How near to its target a metric changes nothing, in thousandths.
    pub(super) tolerance_milli: i64,
}

/// How it may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Behavior {
    pub(super) up: Rules,
    pub(super) down: Rules,
}

/// The number, and what a condition says about how it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounded {
    pub(super) replicas: i64,
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

impl Rules {
    fn of(rules: &Value, default_window_s: u64, defaults: &[Policy]) -> Rules {
        let window_s = rules["stabilizationWindowSeconds"].as_u64();
        let policies: Vec<Policy> = object::items(&rules["policies"]).map(policy).collect();
        let tolerance = quantity::of(&rules["tolerance"]).filter(|it| !it.is_negative());
        Rules {
            window_ms: window_s.unwrap_or(default_window_s).min(WINDOW_S_MAX) * 1_000,
            select: match rules["selectPolicy"].as_str() {
                Some("Disabled") => Select::Disabled,
                Some("Min") => Select::Smallest,
                _ => Select::Largest,
            },
            policies: match policies.is_empty() {
                true => defaults.to_vec(),
                false => policies,
            },
            tolerance_milli: tolerance.map_or(TOLERANCE_MILLI, |it| it.milli()),
        }
    }

    /// How many replicas there may be at the farthest; `sign` is 1 upwards, -1 downwards.
    fn farthest(&self, sign: i64, current: i64, history: &History, now_ms: u64) -> i64 {
        let changes = self.policies.iter().map(|policy| {
            let growth = history.growth(policy.period_ms, now_ms);
            let start = current.saturating_sub(growth).max(0);
            let change = match policy.is_percent {
                // Rounded up, so that a small number can change, too.
                true => start.saturating_mul(policy.value).saturating_add(99) / 100,
                false => policy.value,
            };
            start.saturating_add(sign.saturating_mul(change))
        });
        let (is_up, is_largest) = (sign > 0, self.select == Select::Largest);
        let farthest = match (self.select, is_up == is_largest) {
            (Select::Disabled, _) => None,
            (_, true) => changes.max(),
            (_, false) => changes.min(),
        };
        farthest.unwrap_or(current)
    }
}

fn policy(policy: &Value) -> Policy {
    let period_s = policy["periodSeconds"].as_u64().unwrap_or(PERIOD_S_MAX);
    Policy {
        is_percent: policy["type"] == "Percent",
        value: policy["value"].as_i64().unwrap_or_default().max(0),
        period_ms: period_s.min(PERIOD_S_MAX) * 1_000,
    }
}

impl Behavior {
    /// Of an autoscaler.
    pub(super) fn of(scaler: &Value) -> Behavior {
        let behavior = &scaler["spec"]["behavior"];
        let whole = Policy {
            is_percent: true,
            value: 100,
            period_ms: 15_000,
        };
        let few = Policy {
            is_percent: false,
            value: 4,
            period_ms: 15_000,
        };
        Behavior {
            up: Rules::of(&behavior["scaleUp"], 0, &[few, whole]),
            down: Rules::of(&behavior["scaleDown"], DOWN_WINDOW_S, &[whole]),
        }
    }

    /// So long recommendations count.
    pub(super) fn window_ms(&self) -> u64 {
        self.up.window_ms.max(self.down.window_ms)
    }

    /// So long scalings count.
    pub(super) fn period_ms(&self) -> u64 {
        let all = self.up.policies.iter().chain(&self.down.policies);
        all.map(|policy| policy.period_ms).max().unwrap_or_default()
    }

    /// Holds a recommendation back.
    pub(super) fn stabilize(
        &self,
        wanted: i64,
        current: i64,
        history: &History,
        now_ms: u64,
    ) -> Bounded {
        let lowest = history.recommended(self.up.window_ms, now_ms).min();
        let highest = history.recommended(self.down.window_ms, now_ms).max();
        let (lowest, highest) = (
            lowest.map_or(wanted, |lowest| lowest.min(wanted)),
            highest.map_or(wanted, |highest| highest.max(wanted)),
        );
        let replicas = current.max(lowest).min(highest);
        let (reason, message) = match (replicas == wanted, wanted >= current) {
            (true, _) => ("ReadyForNewScale", "recommended size matches current size"),
            (false, true) => (
                "ScaleUpStabilized",
                "recent recommendations were lower than current one, applying the lowest recent recommendation",
            ),
            (false, false) => (
                "ScaleDownStabilized",
                "recent recommendations were higher than current one, applying the highest recent recommendation",
            ),
        };
        Bounded {
            replicas,
            reason,
            message,
        }
    }

    /// Cuts a number to what may be. `bounds`: the least and the most.
    pub(super) fn limit(
        &self,
        wanted: i64,
        current: i64,
        bounds: (i64, i64),
        history: &History,
        now_ms: u64,
    ) -> Bounded {
        let (least, most) = bounds;
        let limited = |replicas, reason, message| Bounded {
            replicas,
            reason,
            message,
        };
        if wanted > current {
            let farthest = self.up.farthest(1, current, history, now_ms).max(current);
            if farthest < most && wanted > farthest {
                let why =
                    "the desired replica count is increasing faster than the maximum scale rate";
                return limited(farthest, "ScaleUpLimit", why);
            }
            if wanted > most {
                let why = "the desired replica count is more than the maximum replica count";
                return limited(most, "TooManyReplicas", why);
            }
        } else if wanted < current {
            let farthest = self
                .down
                .farthest(-1, current, history, now_ms)
                .min(current);
            if farthest > least && wanted < farthest {
                let why =
                    "the desired replica count is decreasing faster than the maximum scale rate";
                return limited(farthest, "ScaleDownLimit", why);
            }
            if wanted < least {
                let why = "the desired replica count is less than the minimum replica count";
                return limited(least, "TooFewReplicas", why);
            }
        }
        limited(
            wanted,
            "DesiredWithinRange",
            "the desired count is within the acceptable range",
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{super::history::Scaling, *};

    fn behavior(behavior: Value) -> Behavior {
        Behavior::of(&json!({"spec": {"behavior": behavior}}))
    }

    fn policies(select: &str, policies: &[(&str, i64, i64)]) -> Value {
        let policies: Vec<Value> = policies
            .iter()
            .map(|(kind, value, period_s)| {
                json!({"type": kind, "value": value, "periodSeconds": period_s})
            })
            .collect();
        json!({"selectPolicy": select, "policies": policies})
    }

    /// What is wanted, of how many now, and what comes of it.
    #[test]
    fn policies_say_how_far_it_may_go_at_once() {
        let both: &[(&str, i64, i64)] = &[("Pods", 4, 60), ("Percent", 50, 60)];
        for (up, current, expected) in [
            (json!(null), 1, 5),
            (json!(null), 10, 20),
            (policies("Max", both), 4, 8),
            (policies("Min", both), 4, 6),
            (policies("Min", both), 3, 5),
            (policies("Disabled", both), 4, 4),
            (policies("Max", &[("Percent", 1, 60)]), 3, 4),
        ] {
            let behavior = behavior(json!({"scaleUp": up}));
            let limited = behavior.limit(90, current, (1, 100), &History::default(), 0);
            assert_eq!(
                (limited.replicas, limited.reason),
                (expected, "ScaleUpLimit"),
                "{up}"
            );
        }
        for (down, current, expected) in [
            (policies("Max", both), 20, 10),
            (policies("Min", both), 20, 16),
            (policies("Min", both), 5, 2),
            (policies("Disabled", both), 5, 5),
            (policies("Max", &[("Percent", 1, 60)]), 3, 2),
        ] {
            let behavior = behavior(json!({"scaleDown": down}));
            let limited = behavior.limit(1, current, (1, 100), &History::default(), 0);
            assert_eq!(
                (limited.replicas, limited.reason),
                (expected, "ScaleDownLimit"),
                "{down}"
            );
        }
    }

    #[test]
    fn bounds_hold_before_policies() {
        let behavior = behavior(json!(null));
        let limit = |wanted, current| {
            let limited = behavior.limit(wanted, current, (2, 6), &History::default(), 0);
            (limited.replicas, limited.reason)
        };
        assert_eq!(limit(9, 4), (6, "TooManyReplicas"));
        assert_eq!(limit(1, 4), (2, "TooFewReplicas"));
        assert_eq!(limit(5, 4), (5, "DesiredWithinRange"));
        assert_eq!(limit(3, 4), (3, "DesiredWithinRange"));
        assert_eq!(limit(4, 4), (4, "DesiredWithinRange"));
    }

    #[test]
    fn what_was_scaled_in_the_period_counts() {
        let behavior = behavior(json!({"scaleUp": policies("Max", &[("Pods", 4, 60)])}));
        let mut history = History::default();
        let scaling = Scaling {
            at_ms: 10_000,
            from: 2,
            to: 5,
        };
        history.scale(scaling, 60_000);
        let scaler = history.write(&json!({})).unwrap();
        let history = History::of(&scaler, 5);
        let limit = |now_ms| behavior.limit(50, 5, (1, 100), &history, now_ms).replicas;
        assert_eq!(limit(20_000), 6);
        assert_eq!(limit(70_000), 9);
    }

    #[test]
    fn windows_hold_it_back() {
        let behavior = behavior(json!({
            "scaleUp": {"stabilizationWindowSeconds": 60},
            "scaleDown": {"stabilizationWindowSeconds": 120},
        }));
        let mut history = History::default();
        history.recommend(6, 4, 120_000, 0);
        history.recommend(3, 4, 120_000, 30_000);
        let stable = |wanted, now_ms| {
            let stable = behavior.stabilize(wanted, 4, &history, now_ms);
            (stable.replicas, stable.reason)
        };
        assert_eq!(
            stable(8, 40_000),
            (4, "ScaleUpStabilized"),
            "3 is the lowest"
        );
        assert_eq!(
            stable(1, 40_000),
            (4, "ScaleDownStabilized"),
            "6 is the highest"
        );
        assert_eq!(stable(1, 149_999), (4, "ScaleDownStabilized"));
        assert_eq!(stable(1, 150_000), (3, "ScaleDownStabilized"));
        assert_eq!(stable(4, 40_000), (4, "ReadyForNewScale"));
        let none = History::default();
        assert_eq!(behavior.stabilize(8, 4, &none, 0).replicas, 8);
    }

    proptest! {
        #[test]
        fn a_limit_never_goes_beyond_what_is_wanted_nor_back(
            wanted in 0..60_i64, current in 1..50_i64, below in 0..50_i64, above in 0..50_i64,
            value in 0..200_i64, is_percent: bool, select in 0..3_usize, last in -20..20_i64,
        ) {
            let (least, most) = ((current - below).max(0), current + above);
            let kind = if is_percent { "Percent" } else { "Pods" };
            let rules = policies(["Max", "Min", "Disabled"][select], &[(kind, value, 60), ("Pods", 3, 30)]);
            let behavior = behavior(json!({"scaleUp": rules, "scaleDown": rules}));
            let from = (current - last).max(0);
            let mut history = History::default();
            history.scale(Scaling { at_ms: 0, from, to: current }, 60_000);
            let scaler = history.write(&json!({})).expect("it remembers");
            let history = History::of(&scaler, current);
            let limited = behavior.limit(wanted, current, (least, most), &history, 20_000).replicas;
            prop_assert!((current.min(wanted)..=current.max(wanted)).contains(&limited));
            prop_assert!((least..=most).contains(&limited));
        }
    }
}
