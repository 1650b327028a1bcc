//! A bound on how much is open at one time: who comes when it is full is refused at once and
//! does not wait, so that a slow cluster fills nobody's memory.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// How many are open of one thing. Clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU32>);

/// One place, given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<AtomicU32>);

impl Gauge {
    /// A place, if fewer than `max` are taken.
    pub fn take(&self, max: u32) -> Option<Permit> {
        let one_more = |open: u32| (open < max).then_some(open + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| Permit(self.0.clone()))
    }

    /// A place, however many are taken.
    pub fn enter(&self) -> Permit {
        self.0.fetch_add(1, Ordering::Relaxed);
        Permit(self.0.clone())
    }

    /// How many are taken.
    pub fn open(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let gauge = Gauge::default();
        let first = gauge.take(2).unwrap();
        let second = gauge.clone().take(2).unwrap();
        assert!(gauge.take(2).is_none());
        drop(first);
        let third = gauge.take(2).unwrap();
        let beyond = gauge.enter();
        assert_eq!(gauge.open(), 3);
        drop((second, third, beyond));
        assert_eq!(gauge.open(), 0);
        assert!(gauge.take(0).is_none());
    }
}
