//! Clients: each asks one thing at a time, of whichever node it likes, and notes the answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_control::{
    api::{Applied, ControlApi as _, Reply},
    core::error::Error,
    driver::control::Control,
    proto::{
        etcdserverpb::{
            self as pb,
            compare::{CompareResult, CompareTarget, TargetUnion},
            request_op::Request,
            response_op::Response,
        },
        internal::{Anonymous, Identity, command, identity::Who},
        mvccpb::KeyValue,
    },
};
use atoll_world::{
    clock::{self, Instant},
    random::Stream,
};
use bytes::Bytes;

use crate::{
    history::{Answer, Found, Key, Op, Outcome, Recorder, Value},
    node::Node,
};

/// How far back reads of the past go, at the most.
const PAST_REVISIONS_MAX: i64 = 100;
/// A client that finds its node down looks again after this long.
const DOWN_INTERVAL: Duration = Duration::from_millis(20);

/// What all clients of a run share.
pub struct Load {
    /// The nodes that they ask.
    pub nodes: Vec<Arc<Node>>,
    /// Where they note what they see.
    pub recorder: Recorder,
    /// When the run began.
    pub start: Instant,
    /// When they stop.
    pub until: Instant,
    /// How many keys there are.
    pub keys: Key,
    /// How long a client rests between calls, at the most.
    pub rest_max: Duration,
    values: AtomicU64,
}

impl Load {
    /// A load that has not begun.
    pub fn new(
        nodes: Vec<Arc<Node>>,
        recorder: Recorder,
        until: Instant,
        keys: Key,
        rest_max: Duration,
    ) -> Self {
        Load {
            nodes,
            recorder,
            start: clock::now(),
            until,
            keys,
            rest_max,
            values: AtomicU64::new(1),
        }
    }

    /// Since the run began, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// One call: through the node, into the history. None if the node is down.
    pub async fn call(&self, client: usize, node: &Node, op: Op) -> Option<Outcome> {
        let running = node.running()?;
        let call = self
            .recorder
            .invoked(client, node.id, op.clone(), self.now_ms());
        let ended = running.call(|control| ask(control, op)).await;
        Some(self.note(call, ended))
    }

    /// Notes how a call ended; none if the node died.
    pub fn note(&self, call: usize, ended: Option<Result<Outcome, String>>) -> Outcome {
        // A node that dies takes the connection along.
        let outcome = ended.unwrap_or(Ok(Outcome::Unknown)).unwrap_or_else(|odd| {
            self.recorder.fault(format!("call {call}: {odd}"));
            Outcome::Unknown
        });
        self.recorder.returned(call, outcome.clone(), self.now_ms());
        outcome
    }

    /// The node to ask next.
    pub fn any_node<'a>(&'a self, random: &mut Stream) -> &'a Arc<Node> {
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .filter(|node| node.is_enlisted())
            .collect();
        nodes[random.range(0..nodes.len())]
    }

    /// A value that nobody has written.
    pub fn fresh_value(&self) -> Value {
        self.values.fetch_add(1, Ordering::Relaxed)
    }
}

/// One client, until the load ends.
pub async fn run(client: usize, load: Arc<Load>, seed: u64) {
    let mut random = Stream::new(seed);
    let mut seen: Vec<Option<Value>> = vec![None; usize::from(load.keys)];
    while clock::now() < load.until {
        clock::sleep(random.range(Duration::ZERO..=load.rest_max)).await;
        let node = load.any_node(&mut random).clone();
        let op = draw(&load, &mut random, &seen);
        let Some(outcome) = load.call(client, &node, op.clone()).await else {
            clock::sleep(DOWN_INTERVAL).await;
            continue;
        };
        learn(&mut seen, &op, &outcome);
    }
}

