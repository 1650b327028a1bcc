//! Pumps between a connection and the channels of a session.
//!
//! Invariants: of what a client said one piece waits at most; of what was said to it so much is
//! queued that the next would be more than [`QUEUED_BYTES_MAX`]; answers that a client causes
//! and does not read stop our reading.

use std::{pin::Pin, time::Duration};

use atoll_world::clock::{self, Interval, MissedTickBehavior, Sleep};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

use super::{
    Ends,
    wire::{Turn, Wire, WireError},
};
use crate::core::streams::{Broken, Conversation, Phase, websocket::CloseCode};

/// While more is queued, nothing more is taken.
const QUEUED_BYTES_MAX: usize = 128 * 1024;
/// While the client did not read so many bytes of answers to its own frames, nothing is read.
const OWED_BYTES_MAX: usize = 64 * 1024;

/// For how long what is waited for.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// Until something is said, either way: as the kubelet has it.
    pub(super) idle: Duration,
    /// Between signs of life. kubectl gives up after 61 s without one.
    pub(super) ping: Duration,
    /// Until a client opened its streams, as the kubelet has it.
    pub(super) opening: Duration,
    /// Until a client that was told all has read it, as the API server of Kubernetes has it.
    pub(super) finish: Duration,
    /// Until a connection is ended.
    pub(super) shutdown: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            idle: Duration::from_secs(4 * 60 * 60),
            ping: Duration::from_secs(20),
            opening: Duration::from_secs(30),
            finish: Duration::from_secs(15 * 60),
            shutdown: Duration::from_secs(5),
        }
    }
}

/// Why a session ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The connection broke.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The client broke the protocol.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// Nobody said anything.
    #[error("nothing was said for {0:?}")]
    Idle(Duration),
    /// The client did not open what it asked for.
    #[error("timed out waiting for client to create streams")]
    NotOpened,
}

/// How the talking ended.
enum Done {
    /// The client still has to read.
    Said,
    /// The client is gone.
    Left,
}

/// What happened next.
enum Step<S> {
    /// Nothing, for too long.
    Idle,
    /// The client did not open its streams in time.
    NotOpened,
    /// It is time for a sign of life.
    Ping,
    /// What the client said was taken.
    Taken,
    /// Nobody takes it.
    NotTaken,
    /// Something was said to the client, or nothing ever more.
    Said(Option<S>),
    /// Something happened on the connection.
    Wire(Turn),
}

struct Pump<'a, I, C: Conversation> {
    wire: Wire<I>,
    conversation: C,
    heard: mpsc::Sender<C::Heard>,
    said: mpsc::Receiver<C::Said>,
    /// What the client said and nobody took yet.
    waiting: Option<C::Heard>,
    /// Nobody takes what the client says any more.
    is_unheard: bool,
    /// How much of what is queued are answers to the client's own frames.
    owed_bytes: usize,
    idle: Pin<Box<Sleep>>,
    pings: Interval,
    patience: &'a Patience,
}

