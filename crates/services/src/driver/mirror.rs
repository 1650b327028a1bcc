//! Every object in memory, as of one revision: what planners, the scheduler and the agent of this
//! node look at. One watch of the control plane keeps it, whoever looks.
//!
//! What changed is kept in order until all who follow have seen it, so that each goes on from where
//! it was; one that fell far behind looks at everything anew.

mod index;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use atoll_base::id::NodeId;
use atoll_control::{
    api::{ControlApi, Watches as _},
    driver::system_identity,
    proto::{
        etcdserverpb::{self as pb, watch_request::RequestUnion},
        mvccpb::{KeyValue, event::EventType},
    },
};
use atoll_world::{clock, task, watch};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use serde_json::Value;
use tokio::sync::Notify;

use self::index::Index;
use super::{
    agent::NODE_ID,
    store::{self, Store},
};
use crate::core::{
    controllers::world::View,
    kinds::{self, Kind},
    object::{self, Name},
};

/// So many changes are kept for those who are slow.
const CHANGES_MAX: usize = 16 << 10;
/// And so many bytes of them, as they were sent; one that is larger is not kept at all.
const CHANGES_BYTES_MAX: usize = 48 << 20;
/// So many objects are read at a time.
const PAGE: i64 = 500;
/// How long to wait when the control plane can't be followed.
const REST: Duration = Duration::from_millis(500);

/// Every object. Clones are the same.
#[derive(Clone)]
pub(crate) struct Mirror(Arc<Inner>);

struct Inner {
    state: RwLock<State>,
    /// How far it is: the revision, and the number of changes.
    news: watch::Sender<Standing>,
    /// Somebody wants to know how far it is although nothing changes.
    asked: Notify,
    /// So many changes each of those who follow has seen.
    followers: Mutex<Vec<Weak<AtomicU64>>>,
}

/// One who follows what changes in a mirror.
pub(crate) struct Follower {
    mirror: Mirror,
    seen: Arc<AtomicU64>,
}

impl Follower {
    /// Everything was looked at, as it stood then.
    pub(crate) fn has_looked(&self, standing: Standing) {
        self.seen.store(standing.changes, Ordering::Relaxed);
    }

    /// What changed since the last time, or the last look; none if that is too long ago: then
    /// everything is to be looked at.
    pub(crate) fn changes(&self) -> Option<Vec<Changed>> {
        let state = self.mirror.0.state.read();
        let behind = state.standing.changes - self.seen.load(Ordering::Relaxed);
        let kept = state.changes.len();
        let behind = usize::try_from(behind).ok().filter(|it| *it <= kept)?;
        let changes = state.changes.range(kept - behind..).cloned().collect();
        self.has_looked(state.standing);
        Some(changes)
    }
}

/// How far a mirror is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Everything up to this revision is in it; 0: nothing is yet.
    pub(crate) revision: i64,
    /// So many changes there have been.
    pub(crate) changes: u64,
}

/// An object was made, changed, or is gone.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) name: Name,
    pub(crate) old: Option<Arc<Value>>,
    pub(crate) new: Option<Arc<Value>>,
}

/// What was read or heard: an object, or that it is gone, and how much it is.
struct Told {
    name: Name,
    new: Option<Arc<Value>>,
    bytes: usize,
}

type Kept = BTreeMap<(String, String), Arc<Value>>;

#[derive(Default)]
struct State {
    /// By the kind's place in the table of kinds.
    objects: Vec<Kept>,
    index: Index,
    changes: VecDeque<Changed>,
    /// How much each of them is, and all together.
    change_bytes: VecDeque<usize>,
    bytes: usize,
    standing: Standing,
}

impl Mirror {
    /// A mirror that keeps itself up to date as long as the node runs.
    pub(crate) fn start<C: ControlApi>(store: Store<C>) -> Mirror {
        let mirror = Mirror::empty();
        task::spawn(follow(mirror.clone(), store));
        mirror
    }

