//! The images of any node, for people: this one's, or another's through a pipe.

use std::sync::Arc;

use atoll_base::id::NodeId;
use atoll_world::{
    layer::LayerError,
    peers::{Peers, Service},
    task,
};
use bytes::{Buf as _, Bytes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    agent::registration::SIMULATED,
    images::{ImageError, Shelf, ShelfError},
    mirror::Mirror,
    pipes::{self, Opens, Pipes},
    streams::{Frame, frame, read, written},
};
use crate::{
    api::{Ends, ImageCall, ImageShelves, Opening, Piece},
    core::{
        controllers::world::View as _,
        kinds, object,
        status::{Failure, Reason},
    },
};

/// What is asked of other nodes' images.
const SERVICE: Service = Service(61);
/// The version of what is asked.
const VERSION: u8 = 1;
/// After so many seconds a busy node may be asked again.
const AGAIN_S: u32 = 5;
/// So many pieces of an archive are under way to the store.
const PIECES_MAX: usize = 8;

/// What one node asks another.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Asked {
    version: u8,
    call: ImageCall,
}

/// The images of all nodes.
pub(super) struct Everywhere {
    here: Here,
    mirror: Mirror,
    peers: Arc<dyn Peers>,
    node: NodeId,
}

/// The images of this node; none: no pods run here.
#[derive(Clone)]
struct Here(Option<Shelf>);

impl Everywhere {
    /// Begins to serve other nodes, too.
    pub(super) fn new(
        shelf: Option<Shelf>,
        mirror: Mirror,
        peers: Arc<dyn Peers>,
        node: NodeId,
    ) -> Self {
        let here = Here(shelf);
        Pipes::serve(&peers, SERVICE, Arc::new(here.clone()));
        Everywhere {
            here,
            mirror,
            peers,
            node,
        }
    }

    /// Which node is meant.
    fn place(&self, name: Option<&str>) -> Result<NodeId, Failure> {
        let Some(name) = name else {
            return Ok(self.node);
        };
        let node = self.mirror.look().get(&kinds::NODES, "", name);
        let id = self.mirror.node_id(name);
        match (node, id) {
            (Some(node), _) if object::label(&node, SIMULATED).is_some() => {
                let message = format!("node {name:?} is simulated: it has no images");
                Err(Failure::bad_request(message))
            }
            (Some(_), Some(id)) => Ok(id),
            _ => Err(Failure::not_found("", "nodes", name)),
        }
    }
}

impl ImageShelves for Everywhere {
    fn open(&self, node: Option<&str>, call: ImageCall) -> Opening<Piece, Result<Value, Failure>> {
        let place = self.place(node);
        let (here, own, peers) = (self.here.clone(), self.node, self.peers.clone());
        Box::pin(async move {
            let place = place?;
            if place == own {
                return here.open(call);
            }
            let asked = Asked {
                version: VERSION,
                call,
            };
            let opening = serde_json::to_vec(&asked).expect("it is JSON");
            Ok(read(pipes::open(peers, SERVICE, place, &opening).await?))
        })
    }
}

impl Here {
    /// Begins to do what is asked.
    fn open(&self, call: ImageCall) -> Result<Ends<Piece, Result<Value, Failure>>, Failure> {
        let shelf = self.0.clone();
        let shelf = shelf.ok_or_else(|| {
            Failure::new(
                Reason::NotFound,
                "no pods run on this node: it has no images",
            )
        })?;
        let (heard, pieces) = mpsc::channel(PIECES_MAX);
        let (answer, said) = mpsc::channel(1);
        task::spawn(async move {
            let outcome = match call {
                ImageCall::Import { name } => {
                    let imported = shelf.import(pieces, name.as_deref()).await;
                    imported.map(|images| json!({"images": images}))
                }
                ImageCall::List => shelf.list().await.map(|images| json!({"images": images})),
                ImageCall::Remove { name } => {
                    let removed = shelf.remove(&name).await;
                    removed.map(|()| json!({"images": []}))
                }
            };
            // Who asked may be gone.
            let _ = answer.send(outcome.map_err(|error| failure(&error))).await;
        });
        Ok(Ends { heard, said })
    }
}

impl Opens for Here {
    fn open(&self, opening: Bytes) -> Opening<Bytes, Bytes> {
        let here = self.clone();
        Box::pin(async move {
            let asked: Option<Asked> = serde_json::from_slice(&opening).ok();
            let Some(asked) = asked.filter(|asked| asked.version == VERSION) else {
                let message = "the node does not understand this; is it of another version?";
                return Err(Failure::bad_request(message));
            };
            Ok(written(here.open(asked.call)?))
        })
    }
}

