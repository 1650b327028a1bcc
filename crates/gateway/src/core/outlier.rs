//! Passive health: endpoints that answer badly several times in a row are left out (ejected)
//! for a while, longer each time; one that has behaved for as long as it was out is forgiven
//! step by step. Never more than a part of the endpoints is out, so that a fault of the
//! requests, or of the network in front, does not empty the cluster. As Envoy's outlier
//! detection, "consecutive 5xx".

use super::config::OutlierPolicy;

/// What is known about one endpoint.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Errors since the last good answer.
    errors: u32,
    /// Ejections that are not forgiven yet.
    ejections: u32,
    /// Until when it is out, milliseconds. Not in the future: it is in.
    until_ms: u64,
}

impl Record {
    /// Whether it is left out.
    pub fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }

    /// Whether an answer that is good would change anything.
    pub fn is_spotless(&self) -> bool {
        self.errors == 0 && self.ejections == 0
    }

    /// It answered well.
    pub fn succeeded(&mut self, policy: &OutlierPolicy, now_ms: u64) {
        self.errors = 0;
        // Forgiven: one ejection for each time as long as the first one.
        while self.ejections > 0 {
            let forgiven_ms = self.until_ms.saturating_add(policy.ejection_ms);
            if now_ms < forgiven_ms {
                break;
            }
            self.ejections -= 1;
            self.until_ms = forgiven_ms;
        }
    }

    /// It answered badly, or not at all. `ejected` of `total` endpoints are out already.
    /// Says until when it is out, if that begins now.
    pub fn failed(
        &mut self,
        policy: &OutlierPolicy,
        now_ms: u64,
        ejected: usize,
        total: usize,
    ) -> Option<u64> {
        self.errors = self.errors.saturating_add(1);
        if self.errors < policy.consecutive_errors.max(1) || self.is_ejected(now_ms) {
            return None;
        }
        let ejected_max = total * policy.ejected_percent_max.min(100) as usize / 100;
        if ejected >= ejected_max.max(1) || total <= 1 {
            return None;
        }
        self.errors = 0;
        self.ejections = self.ejections.saturating_add(1);
        let ejection_ms = policy
            .ejection_ms
            .saturating_mul(u64::from(self.ejections))
            .min(policy.ejection_ms_max);
        self.until_ms = now_ms.saturating_add(ejection_ms);
        Some(self.until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> OutlierPolicy {
        OutlierPolicy {
            consecutive_errors: 3,
            ejection_ms: 100,
            ejection_ms_max: 250,
            ejected_percent_max: 50,
        }
    }

    fn fail(record: &mut Record, times: u32, now_ms: u64) -> Option<u64> {
        (0..times).find_map(|_| record.failed(&policy(), now_ms, 0, 4))
    }

    #[test]
    fn errors_in_a_row_eject_and_longer_each_time() {
        let mut record = Record::default();
        assert_eq!(fail(&mut record, 2, 0), None);
        record.succeeded(&policy(), 0);
        assert_eq!(fail(&mut record, 2, 0), None, "they were not in a row");
        assert_eq!(fail(&mut record, 1, 0), Some(100));
        assert!(record.is_ejected(99) && !record.is_ejected(100));
        assert_eq!(fail(&mut record, 9, 50), None, "it is out already");
        assert_eq!(fail(&mut record, 1, 100), Some(300));
        assert_eq!(fail(&mut record, 3, 300), Some(550), "bounded");
        record.succeeded(&policy(), 600);
        assert!(!record.is_spotless());
        record.succeeded(&policy(), 849);
        assert_eq!(record.ejections, 1, "two were forgiven");
        record.succeeded(&policy(), 850);
        assert!(record.is_spotless());
    }

    #[test]
    fn never_more_than_a_part() {
        let cases = [(0, 4, true), (1, 4, true), (2, 4, false), (0, 2, true)];
        let more = [(1, 2, false), (0, 3, true), (1, 3, false), (0, 1, false)];
        for (ejected, total, expected) in cases.into_iter().chain(more) {
            let mut record = Record::default();
            let mut is_out = false;
            for _ in 0..3 {
                is_out |= record.failed(&policy(), 0, ejected, total).is_some();
            }
            assert_eq!(is_out, expected, "{ejected} of {total}");
        }
    }
}
