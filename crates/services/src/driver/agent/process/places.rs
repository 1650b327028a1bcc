//! Where what belongs to pods lies.

use std::path::{Path, PathBuf};

use atoll_world::tree;

use crate::core::agent::AttemptId;

/// Where what belongs to pods lies. Uids are the server's, names of containers and volumes are
/// labels: none of them leads elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Places(PathBuf);

impl Places {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Places(folder)
    }

    /// A pod.
    pub(crate) fn pod(&self, uid: &str) -> PathBuf {
        self.0.join(uid)
    }

    /// A volume of a pod.
    pub(crate) fn volume(&self, uid: &str, name: &str) -> PathBuf {
        self.pod(uid).join("volumes").join(name)
    }

    /// The node's own folder, with its keys.
    pub(crate) fn node(&self) -> &Path {
        self.0.parent().unwrap_or(&self.0)
    }

    /// The folders of a namespace's claims, which outlive pods.
    pub(crate) fn claims(&self, namespace: &str) -> PathBuf {
        self.node().join("claims").join(namespace)
    }

    /// Where a container's program starts.
    pub(crate) fn work(&self, uid: &str, container: &str) -> PathBuf {
        self.pod(uid).join("work").join(container)
    }

    /// The address of a pod that has one of its own.
    pub(super) fn address(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("network").join("address")
    }

    /// The network namespace of a pod that has an address of its own.
    pub(super) fn namespace(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("network").join("namespace")
    }

    /// What a container of an image has changed of it.
    pub(super) fn sandbox(&self, id: &AttemptId) -> PathBuf {
        self.pod(&id.uid).join("sandbox").join(&id.container)
    }

    /// The files of a container that are not its image's.
    pub(super) fn etc(&self, id: &AttemptId) -> PathBuf {
        self.pod(&id.uid).join("etc").join(&id.container)
    }

    /// What a container's image would be asked to end by.
    pub(super) fn stop_signal(&self, id: &AttemptId) -> PathBuf {
        self.pod(&id.uid).join("stop-signals").join(&id.container)
    }

    /// One attempt.
    pub(super) fn attempt(&self, id: &AttemptId) -> PathBuf {
        self.container(&id.uid, &id.container)
            .join(id.number.to_string())
    }

    fn container(&self, uid: &str, name: &str) -> PathBuf {
        self.pod(uid).join("containers").join(name)
    }

    /// The last attempt of each container.
    pub(super) fn latest(&self) -> Vec<AttemptId> {
        let pods = self.pods().into_iter();
        pods.flat_map(|uid| self.latest_of(&uid)).collect()
    }

    /// All attempts that are there.
    pub(super) fn attempts(&self) -> Vec<AttemptId> {
        let pods = self.pods().into_iter();
        pods.flat_map(|uid| self.attempts_of(&uid)).collect()
    }

    /// The last attempt of each container of a pod.
    pub(super) fn latest_of(&self, uid: &str) -> Vec<AttemptId> {
        let containers = self.containers(uid).into_iter();
        let latest = containers.filter_map(|name| self.attempts_in(uid, name).pop());
        latest.collect()
    }

    /// All attempts of a pod.
    pub(super) fn attempts_of(&self, uid: &str) -> Vec<AttemptId> {
        let containers = self.containers(uid).into_iter();
        let attempts = containers.flat_map(|name| self.attempts_in(uid, name));
        attempts.collect()
    }

    fn attempts_in(&self, uid: &str, container: String) -> Vec<AttemptId> {
        let numbers = self.numbers(uid, &container).into_iter();
        let attempt = |number| AttemptId {
            uid: uid.to_owned(),
            container: container.clone(),
            number,
        };
        numbers.map(attempt).collect()
    }

    /// Every pod that has a folder.
    pub(super) fn pods(&self) -> Vec<String> {
        names(&self.0)
    }

    /// The containers of a pod that have run.
    pub(super) fn containers(&self, uid: &str) -> Vec<String> {
        names(&self.pod(uid).join("containers"))
    }

    /// The attempts of a container, in order.
    pub(super) fn numbers(&self, uid: &str, container: &str) -> Vec<u32> {
        let names = names(&self.container(uid, container));
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }
}

fn names(path: &Path) -> Vec<String> {
    tree::names(path).unwrap_or_else(|error| {
        tracing::warn!(%error, "a folder of pods can't be read");
        Vec::new()
    })
}
