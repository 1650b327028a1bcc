//! Who on this node caches which keys, and what it is told when they change (Redis:
//! "Client-side caching in Redis").
//!
//! A key that was read is remembered with its readers until it changes or is pushed out by
//! newer ones; whoever listens to prefixes is told of all keys that begin so. Keys of all
//! databases are told by their names alone, as by Redis. What can't be told key by key, since
//! the node may have missed something, is told as a change of everything.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use indexmap::{IndexMap, IndexSet};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Mailbox, Told};

/// So many keys are remembered unless another number is set: `tracking-table-max-keys`.
pub const KEYS_MAX: usize = 1_000_000;

/// A change of a key, or of all, and the client of this node that made it, where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key; none for any of all.
    pub key: Option<Bytes>,
    /// The client.
    pub by: Option<u64>,
}

/// How one client is told.
#[derive(Clone, Debug, Default)]
pub struct Tracked {
    /// Another connection is told in its place.
    pub redirect: Option<(u64, Weak<Mailbox>)>,
    /// Of keys that begin with one of these, read or not; of keys that were read, if none.
    pub prefixes: Option<Vec<Bytes>>,
    /// Not of changes of its own.
    pub no_loop: bool,
}

struct Client {
    mailbox: Arc<Mailbox>,
    tracked: Tracked,
    /// It was told that everything may have changed, and has read nothing since. Whoever empties
    /// a database does so partition by partition; it need not hear of each.
    holds_nothing: bool,
}

impl Client {
    /// Tells that keys have changed, all if none are named.
    fn tell(&self, keys: Option<Vec<Bytes>>) {
        let redirected = self.tracked.redirect.is_some();
        let told = Told::Invalidated { keys, redirected };
        match &self.tracked.redirect {
            None => self.mailbox.tell(told),
            Some((id, mailbox)) => match mailbox.upgrade().filter(|it| !it.is_left()) {
                Some(mailbox) => mailbox.tell(told),
                None => self.mailbox.tell(Told::RedirectBroken(*id)),
            },
        }
    }

    fn hears_of(&self, change: &Change, id: u64) -> bool {
        !(self.tracked.no_loop && change.by == Some(id))
    }
}

struct Table {
    clients: BTreeMap<u64, Client>,
    /// Readers of keys.
    keys: IndexMap<Bytes, Vec<u64>, RandomState>,
    keys_max: usize,
    on_begin: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// What the table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackingCounts {
    /// Clients that are told.
    pub clients: usize,
    /// Keys that are remembered.
    pub keys: usize,
    /// Their readers, all together.
    pub items: usize,
    /// Prefixes that somebody is told of.
    pub prefixes: usize,
}

/// The clients of a node that cache.
pub struct Trackers {
    table: Mutex<Table>,
    has_any: AtomicBool,
    /// So many nodes don't know yet that this one has to be told.
    unheard: watch::Sender<usize>,
}

impl Default for Trackers {
    fn default() -> Self {
        Trackers {
            table: Mutex::new(Table {
                clients: BTreeMap::new(),
                keys: IndexMap::default(),
                keys_max: KEYS_MAX,
                on_begin: None,
            }),
            has_any: AtomicBool::new(false),
            unheard: watch::Sender::new(0),
        }
    }
}

impl Trackers {
    /// Whether anybody is to be told.
    pub fn has_any(&self) -> bool {
        self.has_any.load(Ordering::Acquire)
    }

    /// Called whenever somebody is to be told from now on.
    pub fn on_begin(&self, on_begin: Arc<dyn Fn() + Send + Sync>) {
        self.table.lock().on_begin = Some(on_begin);
    }

    /// How a client, by its number, is told from now on; not at all, if none. Whoever begins
    /// should wait for [`announced`](Self::announced) before it reads.
    pub fn set(&self, id: u64, mailbox: &Arc<Mailbox>, tracked: Option<Tracked>) {
        let mut table = self.table.lock();
        let begins = tracked.is_some();
        match tracked {
            Some(tracked) => {
                let mailbox = mailbox.clone();
                let client = Client {
                    mailbox,
                    tracked,
                    holds_nothing: false,
                };
                table.clients.insert(id, client);
            }
            None => {
                table.clients.remove(&id);
            }
        }
        if table.clients.is_empty() {
            table.keys = IndexMap::default();
        }
        self.has_any
            .store(!table.clients.is_empty(), Ordering::Release);
        let on_begin = table.on_begin.clone().filter(|_| begins);
        drop(table);
        if let Some(on_begin) = on_begin {
            on_begin();
        }
    }

    /// Ready when all nodes that can be reached know that this one has to be told.
    pub async fn announced(&self) {
        let mut unheard = self.unheard.subscribe();
        // The sender is here.
        let _ = unheard.wait_for(|unheard| *unheard == 0).await;
    }

    /// A node does not know yet that this one has to be told.
    pub fn begin_announcement(&self) {
        self.unheard.send_modify(|unheard| *unheard += 1);
    }

    /// It knows, or can't be reached.
    pub fn end_announcement(&self) {
        self.unheard
            .send_modify(|unheard| *unheard = unheard.saturating_sub(1));
    }