/// Whose fault it is, and in words what to do.
fn failure(error: &ShelfError) -> Failure {
    let text = error.to_string();
    match error {
        ShelfError::NotFound(_) => Failure::new(Reason::NotFound, text),
        ShelfError::InUse(_) => Failure::new(Reason::Conflict, text),
        ShelfError::Busy => Failure::new(Reason::TooManyRequests, text).retry_after(AGAIN_S),
        ShelfError::Unknown(_) => Failure::internal(text),
        ShelfError::Image(error) if error.is_full() => {
            Failure::internal(format!("the node's disk is full: {text}"))
        }
        ShelfError::Image(error) => match error {
            ImageError::Layer(LayerError::System { .. })
            | ImageError::Disk(_)
            | ImageError::Tree(_)
            | ImageError::Registry(_)
            | ImageError::Version(_) => Failure::internal(text),
            ImageError::Document(_)
            | ImageError::Entry(_)
            | ImageError::Layer(_)
            | ImageError::TooMuch(_)
            | ImageError::Archive(_)
            | ImageError::Digest { .. }
            | ImageError::Length { .. }
            | ImageError::Missing(_)
            | ImageError::Platform(_)
            | ImageError::Nameless => Failure::bad_request(text),
        },
    }
}

impl Frame for Piece {
    fn write(self) -> Bytes {
        match self {
            Piece::Bytes(bytes) => frame(1, &bytes),
            Piece::End => frame(2, &[]),
        }
    }

    fn read(mut from: Bytes) -> Option<Self> {
        match from.try_get_u8().ok()? {
            1 => Some(Piece::Bytes(from)),
            2 => Some(Piece::End),
            _ => None,
        }
    }
}

impl Frame for Result<Value, Failure> {
    fn write(self) -> Bytes {
        match self {
            Ok(value) => frame(1, value.to_string().as_bytes()),
            Err(failure) => {
                let code = failure.code().to_be_bytes();
                frame(2, &[&code, failure.message.as_bytes()].concat())
            }
        }
    }

    fn read(mut from: Bytes) -> Option<Self> {
        match from.try_get_u8().ok()? {
            1 => serde_json::from_slice(&from).ok().map(Ok),
            2 => {
                let reason = pipes::reason_of(from.try_get_u16().ok()?);
                let message = String::from_utf8_lossy(&from).into_owned();
                Some(Err(Failure::new(reason, message)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use atoll_world::peers::sim::SimNet;

    use super::*;
    use crate::driver::images::Images;

    const NEAR: NodeId = NodeId(1);
    const FAR: NodeId = NodeId(2);

    async fn ask(
        near: &Arc<dyn Peers>,
        call: ImageCall,
        archive: &'static [u8],
    ) -> Result<Value, Failure> {
        let asked = Asked {
            version: VERSION,
            call,
        };
        let opening = serde_json::to_vec(&asked).unwrap();
        let frames = pipes::open(near.clone(), SERVICE, FAR, &opening).await?;
        let Ends { heard, mut said } = read::<Piece, Result<Value, Failure>>(frames);
        for piece in [Piece::Bytes(archive.into()), Piece::End] {
            // Whoever does not want it has answered.
            let _ = heard.send(piece).await;
        }
        said.recv().await.expect("it answers")
    }

    #[tokio::test]
    async fn other_nodes_are_asked_and_say_why_not() {
        let net = SimNet::new(7);
        let (near, far): (Arc<dyn Peers>, Arc<dyn Peers>) = (net.peers(NEAR), net.peers(FAR));
        near.set_address(FAR, String::new());
        far.set_address(NEAR, String::new());
        let scratch = tempfile::tempdir().unwrap();
        let images = Images::open(&scratch.path().join("images"), &[]).unwrap();
        let shelf = Shelf::new(images, Arc::new(|| Ok(BTreeSet::new())));
        Pipes::serve(&far, SERVICE, Arc::new(Here(Some(shelf))));

        let listed = ask(&near, ImageCall::List, b"").await.unwrap();
        assert_eq!(listed, json!({"images": []}));
        let import = || ImageCall::Import { name: None };
        let refused = ask(&near, import(), b"no archive").await.unwrap_err();
        assert_eq!(refused.reason, Reason::BadRequest);
        assert!(
            refused.message.contains("the archive can't be read"),
            "{refused}"
        );
        let remove = ImageCall::Remove { name: "a".into() };
        let refused = ask(&near, remove, b"").await.unwrap_err();
        assert_eq!(refused.reason, Reason::NotFound);
        let nothing = Here(None).open(import()).unwrap_err();
        assert_eq!(nothing.reason, Reason::NotFound);
    }

    #[test]
    fn failures_say_whose_fault_it_is() {
        let reason = |error: ShelfError| failure(&error).reason;
        assert_eq!(reason(ShelfError::Busy), Reason::TooManyRequests);
        assert_eq!(reason(ShelfError::InUse(String::new())), Reason::Conflict);
        assert_eq!(reason(ImageError::Nameless.into()), Reason::BadRequest);
        assert_eq!(reason(ImageError::Version(9).into()), Reason::InternalError);
        let full = LayerError::System {
            operation: "write",
            path: "a".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        let full = failure(&ImageError::Layer(full).into());
        assert_eq!(full.reason, Reason::InternalError);
        assert!(
            full.message.starts_with("the node's disk is full: "),
            "{full}"
        );
    }
}
