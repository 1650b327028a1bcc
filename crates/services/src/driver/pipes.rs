//! Pipes: streams of frames both ways between two nodes, over the links that are there. Who talks
//! to a client opens a pipe to the node that runs the pod, hands frames over one call after the
//! other, and asks for frames that come back; the other side answers when there are some.
//!
//! Invariants: frames arrive in order, or the pipe is broken, which both sides see: one by a call
//! that fails, the other because nobody asks any more. What is under way is bounded, so a side
//! that does not take its frames holds the other one up and nobody else.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_world::{
    clock,
    peers::{Handler, Peers, Reply, Service},
    random, task,
};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{
    api::{Ends, Opening},
    core::status::{Failure, Reason},
};

/// The version of what is sent.
const VERSION: u8 = 1;
/// So many frames wait to be taken, each way.
const FRAMES_MAX: usize = 32;
/// So many bytes go in one call, and a frame more.
const CALL_BYTES_MAX: usize = 256 << 10;
/// So many pipes may come to one node.
const PIPES_MAX: usize = 1_024;
/// The longest opening, in bytes: a program with its arguments.
const OPENING_BYTES_MAX: usize = 256 << 10;
/// For so long a call waits for frames, or for room.
const TURN: Duration = Duration::from_secs(5);
/// How long opening and handing over may take: the other side may be busy.
const CALL_MAX: Duration = Duration::from_secs(30);
/// A pipe that nobody asked for so long is broken.
const FORGOTTEN: Duration = Duration::from_secs(20);

/// What flows: frames.
pub(crate) type Frames = Ends<Bytes, Bytes>;

/// Opens streams at this node.
pub(crate) trait Opens: Send + Sync + 'static {
    /// Opens what is described.
    fn open(&self, opening: Bytes) -> Opening<Bytes, Bytes>;
}

/// What can be asked.
const OPEN: u8 = 1;
const PUSH: u8 = 2;
const PULL: u8 = 3;
const CLOSE: u8 = 4;
const KEEP: u8 = 5;
/// What is answered.
const DONE: u8 = 1;
const FAILED: u8 = 2;
const OVER: u8 = 3;

/// Opens a pipe to another node.
///
/// # Errors
/// The node does not answer, or can't open what is described.
pub(crate) async fn open(
    peers: Arc<dyn Peers>,
    service: Service,
    node: NodeId,
    opening: &[u8],
) -> Result<Frames, Failure> {
    let to = Other {
        peers,
        service,
        node,
    };
    let answer = to.call(OPEN, 0, opening).await;
    let mut answer = answer.map_err(|why| {
        let message = format!("the node does not answer: {why}");
        Failure::new(Reason::ServiceUnavailable, message).retry_after(1)
    })?;
    let unreadable = || Failure::internal("the node gives an answer that can't be read");
    match answer.try_get_u8() {
        Ok(DONE) => {}
        Ok(FAILED) => {
            let code = answer.try_get_u16().map_err(|_| unreadable())?;
            let message = String::from_utf8_lossy(&answer).into_owned();
            return Err(Failure::new(reason_of(code), message));
        }
        _ => return Err(unreadable()),
    }
    let id = answer.try_get_u64().map_err(|_| unreadable())?;
    let (out, outgoing) = mpsc::channel(FRAMES_MAX);
    let (incoming, back) = mpsc::channel(FRAMES_MAX);
    task::spawn(async move {
        let pushed = async {
            if push(&to, id, outgoing).await {
                // The other side may go on all the same.
                std::future::pending().await
            }
        };
        tokio::select! {
            () = pushed => {}
            () = pull(&to, id, incoming) => {}
        }
        // It ends there by itself, too, only later.
        if let Err(why) = to.call(CLOSE, id, &[]).await {
            tracing::debug!(node = %to.node, why, "a pipe is left to end by itself");
        }
    });
    Ok(Ends {
        heard: out,
        said: back,
    })
}