    /// A client reads keys. To be said before they are read, so that no change is missed, and
    /// again when they were read. Gives back those that it had not been told of.
    pub fn remember(&self, id: u64, keys: &[Bytes]) -> Vec<Bytes> {
        let mut table = self.table.lock();
        let client = table.clients.get_mut(&id);
        let Some(client) = client.filter(|client| client.tracked.prefixes.is_none()) else {
            return Vec::new();
        };
        client.holds_nothing &= keys.is_empty();
        let mut new = Vec::new();
        for key in keys {
            match table.keys.get_mut(key) {
                Some(readers) if readers.contains(&id) => continue,
                Some(readers) => readers.push(id),
                None => {
                    // A copy: a key should not keep alive all that came with it.
                    let key = Bytes::copy_from_slice(key);
                    table.keys.insert(key, vec![id]);
                }
            }
            new.push(key.clone());
        }
        table.push_out();
        new
    }

    /// A client did not read keys that it had said it would.
    pub fn forget(&self, id: u64, keys: &[Bytes]) {
        let mut table = self.table.lock();
        for key in keys {
            let Some(readers) = table.keys.get_mut(key) else {
                continue;
            };
            readers.retain(|reader| *reader != id);
            if readers.is_empty() {
                table.keys.swap_remove(key);
            }
        }
    }

    /// `tracking-table-max-keys`; 0 is no limit.
    pub fn set_keys_max(&self, keys_max: usize) {
        let mut table = self.table.lock();
        table.keys_max = match keys_max {
            0 => usize::MAX,
            number => number,
        };
        table.push_out();
    }

    /// Tells of changes that came together.
    pub fn invalidate(&self, changes: &[Change]) {
        if !self.has_any() {
            return;
        }
        let mut table = self.table.lock();
        if changes.iter().any(|change| change.key.is_none()) {
            return table.forget_all();
        }
        for (id, client) in &table.clients {
            for prefix in client.tracked.prefixes.iter().flatten() {
                let heard = changes.iter().filter(|it| client.hears_of(it, *id));
                let keys: IndexSet<Bytes, RandomState> = heard
                    .filter_map(|change| change.key.clone())
                    .filter(|key| key.starts_with(prefix))
                    .collect();
                if !keys.is_empty() {
                    client.tell(Some(keys.into_iter().collect()));
                }
            }
        }
        for change in changes {
            let Some(key) = &change.key else {
                continue;
            };
            let Some((key, readers)) = table.keys.swap_remove_entry(key) else {
                continue;
            };
            for id in readers {
                let client = table.clients.get(&id);
                let client = client.filter(|client| client.tracked.prefixes.is_none());
                if let Some(client) = client.filter(|client| client.hears_of(change, id)) {
                    client.tell(Some(vec![key.clone()]));
                }
            }
        }
    }

    /// Tells everybody that anything may have changed.
    pub fn invalidate_all(&self) {
        if self.has_any() {
            self.table.lock().forget_all();
        }
    }

    /// What INFO tells.
    pub fn counts(&self) -> TrackingCounts {
        let table = self.table.lock();
        let clients = table.clients.values();
        let prefixes: IndexSet<&Bytes, RandomState> = clients
            .flat_map(|client| client.tracked.prefixes.iter().flatten())
            .collect();
        TrackingCounts {
            clients: table.clients.len(),
            keys: table.keys.len(),
            items: table.keys.values().map(Vec::len).sum(),
            prefixes: prefixes.len(),
        }
    }
}

impl Table {
    fn forget_all(&mut self) {
        self.keys = IndexMap::default();
        for client in self.clients.values_mut() {
            let has_prefixes = client.tracked.prefixes.is_some();
            if has_prefixes || !std::mem::replace(&mut client.holds_nothing, true) {
                client.tell(None);
            }
        }
    }