    fn empty() -> Mirror {
        let state = State {
            objects: kinds::KINDS.iter().map(|_| Kept::new()).collect(),
            ..State::default()
        };
        Mirror(Arc::new(Inner {
            state: RwLock::new(state),
            news: watch::channel(Standing::default()).0,
            asked: Notify::new(),
            followers: Mutex::default(),
        }))
    }

    /// A look at it. Nothing changes while it is held, so it must not be held for long.
    pub(crate) fn look(&self) -> Look<'_> {
        Look(self.0.state.read())
    }

    /// Tells when it goes on.
    pub(crate) fn news(&self) -> watch::Receiver<Standing> {
        self.0.news.subscribe()
    }

    /// Waits until everything up to a revision is in it.
    pub(crate) async fn reaches(&self, revision: i64) {
        let mut news = self.news();
        self.0.asked.notify_one();
        // The sender lives as long as this mirror.
        let _ = news.wait_for(|it| it.revision >= revision.max(1)).await;
    }

    /// One who follows what changes, and looks at everything first.
    pub(crate) fn follower(&self) -> Follower {
        let seen = Arc::new(AtomicU64::new(0));
        self.0.followers.lock().push(Arc::downgrade(&seen));
        Follower {
            mirror: self.clone(),
            seen,
        }
    }

    /// So many changes all have seen who follow.
    fn seen_by_all(&self) -> u64 {
        let mut all = u64::MAX;
        self.0.followers.lock().retain(|follower| {
            let seen = follower.upgrade().map(|it| it.load(Ordering::Relaxed));
            all = all.min(seen.unwrap_or(u64::MAX));
            seen.is_some()
        });
        all
    }

    /// Which node of the cluster a Node is; none if it is not there.
    pub(crate) fn node_id(&self, name: &str) -> Option<NodeId> {
        let node = self.look().get(&kinds::NODES, "", name)?;
        let id = object::label(&node, NODE_ID)?;
        u64::from_str_radix(id, 16).ok().map(NodeId)
    }

    fn apply(&self, revision: i64, events: Vec<Told>) {
        let mut state = self.0.state.write();
        for Told { name, new, bytes } in events {
            state.put(name, new, bytes);
        }
        state.forget(self.seen_by_all());
        state.standing.revision = state.standing.revision.max(revision);
        self.0.news.send_replace(state.standing);
    }

    /// What was read replaces what was known; what is the same is no change.
    fn replace(&self, revision: i64, read: Vec<Told>) {
        let mut state = self.0.state.write();
        let mut gone: BTreeSet<(usize, String, String)> = BTreeSet::new();
        for (place, kept) in state.objects.iter().enumerate() {
            let names = kept.keys().cloned();
            gone.extend(names.map(|(namespace, name)| (place, namespace, name)));
        }
        for Told { name, new, bytes } in read {
            gone.remove(&(
                place_of(name.kind),
                name.namespace.clone(),
                name.name.clone(),
            ));
            let known = state.get(&name);
            if known != new.as_ref() {
                state.put(name, new, bytes);
            }
        }
        for (place, namespace, name) in gone {
            let kind = kinds::KINDS[place];
            state.put(
                Name {
                    kind,
                    namespace,
                    name,
                },
                None,
                0,
            );
        }
        state.standing.revision = state.standing.revision.max(revision);
        self.0.news.send_replace(state.standing);
    }
}

impl State {
    fn get(&self, name: &Name) -> Option<&Arc<Value>> {
        let key = (name.namespace.clone(), name.name.clone());
        self.objects[place_of(name.kind)].get(&key)
    }

