//! What the control plane sees and decides, and who holds the partition then.

use atoll_base::id::ReplicaId;
use atoll_kv::core::partition::Response;

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
        let holders = self.control.holders();
        let configuration = self.control.configuration.clone();
        for node in 0..NODES {
            // Some hear of it later than others.
            if self.conditions.hears_late && self.storm && self.random.chance(0.3) {
                continue;
            }
            let seed = self.random.u64();
            let now_ms = self.nodes[node].now_ms(self.now_us);
            let it = &mut self.nodes[node];
            let Some(process) = &mut it.process else {
                continue;
            };
            if !holders.contains(&id(node)) {
                let closed = process.partition.take();
                it.disk.forget();
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
