//! Which keys go when memory is short (Redis: "Key eviction").
//!
//! As in Redis the best keys are not looked for, only good ones: some keys are drawn, the best
//! of all that were drawn lately stay in a pool, and the best of the pool goes. Drawn are keys
//! of all partitions that a node may decide for, so the pool judges them by one measure.
//!
//! Nothing is changed here: an owner has its choice logged, and every replica removes the keys.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{
    chance,
    data::{DATABASES, Database, Entry, Key, Keyspace, Milliseconds, SAMPLES, Uses},
};

/// So many candidates are remembered, as in Redis.
const POOL_MAX: usize = 16;
/// So many keys go at once at most, from all partitions together.
const CHOSEN_MAX: usize = 1024;
/// So many draws may lead to nothing before the choice ends.
const VAIN_MAX: usize = 64;

/// What goes when memory is short: Redis's `maxmemory-policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Keys that end, those that were not used for the longest time first.
    VolatileLru,
    /// Keys that end, those that are used least often first.
    VolatileLfu,
    /// Keys that end, any.
    VolatileRandom,
    /// Keys that end, those that end soonest first.
    VolatileTtl,
    /// Keys that were not used for the longest time first.
    AllKeysLru,
    /// Keys that are used least often first.
    AllKeysLfu,
    /// Any key.
    AllKeysRandom,
    /// None: writes are refused.
    #[default]
    NoEviction,
}

/// Policies by their names, in the order in which Redis lists them.
const POLICIES: [(&str, Policy); 8] = [
    ("volatile-lru", Policy::VolatileLru),
    ("volatile-lfu", Policy::VolatileLfu),
    ("volatile-random", Policy::VolatileRandom),
    ("volatile-ttl", Policy::VolatileTtl),
    ("allkeys-lru", Policy::AllKeysLru),
    ("allkeys-lfu", Policy::AllKeysLfu),
    ("allkeys-random", Policy::AllKeysRandom),
    ("noeviction", Policy::NoEviction),
];

impl Policy {
    /// The policy of this name, in any case.
    pub fn parse(name: &[u8]) -> Option<Policy> {
        let mut all = POLICIES.into_iter();
        let found = all.find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        found.map(|(_, policy)| policy)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = POLICIES.into_iter().find(|(_, policy)| *policy == self);
        found.map_or("noeviction", |(name, _)| name)
    }

    /// Its place among them.
    pub fn place(self) -> u64 {
        let place = POLICIES.into_iter().position(|(_, policy)| policy == self);
        place.map_or(u64::MAX, |place| place as u64)
    }

    /// The policy at a place; none evicts, where there is none.
    pub fn at(place: u64) -> Policy {
        let place = usize::try_from(place).ok();
        let found = place.and_then(|place| POLICIES.get(place));
        found.map_or(Policy::NoEviction, |(_, policy)| *policy)
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        POLICIES.into_iter().map(|(name, _)| name)
    }

    /// Whether any key goes.
    pub fn evicts(self) -> bool {
        self != Policy::NoEviction
    }

    /// Whether only keys go that end.
    fn is_volatile(self) -> bool {
        matches!(
            self,
            Policy::VolatileLru
                | Policy::VolatileLfu
                | Policy::VolatileRandom
                | Policy::VolatileTtl
        )
    }

    fn is_random(self) -> bool {
        matches!(self, Policy::AllKeysRandom | Policy::VolatileRandom)
    }

    /// Whether it goes by how often keys are used.
    pub fn counts_uses(self) -> bool {
        matches!(self, Policy::AllKeysLfu | Policy::VolatileLfu)
    }

    /// How many keys of a database may go.
    fn population(self, database: &Database) -> usize {
        match self.is_volatile() {
            true => database.expiring(),
            false => database.len(),
        }
    }

    /// How gladly a key goes: the higher, the sooner.
    fn score(self, entry: &Entry, uses: Uses, now_ms: Milliseconds) -> u64 {
        let ends_at_ms = entry.expires_at_ms().unwrap_or(Milliseconds::MAX);
        match (self, uses) {
            (Policy::VolatileTtl, _) => Milliseconds::MAX - ends_at_ms,
            (_, Uses::Last) => uses.idle_ms(entry.used(), now_ms).unwrap_or(0),
            (_, Uses::Frequency { .. }) => {
                let frequency = uses.frequency(entry.used(), now_ms).unwrap_or(0);
                u64::from(u8::MAX - frequency)
            }
        }
    }

    /// A key that may go.
    fn draw<'a>(self, database: &'a Database, state: &mut u64) -> Option<(&'a Key, &'a Entry)> {
        match self.is_volatile() {
            true => database.any_expiring(state),
            false => database.at(chance::below(state, database.len())),
        }
    }
}

/// How keys are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What goes.
    pub policy: Policy,
    /// So many keys are drawn for each that goes: `maxmemory-samples`.
    pub samples: usize,
    /// The time.
    pub now_ms: Milliseconds,
}