    fn put(&mut self, name: Name, new: Option<Arc<Value>>, bytes: usize) {
        let place = place_of(name.kind);
        let key = (name.namespace.clone(), name.name.clone());
        let old = match &new {
            Some(new) => self.objects[place].insert(key, new.clone()),
            None => self.objects[place].remove(&key),
        };
        if old.is_none() && new.is_none() {
            return;
        }
        let called = (name.namespace.as_str(), name.name.as_str());
        self.index.put(place, called, old.as_ref(), new.as_ref());
        self.changes.push_back(Changed { name, old, new });
        self.change_bytes.push_back(bytes);
        self.bytes += bytes;
        self.standing.changes += 1;
        while self.changes.len() > CHANGES_MAX || self.bytes > CHANGES_BYTES_MAX {
            self.forget_one();
        }
    }

    /// Forgets changes, up to so many of all that there have been.
    fn forget(&mut self, seen: u64) {
        let unseen = self.standing.changes.saturating_sub(seen);
        while self.changes.len() as u64 > unseen {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        self.changes.pop_front();
        self.bytes -= self.change_bytes.pop_front().unwrap_or_default();
    }
}

/// The kind's place in the table of kinds.
fn place_of(kind: &'static Kind) -> usize {
    kinds::KINDS
        .iter()
        .position(|it| std::ptr::eq(*it, kind))
        .expect("every kind is in the table")
}

/// All objects at one revision.
pub(crate) struct Look<'a>(RwLockReadGuard<'a, State>);

impl Look<'_> {
    /// Which state it is.
    pub(crate) fn standing(&self) -> Standing {
        self.0.standing
    }
}

