//! Changes of keys, told to those who cache them: to clients here, and to the other nodes that
//! have such clients.
//!
//! A node with such clients asks each other node, and is asked by none without: it asks, hears
//! what has changed (or after [`ASK_EVERY`] that nothing has), and asks again. So it knows by
//! itself when it may have missed something, because it got no answer, or because the other one
//! begins anew; then it tells its clients that anything may have changed, and they forget all
//! that they have. The other one keeps what it has to tell between two questions, as far as
//! there is room, and begins anew where there is none.
//!
//! Owners tell. A replica that becomes the owner tells that anything may have changed: what the
//! one before it applied last, nobody may have told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_world::{
    clock::{self, Instant},
    peers::{Handler, Peers, Reply, Service},
    task,
};
use bytes::Bytes;
use parking_lot::Mutex;

use super::Layout;
use crate::{
    core::{
        machine::Changed,
        wire::{Changes, change_bytes, decode_question, encode_question},
    },
    hub::{Change, Hub},
};

/// Questions about changes.
const CHANGES: Service = Service(34);

/// A question is answered after so long even if there is nothing to tell.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who does not answer is asked again after so long.
const RETRY: Duration = Duration::from_millis(100);

/// Who has not asked for so long does not want to be told any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// So many bytes of changes are kept for one node between its questions.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// Tells of changes. Clones are the same.
#[derive(Clone)]
pub(super) struct Invalidations(Arc<Shared>);

struct Shared {
    hub: Hub,
    own: NodeId,
    peers: Arc<dyn Peers>,
    /// The other nodes.
    others: Mutex<BTreeSet<NodeId>>,
    /// Nodes that are being asked.
    asked: Mutex<BTreeSet<NodeId>>,
    /// Nodes that ask.
    askers: Mutex<BTreeMap<NodeId, Asker>>,
    has_askers: AtomicBool,
}

/// A node that asks for changes.
struct Asker {
    changed: Vec<Changed>,
    bytes: usize,
    /// It has to hear that something was lost.
    begins: bool,
    asked_at: Instant,
    /// Where the answer to its question goes.
    waiting: Option<Reply>,
}

impl Asker {
    fn answer(&mut self) {
        let Some(reply) = self.waiting.take() else {
            return;
        };
        let changes = Changes {
            begins: std::mem::take(&mut self.begins),
            changed: std::mem::take(&mut self.changed),
        };
        self.bytes = 0;
        reply.send(changes.encode());
    }

    fn has_to_tell(&self) -> bool {
        self.begins || !self.changed.is_empty()
    }
}

impl Invalidations {
    /// Begins to tell, and to ask when there is a client for it.
    pub(super) fn start(hub: Hub, own: NodeId, peers: Arc<dyn Peers>, layout: &Layout) -> Self {
        let shared = Arc::new(Shared {
            hub,
            own,
            peers,
            others: Mutex::default(),
            asked: Mutex::default(),
            askers: Mutex::default(),
            has_askers: AtomicBool::new(false),
        });
        shared
            .peers
            .serve(CHANGES, Arc::new(Inbound(shared.clone())));
        let invalidations = Invalidations(shared);
        invalidations.set_layout(layout);
        let weak = Arc::downgrade(&invalidations.0);
        let on_begin = move || {
            if let Some(shared) = weak.upgrade() {
                ask_others(&shared);
            }
        };
        invalidations.0.hub.trackers().on_begin(Arc::new(on_begin));
        invalidations
    }

    /// The cluster has decided anew who belongs to it.
    pub(super) fn set_layout(&self, layout: &Layout) {
        let nodes = layout.nodes.values().copied();
        *self.0.others.lock() = nodes.filter(|node| *node != self.0.own).collect();
        if self.0.hub.trackers().has_any() {
            ask_others(&self.0);
        }
    }

    /// Whether anybody wants to be told.
    pub(super) fn are_wanted(&self) -> bool {
        self.0.hub.trackers().has_any() || self.0.has_askers.load(Ordering::Acquire)
    }

