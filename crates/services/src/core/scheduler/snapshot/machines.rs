//! The ports of machines. Nodes of one machine share its network; which pods hold a port is
//! counted, so that it is free when the last has gone.

use std::collections::{BTreeMap, BTreeSet};

use super::super::pod::{ANY_ADDRESS, Port};

/// A machine's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct MachineId(usize);

#[derive(Debug, Default)]
struct Machine {
    name: String,
    /// So many nodes are on it.
    nodes: usize,
    ports: BTreeMap<u16, Vec<(Port, u32)>>,
}

/// All machines that have nodes.
#[derive(Debug, Default)]
pub(in super::super) struct Machines {
    by_name: BTreeMap<String, MachineId>,
    machines: Vec<Machine>,
    free: Vec<MachineId>,
}

impl Machines {
    /// A node comes to a machine.
    pub(super) fn join(&mut self, name: &str) -> MachineId {
        let id = match self.by_name.get(name) {
            Some(id) => *id,
            None => {
                let id = self.free.pop().unwrap_or_else(|| {
                    self.machines.push(Machine::default());
                    MachineId(self.machines.len() - 1)
                });
                self.machines[id.0].name = name.to_owned();
                self.by_name.insert(name.to_owned(), id);
                id
            }
        };
        self.machines[id.0].nodes += 1;
        id
    }

    /// A node goes from a machine; none of its pods holds a port any more.
    pub(super) fn leave(&mut self, id: MachineId) {
        let machine = &mut self.machines[id.0];
        machine.nodes -= 1;
        if machine.nodes == 0 {
            debug_assert!(
                machine.ports.is_empty(),
                "the last node leaves with its ports"
            );
            let machine = std::mem::take(machine);
            self.by_name.remove(&machine.name);
            self.free.push(id);
        }
    }

    /// What a machine is called.
    pub(super) fn name(&self, id: MachineId) -> &str {
        &self.machines[id.0].name
    }

    /// A pod takes ports.
    pub(super) fn take(&mut self, id: MachineId, ports: &BTreeSet<Port>) {
        for port in ports {
            let held = self.machines[id.0].ports.entry(port.number).or_default();
            match held.iter_mut().find(|(it, _)| it == port) {
                Some((_, count)) => *count += 1,
                None => held.push((port.clone(), 1)),
            }
        }
    }

    /// A pod gives back ports that it took.
    pub(super) fn give_back(&mut self, id: MachineId, ports: &BTreeSet<Port>) {
        let machine = &mut self.machines[id.0];
        for port in ports {
            let Some(held) = machine.ports.get_mut(&port.number) else {
                continue;
            };
            if let Some((_, count)) = held.iter_mut().find(|(it, _)| it == port) {
                *count -= 1;
            }
            held.retain(|(_, count)| *count > 0);
            if held.is_empty() {
                machine.ports.remove(&port.number);
            }
        }
    }

    /// Whether all these ports can be had.
    pub(in super::super) fn are_free(&self, id: MachineId, ports: &BTreeSet<Port>) -> bool {
        let held = &self.machines[id.0].ports;
        let is_held = |port: &Port| {
            held.get(&port.number)
                .is_some_and(|all| all.iter().any(|(it, _)| collide(it, port)))
        };
        held.is_empty() || !ports.iter().any(is_held)
    }
}

/// Whether two pods can't have both on one machine.
pub(in super::super) fn collide(one: &Port, other: &Port) -> bool {
    let addresses = [&one.address, &other.address];
    one.number == other.number
        && one.protocol == other.protocol
        && (one.address == other.address || addresses.into_iter().any(|it| it == ANY_ADDRESS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(list: &[(&str, &str, u16)]) -> BTreeSet<Port> {
        let port = |(address, protocol, number): &(&str, &str, u16)| Port {
            address: (*address).to_owned(),
            protocol: (*protocol).to_owned(),
            number: *number,
        };
        list.iter().map(port).collect()
    }

    #[test]
    fn ports_collide_by_protocol_number_and_address() {
        let held = ports(&[("0.0.0.0", "TCP", 80), ("10.0.0.1", "TCP", 81)]);
        let mut machines = Machines::default();
        let one = machines.join("m");
        machines.take(one, &held);
        let table = [
            (("0.0.0.0", "TCP", 80), false),
            (("10.0.0.1", "TCP", 80), false),
            (("0.0.0.0", "UDP", 80), true),
            (("0.0.0.0", "TCP", 82), true),
            (("10.0.0.1", "TCP", 81), false),
            (("10.0.0.2", "TCP", 81), true),
            (("0.0.0.0", "TCP", 81), false),
        ];
        for (port, expected) in table {
            assert_eq!(
                machines.are_free(one, &ports(&[port])),
                expected,
                "{port:?}"
            );
        }
        let other = machines.join("other");
        assert!(machines.are_free(other, &held));
    }

    #[test]
    fn a_port_is_free_when_the_last_has_gone() {
        let port = ports(&[("0.0.0.0", "TCP", 80)]);
        let mut machines = Machines::default();
        let (one, two) = (machines.join("m"), machines.join("m"));
        assert_eq!(one, two);
        machines.take(one, &port);
        machines.take(one, &port);
        machines.give_back(one, &port);
        assert!(!machines.are_free(two, &port));
        machines.give_back(two, &port);
        assert!(machines.are_free(one, &port));
        machines.leave(one);
        machines.leave(two);
        assert_eq!(machines.join("new"), one);
        assert_eq!((machines.name(one), machines.by_name.len()), ("new", 1));
    }
}