fn draw(load: &Load, random: &mut Stream, seen: &[Option<Value>]) -> Op {
    let key = random.range(0..load.keys);
    match random.range(0..100) {
        0..30 => Op::Put {
            key,
            value: load.fresh_value(),
        },
        30..38 => Op::Delete { key },
        38..65 => Op::Swap {
            key,
            expect: seen[usize::from(key)],
            value: load.fresh_value(),
        },
        65..85 => Op::Get {
            key,
            serializable: false,
        },
        85..89 => Op::Get {
            key,
            serializable: true,
        },
        89 => Op::Compact {
            revision: load.recorder.with(|history| history.watched_by_all()),
        },
        90..92 => Op::Past {
            revision: load
                .recorder
                .with(|history| history.watched_by_all() - random.range(0..PAST_REVISIONS_MAX)),
        },
        draw => Op::List {
            serializable: draw < 95,
        },
    }
}

/// Remembers what a key held, for the next swap.
fn learn(seen: &mut [Option<Value>], op: &Op, outcome: &Outcome) {
    let Outcome::Done { answer, .. } = outcome else {
        return;
    };
    let (key, value) = match (op, answer) {
        (Op::Put { key, value }, _) => (key, Some(*value)),
        (Op::Delete { key }, _) => (key, None),
        (Op::Swap { key, value, .. }, Answer::Swap { swapped: true, .. }) => (key, Some(*value)),
        (Op::Swap { key, .. }, Answer::Swap { current, .. }) => {
            (key, current.map(|found| found.value))
        }
        (Op::Get { key, .. }, Answer::Read(found)) => (key, found.first().map(|found| found.value)),
        _ => return,
    };
    seen[usize::from(*key)] = value;
}

/// Nobody in particular.
pub fn anonymous() -> Identity {
    Identity {
        who: Some(Who::Anonymous(Anonymous {})),
    }
}

/// The name of a key.
pub fn key_bytes(key: Key) -> Bytes {
    format!("key-{key}").into()
}

fn value_bytes(value: Value) -> Bytes {
    value.to_string().into()
}

/// The number of a key.
///
/// # Errors
/// It is none that a client writes.
pub fn parse_key(key: &[u8]) -> Result<Key, String> {
    let text = std::str::from_utf8(key).unwrap_or_default();
    let number = text
        .strip_prefix("key-")
        .and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("there is a key {key:?} that nobody wrote"))
}

/// What a pair means.
///
/// # Errors
/// Nobody wrote it.
pub fn parse(kv: &KeyValue) -> Result<Found, String> {
    let value = std::str::from_utf8(&kv.value)
        .ok()
        .and_then(|value| value.parse().ok());
    Ok(Found {
        key: parse_key(&kv.key)?,
        value: value.ok_or_else(|| format!("there is a value {:?} that nobody wrote", kv.value))?,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
    })
}

async fn ask(control: Control, op: Op) -> Result<Outcome, String> {
    let op = match op {
        Op::Get { key, serializable } => {
            return read(control, one(key, serializable)).await;
        }
        Op::List { serializable } => {
            return read(control, all(serializable, 0)).await;
        }
        Op::Past { revision } => {
            return read(control, all(false, revision)).await;
        }
        Op::Compact { revision } => command::Op::Compact(pb::CompactionRequest {
            revision,
            physical: false,
        }),
        Op::Put { key, value } => command::Op::Put(pb::PutRequest {
            prev_kv: true,
            ..put(key, value)
        }),
        Op::Delete { key } => command::Op::DeleteRange(pb::DeleteRangeRequest {
            key: key_bytes(key),
            prev_kv: true,
            ..Default::default()
        }),
        Op::Swap { key, expect, value } => command::Op::Txn(swap(key, expect, value)),
    };
    write(control, op).await
}

