//! What an autoscaler remembers from one plan to the next: what it recommended, and what it
//! scaled. Planners keep nothing, so it stands in an annotation of the autoscaler itself, as JSON:
//! `{"recommended":[[SINCE_MS,REPLICAS],…],"scaled":[[AT_MS,FROM,TO],…]}`, the oldest first.
//!
//! - A recommendation stands until the next one, which is written only if it is another: who is at
//!   rest writes nothing. None at all says the same as the present number, until now.
//! - A scaling is written before it is carried out. As long as the number is what it was before
//!   the last one, that one is taken for not carried out, and counts for nothing. It is written
//!   anew if it is old when it is tried again.
//! - Without the annotation, or with one that can't be read, memory begins anew: the windows of
//!   stabilization run from then on, as after a restart of Kubernetes' controller.
//! - What no window and no period reaches goes when something is added.

use serde_json::{Value, json};

use super::PERIOD_MS;
use crate::core::object;

/// The annotation.
pub(super) const ANNOTATION: &str = "atoll.dev/autoscaling-history";
/// So many recommendations are remembered: more than change in the longest window.
const RECOMMENDED_MAX: usize = 256;
/// So many scalings are remembered: more than fit into the longest period.
const SCALED_MAX: usize = 128;

/// A change of the number of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scaling {
    pub(super) at_ms: u64,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// Since when how many replicas were recommended.
    recommended: Vec<(u64, i64)>,
    scaled: Vec<Scaling>,
    /// The last scaling, if it was not carried out.
    pending: Option<Scaling>,
}

impl History {
    /// Reads it. `current`: the number of replicas now.
    pub(super) fn of(scaler: &Value, current: i64) -> History {
        let text = object::annotation(scaler, ANNOTATION).unwrap_or_default();
        let read: Value = serde_json::from_str(text).unwrap_or_default();
        let recommended = object::items(&read["recommended"])
            .filter_map(|one| Some((one[0].as_u64()?, one[1].as_i64()?)))
            .take(RECOMMENDED_MAX);
        let scaled = object::items(&read["scaled"]).filter_map(|one| {
            Some(Scaling {
                at_ms: one[0].as_u64()?,
                from: one[1].as_i64()?,
                to: one[2].as_i64()?,
            })
        });
        let mut history = History {
            recommended: recommended.collect(),
            scaled: scaled.take(SCALED_MAX).collect(),
            pending: None,
        };
        let is_pending = |last: &mut Scaling| last.from == current && last.to != current;
        history.pending = history.scaled.pop_if(is_pending);
        history
    }

    /// The autoscaler with it, if that makes a difference.
    pub(super) fn write(&self, scaler: &Value) -> Option<Value> {
        if *self == History::default() {
            return None;
        }
        let all = self.scaled.iter().chain(&self.pending);
        let scaled: Vec<Value> = all
            .map(|one| json!([one.at_ms, one.from, one.to]))
            .collect();
        let text = json!({"recommended": self.recommended, "scaled": scaled}).to_string();
        if object::annotation(scaler, ANNOTATION) == Some(&text) {
            return None;
        }
        let mut scaler = scaler.clone();
        object::meta_mut(&mut scaler);
        let annotations = object::child_mut(&mut scaler["metadata"], "annotations");
        annotations.insert(ANNOTATION.to_owned(), json!(text));
        Some(scaler)
    }

    /// Notes a recommendation.
    pub(super) fn recommend(&mut self, replicas: i64, current: i64, window_ms: u64, now_ms: u64) {
        let last = self.recommended.last().map_or(current, |(_, last)| *last);
        if last == replicas {
            return;
        }
        if self.recommended.is_empty() {
            self.recommended.push((now_ms, current));
        }
        self.recommended.push((now_ms, replicas));
        let ends: Vec<u64> = self.ends(now_ms).collect();
        let is_over = |end: &&u64| end.saturating_add(window_ms) <= now_ms;
        let over = ends.iter().take_while(is_over).count();
        let surplus = self.recommended.len().saturating_sub(RECOMMENDED_MAX);
        self.recommended.drain(..over.max(surplus));
    }

    /// Until when each recommendation stood.
    fn ends(&self, now_ms: u64) -> impl Iterator<Item = u64> {
        let next = self
            .recommended
            .iter()
            .skip(1)
            .map(|(since_ms, _)| *since_ms);
        next.chain([now_ms])
    }

    /// What was recommended at some time within a window that ends now.
    pub(super) fn recommended(&self, window_ms: u64, now_ms: u64) -> impl Iterator<Item = i64> {
        let all = self.recommended.iter().zip(self.ends(now_ms));
        let within = all.filter(move |(_, end)| end.saturating_add(window_ms) > now_ms);
        within.map(|((_, replicas), _)| *replicas)
    }

