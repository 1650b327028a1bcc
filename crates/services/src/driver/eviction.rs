//! Evictions: a pod is deleted as far as disruption budgets allow, in one write with what that
//! costs its budget, so that two evictions at once never take more than there is.

use std::sync::Arc;

use atoll_control::api::ControlApi;
use atoll_world::clock;
use serde_json::Value;

use super::{
    admission,
    objects::{Objects, Removed, Writer},
    store::{self, Change, To},
};
use crate::core::{
    eviction,
    kinds::DISRUPTION_BUDGETS,
    lifecycle::{self, Deleted, Deletion},
    object::{self, Name},
    status::{Failure, Reason},
};

/// So often an eviction is tried that others come before.
const ATTEMPTS_MAX: usize = 16;

impl<C: ControlApi> Objects<C> {
    /// Evicts a pod.
    ///
    /// # Errors
    /// Its budget does not allow it now; as for any deletion.
    pub(crate) async fn evict(
        &self,
        name: &Name,
        deletion: &Deletion,
        writer: &Writer,
    ) -> Result<Removed, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let pod = self.get(name).await?;
            let budgets = self.all(&DISRUPTION_BUDGETS, Some(&name.namespace)).await?;
            let now_ms = clock::wall_ms();
            let evicted = eviction::decide(&pod.object, &budgets, now_ms)?;
            let (kind, revision) = (name.kind, pod.revision);
            let deleted = lifecycle::delete(kind, &evicted.pod, revision, deletion, now_ms)?;
            let (to, beside) = match &deleted {
                Deleted::Unchanged => return Ok(Removed::Going(pod.object)),
                Deleted::Gone => (To::Gone, admission::deleted(name, &pod.object)),
                Deleted::Marked(marked) => (To::Value(store::encode_marked(marked)?), Vec::new()),
            };
            let mut changes = vec![Change {
                key: store::key(name),
                expected: Some(revision),
                to,
            }];
            changes.extend(beside);
            if let Some(budget) = &evicted.budget {
                changes.push(Change {
                    key: store::key(&Name::of(&DISRUPTION_BUDGETS, budget)),
                    expected: object::meta(budget, "resourceVersion").parse().ok(),
                    to: To::Value(store::encode(budget)?),
                });
            }
            let written = match writer.is_dry_run {
                true => Some(revision),
                false => self.store.commit(&changes).await?,
            };
            match (written, deleted) {
                (Some(revision), Deleted::Marked(marked)) => {
                    return Ok(Removed::Going(store::with_revision(marked, revision)));
                }
                (Some(revision), _) => {
                    return Ok(Removed::Gone(store::with_revision(pod.object, revision)));
                }
                (None, _) if evicted.needs_same_pod => {
                    return Err(eviction::outrun(&budgets, &pod.object));
                }
                (None, _) => {}
            }
        }
        let why = "the pod and its budget are being changed all the time; try again";
        Err(Failure::new(Reason::TooManyRequests, why).retry_after(1))
    }

    /// All objects of a kind, as they are now.
    ///
    /// # Errors
    /// Those of the cluster.
    pub(crate) async fn all(
        &self,
        kind: &'static crate::core::kinds::Kind,
        namespace: Option<&str>,
    ) -> Result<Vec<Arc<Value>>, Failure> {
        let page = self.store.list(kind, namespace, None, 0, 0).await?;
        let objects = page.objects.into_iter();
        Ok(objects.map(|stored| Arc::new(stored.object)).collect())
    }
}
