//! Which endpoint is asked next.
//!
//! A [`Balancer`] is made for the endpoints of one snapshot and picks one by its place among
//! them. It asks [`Candidates`] about them at the moment of the pick and takes only who is
//! usable; what it remembers is its own turn, no more. Picks from several threads are safe, and
//! may then be as uneven as their race.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use self::{maglev::Maglev, weighted::Smooth};
use super::config::Policy;

mod latency;
mod maglev;
#[cfg(test)]
mod tests;
mod weighted;

pub use latency::Latency;

/// How often an endpoint is drawn by chance before those that are usable are counted instead.
const DRAWS_MAX: usize = 4;
/// The cost of an endpoint that nobody has seen answer and that has been asked already, in
/// microseconds: a whole second, so that it is not flooded before it shows what it can do.
const UNKNOWN_COST_US: u64 = 1_000_000;

/// The endpoints at the moment of a pick. All but `is_usable` may be a little out of date.
pub trait Candidates {
    /// How many there are.
    fn count(&self) -> usize;
    /// Whether this one may be picked now. One of weight 0 never is.
    fn is_usable(&self, place: usize) -> bool;
    /// Its share, at least 1 if usable.
    fn weight(&self, place: usize) -> u32;
    /// How many requests it has open.
    fn open(&self, place: usize) -> u32;
    /// How long it took to answer lately, in microseconds; 0 if it never has.
    fn latency_us(&self, place: usize) -> u64;
}

/// An endpoint as [`Balancer::new`] has to know it: who it is (the same number for the same
/// endpoint in every snapshot and on every node), and its weight.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// A hash of its address.
    pub identity: u64,
    /// Its share.
    pub weight: u32,
}

/// Picks among the endpoints of a cluster by its policy.
#[derive(Debug)]
pub struct Balancer(Kind);

#[derive(Debug)]
enum Kind {
    RoundRobin(AtomicUsize),
    Weighted(Mutex<Smooth>),
    Random,
    TwoChoices,
    LeastRequests,
    Maglev(Maglev),
}

impl Balancer {
    /// For these endpoints. `random` says where turns begin, so that many gateways don't all
    /// begin at the same endpoint.
    pub fn new(policy: &Policy, members: &[Member], random: u64) -> Self {
        Balancer(match policy {
            // Half the range, so that it takes no part in a wrap for as long as anybody waits.
            Policy::RoundRobin => Kind::RoundRobin(AtomicUsize::new((random >> 33) as usize)),
            Policy::Weighted => Kind::Weighted(Mutex::new(Smooth::new(members.len()))),
            Policy::Random => Kind::Random,
            Policy::TwoChoices => Kind::TwoChoices,
            Policy::LeastRequests => Kind::LeastRequests,
            Policy::Maglev(_) => Kind::Maglev(Maglev::new(members)),
        })
    }

    /// The place of the endpoint to ask; `None` if none is usable. `key` is what consistent
    /// hashing goes by.
    pub fn pick(&self, candidates: &impl Candidates, key: u64, random: u64) -> Option<usize> {
        match &self.0 {
            Kind::RoundRobin(turn) => {
                let usable = usable(candidates).count();
                if usable == 0 {
                    return None;
                }
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                self::usable(candidates).nth(turn % usable)
            }
            Kind::Weighted(smooth) => smooth.lock().pick(candidates),
            Kind::Random => by_chance(candidates, None, &mut Draws(random)),
            Kind::TwoChoices => two_choices(candidates, &mut Draws(random)),
            Kind::LeastRequests => least_requests(candidates, &mut Draws(random)),
            Kind::Maglev(maglev) => maglev.pick(candidates, key),
        }
    }
}

fn usable(candidates: &impl Candidates) -> impl Iterator<Item = usize> {
    (0..candidates.count()).filter(|place| candidates.is_usable(*place))
}

/// Numbers that follow from one: splitmix64.
struct Draws(u64);

impl Draws {
    /// A number less than `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The high half of the product: as even as a remainder, and cheaper.
        ((u128::from(mixed) * end as u128) >> 64) as usize
    }
}

/// Any usable one but `other`, all as likely.
fn by_chance(
    candidates: &impl Candidates,
    other: Option<usize>,
    draws: &mut Draws,
) -> Option<usize> {
    let count = candidates.count();
    if count == 0 {
        return None;
    }
    let fits = |place: &usize| candidates.is_usable(*place) && Some(*place) != other;
    for _ in 0..DRAWS_MAX {
        let place = draws.below(count);
        if fits(&place) {
            return Some(place);
        }
    }
    let fitting = (0..count).filter(fits).count();
    match fitting {
        0 => None,
        _ => (0..count).filter(fits).nth(draws.below(fitting)),
    }
}

fn two_choices(candidates: &impl Candidates, draws: &mut Draws) -> Option<usize> {
    let first = by_chance(candidates, None, draws)?;
    let Some(second) = by_chance(candidates, Some(first), draws) else {
        return Some(first);
    };
    let cost = |place| {
        let open = u64::from(candidates.open(place));
        let each_us = match (candidates.latency_us(place), open) {
            (0, 0) => 0,
            (0, _) => UNKNOWN_COST_US,
            (seen, _) => seen,
        };
        u128::from(each_us.saturating_mul(open + 1))
    };
    // As fractions of their weights, without dividing.
    let first_cost = cost(first) * u128::from(candidates.weight(second));
    let second_cost = cost(second) * u128::from(candidates.weight(first));
    Some(if first_cost <= second_cost {
        first
    } else {
        second
    })
}

fn least_requests(candidates: &impl Candidates, draws: &mut Draws) -> Option<usize> {
    let count = candidates.count();
    if count == 0 {
        return None;
    }
    // Equals take turns by chance.
    let start = draws.below(count);
    let places = (start..count).chain(0..start);
    places
        .filter(|place| candidates.is_usable(*place))
        .min_by(|a, b| {
            let load = |place: usize, other: usize| {
                u64::from(candidates.open(place)) * u64::from(candidates.weight(other))
            };
            load(*a, *b).cmp(&load(*b, *a))
        })
}
