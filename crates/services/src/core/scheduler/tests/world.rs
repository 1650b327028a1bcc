//! The rules, slow and simple: who may come where.

use std::collections::BTreeMap;

/// What matters of a node.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) cpu: u32,
    pub(super) zone: Option<u8>,
    pub(super) machine: u8,
    pub(super) is_tainted: bool,
    pub(super) is_cordoned: bool,
}

/// What matters of a pod.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) cpu: u32,
    pub(super) app: u8,
    pub(super) zone: Option<u8>,
    pub(super) tolerates: bool,
    pub(super) port: Option<u16>,
    pub(super) apart: Option<(u8, usize)>,
    pub(super) together: Option<(u8, usize)>,
    pub(super) spread: Option<(u32, usize)>,
    pub(super) priority: i32,
}

/// The state of the world, and the rules.
#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) sites: BTreeMap<String, Site>,
    pub(super) guests: BTreeMap<String, Guest>,
    pub(super) placed: BTreeMap<String, String>,
    /// Also of nodes that are gone: their pods may still run.
    pub(super) machines: BTreeMap<String, u8>,
}

impl World {
    fn place(&self, node: &str, key: usize) -> Option<String> {
        let site = self.sites.get(node)?;
        match key {
            0 => site.zone.map(|zone| zone.to_string()),
            _ => Some(site.machine.to_string()),
        }
    }

    fn others<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Guest, &'a String)> {
        let placed = self.placed.iter().filter(move |(other, _)| *other != name);
        placed.map(|(other, node)| (&self.guests[other], node))
    }

    pub(super) fn fits(&self, name: &str, node: &str) -> bool {
        let (guest, site) = (&self.guests[name], &self.sites[node]);
        let on_node: u32 = self
            .others(name)
            .filter(|(_, at)| *at == node)
            .map(|(it, _)| it.cpu)
            .sum();
        let has_port = guest.port.is_none_or(|port| {
            !self.others(name).any(|(other, at)| {
                other.port == Some(port) && self.machines[at] == self.machines[node]
            })
        });
        (guest.cpu == 0 || on_node + guest.cpu <= site.cpu)
            && !site.is_cordoned
            && (!site.is_tainted || guest.tolerates)
            && (guest.zone.is_none() || guest.zone == site.zone)
            && has_port
            && self.is_apart(name, node)
            && self.is_together(name, node)
            && self.is_spread(name, node)
    }

    fn is_apart(&self, name: &str, node: &str) -> bool {
        let guest = &self.guests[name];
        let shares = |at: &str, key: usize| {
            self.place(node, key).is_some() && self.place(at, key) == self.place(node, key)
        };
        self.others(name).all(|(other, at)| {
            let minds = |(app, key): (u8, usize)| app == other.app && shares(at, key);
            let is_minded = |(app, key): (u8, usize)| app == guest.app && shares(at, key);
            !guest.apart.is_some_and(minds) && !other.apart.is_some_and(is_minded)
        })
    }

    fn is_together(&self, name: &str, node: &str) -> bool {
        let guest = &self.guests[name];
        let Some((app, key)) = guest.together else {
            return true;
        };
        let wanted = || self.others(name).filter(move |(other, _)| other.app == app);
        let here = self.place(node, key);
        let anywhere = wanted().any(|(_, at)| self.place(at, key).is_some());
        here.is_some()
            && (wanted().any(|(_, at)| self.place(at, key) == here)
                || !anywhere && app == guest.app)
    }

    fn is_spread(&self, name: &str, node: &str) -> bool {
        let guest = &self.guests[name];
        let Some((skew, key)) = guest.spread else {
            return true;
        };
        let counts = |at: &str| {
            self.sites
                .get(at)
                .is_some_and(|site| guest.zone.is_none() || guest.zone == site.zone)
                && self.place(at, key).is_some()
        };
        let nodes = self.sites.keys().filter(|node| counts(node));
        let mut domains: BTreeMap<String, u32> = nodes
            .filter_map(|node| Some((self.place(node, key)?, 0)))
            .collect();
        for (_, at) in self
            .others(name)
            .filter(|(other, at)| other.app == guest.app && counts(at))
        {
            *domains
                .entry(self.place(at, key).expect("it counts"))
                .or_default() += 1;
        }
        let Some(here) = self.place(node, key) else {
            return false;
        };
        let least = domains.values().min().copied().unwrap_or(0);
        domains.get(&here).copied().unwrap_or(0) + 1 - least <= skew
    }

    /// Whether a pod would fit if all of lower priority went.
    pub(super) fn would_fit(&self, name: &str, node: &str) -> bool {
        let priority = self.guests[name].priority;
        let mut without = self.clone();
        without
            .placed
            .retain(|other, at| at != node || self.guests[other].priority >= priority);
        without.fits(name, node)
    }
}
