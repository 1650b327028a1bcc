//! What one node does for the cluster: the one that leads the control plane runs the controllers,
//! the scheduler, and the life of nodes.
//!
//! It begins from a mirror that has all that leaders before it wrote, and they write no more from
//! then on, though one that leads no more may not know it for [`LOOK_INTERVAL`]: its writes are
//! behind a [fence](super::store::Store::lead).

use std::time::Duration;

use atoll_base::id::NodeId;
use atoll_control::api::ControlApi;
use atoll_world::{clock, task};
use futures_util::{StreamExt as _, stream};

use super::{
    controllers,
    execute::Executor,
    heartbeat::Heard,
    meter::{Meters, Usages},
    mirror::Mirror,
    objects::NAMESPACES,
    offers::counter::Hatch,
    scheduling,
};
use crate::core::{
    controllers::world::View as _,
    kinds, nodes, object, scheduler,
    status::{Failure, Reason},
};

/// How often a node looks whether it leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How often the leader looks at the nodes.
const NODES_INTERVAL: Duration = Duration::from_millis(500);
/// How long the mirror may take to have what was written before it is asked anew.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// A leader that took so long from one look to the next, or for one step, has stood still.
const STANDSTILL: Duration = Duration::from_millis(1_500);
/// So many steps about nodes are carried out at a time.
const STEPS_MAX: usize = 16;
/// How long to wait before beginning anew when something failed.
const REST: Duration = Duration::from_millis(500);

/// Leads whenever this node does.
pub(super) struct Lead<C> {
    pub(super) node: NodeId,
    pub(super) mirror: Mirror,
    pub(super) executor: Executor<C>,
    pub(super) heard: Heard,
    pub(super) meter: Meters,
    pub(super) scheduling: scheduler::Settings,
    pub(super) hatch: Hatch,
}

impl<C: ControlApi> Lead<C> {
    /// Runs as long as the node does.
    pub(super) fn start(self) {
        task::spawn(async move {
            loop {
                let Some(term) = self.leads() else {
                    clock::sleep(LOOK_INTERVAL).await;
                    continue;
                };
                tokio::select! {
                    biased;
                    () = self.loses(term) => {}
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

    /// The term in which this node leads, if it does.
    fn leads(&self) -> Option<u64> {
        let standing = self.executor.objects.store.control().standing();
        (standing.leader == Some(self.node)).then_some(standing.term)
    }

    /// Waits until this node does not lead any more, or does so anew.
    async fn loses(&self, term: u64) {
        while self.leads() == Some(term) {
            clock::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn lead(&self) -> Result<(), Failure> {
        // First of all: from here on, no leader before this one writes, or gives up a node.
        let executor = self.executor.lead(self.node).await?;
        let objects = &executor.objects;
        let revision = objects.store.revision().await?;
        self.heard.begin();
        for name in NAMESPACES {
            objects.make_namespace(name).await?;
        }
        while clock::timeout(ASK_INTERVAL, self.mirror.reaches(revision))
            .await
            .is_err()
        {
            // It asks how far it is each time.
        }
        tracing::debug!(revision, "this node looks after services");
        let usages = Usages::default();
        let whatever_changes = async {
            tokio::join!(
                controllers::run(self.mirror.clone(), executor.clone(), usages.clone()),
                usages.follow(&self.mirror, &self.meter),
                scheduling::run(
                    self.mirror.clone(),
                    executor.clone(),
                    self.scheduling,
                    &self.hatch,
                ),
            );
        };
        tokio::select! {
            biased;
            failure = self.look_after_nodes(&executor) => Err(failure),
            () = whatever_changes => Ok(()),
        }
    }

    /// Runs until another node has begun to lead.
    async fn look_after_nodes(&self, executor: &Executor<C>) -> Failure {
        let mut written = 0;
        loop {
            let begun = clock::now();
            clock::sleep(NODES_INTERVAL).await;
            self.mirror.reaches(written).await;
            self.stood_still(begun);
            let nodes = self.mirror.look().list(&kinds::NODES, None);
            let names = nodes.iter().map(|node| object::name(node).to_owned());
            let (silence, unheard_ms) = self.heard.judge(names);
            let plan = nodes::plan(&self.mirror.look(), &silence, unheard_ms, clock::wall_ms());
            // One that fails has nothing to do with the others.
            let executor_of_steps = executor.clone();
            let mut steps = stream::iter(plan.steps)
                .map(move |step| {
                    let executor = executor_of_steps.clone();
                    async move {
                        let begun = clock::now();
                        (executor.run(vec![step]).await, begun)
                    }
                })
                .buffer_unordered(STEPS_MAX);
            while let Some((done, begun)) = steps.next().await {
                written = written.max(done.revision);
                if let Some(failure) = done.failure {
                    tracing::debug!(%failure, "nodes are looked at again");
                    if let Err(broken) = executor.objects.store.check_fence().await
                        && broken.reason == Reason::Conflict
                    {
                        return broken;
                    }
                }
                if self.stood_still(begun) {
                    break;
                }
            }
            drop(steps);
            self.heard.is_done();
        }
    }

    /// Who stood still itself heard nobody, and must not take that for their silence: everybody
    /// is given the whole time anew.
    fn stood_still(&self, since: clock::Instant) -> bool {
        let is_so = clock::now().duration_since(since) > STANDSTILL;
        if is_so {
            self.heard.begin();
        }
        is_so
    }
}