    /// Forgets keys that are too many, and tells their readers that they changed.
    fn push_out(&mut self) {
        while self.keys.len() > self.keys_max {
            let Some((key, readers)) = self.keys.swap_remove_index(0) else {
                return;
            };
            for id in readers {
                if let Some(client) = self.clients.get(&id) {
                    client.tell(Some(vec![key.clone()]));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Reader {
        id: u64,
        mailbox: Arc<Mailbox>,
    }

    fn reader(trackers: &Trackers, id: u64, tracked: Tracked) -> Reader {
        let mailbox = Arc::default();
        trackers.set(id, &mailbox, Some(tracked));
        Reader { id, mailbox }
    }

    fn change(key: &'static str, by: Option<u64>) -> Change {
        Change {
            key: Some(key.into()),
            by,
        }
    }

    fn invalidated(keys: &[&'static str], redirected: bool) -> Told {
        Told::Invalidated {
            keys: Some(keys.iter().map(|key| Bytes::from(*key)).collect()),
            redirected,
        }
    }

    const ALL: Told = Told::Invalidated {
        keys: None,
        redirected: false,
    };

    impl Reader {
        fn told(&self) -> Vec<Told> {
            std::iter::from_fn(|| self.mailbox.take_told()).collect()
        }
    }

    #[test]
    fn a_reader_is_told_once_of_each_key() {
        let trackers = Trackers::default();
        let one = reader(&trackers, 1, Tracked::default());
        let quiet = reader(
            &trackers,
            2,
            Tracked {
                no_loop: true,
                ..Tracked::default()
            },
        );
        for reader in [&one, &quiet] {
            trackers.remember(reader.id, &["a".into(), "b".into()]);
        }
        trackers.invalidate(&[change("a", Some(2)), change("a", None), change("c", None)]);
        assert_eq!(one.told(), [invalidated(&["a"], false)]);
        assert_eq!(quiet.told(), []);
        let counts = trackers.counts();
        assert_eq!((counts.clients, counts.keys, counts.items), (2, 1, 2));
        trackers.invalidate(&[Change {
            key: None,
            by: None,
        }]);
        trackers.invalidate_all();
        // Everything changed, whether once or twice.
        assert_eq!(one.told(), [ALL]);
        assert_eq!(trackers.counts().keys, 0);
        trackers.set(1, &one.mailbox, None);
        trackers.set(2, &quiet.mailbox, None);
        assert!(!trackers.has_any());
    }

    #[test]
    fn who_has_read_nothing_since_hears_of_everything_once() {
        let trackers = Trackers::default();
        let one = reader(&trackers, 1, Tracked::default());
        let all = Tracked {
            prefixes: Some(vec![Bytes::new()]),
            ..Tracked::default()
        };
        let other = reader(&trackers, 2, all);
        let told = |reader: &Reader| reader.told().len();
        trackers.invalidate_all();
        assert_eq!((told(&one), told(&other)), (1, 1));
        // Who is told of prefixes reads what we don't hear of.
        trackers.invalidate_all();
        assert_eq!((told(&one), told(&other)), (0, 1));
        trackers.remember(1, &["a".into()]);
        trackers.invalidate_all();
        assert_eq!((told(&one), told(&other)), (1, 1));
    }

    #[test]
    fn what_was_not_read_after_all_is_forgotten() {
        let trackers = Trackers::default();
        let readers = [1, 2].map(|id| reader(&trackers, id, Tracked::default()));
        let keys = |names: &[&'static str]| -> Vec<Bytes> {
            names
                .iter()
                .map(|name| Bytes::from_static(name.as_bytes()))
                .collect()
        };
        assert_eq!(trackers.remember(1, &keys(&["a", "b"])), ["a", "b"]);
        assert_eq!(trackers.remember(1, &keys(&["b", "c"])), ["c"]);
        assert_eq!(trackers.remember(2, &keys(&["c"])), ["c"]);
        trackers.forget(1, &keys(&["c", "d"]));
        trackers.invalidate(&[change("c", None), change("a", None)]);
        assert_eq!(readers[0].told(), [invalidated(&["a"], false)]);
        assert_eq!(readers[1].told(), [invalidated(&["c"], false)]);
        trackers.forget(1, &keys(&["b"]));
        assert_eq!(trackers.counts().keys, 0);
    }

    #[test]
    fn prefixes_are_told_of_by_themselves() {
        let trackers = Trackers::default();
        let tracked = Tracked {
            prefixes: Some(vec!["a".into(), "b".into()]),
            ..Tracked::default()
        };
        let one = reader(&trackers, 1, tracked);
        trackers.remember(1, &["c".into()]);
        trackers.invalidate(&["a1", "b1", "a2", "c", "a1"].map(|key| change(key, None)));
        assert_eq!(
            one.told(),
            [
                invalidated(&["a1", "a2"], false),
                invalidated(&["b1"], false)
            ]
        );
        assert_eq!(trackers.counts().prefixes, 2);
    }

    #[test]
    fn another_is_told_while_it_is_there() {
        let trackers = Trackers::default();
        let other: Arc<Mailbox> = Arc::default();
        let redirect = Some((9, Arc::downgrade(&other)));
        let tracked = Tracked {
            redirect,
            ..Tracked::default()
        };
        let one = reader(&trackers, 1, tracked);
        trackers.remember(1, &["a".into()]);
        trackers.invalidate(&[change("a", None)]);
        assert_eq!(other.take_told(), Some(invalidated(&["a"], true)));
        other.leave();
        trackers.remember(1, &["a".into()]);
        trackers.invalidate(&[change("a", None)]);
        assert_eq!(one.told(), [Told::RedirectBroken(9)]);
        drop(other);
        trackers.remember(1, &["a".into()]);
        trackers.invalidate(&[change("a", None)]);
        assert_eq!(one.told(), [Told::RedirectBroken(9)]);
    }

    #[test]
    fn keys_are_bounded() {
        let trackers = Trackers::default();
        let one = reader(&trackers, 1, Tracked::default());
        trackers.remember(1, &["a".into(), "b".into(), "c".into()]);
        trackers.set_keys_max(1);
        assert_eq!(one.told().len(), 2);
        trackers.remember(1, &["d".into()]);
        assert_eq!(one.told().len(), 1);
        assert_eq!(trackers.counts().keys, 1);
    }
}
