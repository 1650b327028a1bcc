//! What containers wrote, wherever they run: a node asks the one that runs the pod, piece by
//! piece, and each piece tells where the next begins.

use std::{pin::Pin, sync::Arc, time::Duration};

use atoll_base::id::NodeId;
use atoll_world::{
    clock,
    peers::{Handler, Peers, Reply, Service},
    task,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::{
    agent::runtime::{LogPiece, Runtime},
    mirror::Mirror,
};
use crate::{
    api::{LogQuery, LogStream, Logs, OpeningLog},
    core::{
        object::Name,
        status::{Failure, Reason},
    },
};

/// Pieces of logs, between nodes.
const SERVICE: Service = Service(57);
/// The version of what is asked.
const VERSION: u8 = 1;
/// How long a piece may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How often a log that is followed is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
/// The longest question, in bytes.
const ASKED_BYTES_MAX: usize = 16 << 10;

/// What one node asks another for.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Asked {
    version: u8,
    uid: String,
    container: String,
    previous: bool,
    since_ms: Option<u64>,
    tail_lines: Option<u64>,
    limit_bytes: Option<u64>,
    timestamps: bool,
    position: String,
}

/// What comes before the text in an answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Head {
    version: u8,
    position: String,
    more: bool,
    is_over: bool,
    /// Why there is nothing.
    error: Option<String>,
}

impl Asked {
    fn query(&self) -> LogQuery {
        LogQuery {
            container: self.container.clone(),
            previous: self.previous,
            follow: false,
            since_ms: self.since_ms,
            tail_lines: self.tail_lines,
            limit_bytes: self.limit_bytes,
            timestamps: self.timestamps,
        }
    }
}

/// Logs of this node and of the others.
pub(super) struct Everywhere<R> {
    shared: Shared<R>,
}

#[derive(Clone)]
struct Shared<R> {
    /// None: no pods run here.
    runtime: Option<R>,
    mirror: Mirror,
    peers: Arc<dyn Peers>,
    node: NodeId,
}

impl<R: Runtime> Everywhere<R> {
    /// Begins to answer other nodes, too.
    pub(super) fn new(
        runtime: Option<R>,
        mirror: Mirror,
        peers: Arc<dyn Peers>,
        node: NodeId,
    ) -> Self {
        if let Some(runtime) = runtime.clone() {
            peers.serve(SERVICE, Arc::new(Answers(runtime)));
        }
        let shared = Shared {
            runtime,
            mirror,
            peers,
            node,
        };
        Everywhere { shared }
    }
}

impl<R: Runtime> Logs for Everywhere<R> {
    fn open(&self, pod: Name, uid: String, node: String, query: LogQuery) -> OpeningLog {
        let shared = self.shared.clone();
        Box::pin(async move {
            let asked = Asked {
                version: VERSION,
                uid,
                container: query.container.clone(),
                previous: query.previous,
                since_ms: query.since_ms,
                tail_lines: query.tail_lines,
                limit_bytes: query.limit_bytes,
                timestamps: query.timestamps,
                position: String::new(),
            };
            let first = shared.piece(&node, &asked).await?;
            tracing::trace!(pod = pod.name, "a log is read");
            let stream = Reading {
                shared,
                asked,
                node,
                follow: query.follow && !query.previous,
                ready: Some(first),
            };
            Ok(Box::new(stream) as Box<dyn LogStream>)
        })
    }
}

impl<R: Runtime> Shared<R> {
    async fn piece(&self, node: &str, asked: &Asked) -> Result<LogPiece, Failure> {
        let Some(id) = self.mirror.node_id(node) else {
            let message = format!("node {node:?} is not there any more, and the log with it");
            return Err(Failure::new(Reason::NotFound, message));
        };
        match &self.runtime {
            Some(runtime) if id == self.node => {
                let (uid, position) = (asked.uid.clone(), asked.position.clone());
                runtime.log(uid, asked.query(), position).await
            }
            _ => self.ask(id, node, asked).await,
        }
    }

