//! What goes wrong.

use atoll_kv::core::paxos::{Done, Members};

use super::{
    super::{NODES, node::Node, plan::Fault},
    CLIENTS, Event, World, id,
};

impl World {
    pub(super) fn fault(&mut self, at: usize) {
        let fault = self.steps[at].fault.clone();
        let lasts_us = match fault {
            Fault::Crash {
                node,
                power,
                lasts_us,
            } => {
                self.crash(node, power, lasts_us);
                return;
            }
            Fault::CrashAll { power, lasts_us } => {
                for node in 0..NODES {
                    self.crash(node, power, lasts_us);
                }
                return;
            }
            Fault::Freeze { node, lasts_us } => {
                self.nodes[node].frozen_until_us = self.now_us + lasts_us;
                return;
            }
            Fault::Skew {
                node,
                wall_ms,
                drift_ppm,
            } => {
                self.nodes[node].wall_ms = wall_ms;
                self.nodes[node].drift_ppm = drift_ppm;
                return;
            }
            Fault::Suspect { node } => {
                let now_ms = self.nodes[node].now_ms(self.now_us);
                let process = self.nodes[node].process.as_mut();
                if let Some(partition) = process.and_then(|it| it.partition.as_mut()) {
                    partition.replica_mut().take_over(now_ms);
                }
                self.pump(node);
                return;
            }
            Fault::Move { to } => {
                let members = Members::new(to.map(id).to_vec()).expect("some");
                self.control.wish(members);
                return;
            }
            Fault::Compact { node } => {
                self.compact(node);
                return;
            }
            Fault::Cut {
                from,
                to,
                told,
                lasts_us,
            } => {
                self.network.cut(from, to, told);
                self.notice(from, to);
                lasts_us
            }
            Fault::Isolate {
                node,
                told,
                lasts_us,
            } => {
                for other in (0..NODES).filter(|other| *other != node) {
                    self.network.cut(node, other, told);
                    self.network.cut(other, node, told);
                    self.notice(node, other);
                }
                lasts_us
            }
            Fault::BadNetwork {
                loss_percent,
                double_percent,
                delay_us_max,
                lasts_us,
            } => {
                self.network.loss_percent = loss_percent;
                self.network.double_percent = double_percent;
                self.network.delay_us_max = delay_us_max;
                lasts_us
            }
            Fault::SlowDisk {
                node,
                sync_us_max,
                lasts_us,
            } => {
                self.nodes[node].disk.sync_us_max = sync_us_max;
                lasts_us
            }
        };
        self.after(lasts_us, Event::FaultEnds(at));
    }

    pub(super) fn fault_ends(&mut self, at: usize) {
        match self.steps[at].fault.clone() {
            Fault::Cut { from, to, told, .. } => {
                self.network.join(from, to, told);
                self.notice(from, to);
            }
            Fault::Isolate { node, told, .. } => {
                for other in (0..NODES).filter(|other| *other != node) {
                    self.network.join(node, other, told);
                    self.network.join(other, node, told);
                    self.notice(node, other);
                }
            }
            Fault::BadNetwork { .. } => {
                self.network.loss_percent = 0;
                self.network.double_percent = 0;
                self.network.delay_us_max = self.conditions.delay_us_max;
            }
            Fault::SlowDisk { node, .. } => {
                self.nodes[node].disk.sync_us_max = self.conditions.sync_us_max;
            }
            _ => {}
        }
    }

    fn compact(&mut self, node: usize) {
        let Node { process, disk, .. } = &mut self.nodes[node];
        if let Some(partition) = process.as_mut().and_then(|it| it.partition.as_mut()) {
            let state = partition.state().clone();
            let base = state.applied;
            if base.index > partition.replica().durable().log.base().index {
                disk.save(state);
                partition.advance(Done::Snapshot(base));
            }
        }
        self.pump(node);
    }

    /// Whatever began before goes on to its end; from then on nothing goes wrong any more.
    pub(super) fn heal(&mut self) {
        self.storm = false;
        for client in 0..CLIENTS {
            self.call_later(client);
        }
    }
}
