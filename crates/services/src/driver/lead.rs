//! What one node does for the cluster: the one that leads the control plane runs the controllers,
//! the scheduler, and the life of nodes.
//!
//! It begins from a mirror that has all that leaders before it wrote. One that leads no more but
//! does not know it yet does no harm: every write compares what it was planned from.

use std::time::Duration;

use atoll_base::id::NodeId;
use atoll_control::api::ControlApi;
use atoll_world::{clock, task};
use serde_json::{Value, json};

use super::{
    controllers, execute::Executor, heartbeat::Heard, mirror::Mirror, objects::Objects, scheduling,
};
use crate::core::{
    kinds, nodes, scheduler,
    status::{Failure, Reason},
};

/// How often a node looks whether it leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How often the leader looks at the nodes.
const NODES_INTERVAL: Duration = Duration::from_millis(500);
/// A leader that did not look for so long has stood still.
const STANDSTILL: Duration = Duration::from_millis(1_500);
/// How long to wait before beginning anew when something failed.
const REST: Duration = Duration::from_millis(500);

/// What is there from the beginning.
const NAMESPACES: [&str; 3] = ["default", "kube-public", "kube-system"];

/// Leads whenever this node does.
pub(super) struct Lead<C> {
    pub(super) node: NodeId,
    pub(super) mirror: Mirror,
    pub(super) executor: Executor<C>,
    pub(super) heard: Heard,
    pub(super) scheduling: scheduler::Settings,
}

impl<C: ControlApi> Lead<C> {
    /// Runs as long as the node does.
    pub(super) fn start(self) {
        task::spawn(async move {
            loop {
                while !self.leads() {
                    clock::sleep(LOOK_INTERVAL).await;
                }
                tokio::select! {
                    biased;
                    () = self.loses() => {}
                    failure = self.lead() => {
                        if let Err(failure) = failure {
                            tracing::debug!(%failure, "services are not looked after yet");
                            clock::sleep(REST).await;
                        }
                    }
                }
                self.heard.end();
            }
        });
    }

    fn leads(&self) -> bool {
        let standing = self.executor.objects.store.control().standing();
        standing.leader == Some(self.node)
    }

    async fn loses(&self) {
        while self.leads() {
            clock::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn lead(&self) -> Result<(), Failure> {
        let objects = &self.executor.objects;
        let revision = objects.store.revision().await?;
        self.heard.begin();
        for name in NAMESPACES {
            make_namespace(objects, &self.executor, name).await?;
        }
        self.mirror.reaches(revision).await;
        tracing::debug!(revision, "this node looks after services");
        tokio::join!(
            controllers::run(self.mirror.clone(), self.executor.clone()),
            scheduling::run(self.mirror.clone(), self.executor.clone(), self.scheduling),
            self.look_after_nodes(),
        );
        Ok(())
    }

    async fn look_after_nodes(&self) {
        let mut written = 0;
        let mut looked = clock::now();
        loop {
            if clock::now().duration_since(looked) > STANDSTILL {
                // Who stood still itself heard nobody, and must not take that for their silence.
                self.heard.begin();
            }
            looked = clock::now();
            self.mirror.reaches(written).await;
            let (silence, unheard_ms) = self.heard.silence();
            let plan = nodes::plan(&self.mirror.look(), &silence, unheard_ms, clock::wall_ms());
            if !plan.steps.is_empty() {
                let mut done = self.executor.run(plan.steps).await;
                written = done.revision;
                if let Some(failure) = done.failure.take() {
                    tracing::debug!(%failure, "nodes are looked at again");
                }
            }
            clock::sleep(NODES_INTERVAL).await;
        }
    }
}

async fn make_namespace<C: ControlApi>(
    objects: &Objects<C>,
    executor: &Executor<C>,
    name: &str,
) -> Result<(), Failure> {
    let namespace: Value = json!({"metadata": {"name": name}});
    let made = objects.create(&kinds::NAMESPACES, "", namespace, &executor.writer);
    match made.await {
        Err(failure) if failure.reason == Reason::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}