    async fn ask(&self, id: NodeId, node: &str, asked: &Asked) -> Result<LogPiece, Failure> {
        let gone = |why: &dyn std::fmt::Display| {
            let message = format!("node {node:?} does not answer: {why}");
            Failure::new(Reason::ServiceUnavailable, message).retry_after(1)
        };
        let payload = serde_json::to_vec(asked).map_err(|error| gone(&error))?;
        let call = self.peers.call(id, SERVICE, payload.into());
        let answer = match clock::timeout(ANSWER_MAX, call).await {
            Ok(answer) => answer.map_err(|error| gone(&error))?,
            Err(_) => return Err(gone(&"it takes too long")),
        };
        let (head, text) = parse(&answer).ok_or_else(|| gone(&"its answer can't be read"))?;
        match head.error {
            Some(error) => Err(Failure::bad_request(error)),
            None => Ok(LogPiece {
                text,
                position: head.position,
                more: head.more,
                is_over: head.is_over,
            }),
        }
    }
}

struct Reading<R> {
    shared: Shared<R>,
    asked: Asked,
    node: String,
    follow: bool,
    ready: Option<LogPiece>,
}

impl<R: Runtime> LogStream for Reading<R> {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Bytes>> + Send + '_>> {
        Box::pin(self.advance())
    }
}

impl<R: Runtime> Reading<R> {
    async fn advance(&mut self) -> Option<Bytes> {
        let mut piece = self.ready.take();
        loop {
            let found = match piece.take() {
                Some(found) => found,
                None => match self.shared.piece(&self.node, &self.asked).await {
                    Ok(found) => found,
                    Err(failure) => {
                        tracing::debug!(%failure, "a log ends early");
                        return None;
                    }
                },
            };
            self.asked.position = found.position;
            if let Some(left) = &mut self.asked.limit_bytes {
                let took = u64::try_from(found.text.len()).unwrap_or(u64::MAX);
                *left = left.saturating_sub(took);
            }
            if !found.text.is_empty() {
                return Some(found.text);
            }
            let is_done = found.is_over || !self.follow || self.asked.limit_bytes == Some(0);
            if found.more {
                continue;
            }
            if is_done {
                return None;
            }
            clock::sleep(FOLLOW_INTERVAL).await;
        }
    }
}

struct Answers<R>(R);

impl<R: Runtime> Handler for Answers<R> {
    fn handle(&self, from: NodeId, payload: Bytes, reply: Reply) {
        let asked = match payload.len() <= ASKED_BYTES_MAX {
            true => serde_json::from_slice::<Asked>(&payload).ok(),
            false => None,
        };
        let Some(asked) = asked.filter(|asked| asked.version == VERSION) else {
            return tracing::debug!(%from, "a question for a log can't be read");
        };
        let runtime = self.0.clone();
        task::spawn(async move {
            let (query, position) = (asked.query(), asked.position.clone());
            let answer = match runtime.log(asked.uid, query, position).await {
                Ok(piece) => {
                    let head = Head {
                        version: VERSION,
                        position: piece.position,
                        more: piece.more,
                        is_over: piece.is_over,
                        error: None,
                    };
                    write(&head, &piece.text)
                }
                Err(failure) => {
                    let head = Head {
                        version: VERSION,
                        error: Some(failure.message),
                        ..Head::default()
                    };
                    write(&head, b"")
                }
            };
            reply.send(answer);
        });
    }
}

/// A head's length, the head, and the text.
fn write(head: &Head, text: &[u8]) -> Bytes {
    let head = serde_json::to_vec(head).expect("a head is JSON");
    let mut answer = BytesMut::with_capacity(4 + head.len() + text.len());
    answer.put_u32(u32::try_from(head.len()).expect("a head is short"));
    answer.put_slice(&head);
    answer.put_slice(text);
    answer.freeze()
}

fn parse(answer: &Bytes) -> Option<(Head, Bytes)> {
    let length: [u8; 4] = answer.get(..4)?.try_into().ok()?;
    let end = 4 + usize::try_from(u32::from_be_bytes(length)).ok()?;
    let head: Head = serde_json::from_slice(answer.get(4..end)?).ok()?;
    (head.version == VERSION).then(|| (head, answer.slice(end..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_written() {
        let head = Head {
            version: VERSION,
            position: "p".to_owned(),
            more: true,
            ..Head::default()
        };
        let answer = write(&head, b"text");
        let (read, text) = parse(&answer).unwrap();
        assert_eq!((read.position.as_str(), read.more), ("p", true));
        assert_eq!(text, "text");
        for end in 0..answer.len() - 4 {
            assert!(parse(&answer.slice(..end)).is_none(), "{end}");
        }
        assert!(parse(&Bytes::from_static(&[0xff; 64])).is_none());
    }
}
