//! Tenants: each rents a lease, hangs a key on it, renews it for a while and lets it lapse.
//!
//! What a lease promises is checked here, where it is used, in virtual time: as long as a
//! renewal's time to live has not passed since it was asked for, the key is there, whoever leads
//! and whatever the clocks on the walls say; and once nobody renews it, the key goes.
//! Everything else is checked as for any write: the put is a call in the history, and so is the
//! end of the lease, as a deletion that happens at some time.

use std::{sync::Arc, time::Duration};

use atoll_control::{
    api::ControlApi as _,
    proto::{etcdserverpb as pb, internal::command},
};
use atoll_world::{
    clock::{self, Instant},
    random::Stream,
};

use crate::{
    clients::{self, Load},
    history::{Answer, Key, Op, Outcome},
};

/// The first key that tenants use; those before it are the clients'.
pub const FIRST_KEY: Key = 100;
/// Keys of each tenant. None is used twice, so that a late end of one lease is not taken for
/// that of another.
pub const KEYS: Key = 20;
/// Time to live that is asked for, in seconds, at the most.
const TTL_S_MAX: i64 = 3;
/// A lease is renewed for this long, at the most.
const STAY_MAX: Duration = Duration::from_secs(3);
/// How long a key may outlive its lease once the cluster is healthy: the longest time to live,
/// which a new leader grants anew, and some.
const LAPSE_MAX: Duration = Duration::from_secs(12);
/// How often a tenant looks whether its key is gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// One tenant, until the load ends and its last lease with it.
pub async fn run(tenant: usize, load: Arc<Load>, seed: u64) {
    let mut random = Stream::new(seed);
    let first = FIRST_KEY + KEYS * Key::try_from(tenant).expect("there are few tenants");
    for key in first..first + KEYS {
        if clock::now() >= load.until {
            return;
        }
        clock::sleep(random.range(Duration::ZERO..=LOOK_INTERVAL)).await;
        let lease = i64::from(key);
        let Some(lodging) = rent(&load, &mut random, key, lease).await else {
            continue;
        };
        stay(&load, &mut random, lodging).await;
    }
}

/// A lease with a key on it.
struct Lodging {
    key: Key,
    lease: i64,
    ttl: Duration,
    /// The key is there at least until then.
    paid_until: Instant,
    /// The tenant's number in the history.
    client: usize,
}

/// Grants a lease and writes a key on it. None if either did not work.
async fn rent(load: &Load, random: &mut Stream, key: Key, lease: i64) -> Option<Lodging> {
    let client = usize::from(key);
    let asked = clock::now();
    let grant = pb::LeaseGrantRequest {
        id: lease,
        ttl: random.range(1..=TTL_S_MAX),
    };
    let granted = load
        .any_node(random)
        .running()?
        .call(|control| clients::write(control, command::Op::LeaseGrant(grant)))
        .await?;
    let ttl = match granted {
        Ok(Outcome::Done {
            answer: Answer::Granted { ttl_ms },
            ..
        }) => Duration::from_millis(ttl_ms),
        Ok(_) => return None,
        Err(odd) => {
            load.recorder.fault(format!("lease {lease}: {odd}"));
            return None;
        }
    };
    let value = load.fresh_value();
    let put = pb::PutRequest {
        lease,
        prev_kv: true,
        ..clients::put(key, value)
    };
    let node = load.any_node(random).clone();
    let running = node.running()?;
    let op = Op::Put { key, value };
    let call = load.recorder.invoked(client, node.id, op, load.now_ms());
    // The lease will end, and its key with it, sooner or later.
    let end = Op::Delete { key };
    load.recorder.invoked(client, node.id, end, load.now_ms());
    let ended = running
        .call(|control| clients::write(control, command::Op::Put(put)))
        .await;
    match load.note(call, ended) {
        Outcome::Done { .. } => Some(Lodging {
            key,
            lease,
            ttl,
            paid_until: asked + ttl,
            client,
        }),
        Outcome::Refused(error) => {
            if clock::now() < asked + ttl && !clients::is_passing(error) {
                load.recorder.fault(format!(
                    "lease {lease} of {ttl:?} refused a key with \"{}\" {:?} after it was asked for",
                    error.text(),
                    asked.elapsed(),
                ));
            }
            None
        }
        Outcome::Unknown => None,
    }
}

/// Renews the lease for a while, then lets it lapse, and looks at the key all the while.
async fn stay(load: &Load, random: &mut Stream, mut lodging: Lodging) {
    let leaves = clock::now() + random.range(Duration::ZERO..=STAY_MAX);
    let mut renews = clock::now() + lodging.ttl / 3;
    let mut healthy_at = None;
    loop {
        let now = clock::now();
        if now >= load.until {
            let healthy = *healthy_at.get_or_insert(now.max(lodging.paid_until));
            if now >= healthy + LAPSE_MAX {
                load.recorder.fault(format!(
                    "lease {} of {:?} still has its key {LAPSE_MAX:?} after it ended",
                    lodging.lease, lodging.ttl
                ));
                return;
            }
        }
        if now >= renews && now < leaves.min(load.until) {
            renews = now + lodging.ttl / 3;
            renew(load, random, &mut lodging).await;
        }
        if is_gone(load, random, &lodging).await {
            return;
        }
        clock::sleep(LOOK_INTERVAL).await;
    }
}

async fn renew(load: &Load, random: &mut Stream, lodging: &mut Lodging) {
    let Some(running) = load.any_node(random).running() else {
        return;
    };
    let (lease, asked) = (lodging.lease, clock::now());
    let answered = running
        .call(move |control| async move { control.keep_alive(lease).await })
        .await;
    match answered {
        Some(Ok(0)) if clock::now() < lodging.paid_until => load.recorder.fault(format!(
            "lease {lease} of {:?} ended {:?} before its time",
            lodging.ttl,
            lodging.paid_until - clock::now()
        )),
        Some(Ok(ttl_s)) if ttl_s > 0 => lodging.paid_until = asked + lodging.ttl,
        // It has ended, or the cluster is in trouble.
        _ => {}
    }
}

/// Whether the key is gone; a fault if it is too soon.
async fn is_gone(load: &Load, random: &mut Stream, lodging: &Lodging) -> bool {
    let get = Op::Get {
        key: lodging.key,
        serializable: false,
    };
    let node = load.any_node(random).clone();
    let Some(Outcome::Done {
        answer: Answer::Read(found),
        ..
    }) = load.call(lodging.client, &node, get).await
    else {
        return false;
    };
    let now = clock::now();
    if found.is_empty() && now < lodging.paid_until {
        load.recorder.fault(format!(
            "the key of lease {} of {:?} was gone {:?} before its time",
            lodging.lease,
            lodging.ttl,
            lodging.paid_until - now
        ));
    }
    found.is_empty()
}