/// A key that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen<P> {
    /// The partition it is in.
    pub partition: P,
    /// Its database.
    pub database: usize,
    /// The key.
    pub key: Bytes,
    /// What it takes.
    pub bytes: usize,
}

#[derive(Clone, Debug)]
struct Candidate<P> {
    score: u64,
    name: Name<P>,
}

/// Partition, database and key.
type Name<P> = (P, usize, Key);

type Names<P> = BTreeSet<Name<P>>;

/// Chooses keys of partitions that are told apart by `P`, and remembers candidates.
#[derive(Clone, Debug)]
pub struct Chooser<P> {
    /// The best last.
    pool: Vec<Candidate<P>>,
    /// What the pool is judged by.
    policy: Policy,
    chance: u64,
}

impl<P: Copy + Ord> Chooser<P> {
    /// One that has seen nothing.
    pub fn new(seed: u64) -> Self {
        Chooser {
            pool: Vec::new(),
            policy: Policy::NoEviction,
            chance: seed,
        }
    }

    /// Keys that take at least so many bytes together, as far as there are such; not more than
    /// can go at once. Partitions are in order, each named once.
    pub fn choose(
        &mut self,
        partitions: &[(P, &Keyspace)],
        rules: Rules,
        bytes: usize,
    ) -> Vec<Chosen<P>> {
        if rules.policy != self.policy {
            self.pool.clear();
            self.policy = rules.policy;
        }
        // Where a partition's keys end in the row of all.
        let mut ends = Vec::with_capacity(partitions.len());
        let mut all = 0;
        for (_, keyspace) in partitions {
            let databases = (0..DATABASES).map(|index| keyspace.database(index));
            all += databases
                .map(|it| rules.policy.population(it))
                .sum::<usize>();
            ends.push(all);
        }
        let mut chosen: Vec<Chosen<P>> = Vec::new();
        let mut names: Names<P> = BTreeSet::new();
        let (mut found_bytes, mut vain) = (0, 0);
        while found_bytes < bytes && chosen.len() < CHOSEN_MAX.min(all) && vain < VAIN_MAX {
            let draws = match rules.policy.is_random() {
                true => 1,
                false => rules.samples.max(1),
            };
            for _ in 0..draws {
                let at = chance::below(&mut self.chance, all);
                let at = ends.partition_point(|end| *end <= at);
                if let Some(partition) = partitions.get(at) {
                    self.draw(*partition, rules, &names);
                }
            }
            let best = self.pool.pop();
            let Some((name, best)) = best.and_then(|best| weighed(best, partitions, rules.policy))
            else {
                vain += 1;
                continue;
            };
            found_bytes += best.bytes;
            vain = 0;
            names.insert(name);
            chosen.push(best);
        }
        chosen
    }

    /// Draws a key of a partition into the pool, if it is none of these.
    fn draw(&mut self, (partition, keyspace): (P, &Keyspace), rules: Rules, not: &Names<P>) {
        let population = |index| rules.policy.population(keyspace.database(index));
        let mut at = chance::below(&mut self.chance, (0..DATABASES).map(population).sum());
        for index in 0..DATABASES {
            let here = population(index);
            if at >= here {
                at -= here;
                continue;
            }
            let drawn = rules
                .policy
                .draw(keyspace.database(index), &mut self.chance);
            if let Some((key, entry)) = drawn {
                let score = rules.policy.score(entry, keyspace.uses(), rules.now_ms);
                let name = (partition, index, key.clone());
                if !not.contains(&name) {
                    self.remember(Candidate { score, name });
                }
            }
            return;
        }
    }

    fn remember(&mut self, candidate: Candidate<P>) {
        // What was known of it may be old.
        self.pool.retain(|it| it.name != candidate.name);
        let at = self.pool.partition_point(|it| it.score <= candidate.score);
        self.pool.insert(at, candidate);
        if self.pool.len() > POOL_MAX {
            self.pool.remove(0);
        }
    }
}

/// A candidate with what it takes, if it is still there and may go.
fn weighed<P: Copy + Ord>(
    candidate: Candidate<P>,
    partitions: &[(P, &Keyspace)],
    policy: Policy,
) -> Option<(Name<P>, Chosen<P>)> {
    let (partition, index, key) = candidate.name;
    let at = partitions.binary_search_by_key(&partition, |(id, _)| *id);
    let database = partitions[at.ok()?].1.database(index);
    let entry = database.get(&key)?;
    if policy.is_volatile() && entry.expires_at_ms().is_none() {
        return None;
    }
    let chosen = Chosen {
        partition,
        database: index,
        key: Bytes::copy_from_slice(&key),
        bytes: database.key_bytes(&key, SAMPLES)?,
    };
    Some(((partition, index, key), chosen))
}

#[cfg(test)]
mod tests;
