//! Mistakes made on purpose, to show that they would be found.

use std::time::Duration;

use atoll_control::driver::control::Control;
use atoll_services::{
    core::{
        kinds::{JOBS, PODS, Subresource},
        lifecycle::Deletion,
        object,
        status::Failure,
    },
    driver::Client,
};
use atoll_world::clock;
use serde_json::{Value, json};

use super::{
    machines::Machines,
    workloads::{NAMESPACE, WEB, name},
};

/// Who is in a hurry waits for so long until it takes a node for lost.
const HURRY: Duration = Duration::from_millis(1_500);
/// How often it is looked whether there is something to do wrong.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// So often.
const LOOKS_MAX: usize = 200;
/// So many pods too many, or too few.
const PODS_WRONG: usize = 3;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// What runs goes on long after its lease has ended.
    IgnoresLease,
    /// What runs outlives its machine's loss of power.
    OutlivesPower,
    /// Pods of a node that is silent are replaced before its lease has ended.
    HurriesReplacements,
    /// Somebody counts a pod of a Job twice.
    CountsTwice,
    /// A Deployment gets pods beyond what it may have.
    SurgesTooFar,
    /// A rollout stops pods before there are others.
    StopsTooMany,
    /// A watcher that begins anew hears what it has heard before.
    WatchesAgain,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 7] = [
        Planted::IgnoresLease,
        Planted::OutlivesPower,
        Planted::HurriesReplacements,
        Planted::CountsTwice,
        Planted::SurgesTooFar,
        Planted::StopsTooMany,
        Planted::WatchesAgain,
    ];

    /// What it contradicts: the beginning of what is found.
    pub fn property(self) -> &'static str {
        match self {
            Planted::IgnoresLease | Planted::OutlivesPower | Planted::HurriesReplacements => {
                "nothing runs twice at once"
            }
            Planted::CountsTwice => "a Job counts each pod once",
            Planted::SurgesTooFar => "a Deployment has no more pods than it may",
            Planted::StopsTooMany => "a rollout keeps pods ready",
            Planted::WatchesAgain => "a watch never goes back",
        }
    }

    /// Whether a run has found it.
    pub fn is_found(self, violations: &[String]) -> bool {
        let property = self.property();
        violations.iter().any(|found| found.starts_with(property))
    }

    /// Does wrong what can be done wrong when a rollout has begun.
    pub(super) async fn spoil_rollout(self, machines: &Machines) {
        for _ in 0..LOOKS_MAX {
            let spoilt = match self {
                Planted::CountsTwice => machines.call(0, count_twice).await,
                Planted::SurgesTooFar => machines.call(0, surge).await,
                Planted::StopsTooMany => machines.call(0, stop).await,
                _ => return,
            };
            if matches!(spoilt, Some(Ok(true))) {
                return;
            }
            clock::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Adds one to what a Job has counted, if it has any; whether it was done.
async fn count_twice(client: Client<Control>) -> Result<bool, Failure> {
    for job in client.list(&JOBS, Some(NAMESPACE)).await?.objects {
        let counted = job["status"]["succeeded"].as_u64().unwrap_or(0);
        let of = name(&JOBS, object::name(&job));
        let more = |job: &mut Value| job["status"]["succeeded"] = json!(counted + 1);
        if counted > 0 {
            let part = Some(Subresource::Status);
            client.update(&of, part, more).await?;
            return Ok(true);
        }
    }
    Ok(false)
}

async fn pods_of_web(client: &Client<Control>) -> Result<Vec<Value>, Failure> {
    let mut pods = client.list(&PODS, Some(NAMESPACE)).await?.objects;
    pods.retain(|pod| pod["metadata"]["labels"]["app"] == WEB && !object::is_being_deleted(pod));
    Ok(pods)
}

async fn surge(client: Client<Control>) -> Result<bool, Failure> {
    let pods = pods_of_web(&client).await?;
    let Some(pod) = pods.first() else {
        return Ok(false);
    };
    for nth in 0..PODS_WRONG {
        let more = json!({
            "metadata": {
                "name": format!("{WEB}-more-{nth}"), "labels": pod["metadata"]["labels"],
                "ownerReferences": pod["metadata"]["ownerReferences"],
            },
            "spec": {"containers": [{"name": "main", "image": "host", "command": ["run"]}]},
        });
        client.create(&PODS, NAMESPACE, more).await?;
    }
    Ok(true)
}

async fn stop(client: Client<Control>) -> Result<bool, Failure> {
    let pods = pods_of_web(&client).await?;
    for pod in pods.iter().take(PODS_WRONG) {
        let of = name(&PODS, object::name(pod));
        client.delete(&of, &Deletion::default()).await?;
    }
    Ok(pods.len() >= PODS_WRONG)
}

/// Takes a node for lost too early: its pods are deleted as if nothing of them ran.
pub(super) async fn hurry(machines: Machines, lost: usize, by: usize) {
    clock::sleep(HURRY).await;
    let node = machines.all[lost].name();
    let deleted = machines.call(by, |client| async move {
        let pods = client.list(&PODS, Some(NAMESPACE)).await?.objects;
        for pod in pods.iter().filter(|pod| pod["spec"]["nodeName"] == *node) {
            let deletion = Deletion {
                grace_s: Some(0),
                ..Deletion::default()
            };
            let of = name(&PODS, object::name(pod));
            client.delete(&of, &deletion).await?;
        }
        Ok::<(), Failure>(())
    });
    // It is in a hurry, and asks once.
    let _ = deleted.await;
}