/// Hands frames over until there are no more; whether none was lost.
async fn push(to: &Other, id: u64, mut outgoing: mpsc::Receiver<Bytes>) -> bool {
    let mut waiting = VecDeque::new();
    loop {
        if waiting.is_empty() {
            let Some(next) = outgoing.recv().await else {
                break;
            };
            waiting.push_back(next);
        }
        while waiting.len() < FRAMES_MAX
            && let Ok(next) = outgoing.try_recv()
        {
            waiting.push_back(next);
        }
        let mut frames = BytesMut::new();
        for frame in &waiting {
            if frames.len() >= CALL_BYTES_MAX {
                break;
            }
            put_frame(&mut frames, frame);
        }
        let Ok(mut answer) = to.call(PUSH, id, &frames).await else {
            return false;
        };
        let taken = match (answer.try_get_u8(), answer.try_get_u32()) {
            (Ok(DONE), Ok(taken)) => usize::try_from(taken).unwrap_or(usize::MAX),
            // Nobody reads it any more, and what is told may still come.
            _ => return true,
        };
        waiting.drain(..taken.min(waiting.len()));
    }
    // An empty call: nothing more comes.
    to.call(PUSH, id, &[]).await.is_ok()
}

/// Fetches frames until there are no more, or nobody wants them.
async fn pull(from: &Other, id: u64, incoming: mpsc::Sender<Bytes>) {
    loop {
        let answer = tokio::select! {
            answer = from.call(PULL, id, &[]) => answer,
            () = incoming.closed() => return,
        };
        let Ok(mut answer) = answer else { return };
        let kind = answer.try_get_u8();
        while let Some(frame) = take_frame(&mut answer) {
            let taken = tokio::select! {
                taken = incoming.send(frame) => taken,
                () = keep(from, id) => return,
            };
            if taken.is_err() {
                return;
            }
        }
        if kind != Ok(DONE) {
            return;
        }
    }
}

/// Tells the other side that the pipe is wanted although its frames are not taken right now;
/// returns when that can't be told.
async fn keep(to: &Other, id: u64) {
    loop {
        clock::sleep(TURN).await;
        match to.call(KEEP, id, &[]).await {
            Ok(answer) if answer.first() == Some(&DONE) => {}
            _ => return,
        }
    }
}

/// What a failure that was told by its HTTP status is.
pub(crate) fn reason_of(code: u16) -> Reason {
    let told = [
        Reason::BadRequest,
        Reason::Forbidden,
        Reason::NotFound,
        Reason::Conflict,
        Reason::TooManyRequests,
        Reason::ServiceUnavailable,
    ];
    let found = told.into_iter().find(|it| it.code_and_name().0 == code);
    found.unwrap_or(Reason::InternalError)
}

/// Where pipes go to.
struct Other {
    peers: Arc<dyn Peers>,
    service: Service,
    node: NodeId,
}

impl Other {
    async fn call(&self, verb: u8, id: u64, body: &[u8]) -> Result<Bytes, String> {
        let mut payload = BytesMut::with_capacity(10 + body.len());
        payload.put_u8(VERSION);
        payload.put_u8(verb);
        payload.put_u64(id);
        payload.put_slice(body);
        let call = self.peers.call(self.node, self.service, payload.freeze());
        match clock::timeout(CALL_MAX, call).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("it takes too long".to_owned()),
        }
    }
}

fn put_frame(into: &mut BytesMut, frame: &[u8]) {
    into.put_u32(u32::try_from(frame.len()).expect("a frame is short"));
    into.put_slice(frame);
}

fn take_frame(from: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(from.try_get_u32().ok()?).ok()?;
    (length <= from.len()).then(|| from.split_to(length))
}

/// The pipes that other nodes have opened to this one.
pub(crate) struct Pipes {
    opens: Arc<dyn Opens>,
    open: Mutex<BTreeMap<(NodeId, u64), Arc<Pipe>>>,
}

struct Pipe {
    out: Mutex<Option<mpsc::Sender<Bytes>>>,
    back: tokio::sync::Mutex<mpsc::Receiver<Bytes>>,
    asked: Mutex<clock::Instant>,
}

