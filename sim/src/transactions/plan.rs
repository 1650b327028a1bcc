//! What goes wrong, drawn as the storm goes on.

use std::time::Duration;

use atoll_world::{clock, peers::sim::Faults, random::Stream};

use super::cluster::{Cluster, NODES};

/// Time from one fault to the next, at the most.
const PAUSE_MS_MAX: u64 = 120;
/// How long a fault lasts, at the most.
const LASTS_MS_MAX: u64 = 250;

/// Has things go wrong until the storm is over.
pub(super) async fn carry_out(cluster: &Cluster, chance: &mut Stream, ends_at: clock::Instant) {
    while clock::now() < ends_at {
        clock::sleep(Duration::from_millis(chance.range(5..PAUSE_MS_MAX))).await;
        let node = chance.range(0..NODES);
        let other = (node + chance.range(1..NODES)) % NODES;
        let lasts = Duration::from_millis(chance.range(5..LASTS_MS_MAX));
        match chance.range(0..10) {
            0..4 => {
                let loses_power = chance.chance(0.5);
                cluster.end_node(node, loses_power).await;
                clock::sleep(lasts).await;
                cluster.start(node);
            }
            4..6 => {
                cluster.net().isolate(cluster.id(node));
                clock::sleep(lasts).await;
                cluster.net().heal();
            }
            6..8 => {
                cluster.net().cut(cluster.id(node), cluster.id(other));
                clock::sleep(lasts).await;
                cluster.net().heal();
            }
            8 => cluster.net().reset(cluster.id(node), cluster.id(other)),
            _ => {
                cluster.net().set_faults(Faults {
                    delay: (Duration::from_micros(100), Duration::from_millis(15)),
                    loss: 0.02,
                    late: 0.5,
                    ..Faults::default()
                });
                clock::sleep(lasts).await;
                cluster.net().set_faults(Faults::default());
            }
        }
    }
}
