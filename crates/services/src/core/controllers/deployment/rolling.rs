//! From old pods to new ones. Rolling: the new ReplicaSet grows as far as the bound on all pods
//! lets it, the old ones shrink as far as the bound on available pods lets them, by turns.
//! Recreating: the old ones go first, wholly.
//!
//! Both bounds are counted with the pods that are there, not only with the numbers that the
//! ReplicaSets are to reach: a ReplicaSet that has not yet deleted its pods still holds them. And
//! each turn waits until the ReplicaSets' controller has seen the turn before.

use super::{
    Rollout,
    revision::{self, Collision},
    scaling,
    sets::Set,
};
use crate::core::{controllers::pods, kinds::PODS, object};

/// One turn of a rolling update.
pub(super) fn roll(rollout: &mut Rollout<'_>) -> Result<(), Collision> {
    ensure_new(rollout)?;
    if !rollout.sets().all(Set::is_acknowledged) {
        return Ok(());
    }
    let (numbers, old) = (&rollout.numbers, &mut rollout.old);
    let new = rollout.new.as_mut().expect("it was just made");
    let before = new.replicas();
    let after = match before > numbers.replicas {
        true => numbers.replicas,
        false => {
            let held: i64 = old.iter().map(Set::held).sum::<i64>() + new.held();
            let room = (numbers.most() - held).max(0);
            before + room.min(numbers.replicas - before)
        }
    };
    if after != before {
        new.scale(after, numbers);
        return Ok(());
    }
    if !shrink_old(rollout) && rollout.is_complete() {
        scaling::remove_old(rollout);
    }
    Ok(())
}

fn ensure_new(rollout: &mut Rollout<'_>) -> Result<(), Collision> {
    if rollout.new.is_none() {
        rollout.new = Some(revision::new_set(rollout)?);
        rollout.is_new_made = true;
    }
    Ok(())
}

/// Takes pods from the old ReplicaSets, first those that are not available anyway. Says whether
/// there were any to take.
fn shrink_old(rollout: &mut Rollout<'_>) -> bool {
    let (numbers, old) = (&rollout.numbers, &mut rollout.old);
    let Some(new) = &rollout.new else {
        return false;
    };
    let all: i64 = old.iter().map(Set::replicas).sum::<i64>() + new.replicas();
    let new_unavailable = new.replicas() - new.sound();
    let mut spare = all - numbers.least_available() - new_unavailable;
    let mut has_shrunk = false;
    let mut shrink = |set: &mut Set, by: i64| {
        if by > 0 {
            set.scale(set.replicas() - by, numbers);
            has_shrunk = true;
        }
        by.max(0)
    };
    if spare <= 0 {
        return false;
    }
    for set in &mut *old {
        spare -= shrink(set, spare.min(set.replicas() - set.sound()));
    }
    let sound: i64 = old.iter().map(Set::sound).sum::<i64>() + new.sound();
    let mut spare = sound - numbers.least_available();
    for set in &mut *old {
        spare -= shrink(set, spare.min(set.replicas()));
    }
    has_shrunk
}

/// One turn of a rollout that ends all old pods first.
pub(super) fn recreate(rollout: &mut Rollout<'_>) -> Result<(), Collision> {
    let mut has_shrunk = false;
    for set in rollout.old.iter_mut().filter(|set| set.replicas() > 0) {
        set.scale(0, &rollout.numbers);
        has_shrunk = true;
    }
    let may_run = |set: &Set| !set.is_acknowledged() || has_pods(rollout, set);
    if has_shrunk || rollout.old.iter().any(may_run) {
        return Ok(());
    }
    ensure_new(rollout)?;
    let new = rollout.new.as_mut().expect("it was just made");
    if new.replicas() != rollout.numbers.replicas {
        new.scale(rollout.numbers.replicas, &rollout.numbers);
    } else if rollout.is_complete() {
        scaling::remove_old(rollout);
    }
    Ok(())
}

/// Whether the turn before has had its effect, so that what is scaled now keeps to the bounds.
pub(super) fn is_settled(rollout: &Rollout<'_>) -> bool {
    let is_settled = |set: &Set| set.is_acknowledged() && set.held() == set.replicas();
    let is_between = rollout.numbers.is_recreate
        && rollout.sets().all(|set| set.replicas() == 0)
        && rollout.old.iter().any(|set| has_pods(rollout, set));
    rollout.sets().all(is_settled) && !is_between
}

/// Whether pods of it may still run.
fn has_pods(rollout: &Rollout<'_>, set: &Set) -> bool {
    let found = rollout.view.by_owner(&PODS, object::uid(&set.object));
    found.iter().any(|pod| !pods::has_ended(pod))
}