impl View for Look<'_> {
    fn get(&self, kind: &'static Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.0.objects[place_of(kind)].get(&key).cloned()
    }

    fn list(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let kept = &self.0.objects[place_of(kind)];
        let Some(namespace) = namespace else {
            return kept.values().cloned().collect();
        };
        let from = (namespace.to_owned(), String::new());
        kept.range((Bound::Included(from), Bound::Unbounded))
            .take_while(|((inside, _), _)| inside == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    fn by_owner(&self, kind: &'static Kind, owner_uid: &str) -> Vec<Arc<Value>> {
        self.0.index.by_owner(place_of(kind), owner_uid)
    }

    fn orphans(&self, kind: &'static Kind, namespace: &str) -> Vec<Arc<Value>> {
        self.0.index.orphans(place_of(kind), namespace)
    }

    fn on_node(&self, node: &str) -> Vec<Arc<Value>> {
        self.0.index.on_node(node)
    }

    fn nodes_in_use(&self) -> Vec<String> {
        self.0.index.nodes_in_use()
    }
}

async fn follow<C: ControlApi>(mirror: Mirror, store: Store<C>) {
    loop {
        if let Err(error) = follow_once(&mirror, &store).await {
            tracing::debug!(%error, "objects can't be followed");
        }
        clock::sleep(REST).await;
    }
}

/// Reads everything, then what changes; returns when it has to be read anew.
async fn follow_once<C: ControlApi>(
    mirror: &Mirror,
    store: &Store<C>,
) -> Result<(), atoll_control::core::error::Error> {
    let control = store.control();
    let (mut key, mut revision) = (Bytes::from(store::PREFIX), 0);
    let mut read = Vec::new();
    loop {
        let request = pb::RangeRequest {
            key: key.clone(),
            range_end: store::range_end(store::PREFIX),
            limit: PAGE,
            revision,
            // What this node knows is what it goes on from.
            serializable: true,
            ..pb::RangeRequest::default()
        };
        let page = control.range(system_identity(), request).await?;
        if revision == 0 {
            revision = page.header.map_or(0, |header| header.revision);
        }
        if let Some(last) = page.kvs.last() {
            key = [&last.key[..], &[0]].concat().into();
        }
        if store.is_shut(page.kvs.iter()) {
            store.unlock().await?;
        }
        let objects = page.kvs.into_iter();
        let object = |kv| Some(Arc::new(store.read(kv).ok()?.object));
        read.extend(objects.filter_map(|kv| object_in(kv, object)));
        if !page.more {
            break;
        }
    }
    mirror.replace(revision, read);
    let mut watches = control.watch(system_identity());
    let create = pb::WatchCreateRequest {
        key: store::PREFIX.into(),
        range_end: store::range_end(store::PREFIX),
        start_revision: revision + 1,
        ..pb::WatchCreateRequest::default()
    };
    let request_union = Some(RequestUnion::CreateRequest(create));
    watches.request(pb::WatchRequest { request_union }).await?;
    loop {
        let news = tokio::select! {
            biased;
            news = watches.next() => news,
            () = mirror.0.asked.notified() => {
                let ask = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
                let request_union = Some(ask);
                watches.request(pb::WatchRequest { request_union }).await?;
                continue;
            }
        };
        if news.canceled {
            tracing::debug!(reason = news.cancel_reason, "objects are read anew");
            return Ok(());
        }
        let last = news.events.last().and_then(|event| event.kv.as_ref());
        let reached = match (last, news.created) {
            (Some(last), _) => last.mod_revision,
            // Progress: there is nothing else up to there.
            (None, false) => news.header.map_or(0, |header| header.revision),
            (None, true) => 0,
        };
        let values = news.events.iter().filter_map(|event| event.kv.as_ref());
        if store.is_shut(values) {
            store.unlock().await?;
        }
        let events = news.events.into_iter().filter_map(|event| {
            let is_put = event.r#type() == EventType::Put;
            let kv = event.kv?;
            match is_put {
                true => object_in(kv, |kv| store.read_change(kv).ok()),
                false => store::name_in(&kv.key).map(|name| Told {
                    name,
                    new: None,
                    bytes: 0,
                }),
            }
        });
        // Before the lock is taken: to read them takes longer than to put them in their places.
        let events = events.collect();
        mirror.apply(reached, events);
    }
}

/// One that can't be read was told of there.
fn object_in(kv: KeyValue, read: impl Fn(KeyValue) -> Option<Arc<Value>>) -> Option<Told> {
    let name = store::name_in(&kv.key)?;
    let bytes = kv.value.len();
    let object = read(kv)?;
    debug_assert_eq!(object::name(&object), name.name);
    Some(Told {
        name,
        new: Some(object),
        bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, bytes: usize) -> Told {
        let (kind, namespace) = (&kinds::PODS, "n".to_owned());
        Told {
            name: Name {
                kind,
                namespace,
                name: name.to_owned(),
            },
            new: Some(Arc::new(Value::Null)),
            bytes,
        }
    }

    #[test]
    fn changes_are_kept_until_all_who_follow_have_seen_them() {
        let mirror = Mirror::empty();
        let kept = || mirror.look().0.changes.len();
        let seen = |follower: &Follower| {
            let changes = follower.changes()?.into_iter();
            Some(changes.map(|it| it.name.name).collect::<Vec<String>>())
        };
        mirror.apply(1, vec![told("a", 1)]);
        assert_eq!(kept(), 0, "nobody follows");
        let (fast, slow) = (mirror.follower(), mirror.follower());
        for follower in [&fast, &slow] {
            assert!(seen(follower).is_none(), "it has to look first");
            follower.has_looked(mirror.look().standing());
        }
        mirror.apply(2, vec![told("b", 1), told("c", 1)]);
        assert_eq!(seen(&fast).unwrap(), ["b", "c"]);
        mirror.apply(3, vec![told("d", 1)]);
        assert_eq!(kept(), 3);
        assert_eq!(seen(&fast).unwrap(), ["d"]);
        assert_eq!(seen(&slow).unwrap(), ["b", "c", "d"]);
        mirror.apply(4, vec![told("e", 1)]);
        assert_eq!(kept(), 1);
        drop(slow);
        assert_eq!(seen(&fast).unwrap(), ["e"]);
        mirror.apply(5, vec![told("f", CHANGES_BYTES_MAX + 1)]);
        assert_eq!(kept(), 0);
        assert!(seen(&fast).is_none(), "it is too far behind");
    }
}