/// Carries out a change, and tells its outcome.
///
/// # Errors
/// The answer makes no sense.
pub async fn write(control: Control, op: command::Op) -> Result<Outcome, String> {
    match control.propose(anonymous(), op).await {
        Ok(applied) => {
            let revision = applied.revision.0;
            Ok(Outcome::Done {
                revision,
                answer: written(applied)?,
            })
        }
        Err(error @ (Error::RequestTooManyRequests | Error::Compacted | Error::LeaseNotFound)) => {
            Ok(Outcome::Refused(error))
        }
        Err(error) if is_passing(error) => Ok(Outcome::Unknown),
        Err(error) => Err(format!("a write was answered {error}")),
    }
}

/// Errors that a cluster in trouble may give.
pub fn is_passing(error: Error) -> bool {
    matches!(
        error,
        Error::Timeout
            | Error::Stopped
            | Error::NoLeader
            | Error::NotLeader
            | Error::LeaderChanged
            | Error::OutcomeUnknown
            | Error::TimeoutDueToLeaderFail
            | Error::TimeoutDueToConnectionLost
            | Error::TimeoutWaitAppliedIndex
    )
}

fn one(key: Key, serializable: bool) -> pb::RangeRequest {
    pb::RangeRequest {
        key: key_bytes(key),
        serializable,
        ..Default::default()
    }
}

fn all(serializable: bool, revision: i64) -> pb::RangeRequest {
    let everything = Bytes::from_static(b"\0");
    pb::RangeRequest {
        key: everything.clone(),
        range_end: everything,
        serializable,
        revision,
        ..Default::default()
    }
}

async fn read(control: Control, request: pb::RangeRequest) -> Result<Outcome, String> {
    match control.range(anonymous(), request).await {
        Ok(response) => {
            let header = response
                .header
                .ok_or("a read was answered without header")?;
            let found: Result<_, _> = response.kvs.iter().map(parse).collect();
            Ok(Outcome::Done {
                revision: header.revision,
                answer: Answer::Read(found?),
            })
        }
        Err(error) if is_passing(error) || error == Error::Compacted => Ok(Outcome::Refused(error)),
        Err(error) => Err(format!("a read was answered {error}")),
    }
}

/// The request that writes a value.
pub fn put(key: Key, value: Value) -> pb::PutRequest {
    pb::PutRequest {
        key: key_bytes(key),
        value: value_bytes(value),
        ..Default::default()
    }
}

fn swap(key: Key, expect: Option<Value>, value: Value) -> pb::TxnRequest {
    let (target, union) = match expect {
        Some(value) => (CompareTarget::Value, TargetUnion::Value(value_bytes(value))),
        None => (CompareTarget::Version, TargetUnion::Version(0)),
    };
    let compare = pb::Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key_bytes(key),
        target_union: Some(union),
        ..Default::default()
    };
    let get = pb::RangeRequest {
        key: key_bytes(key),
        ..Default::default()
    };
    let op = |request| {
        vec![pb::RequestOp {
            request: Some(request),
        }]
    };
    pb::TxnRequest {
        compare: vec![compare],
        success: op(Request::RequestPut(put(key, value))),
        failure: op(Request::RequestRange(get)),
    }
}

fn written(applied: Applied) -> Result<Answer, String> {
    Ok(match applied.reply {
        Reply::Put(put) => Answer::Put {
            before: put.prev_kv.as_ref().map(parse).transpose()?,
        },
        Reply::DeleteRange(delete) => Answer::Deleted {
            before: delete.prev_kvs.first().map(parse).transpose()?,
        },
        Reply::Txn(txn) => {
            let current = txn.responses.iter().find_map(|op| match &op.response {
                Some(Response::ResponseRange(range)) => range.kvs.first(),
                _ => None,
            });
            Answer::Swap {
                swapped: txn.succeeded,
                current: current.map(parse).transpose()?,
            }
        }
        Reply::Compact(_) => Answer::Compacted,
        Reply::LeaseGrant(grant) => Answer::Granted {
            ttl_ms: u64::try_from(grant.ttl).unwrap_or(0) * 1_000,
        },
        other => return Err(format!("a write was answered {other:?}")),
    })
}
