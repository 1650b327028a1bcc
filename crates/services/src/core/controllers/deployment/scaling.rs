//! When the Deployment's size changes, in a rollout or while it is paused: its ReplicaSets change
//! in proportion, so that a rollout that goes wrong halfway stays halfway. And how old ReplicaSets
//! are removed.

use super::{
    Rollout,
    numbers::Numbers,
    sets::{DESIRED_REPLICAS, MAX_REPLICAS, Set},
};

/// Whether the Deployment has another size than when its ReplicaSets were scaled.
pub(super) fn is_due(rollout: &Rollout<'_>) -> bool {
    let active = rollout.sets().filter(|set| set.replicas() > 0);
    let mut noted = active.filter_map(|set| set.number(DESIRED_REPLICAS));
    noted.any(|desired| desired != rollout.numbers.replicas)
}

/// Brings the ReplicaSets to the Deployment's size.
pub(super) fn scale(rollout: &mut Rollout<'_>) {
    let numbers = rollout.numbers.clone();
    let deployment_size = rollout.deployment["status"]["replicas"].as_i64();
    let is_saturated = rollout
        .new
        .as_ref()
        .is_some_and(|new| is_saturated(new, &numbers));
    let mut sets: Vec<&mut Set> = rollout.old.iter_mut().chain(&mut rollout.new).collect();
    let active = sets.iter().filter(|set| set.replicas() > 0).count();
    if active <= 1 {
        // The one that has pods, or else the latest.
        let latest = sets.len().saturating_sub(1);
        let at = sets.iter().position(|set| set.replicas() > 0);
        if let Some(set) = sets.get_mut(at.unwrap_or(latest))
            && set.replicas() != numbers.replicas
        {
            set.scale(numbers.replicas, &numbers);
        }
    } else if is_saturated {
        for set in &mut rollout.old {
            if set.replicas() > 0 {
                set.scale(0, &numbers);
            }
        }
    } else if !numbers.is_recreate {
        sets.retain(|set| set.replicas() > 0);
        in_proportion(&mut sets, &numbers, deployment_size.unwrap_or_default());
    }
    for set in rollout.old.iter_mut().chain(&mut rollout.new) {
        if set.replicas() > 0 {
            set.note_size(&numbers);
        }
    }
}

fn is_saturated(new: &Set, numbers: &Numbers) -> bool {
    new.replicas() == numbers.replicas
        && new.number(DESIRED_REPLICAS) == Some(numbers.replicas)
        && new.observed("availableReplicas") == numbers.replicas
}

/// Each gets its part of what is added or taken; the largest also what rounding has left.
fn in_proportion(sets: &mut [&mut Set], numbers: &Numbers, deployment_size: i64) {
    let allowed = match numbers.replicas {
        0 => 0,
        _ => numbers.most(),
    };
    let to_add = allowed - sets.iter().map(|set| set.replicas()).sum::<i64>();
    // Of those of one size, the newer grow first, and the older shrink first.
    sets.sort_by_cached_key(|set| set.age());
    if to_add > 0 {
        sets.reverse();
    }
    sets.sort_by_key(|set| std::cmp::Reverse(set.replicas()));
    let mut added = 0;
    let mut sizes = Vec::new();
    for set in &*sets {
        let part = fraction(set, numbers, deployment_size);
        let left = to_add - added;
        let part = match to_add {
            0 => 0,
            1.. => part.clamp(0, left),
            _ => part.clamp(left, 0),
        };
        added += part;
        sizes.push(set.replicas() + part);
    }
    if let Some(largest) = sizes.first_mut() {
        *largest += to_add - added;
    }
    for (set, size) in sets.iter_mut().zip(sizes) {
        set.scale(size.max(0), numbers);
    }
}

/// By how much a ReplicaSet changes if it keeps its part of the Deployment.
fn fraction(set: &Set, numbers: &Numbers, deployment_size: i64) -> i64 {
    let replicas = set.replicas();
    if numbers.replicas == 0 {
        return -replicas;
    }
    let before = set.number(MAX_REPLICAS).unwrap_or(deployment_size);
    if before <= 0 {
        return 0;
    }
    let size = replicas.saturating_mul(numbers.most());
    let rounded = size.saturating_mul(2).saturating_add(before) / before.saturating_mul(2);
    rounded - replicas
}

/// Removes the oldest revisions that are more than the history may hold.
pub(super) fn remove_old(rollout: &mut Rollout<'_>) {
    let Some(limit) = rollout.numbers.history_limit else {
        return;
    };
    let mut old: Vec<&Set> = rollout.old.iter().collect();
    old.sort_by_cached_key(|set| (set.revision(), set.age()));
    let excess = old.len().saturating_sub(limit);
    let removable = old[..excess].iter().filter(|set| set.is_removable());
    rollout.removals.extend(removable.map(|set| set.removal()));
}
