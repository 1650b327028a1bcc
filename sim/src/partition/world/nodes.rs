//! What nodes do when something comes to them.

use atoll_base::id::ReplicaId;
use atoll_kv::core::{
    partition::{Outcome, Response, Seen},
    paxos::{Done, Tail},
};

use super::{
    super::{NODES, node::Node},
    CLIENTS, Event, Packet, World, id, place,
};

/// So little of the log is held that replicas now and then need what was forgotten.
const TAIL: Tail = Tail {
    bytes: 400,
    lagging_bytes: 4_000,
};

impl World {
    pub(super) fn start(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        let seed = self.random.u64();
        let members = self.control.configuration.voters().iter().collect();
        let hedge_ms = self.settings.hedge_ms;
        self.nodes[node].start(members, hedge_ms, self.settings, seed);
        for other in 0..NODES {
            if other != node {
                self.notice(node, other);
            }
        }
    }

    pub(super) fn crash(&mut self, node: usize, power: bool, lasts_us: u64) {
        if self.nodes[node].process.take().is_none() {
            return;
        }
        self.nodes[node].frozen_until_us = 0;
        self.nodes[node].ticks_at_us = None;
        if self.conditions.hears_late {
            // What it knows of the control plane's state may be older when it comes back.
            let heard = self.nodes[node].heard;
            self.nodes[node].heard = self.random.range(0..=heard);
        }
        let Node { disk, .. } = &mut self.nodes[node];
        disk.crash(power, &mut self.disks, &self.snapshots);
        self.after(lasts_us, Event::Start(node));
        for other in 0..NODES {
            if other != node {
                self.notice(other, node);
            }
        }
        for client in 0..CLIENTS {
            if self.clients[client].node == node && self.clients[client].call.take().is_some() {
                self.call_later(client);
            }
        }
    }

    /// Both ends look at a link soon.
    pub(super) fn notice(&mut self, one: usize, other: usize) {
        let (first, second) = (self.random.range(100..4_000), self.random.range(100..4_000));
        self.after(first, Event::Link(one, other));
        self.after(second, Event::Link(other, one));
    }

    pub(super) fn link(&mut self, node: usize, peer: usize) {
        let is_up = self.nodes[peer].process.is_some() && self.network.looks_up(node, peer);
        let now_ms = self.nodes[node].now_ms(self.now_us);
        if let Some(process) = &mut self.nodes[node].process {
            process.coordinator.link(id(peer), is_up, now_ms);
            if let Some(partition) = &mut process.partition {
                partition.link(id(peer), is_up, now_ms);
            }
        }
        self.pump(node);
    }

    pub(super) fn tick(&mut self, node: usize) {
        if self.nodes[node].ticks_at_us != Some(self.now_us) {
            return;
        }
        self.nodes[node].ticks_at_us = None;
        let now_ms = self.nodes[node].now_ms(self.now_us);
        if let Some(process) = &mut self.nodes[node].process {
            process.coordinator.tick(now_ms);
            if let Some(partition) = &mut process.partition {
                partition.tick(now_ms);
            }
        }
        self.pump(node);
    }

    pub(super) fn deliver(&mut self, from: usize, to: usize, packet: Packet) {
        let now_ms = self.nodes[to].now_ms(self.now_us);
        let Some(process) = &mut self.nodes[to].process else {
            return;
        };
        match (packet, &mut process.partition) {
            (Packet::Response(response), partition) => {
                if response.origin.session.replica == id(to) {
                    process.coordinator.response(id(from), response, now_ms);
                } else if let Some(partition) = partition {
                    partition.response(response);
                }
            }
            (Packet::Message(message), Some(partition)) => {
                partition.step(id(from), message, now_ms);
            }
            (Packet::Request(request), Some(partition)) => {
                partition.request(id(from), request, now_ms);
            }
            // The partition is not here.
            (Packet::Request(request), None) => {
                let response = Response {
                    origin: request.origin,
                    outcome: Outcome::NotOwner(None),
                };
                self.letter(to, id(from), Packet::Response(response));
            }
            (Packet::Look(look), Some(partition)) => {
                let seen = partition.look(&look);
                self.letter(to, id(from), Packet::Seen(seen));
            }
            (Packet::Seen(seen), _) => self.seen(to, id(from), seen),
            (Packet::Message(_) | Packet::Look(_), None) => {}
        }
        self.pump(to);
    }

    /// A coordinator hears what a replica sees.
    fn seen(&mut self, node: usize, from: ReplicaId, seen: Seen<u64>) {
        let now_ms = self.nodes[node].now_ms(self.now_us);
        if let Some(process) = &mut self.nodes[node].process {
            let before = process.coordinator.pending();
            process.coordinator.seen(from, seen, now_ms);
            self.looks += before - process.coordinator.pending();
        }
    }