impl Pipes {
    /// Serves other nodes.
    pub(crate) fn serve(peers: &Arc<dyn Peers>, service: Service, opens: Arc<dyn Opens>) {
        let pipes = Arc::new(Pipes {
            opens,
            open: Mutex::default(),
        });
        let swept = Arc::downgrade(&pipes);
        task::spawn(async move {
            loop {
                clock::sleep(TURN).await;
                let Some(pipes) = swept.upgrade() else { return };
                pipes.forget_old();
            }
        });
        peers.serve(service, Arc::new(Door(pipes)));
    }

    async fn open(&self, from: NodeId, opening: Bytes) -> Bytes {
        let opened = match self.open.lock().len() >= PIPES_MAX {
            true => Err(Failure::new(
                Reason::TooManyRequests,
                format!("there are {PIPES_MAX} streams open to this node's pods already"),
            )
            .retry_after(1)),
            false => Ok(self.opens.open(opening)),
        };
        let opened = match opened {
            Ok(opening) => opening.await,
            Err(failure) => Err(failure),
        };
        let mut answer = BytesMut::new();
        match opened {
            Ok(Ends {
                heard: out,
                said: back,
            }) => {
                let id = random::u64();
                let pipe = Pipe {
                    out: Mutex::new(Some(out)),
                    back: tokio::sync::Mutex::new(back),
                    asked: Mutex::new(clock::now()),
                };
                self.open.lock().insert((from, id), Arc::new(pipe));
                answer.put_u8(DONE);
                answer.put_u64(id);
            }
            Err(failure) => {
                answer.put_u8(FAILED);
                answer.put_u16(failure.code());
                answer.put_slice(failure.message.as_bytes());
            }
        }
        answer.freeze()
    }

    fn forget_old(&self) {
        let now = clock::now();
        let is_wanted = |pipe: &Pipe| now.saturating_duration_since(*pipe.asked.lock()) < FORGOTTEN;
        self.open.lock().retain(|_, pipe| is_wanted(pipe));
    }
}

impl Pipe {
    /// Takes as many of the frames as it can in a while, and says how many.
    async fn push(&self, mut frames: Bytes) -> Bytes {
        let mut answer = BytesMut::new();
        if frames.is_empty() {
            *self.out.lock() = None;
        }
        let out = self.out.lock().clone();
        let until = clock::now() + TURN;
        let mut taken = 0_u32;
        let mut is_over = out.is_none() && !frames.is_empty();
        if let Some(out) = out {
            while let Ok(permit) = clock::timeout_at(until, out.reserve()).await {
                let Ok(permit) = permit else {
                    is_over = true;
                    break;
                };
                let Some(frame) = take_frame(&mut frames) else {
                    break;
                };
                permit.send(frame);
                taken += 1;
            }
        }
        answer.put_u8(if is_over { OVER } else { DONE });
        answer.put_u32(taken);
        answer.freeze()
    }

    async fn pull(&self) -> Bytes {
        let mut back = self.back.lock().await;
        let mut answer = BytesMut::new();
        answer.put_u8(DONE);
        match clock::timeout(TURN, back.recv()).await {
            Err(_) => {}
            Ok(None) => answer[0] = OVER,
            Ok(Some(first)) => {
                put_frame(&mut answer, &first);
                while answer.len() < CALL_BYTES_MAX
                    && let Ok(next) = back.try_recv()
                {
                    put_frame(&mut answer, &next);
                }
            }
        }
        *self.asked.lock() = clock::now();
        answer.freeze()
    }
}

struct Door(Arc<Pipes>);