/// Pumps until the client is gone.
///
/// # Errors
/// The session ended before its time.
pub(super) async fn pump<I, C>(
    wire: Wire<I>,
    conversation: C,
    ends: Ends<C::Heard, C::Said>,
    patience: &Patience,
) -> Result<(), StreamError>
where
    I: AsyncRead + AsyncWrite + Unpin,
    C: Conversation,
{
    let mut pings = clock::interval_at(clock::now() + patience.ping, patience.ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let pump = Pump {
        wire,
        conversation,
        heard: ends.heard,
        said: ends.said,
        waiting: None,
        is_unheard: false,
        owed_bytes: 0,
        idle: Box::pin(clock::sleep(patience.idle)),
        pings,
        patience,
    };
    pump.run().await
}

impl<I: AsyncRead + AsyncWrite + Unpin, C: Conversation> Pump<'_, I, C> {
    async fn run(mut self) -> Result<(), StreamError> {
        let talked = self.talk().await;
        let patience = self.patience;
        let (code, time) = match &talked {
            Ok(Done::Said) => (CloseCode::Normal, patience.finish),
            Ok(Done::Left) => (CloseCode::Normal, Duration::ZERO),
            Err(StreamError::Wire(error)) => (error.close_code(), patience.shutdown),
            Err(_) => {
                self.conversation.end();
                self.transmit();
                (CloseCode::Protocol, patience.shutdown)
            }
        };
        // Who still listens on the other side learns at once that the client says no more.
        let Pump {
            mut wire,
            heard,
            said,
            ..
        } = self;
        drop((heard, said));
        wire.close(code);
        // Who ends a connection while bytes of the peer are unread takes away what the peer did
        // not read, so the peer ends it.
        let _ = clock::timeout(time, drain(&mut wire)).await;
        let _ = clock::timeout(patience.shutdown, wire.shutdown()).await;
        talked.map(|_| ())
    }

    async fn talk(&mut self) -> Result<Done, StreamError> {
        let mut opening = Box::pin(clock::sleep(self.patience.opening));
        loop {
            self.hear()?;
            self.owed_bytes += self.transmit();
            let phase = self.conversation.phase();
            match phase {
                Phase::Ended => return Ok(Done::Said),
                Phase::Left => return Ok(Done::Left),
                Phase::Opening | Phase::Talking => {}
            }
            match self.wait(phase, opening.as_mut()).await? {
                Step::Idle => return Err(StreamError::Idle(self.patience.idle)),
                Step::NotOpened => return Err(StreamError::NotOpened),
                Step::Ping => self.ping(),
                Step::Taken => {}
                Step::NotTaken => self.is_unheard = true,
                Step::Said(said) => {
                    match said {
                        Some(said) => self.conversation.say(said),
                        None => self.conversation.end(),
                    }
                    self.transmit();
                    self.stay_awake();
                }
                Step::Wire(Turn::Received(message)) => {
                    self.conversation.receive(message);
                    self.stay_awake();
                }
                Step::Wire(Turn::Sent) => self.owed_bytes = 0,
                Step::Wire(Turn::Closed) => return Ok(Done::Left),
            }
        }
    }

    async fn wait(
        &mut self,
        phase: Phase,
        opening: Pin<&mut Sleep>,
    ) -> Result<Step<C::Said>, WireError> {
        let is_reading = self.waiting.is_none() && self.owed_bytes <= OWED_BYTES_MAX;
        let may_say = phase == Phase::Talking && self.wire.queued_bytes() <= QUEUED_BYTES_MAX;
        // Whoever sends without an end does not keep the others from their turn: all but the
        // last can happen only so often between two of its.
        Ok(tokio::select! {
            biased;
            () = &mut self.idle => Step::Idle,
            () = opening, if phase == Phase::Opening => Step::NotOpened,
            _ = self.pings.tick() => Step::Ping,
            permit = self.heard.reserve(), if self.waiting.is_some() => {
                match (permit, self.waiting.take()) {
                    (Ok(permit), Some(waiting)) => {
                        permit.send(waiting);
                        Step::Taken
                    }
                    _ => Step::NotTaken,
                }
            }
            said = self.said.recv(), if may_say => Step::Said(said),
            turn = self.wire.turn(is_reading), if is_reading || self.wire.has_output() => {
                Step::Wire(turn?)
            }
        })
    }

    /// Asks for what the client said next, unless that before still waits.
    fn hear(&mut self) -> Result<(), Broken> {
        while self.waiting.is_none() {
            match self.conversation.hear() {
                Ok(None) => break,
                Ok(Some(_)) if self.is_unheard => {}
                Ok(heard) => self.waiting = heard,
                Err(broken) => {
                    self.transmit();
                    return Err(broken);
                }
            }
        }
        Ok(())
    }

    /// Queues what is to be sent; tells how many bytes it has.
    fn transmit(&mut self) -> usize {
        let before = self.wire.queued_bytes();
        while let Some(bytes) = self.conversation.transmit() {
            self.wire.queue(bytes);
        }
        self.wire.queued_bytes() - before
    }

    fn ping(&mut self) {
        if !self.wire.keep_alive() && !self.wire.has_output() {
            self.conversation.ping();
        }
    }

    fn stay_awake(&mut self) {
        let until = clock::now() + self.patience.idle;
        self.idle.as_mut().reset(until);
    }
}

/// Sends what is queued, and drops what comes, until the peer is gone.
async fn drain<I: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<I>) {
    while let Ok(turn) = wire.turn(true).await {
        if turn == Turn::Closed {
            return;
        }
    }
}
