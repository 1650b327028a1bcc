//! Where no partition can go straight from who has too much to who has too little: the chain of
//! exchanges between them that moves least.

use super::{Exchange, Index, Table};

/// What an exchange of what somebody holds already costs. One of a fresh placement moves nothing,
/// but is a step still: of two chains that move the same, the shorter is taken.
const MOVE_COST: usize = 1_000;
const STEP_COST: usize = 1;

impl Table<'_> {
    /// Follows the cheapest chain from any of these nodes to any of those; `false` if there is
    /// none.
    pub(super) fn follow(&mut self, from: &[bool], to: &[bool], fresh_only: bool) -> bool {
        let chain = self.cheapest(from, to, fresh_only);
        // Two exchanges in one partition, each allowed, may together be too much for its zones.
        let possible = chain
            .iter()
            .enumerate()
            .all(|(place, it)| chain[..place].iter().all(|earlier| earlier.row != it.row));
        if chain.is_empty() || !possible {
            return false;
        }
        self.apply(&chain);
        true
    }

    /// Dijkstra's algorithm over nodes.
    fn cheapest(&self, from: &[bool], to: &[bool], fresh_only: bool) -> Vec<Exchange> {
        let edges = self.edges(fresh_only);
        let count = self.loads.len();
        let mut open: Vec<bool> = vec![true; count];
        let mut costs: Vec<Option<usize>> = from.iter().map(|it| it.then_some(0)).collect();
        let mut came: Vec<Option<Exchange>> = vec![None; count];
        loop {
            let near = (0..count)
                .filter(|&it| open[it])
                .filter_map(|it| Some((costs[it]?, it)));
            let Some((cost, node)) = near.min() else {
                return Vec::new();
            };
            if to[node] && !from[node] {
                return back(&came, node);
            }
            open[node] = false;
            for next in 0..count {
                let Some((edge, exchange)) = edges[node * count + next] else {
                    continue;
                };
                if open[next] && costs[next].is_none_or(|it| cost + edge < it) {
                    costs[next] = Some(cost + edge);
                    came[next] = Some(exchange);
                }
            }
        }
    }

    /// For each pair of nodes the cheapest partition to hand over.
    fn edges(&self, fresh_only: bool) -> Vec<Option<(usize, Exchange)>> {
        let count = self.loads.len();
        let mut edges: Vec<Option<(usize, Exchange)>> = vec![None; count * count];
        for (row, it) in self.rows.iter().enumerate() {
            for &from in &it.spread.taken {
                if fresh_only && !it.is_fresh(from) {
                    continue;
                }
                let cost = if it.is_fresh(from) { 0 } else { MOVE_COST } + STEP_COST;
                for to in 0..count {
                    let edge = &mut edges[from * count + to];
                    if edge.is_none_or(|(other, _)| cost < other)
                        && it.spread.accepts_instead(Some(from), to)
                    {
                        *edge = Some((cost, Exchange { row, from, to }));
                    }
                }
            }
        }
        edges
    }
}

fn back(came: &[Option<Exchange>], end: Index) -> Vec<Exchange> {
    let mut chain = Vec::new();
    let mut node = end;
    while let Some(exchange) = came[node] {
        chain.push(exchange);
        node = exchange.from;
    }
    chain
}