impl Handler for Door {
    fn handle(&self, from: NodeId, mut payload: Bytes, reply: Reply) {
        let head = (
            payload.try_get_u8(),
            payload.try_get_u8(),
            payload.try_get_u64(),
        );
        let (Ok(VERSION), Ok(verb), Ok(id)) = head else {
            return tracing::debug!(%from, "a call about a pipe can't be read");
        };
        let pipes = self.0.clone();
        if verb == OPEN {
            if payload.len() <= OPENING_BYTES_MAX {
                task::spawn(async move { reply.send(pipes.open(from, payload).await) });
            }
            return;
        }
        let found = pipes.open.lock().get(&(from, id)).cloned();
        let Some(pipe) = found else {
            return reply.send(Bytes::from_static(&[OVER]));
        };
        *pipe.asked.lock() = clock::now();
        match verb {
            PUSH => {
                task::spawn(async move {
                    let answer = pipe.push(payload).await;
                    *pipe.asked.lock() = clock::now();
                    reply.send(answer);
                });
            }
            PULL => {
                task::spawn(async move {
                    let answer = pipe.pull().await;
                    reply.send(answer);
                });
            }
            KEEP => reply.send(Bytes::from_static(&[DONE])),
            _ => {
                pipes.open.lock().remove(&(from, id));
                reply.send(Bytes::from_static(&[DONE]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use atoll_world::peers::sim::SimNet;

    use super::*;

    const NEAR: NodeId = NodeId(1);
    const FAR: NodeId = NodeId(2);
    const ECHO: Service = Service(1);
    const FRAME_BYTES: usize = 64 << 10;

    /// Sends back what it gets, and what it was opened with first.
    struct Echo;

    impl Opens for Echo {
        fn open(&self, opening: Bytes) -> Opening<Bytes, Bytes> {
            Box::pin(async move {
                if opening == "no" {
                    return Err(Failure::new(Reason::NotFound, "there is no such thing"));
                }
                let (out, mut taken) = mpsc::channel(FRAMES_MAX);
                let (told, back) = mpsc::channel(FRAMES_MAX);
                task::spawn(async move {
                    if told.send(opening).await.is_err() {
                        return;
                    }
                    while let Some(frame) = taken.recv().await {
                        if told.send(frame).await.is_err() {
                            return;
                        }
                    }
                });
                Ok(Ends {
                    heard: out,
                    said: back,
                })
            })
        }
    }

    fn net() -> (SimNet, Arc<dyn Peers>) {
        let net = SimNet::new(7);
        let (near, far) = (net.peers(NEAR), net.peers(FAR));
        near.set_address(FAR, String::new());
        far.set_address(NEAR, String::new());
        Pipes::serve(&far, ECHO, Arc::new(Echo));
        (net, near)
    }

    #[tokio::test(start_paused = true)]
    async fn frames_come_in_order_and_the_end_after_them() {
        let (_net, near) = net();
        let mut ends = open(near, ECHO, FAR, b"hello").await.unwrap();
        assert_eq!(ends.said.recv().await.unwrap(), "hello");
        let sent = 500_u32;
        let out = ends.heard;
        let sending = async move {
            for number in 0..sent {
                let frame = Bytes::copy_from_slice(&number.to_be_bytes());
                out.send(frame).await.unwrap();
            }
        };
        let reading = async {
            for number in 0..sent {
                assert_eq!(ends.said.recv().await.unwrap(), number.to_be_bytes()[..]);
            }
            assert!(ends.said.recv().await.is_none(), "what was sent is over");
        };
        tokio::join!(sending, reading);
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_t_be_opened_is_told() {
        let (_net, near) = net();
        let failure = open(near, ECHO, FAR, b"no").await.unwrap_err();
        assert_eq!(failure.reason, Reason::NotFound);
        assert_eq!(failure.message, "there is no such thing");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_holds_the_pipe_up_and_keeps_it() {
        let (_net, near) = net();
        let mut ends = open(near, ECHO, FAR, b"hello").await.unwrap();
        let frame = Bytes::from(vec![0; FRAME_BYTES]);
        let mut sent = 0;
        // Until nothing goes any more: all that waits is bounded.
        let patience = Duration::from_secs(60);
        while let Ok(taken) = clock::timeout(patience, ends.heard.send(frame.clone())).await {
            taken.unwrap();
            sent += 1;
            assert!(sent < 8 * FRAMES_MAX, "it takes whatever comes");
        }
        clock::sleep(10 * FORGOTTEN).await;
        assert_eq!(ends.said.recv().await.unwrap(), "hello");
        for _ in 0..sent {
            assert_eq!(ends.said.recv().await.unwrap().len(), FRAME_BYTES);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_breaks_it_for_both() {
        let (net, near) = net();
        let mut ends = open(near, ECHO, FAR, b"hello").await.unwrap();
        assert_eq!(ends.said.recv().await.unwrap(), "hello");
        net.isolate(FAR);
        assert!(ends.said.recv().await.is_none());
        ends.heard.closed().await;
    }
}
