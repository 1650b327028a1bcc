//! The users of a node's clients and what they may do, as the cluster has decided.
//!
//! Every connection asks for each of its commands, so what is asked most is one load: whether
//! anything changed since. Whoever follows the cluster's decisions puts all users in the place
//! of all others at once ([`Acl::replace`]), and tells those who want to know.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use atoll_base::id::ClusterId;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::core::acl::User;

/// The name by which nobody in particular goes.
pub const DEFAULT_USER: &[u8] = b"default";

/// Where the cluster keeps what users may do: the user's name follows. A cluster that was made
/// from another's snapshot has rules of its own, as it has hot data of its own.
pub fn rules_prefix(cluster: ClusterId) -> String {
    format!("/atoll/kv/{cluster}/acl/")
}

/// All users, by name.
pub type Users = BTreeMap<Bytes, Arc<User>>;

/// Asked when users have changed; false if it is not to be asked again.
type Listener = Box<dyn Fn() -> bool + Send + Sync>;

/// The users of a node's clients. Clones are the same.
#[derive(Clone)]
pub struct Acl(Arc<Shared>);

struct Shared {
    /// Grows with every change, from 1.
    version: AtomicU64,
    users: RwLock<Arc<Users>>,
    listeners: Mutex<Vec<Listener>>,
}

static OPEN: LazyLock<Acl> = LazyLock::new(Acl::open);

impl Default for Acl {
    /// One that nobody changes, where whoever comes may do everything.
    fn default() -> Self {
        OPEN.clone()
    }
}

impl fmt::Debug for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Acl").field(&self.version()).finish()
    }
}

impl Acl {
    /// Whoever comes may do everything (Redis: "ACL", the user `default` at first).
    pub fn open() -> Acl {
        let anybody = User::everything().without_password();
        Acl::of([(Bytes::from_static(DEFAULT_USER), anybody)])
    }

    /// These users.
    pub fn of(users: impl IntoIterator<Item = (Bytes, User)>) -> Acl {
        Acl(Arc::new(Shared {
            version: AtomicU64::new(1),
            users: RwLock::new(Arc::new(table(users))),
            listeners: Mutex::default(),
        }))
    }

    /// Puts these users in the place of all others, and tells those who want to know before it
    /// returns.
    pub fn replace(&self, users: impl IntoIterator<Item = (Bytes, User)>) {
        let users = Arc::new(table(users));
        {
            let mut now = self.0.users.write();
            if *now == users {
                return;
            }
            *now = users;
            // Under the lock, so that nobody holds old users for new ones.
            self.0.version.fetch_add(1, Ordering::Release);
        }
        self.0.listeners.lock().retain(|listener| listener());
    }

    /// Has this called after every change, until it says false.
    pub(crate) fn on_change(&self, listener: impl Fn() -> bool + Send + Sync + 'static) {
        self.0.listeners.lock().push(Box::new(listener));
    }

    /// All users, as they are now.
    pub fn users(&self) -> Arc<Users> {
        self.0.users.read().clone()
    }

    /// The user of this name.
    pub fn user(&self, name: &[u8]) -> Option<Arc<User>> {
        self.0.users.read().get(name).cloned()
    }

    /// Whether clients may do something without saying who they are.
    pub fn is_open(&self) -> bool {
        self.user(DEFAULT_USER)
            .is_some_and(|user| user.is_on() && user.needs_no_password())
    }

    fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }
}

fn table(users: impl IntoIterator<Item = (Bytes, User)>) -> Users {
    let users = users.into_iter();
    users.map(|(name, user)| (name, Arc::new(user))).collect()
}

/// What one user may do, as of its last look.
#[derive(Debug, Default)]
pub(super) struct Rights {
    acl: Acl,
    /// 0: it has not looked yet.
    version: u64,
    user: Option<Arc<User>>,
}

impl Rights {
    pub(super) fn new(acl: Acl) -> Rights {
        Rights {
            acl,
            version: 0,
            user: None,
        }
    }

    pub(super) fn acl(&self) -> &Acl {
        &self.acl
    }

    /// What this user may do now; none if there is no such user.
    pub(super) fn of(&mut self, name: &[u8]) -> Option<&User> {
        if self.version != self.acl.version() {
            let users = self.acl.0.users.read();
            self.version = self.acl.version();
            self.user = users.get(name).cloned();
        }
        self.user.as_deref()
    }

    /// The same, to be kept.
    pub(super) fn shared(&mut self, name: &[u8]) -> Option<Arc<User>> {
        self.of(name)?;
        self.user.clone()
    }

    /// Another user is asked for from now on.
    pub(super) fn forget(&mut self) {
        self.version = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &'static str, user: User) -> (Bytes, User) {
        (Bytes::from_static(name.as_bytes()), user)
    }

    #[test]
    fn changes_are_seen_by_those_who_looked_before() {
        let acl = Acl::open();
        assert!(acl.is_open());
        let mut rights = Rights::new(acl.clone());
        assert!(rights.of(b"default").is_some());
        acl.replace([named("ann", User::nothing())]);
        assert!(!acl.is_open());
        assert!(rights.of(b"default").is_none());
        rights.forget();
        assert_eq!(rights.of(b"ann"), Some(&User::nothing()));
        acl.replace([named("ann", User::everything())]);
        assert_eq!(rights.of(b"ann"), Some(&User::everything()));
        // Who has to say a password is not let in without.
        acl.replace([named("default", User::everything())]);
        assert!(!acl.is_open());
    }

    #[test]
    fn listeners_hear_of_changes_until_they_leave() {
        let acl = Acl::open();
        let heard = Arc::new(AtomicU64::new(0));
        let count = heard.clone();
        acl.on_change(move || count.fetch_add(1, Ordering::SeqCst) < 1);
        let anybody = || named("default", User::everything().without_password());
        // Nothing changed.
        acl.replace([anybody()]);
        assert_eq!(heard.load(Ordering::SeqCst), 0);
        for _ in 0..3 {
            acl.replace([anybody(), named("ann", User::nothing())]);
            acl.replace([anybody()]);
        }
        assert_eq!(heard.load(Ordering::SeqCst), 2);
    }
}