    pub(super) fn synced(&mut self, node: usize, epoch: u64, number: u64) {
        let Node { disk, process, .. } = &mut self.nodes[node];
        if disk.epoch != epoch {
            return;
        }
        disk.synced(number, &self.snapshots);
        if let Some(partition) = process.as_mut().and_then(|it| it.partition.as_mut()) {
            partition.advance(Done::Synced(number));
        }
        self.pump(node);
    }

    /// Does what a node has to do, until there is nothing left.
    pub(super) fn pump(&mut self, node: usize) {
        let own = id(node);
        loop {
            let now_ms = self.nodes[node].now_ms(self.now_us);
            let wall_ms = self.nodes[node].wall_ms(self.now_us);
            let Node { process, disk, .. } = &mut self.nodes[node];
            let Some(process) = process else {
                return;
            };
            let mut letters: Vec<(ReplicaId, Packet)> = Vec::new();
            let mut looked = Vec::new();
            for (to, look) in process.coordinator.looks() {
                match &mut process.partition {
                    Some(partition) if to == own => looked.push(partition.look(&look)),
                    _ => letters.push((to, Packet::Look(look))),
                }
            }
            for seen in looked {
                let before = process.coordinator.pending();
                process.coordinator.seen(own, seen, now_ms);
                self.looks += before - process.coordinator.pending();
            }
            let requests = process.coordinator.requests();
            let ended = process.coordinator.ended();
            let mut is_quiet = requests.is_empty() && ended.is_empty();
            for (to, request) in requests {
                match &mut process.partition {
                    Some(partition) if to == own => partition.request(own, request, now_ms),
                    _ => letters.push((to, Packet::Request(request))),
                }
            }
            if let Some(partition) = &mut process.partition {
                let snapshots = &self.snapshots;
                let work = partition.ready(wall_ms, |snapshot| snapshots.load(snapshot));
                if let Some(ballot) = partition.replica().owned() {
                    self.ballots.insert(ballot);
                }
                is_quiet &= work.records.is_empty()
                    && work.messages.is_empty()
                    && work.requests.is_empty()
                    && work.responses.is_empty()
                    && work.snapshots.is_empty()
                    && !work.again;
                disk.write(work.records, work.written);
                for entry in &work.applied {
                    self.history.applied(node, entry);
                }
                self.history.state(node, partition.state());
                partition.replica_mut().forget(&TAIL);
                for to in work.snapshots {
                    let snapshot = self.snapshots.store(partition.state());
                    self.sent_snapshots += 1;
                    partition.send_snapshot(to, snapshot);
                }
                for (to, message) in work.messages {
                    letters.push((to, Packet::Message(message)));
                }
                for (to, request) in work.requests {
                    letters.push((to, Packet::Request(request)));
                }
                for (to, response) in work.responses {
                    if to == own {
                        process.coordinator.response(own, response, now_ms);
                    } else {
                        letters.push((to, Packet::Response(response)));
                    }
                }
                if let Some(number) = disk.begins_sync() {
                    let took_us = self.disks.range(50..=disk.sync_us_max);
                    let epoch = disk.epoch;
                    self.after(took_us, Event::Synced(node, epoch, number));
                }
            }
            for (to, packet) in letters {
                self.letter(node, to, packet);
            }
            for (call, given) in ended {
                self.ended(usize::try_from(call).expect("a call's place"), given);
            }
            if is_quiet {
                break;
            }
        }
        self.plan_tick(node);
    }

    pub(super) fn letter(&mut self, from: usize, to: ReplicaId, packet: Packet) {
        let mut ways_us = self.network.ways_us(from, place(to));
        if let Packet::Request(_) = packet {
            // Links carry a request once: one that was refused is not done after all. Hedges are
            // what hands the same request to several replicas.
            ways_us.truncate(1);
        }
        for way_us in ways_us {
            self.after(way_us, Event::Deliver(from, place(to), packet.clone()));
        }
    }

    fn plan_tick(&mut self, node: usize) {
        let now_us = self.now_us;
        let it = &mut self.nodes[node];
        let Some(process) = &it.process else {
            return;
        };
        let partition = process.partition.as_ref();
        let wanted_ms = [
            process.coordinator.wants_tick_at_ms(),
            partition.and_then(|partition| partition.wants_tick_at_ms()),
        ];
        let Some(at_ms) = wanted_ms.into_iter().flatten().min() else {
            return;
        };
        let delay_us = at_ms.saturating_sub(it.now_ms(now_us)).max(1) * 1_000;
        let at_us = now_us + delay_us;
        if it
            .ticks_at_us
            .is_none_or(|planned| planned > at_us || planned <= now_us)
        {
            it.ticks_at_us = Some(at_us);
            self.after(delay_us, Event::Tick(node));
        }
    }
}
