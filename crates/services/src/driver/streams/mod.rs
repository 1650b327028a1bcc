//! Sessions with pods, wherever they run: programs that are run beside a container's, its own one,
//! and connections to ports. A node that does not run the pod opens a pipe to the one that does.

mod forward;
mod frames;

use std::sync::Arc;

use atoll_base::id::NodeId;
use atoll_world::{
    peers::{Peers, Service},
    task,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub(super) use self::frames::{Frame, frame};
use super::{
    agent::runtime::Runtime,
    mirror::Mirror,
    pipes::{self, Frames, Opens, Pipes},
};
use crate::{
    api::{Ends, Opening, Running, Sessions},
    core::{
        controllers::world::View as _,
        kinds, object,
        status::{Failure, Reason},
        streams::{Forward, FromContainer, ToContainer, options::ExecOptions},
    },
};

/// Sessions, between nodes.
const SERVICE: Service = Service(58);
/// The version of what is asked.
const VERSION: u8 = 1;

/// What one node asks another to open.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Asked {
    version: u8,
    pod: Running,
    what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum What {
    Process(ExecOptions),
    Forward,
}

/// Sessions with pods of this node and of the others.
pub(super) struct Everywhere<R> {
    here: Here<R>,
    peers: Arc<dyn Peers>,
    node: NodeId,
}

/// Sessions with pods of this node.
#[derive(Clone)]
struct Here<R> {
    /// None: no pods run here.
    runtime: Option<R>,
    mirror: Mirror,
}

impl<R: Runtime> Everywhere<R> {
    /// Begins to serve other nodes, too.
    pub(super) fn new(
        runtime: Option<R>,
        mirror: Mirror,
        peers: Arc<dyn Peers>,
        node: NodeId,
    ) -> Self {
        let here = Here { runtime, mirror };
        Pipes::serve(&peers, SERVICE, Arc::new(here.clone()));
        Everywhere { here, peers, node }
    }

    /// The node that runs a pod, if it is another one.
    fn elsewhere(&self, pod: &Running) -> Result<Option<NodeId>, Failure> {
        match self.here.mirror.node_id(&pod.node) {
            Some(id) => Ok((id != self.node).then_some(id)),
            None => {
                let message = format!("node {:?} is not there any more", pod.node);
                Err(Failure::new(Reason::NotFound, message))
            }
        }
    }

    fn open<H: Frame, S: Frame>(&self, node: NodeId, pod: Running, what: What) -> Opening<H, S> {
        let peers = self.peers.clone();
        Box::pin(async move {
            let asked = Asked {
                version: VERSION,
                pod,
                what,
            };
            let opening = serde_json::to_vec(&asked).expect("it is JSON");
            Ok(read(pipes::open(peers, SERVICE, node, &opening).await?))
        })
    }
}

impl<R: Runtime> Sessions for Everywhere<R> {
    fn process(&self, pod: Running, options: ExecOptions) -> Opening<ToContainer, FromContainer> {
        match self.elsewhere(&pod) {
            Ok(Some(node)) => self.open(node, pod, What::Process(options)),
            Ok(None) => {
                let here = self.here.clone();
                Box::pin(async move { here.process(&pod, options).await })
            }
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
        }
    }

    fn forward(&self, pod: Running) -> Opening<Forward, Forward> {
        match self.elsewhere(&pod) {
            Ok(Some(node)) => self.open(node, pod, What::Forward),
            Ok(None) => Box::pin(std::future::ready(self.here.forward(&pod))),
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
        }
    }
}

fn no_pods() -> Failure {
    Failure::new(Reason::NotFound, "no pods run on this node")
}

impl<R: Runtime> Here<R> {
    async fn process(
        &self,
        pod: &Running,
        options: ExecOptions,
    ) -> Result<Ends<ToContainer, FromContainer>, Failure> {
        let Some(runtime) = &self.runtime else {
            return Err(no_pods());
        };
        runtime.process(pod.uid.clone(), options).await
    }

    fn forward(&self, pod: &Running) -> Result<Ends<Forward, Forward>, Failure> {
        let Some(runtime) = self.runtime.clone() else {
            return Err(no_pods());
        };
        let look = self.mirror.look();
        let found = look.get(&kinds::PODS, &pod.namespace, &pod.name);
        match found.filter(|found| object::uid(found) == pod.uid) {
            Some(found) => Ok(forward::forward(runtime, found)),
            None => Err(Failure::not_found("", "pods", &pod.name)),
        }
    }
}

impl<R: Runtime> Opens for Here<R> {
    fn open(&self, opening: Bytes) -> Opening<Bytes, Bytes> {
        let here = self.clone();
        Box::pin(async move {
            let asked: Option<Asked> = serde_json::from_slice(&opening).ok();
            let Some(asked) = asked.filter(|asked| asked.version == VERSION) else {
                let message = "the pod's node does not understand this; is it of another version?";
                return Err(Failure::bad_request(message));
            };
            match asked.what {
                What::Process(options) => Ok(written(here.process(&asked.pod, options).await?)),
                What::Forward => Ok(written(here.forward(&asked.pod)?)),
            }
        })
    }
}

/// Frames in place of what is said.
pub(super) fn written<H: Frame, S: Frame>(ends: Ends<H, S>) -> Frames {
    Ends {
        heard: before(ends.heard, H::read),
        said: behind(ends.said, |said: S| Some(said.write())),
    }
}

/// What is said in place of frames.
pub(super) fn read<H: Frame, S: Frame>(frames: Frames) -> Ends<H, S> {
    Ends {
        heard: before(frames.heard, |heard: H| Some(heard.write())),
        said: behind(frames.said, S::read),
    }
}

/// A sender of something else; what can't be turned ends it.
fn before<A: Send + 'static, B: Send + 'static>(
    to: mpsc::Sender<B>,
    turn: impl Fn(A) -> Option<B> + Send + 'static,
) -> mpsc::Sender<A> {
    let (sender, receiver) = mpsc::channel(1);
    task::spawn(carry(receiver, to, turn));
    sender
}

/// A receiver of something else; what can't be turned ends it.
fn behind<A: Send + 'static, B: Send + 'static>(
    from: mpsc::Receiver<A>,
    turn: impl Fn(A) -> Option<B> + Send + 'static,
) -> mpsc::Receiver<B> {
    let (sender, receiver) = mpsc::channel(1);
    task::spawn(carry(from, sender, turn));
    receiver
}

async fn carry<A, B>(
    mut from: mpsc::Receiver<A>,
    to: mpsc::Sender<B>,
    turn: impl Fn(A) -> Option<B>,
) {
    loop {
        let next = tokio::select! {
            next = from.recv() => next,
            // Nobody takes it: who sends learns that.
            () = to.closed() => return,
        };
        let Some(turned) = next.and_then(&turn) else {
            return;
        };
        if to.send(turned).await.is_err() {
            return;
        }
    }
}