    /// Notes that the number is to be changed.
    pub(super) fn scale(&mut self, scaling: Scaling, period_ms: u64) {
        let is_same = |known: &Scaling| {
            known.to == scaling.to && known.at_ms.saturating_add(PERIOD_MS) > scaling.at_ms
        };
        let known = self.pending.filter(is_same);
        self.pending = Some(known.unwrap_or(scaling));
        let is_over = |one: &&Scaling| one.at_ms.saturating_add(period_ms) <= scaling.at_ms;
        let over = self.scaled.iter().take_while(is_over).count();
        let surplus = (self.scaled.len() + 1).saturating_sub(SCALED_MAX);
        self.scaled.drain(..over.max(surplus));
    }

    /// By how much the number has grown within a period that ends now.
    pub(super) fn growth(&self, period_ms: u64, now_ms: u64) -> i64 {
        let is_within = |one: &&Scaling| one.at_ms.saturating_add(period_ms) > now_ms;
        let within = self.scaled.iter().filter(is_within);
        within.fold(0, |sum: i64, one| {
            sum.saturating_add(one.to.saturating_sub(one.from))
        })
    }

    /// When the number was changed last.
    pub(super) fn last_scaling(&self) -> Option<Scaling> {
        self.scaled.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    fn read(scaler: &Value, current: i64) -> History {
        History::of(scaler, current)
    }

    fn within(history: &History, window_ms: u64, now_ms: u64) -> Vec<i64> {
        history.recommended(window_ms, now_ms).collect()
    }

    #[test]
    fn a_recommendation_stands_until_the_next_one() {
        let mut history = History::default();
        history.recommend(3, 3, 5 * MINUTE_MS, 0);
        assert_eq!(history.write(&json!({})), None, "nothing new");
        history.recommend(2, 3, 5 * MINUTE_MS, MINUTE_MS);
        assert_eq!(within(&history, 5 * MINUTE_MS, MINUTE_MS), [3, 2]);
        history.recommend(2, 3, 5 * MINUTE_MS, 3 * MINUTE_MS);
        assert_eq!(within(&history, 5 * MINUTE_MS, 6 * MINUTE_MS - 1), [3, 2]);
        assert_eq!(within(&history, 5 * MINUTE_MS, 6 * MINUTE_MS), [2]);
        assert!(within(&history, 0, 6 * MINUTE_MS).is_empty(), "no window");
        history.recommend(1, 2, 5 * MINUTE_MS, 9 * MINUTE_MS);
        assert_eq!(
            within(&history, 60 * MINUTE_MS, 9 * MINUTE_MS),
            [2, 1],
            "the first is gone"
        );
    }

    #[test]
    fn a_scaling_counts_once_it_is_carried_out() {
        let mut history = History::default();
        let scaling = |at_ms, from, to| Scaling { at_ms, from, to };
        history.scale(scaling(10, 2, 4), MINUTE_MS);
        let scaler = history.write(&json!({"metadata": {}})).unwrap();
        assert_eq!(read(&scaler, 2).growth(MINUTE_MS, 20), 0);
        assert_eq!(read(&scaler, 4).growth(MINUTE_MS, 20), 2);
        assert_eq!(read(&scaler, 4).growth(MINUTE_MS, 10 + MINUTE_MS), 0);
        assert_eq!(read(&scaler, 4).last_scaling(), Some(scaling(10, 2, 4)));

        let mut again = read(&scaler, 2);
        again.scale(scaling(20, 2, 4), MINUTE_MS);
        assert_eq!(again.write(&scaler), None, "planned already");
        again.scale(scaling(10 + PERIOD_MS, 2, 4), MINUTE_MS);
        assert!(again.write(&scaler).is_some(), "that is long ago");
        again.scale(scaling(20, 2, 3), MINUTE_MS);
        let other = again.write(&scaler).unwrap();
        assert_eq!(read(&other, 3).growth(MINUTE_MS, 20), 1, "in its place");

        let mut next = read(&scaler, 4);
        next.scale(scaling(30, 4, 1), MINUTE_MS);
        let scaler = next.write(&scaler).unwrap();
        assert_eq!(read(&scaler, 1).growth(MINUTE_MS, 40), -1);
        assert_eq!(read(&scaler, 1).growth(25, 40), -3);
    }

    #[test]
    fn memory_is_bounded_and_survives_nonsense() {
        let mut history = History::default();
        for at in 0..1_000 {
            history.recommend(1 + i64::from(at % 2 == 0), 1, u64::MAX, at);
            let scaling = Scaling {
                at_ms: at,
                from: 1,
                to: 2,
            };
            history.pending = None;
            history.scale(scaling, u64::MAX);
            history.scaled.extend(history.pending.take());
        }
        assert_eq!(history.recommended.len(), RECOMMENDED_MAX);
        assert_eq!(history.scaled.len(), SCALED_MAX);
        for text in [
            "",
            "x",
            "[]",
            r#"{"recommended":[[1],["a",2],7],"scaled":{"a":1}}"#,
        ] {
            let scaler = json!({"metadata": {"annotations": {ANNOTATION: text}}});
            assert_eq!(read(&scaler, 1), History::default(), "{text}");
        }
    }
}
