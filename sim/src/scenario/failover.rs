//! The promise of failover: when the leader dies on a healthy local network, the others
//! acknowledge writes again within [`GAP_MAX`].

use std::{sync::Arc, time::Duration};

use atoll_control::driver::control::Settings;
use atoll_world::{
    clock::{self, Instant},
    journal::Durability,
    peers::sim::Faults,
    random::Stream,
    task,
};
use parking_lot::Mutex;

use super::simulate;
use crate::{
    clients::Load,
    cluster::{Cluster, Setup, until},
    history::{Op, Outcome, Recorder},
    node::{End, Node},
};

/// The longest time between two acknowledgements through a node that survives.
pub const GAP_MAX: Duration = Duration::from_millis(600);

/// How long writes go on before the leader dies, at the least, and at the most.
const BEFORE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(900));
/// How long they go on after.
const AFTER: Duration = Duration::from_millis(2_500);
/// Writers through each node.
const WRITERS: usize = 4;

/// Runs a seed; answers the longest gap.
///
/// # Errors
/// The cluster does not form, something panics, or writes never go on.
pub fn run(seed: u64) -> Result<Duration, String> {
    let (gap, panics) = simulate(seed, || kill_leader(seed));
    match panics.first() {
        Some(panic) => Err(format!("a panic: {panic}")),
        None => gap,
    }
}

async fn kill_leader(seed: u64) -> Result<Duration, String> {
    let mut random = Stream::new(seed);
    let setup = Setup {
        settings: Settings::default(),
        segment_bytes: 1 << 20,
        durability: Durability::Always,
        fatal_end: End::Power,
    };
    let cluster = Cluster::form(&mut random, &setup).await?;
    cluster.net.set_faults(Faults {
        delay: (Duration::from_micros(100), Duration::from_millis(1)),
        ..Faults::default()
    });
    // Leadership is wherever it may be, not always at the founder.
    let heir = {
        let nodes: Vec<_> = cluster.enlisted().collect();
        nodes[random.range(0..nodes.len())].clone()
    };
    move_leader(&cluster, &heir).await?;

    let dies_at = clock::now() + random.range(BEFORE.0..=BEFORE.1);
    let until = dies_at + AFTER;
    let load = Arc::new(Load::new(
        cluster.nodes.clone(),
        Recorder::default(),
        until,
        1,
        Duration::ZERO,
    ));
    let survivors = cluster.enlisted().filter(|node| node.id != heir.id);
    let writers: Vec<_> = survivors
        .map(|node| {
            let gap = Arc::new(Mutex::new((clock::now(), Duration::ZERO)));
            for writer in 0..WRITERS {
                task::spawn(write(writer, load.clone(), node.clone(), gap.clone()));
            }
            gap
        })
        .collect();
    clock::sleep_until(dies_at).await;
    // Half of them with their machine: nobody is told by a reset.
    if random.chance(0.5) {
        cluster.net.isolate(heir.id);
    }
    heir.end(End::Kill);
    clock::sleep_until(until).await;
    let longest = writers.iter().map(|gap| {
        let (last, longest) = *gap.lock();
        longest.max(last.elapsed())
    });
    let longest = longest.max().unwrap_or_default();
    cluster.end().await;
    Ok(longest)
}

async fn move_leader(cluster: &Cluster, heir: &Arc<Node>) -> Result<(), String> {
    use atoll_control::api::ControlApi as _;
    let control = heir.wait_running().await.control;
    control
        .move_leader(heir.id)
        .await
        .map_err(|error| format!("leadership was not moved: {error}"))?;
    let agreed = || {
        cluster.enlisted().all(|node| {
            node.running()
                .is_some_and(|running| running.control.standing().leader == Some(heir.id))
        })
    };
    clock::timeout(Duration::from_secs(5), until(agreed))
        .await
        .map_err(|_| "leadership was moved, and not everybody knows".to_owned())
}

/// Writes without rest, and keeps the time of the last acknowledgement and the longest gap.
async fn write(
    writer: usize,
    load: Arc<Load>,
    node: Arc<Node>,
    gap: Arc<Mutex<(Instant, Duration)>>,
) {
    while clock::now() < load.until {
        let put = Op::Put {
            key: 0,
            value: load.fresh_value(),
        };
        if let Some(Outcome::Done { .. }) = load.call(writer, &node, put).await {
            let now = clock::now();
            let mut gap = gap.lock();
            gap.1 = gap.1.max(now.duration_since(gap.0));
            gap.0 = now;
        }
    }
}