    /// Tells of changes that came together, in a partition that this node owns.
    pub(super) fn tell(&self, changed: &[Changed]) {
        if changed.is_empty() {
            return;
        }
        take_in(&self.0, changed);
        if !self.0.has_askers.load(Ordering::Acquire) {
            return;
        }
        let now = clock::now();
        let mut askers = self.0.askers.lock();
        askers.retain(|_, asker| now.duration_since(asker.asked_at) < FORGOTTEN_AFTER);
        self.0
            .has_askers
            .store(!askers.is_empty(), Ordering::Release);
        for asker in askers.values_mut() {
            let bytes: usize = changed.iter().map(change_bytes).sum();
            if asker.bytes + bytes > KEPT_BYTES_MAX {
                asker.changed = Vec::new();
                asker.bytes = 0;
                asker.begins = true;
            } else {
                asker.changed.extend_from_slice(changed);
                asker.bytes += bytes;
            }
            asker.answer();
        }
    }

    /// This node owns a partition from now on.
    pub(super) fn tell_of_new_owner(&self) {
        if self.are_wanted() {
            self.tell(&[Changed {
                key: None,
                author: None,
            }]);
        }
    }
}

/// Tells the clients here.
fn take_in(shared: &Shared, changed: &[Changed]) {
    let trackers = shared.hub.trackers();
    if !trackers.has_any() {
        return;
    }
    let own = |changed: &Changed| changed.author.filter(|author| author.node == shared.own);
    let changes: Vec<Change> = changed
        .iter()
        .map(|changed| Change {
            key: changed.key.clone(),
            by: own(changed).map(|author| author.client),
        })
        .collect();
    trackers.invalidate(&changes);
}

/// Asks those that are not asked yet.
fn ask_others(shared: &Arc<Shared>) {
    let others = shared.others.lock().clone();
    for node in others {
        if shared.asked.lock().insert(node) {
            shared.hub.trackers().begin_announcement();
            task::spawn(ask(shared.clone(), node));
        }
    }
}

/// Asks one node for changes, as long as somebody here wants to be told.
async fn ask(shared: Arc<Shared>, node: NodeId) {
    let trackers = shared.hub.trackers();
    let (mut begins, mut is_first) = (true, true);
    loop {
        {
            let mut asked = shared.asked.lock();
            if !trackers.has_any() || !shared.others.lock().contains(&node) {
                asked.remove(&node);
                drop(asked);
                if is_first {
                    trackers.end_announcement();
                }
                return;
            }
        }
        let call = shared.peers.call(node, CHANGES, encode_question(begins));
        let answer = clock::timeout(PATIENCE, call).await;
        let changes = match answer {
            Ok(Ok(answer)) => Changes::decode(answer)
                .inspect_err(|error| tracing::warn!(%node, %error, "changes can't be read"))
                .ok(),
            Ok(Err(error)) => {
                tracing::debug!(%node, %error, "changes may have been missed");
                None
            }
            Err(_) => None,
        };
        let has_heard = changes.is_some();
        match changes {
            Some(changes) => {
                if changes.begins && !is_first {
                    trackers.invalidate_all();
                }
                take_in(&shared, &changes.changed);
            }
            None if !begins || is_first => trackers.invalidate_all(),
            // They know already.
            None => {}
        }
        begins = !has_heard;
        if std::mem::take(&mut is_first) {
            trackers.end_announcement();
        }
        if !has_heard {
            clock::sleep(RETRY).await;
        }
    }
}

/// Takes questions in.
struct Inbound(Arc<Shared>);

impl Handler for Inbound {
    fn handle(&self, from: NodeId, payload: Bytes, reply: Reply) {
        let begins = match decode_question(payload) {
            Ok(begins) => begins,
            Err(error) => {
                tracing::warn!(%from, %error, "a question about changes can't be read");
                return;
            }
        };
        let asked_at = clock::now();
        let mut askers = self.0.askers.lock();
        let new = || Asker {
            changed: Vec::new(),
            bytes: 0,
            begins: true,
            asked_at,
            waiting: None,
        };
        let asker = askers.entry(from).or_insert_with(new);
        if begins {
            *asker = new();
        }
        asker.asked_at = asked_at;
        asker.waiting = Some(reply);
        if asker.has_to_tell() {
            asker.answer();
        } else {
            task::spawn(answer_later(self.0.clone(), from, asked_at));
        }
        self.0.has_askers.store(true, Ordering::Release);
    }
}

/// Answers a question to which nothing came.
async fn answer_later(shared: Arc<Shared>, from: NodeId, asked_at: Instant) {
    clock::sleep(ASK_EVERY).await;
    let mut askers = shared.askers.lock();
    if let Some(asker) = askers.get_mut(&from)
        && asker.asked_at == asked_at
    {
        asker.answer();
    }
}

#[cfg(test)]
mod tests;
