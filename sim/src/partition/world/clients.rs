//! What clients call, and what they are given.

use atoll_kv::core::partition::{Given, Kind};

use super::{
    super::{
        NODES,
        history::Call,
        registers::{KEYS, Op},
    },
    Event, Wait, World,
};

/// Who takes waits no longer than this.
const WAIT_MS_MAX: u64 = 300;

impl World {
    pub(super) fn call_later(&mut self, client: usize) {
        let think_us = self.work.range(1..self.conditions.think_us_max);
        self.after(think_us, Event::Call(client));
    }

    pub(super) fn call(&mut self, client: usize) {
        if self.clients[client].call.is_some() {
            return;
        }
        let key = if self.storm {
            self.work.range(0..KEYS)
        } else if let Some(key) = self.clients[client].last_reads.last() {
            *key
        } else {
            return;
        };
        if self.conditions.roams && self.work.chance(0.3) {
            self.clients[client].node = self.work.range(0..NODES);
        }
        let node = self.clients[client].node;
        let now_ms = self.nodes[node].now_ms(self.now_us);
        let frozen = self.nodes[node].frozen_until_us > self.now_us;
        let Some(process) = self.nodes[node].process.as_mut().filter(|_| !frozen) else {
            self.clients[client].node = (node + 1) % NODES;
            self.call_later(client);
            return;
        };
        self.next_value += 1;
        let value = self.next_value;
        let op = match self.work.range(0..10) {
            _ if !self.storm => Op::Get,
            0..=3 => Op::Get,
            4..=5 => Op::Set(value * 1_000),
            6..=8 => Op::Add(1),
            _ => Op::Swap(self.work.range(0..value) * 1_000, value * 1_000),
        };
        let op = match self.conditions.takes && op != Op::Get && self.patience.chance(0.3) {
            true => Op::Take {
                since_ms: self.now_us / 1_000,
                is_last: false,
            },
            false => op,
        };
        let at = self.history.calls.len();
        self.history.calls.push(Call {
            client,
            key,
            op,
            invoked: self.now_us,
            returned: None,
        });
        self.clients[client].call = Some(at);
        let kind = match op {
            Op::Get => Kind::Read,
            Op::Take { .. } => Kind::Wait {
                until_ms: Some(now_ms + self.patience.range(0..WAIT_MS_MAX)),
            },
            _ => Kind::Write,
        };
        process.coordinator.submit(
            at as u64,
            kind,
            op.encode(key),
            now_ms,
            now_ms + self.conditions.deadline_ms,
        );
        if matches!(kind, Kind::Wait { .. }) && self.patience.chance(0.2) {
            let stays_us = self.patience.range(0..WAIT_MS_MAX * 1_000);
            self.after(stays_us, Event::Leave(client, at));
        }
        self.pump(node);
    }

    /// A client goes away while its call waits. Whether it took effect nobody knows.
    pub(super) fn leave(&mut self, client: usize, call: usize) {
        if self.clients[client].call != Some(call) {
            return;
        }
        self.clients[client].call = None;
        let node = self.clients[client].node;
        let now_ms = self.nodes[node].now_ms(self.now_us);
        if let Some(process) = &mut self.nodes[node].process {
            let nothing = Op::Get.encode(self.history.calls[call].key);
            process.coordinator.withdraw(call as u64, nothing, now_ms);
            self.pump(node);
        }
        self.call_later(client);
    }

    pub(super) fn ended(&mut self, call: usize, given: Given<u64>) {
        let client = self.history.calls[call].client;
        if self.clients[client].call != Some(call) {
            return;
        }
        self.clients[client].call = None;
        let called_us = self.history.calls[call].invoked;
        if !matches!(self.history.calls[call].op, Op::Take { .. }) {
            self.waits.push(Wait {
                node: self.clients[client].node,
                called_us,
                took_us: self.now_us - called_us,
            });
        }
        match given {
            Given::Reply(reply) => {
                // Two events never share a moment, so an answer is after whatever caused it.
                self.history.calls[call].returned = Some((self.now_us, reply));
                if !self.storm && self.history.calls[call].op == Op::Get {
                    self.clients[client].last_reads.pop();
                }
            }
            Given::Refused | Given::Busy => self.void.push(call),
            Given::Unknown => {}
        }
        self.call_later(client);
    }
}
