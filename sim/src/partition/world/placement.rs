//! What the control plane sees and decides, and who holds the partition then.

use atoll_base::id::ReplicaId;
use atoll_kv::core::{partition::Response, paxos::Forgotten};

use super::{
    super::{NODES, control::Report},
    CONTROL_US, Event, Packet, World, id,
};

impl World {
    pub(super) fn look(&mut self) {
        for node in 0..NODES {
            let Some(process) = &mut self.nodes[node].process else {
                continue;
            };
            let members = self.control.configuration.voters().iter().collect();
            process.coordinator.set_members(members);
            let Some(partition) = &mut process.partition else {
                continue;
            };
            let replica = partition.replica_mut();
            let Some(ballot) = replica.owned() else {
                continue;
            };
            replica.set_learners(self.control.learners());
            let report = Report {
                configuration: ballot.configuration,
                commit: replica.commit(),
                matched: (0..NODES)
                    .filter_map(|at| Some((id(at), replica.matched(id(at))?)))
                    .collect(),
                proof: replica.joint_proof(),
            };
            self.control.step(&report);
            self.pump(node);
        }
        self.place();
        self.after(CONTROL_US, Event::Control);
    }

    /// Tells every node what is decided, and has it hold the partition or not.
    pub(super) fn place(&mut self) {
        let latest = self.control.recorded.len() - 1;
        for node in 0..NODES {
            // Some hear of it later than others.
            let is_late = self.conditions.hears_late && self.storm;
            let heard = match self.nodes[node].heard {
                heard if is_late && self.random.chance(0.6) => self.random.range(heard..=latest),
                _ => latest,
            };
            self.nodes[node].heard = heard;
            let recorded = self.control.recorded[heard].clone();
            let (configuration, holders) = (recorded.configuration, recorded.holders);
            let seed = self.random.u64();
            let now_ms = self.nodes[node].now_ms(self.now_us);
            let it = &mut self.nodes[node];
            let Some(process) = &mut it.process else {
                continue;
            };
            if !holders.contains(&id(node)) {
                let durable = process.partition.as_ref().map(|it| it.replica().durable());
                let forgotten = durable.and_then(|it| Forgotten::of(it, configuration.number));
                if forgotten.is_none() {
                    continue;
                }
                it.disk.forget(forgotten);
                let closed = process.partition.take();
                let told = closed.map(|partition| partition.close());
                for (to, response) in told.into_iter().flatten() {
                    self.closed(node, to, response);
                }
                continue;
            }
            it.place(&configuration, self.settings, seed);
            if let Some(partition) = it.process.as_mut().and_then(|it| it.partition.as_mut()) {
                partition
                    .replica_mut()
                    .configure(configuration.clone(), now_ms);
            }
            self.pump(node);
        }
    }

    /// The partition at a node is closed: somebody waited there.
    fn closed(&mut self, node: usize, to: ReplicaId, response: Response<u64>) {
        let now_ms = self.nodes[node].now_ms(self.now_us);
        if to != id(node) {
            self.letter(node, to, Packet::Response(response));
        } else if let Some(process) = &mut self.nodes[node].process {
            process.coordinator.response(to, response, now_ms);
            self.pump(node);
        }
    }
}
