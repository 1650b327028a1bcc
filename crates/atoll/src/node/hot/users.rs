//! The cluster's users, as the Redis port sees them: names and passwords are those of the one
//! store of users, what they may do with hot data is kept beside it (docs/formats/acl.md).
//!
//! Rules are a user's only if they were put after it was made: one that has the name of a user
//! that is gone inherits nothing, however soon it was made.
//!
//! Every node follows both, and puts all users in the place of those before at once. Who holds
//! the role root may do everything and is the only one who may change users; no rule can take
//! that away. While the cluster's logins are off, whoever comes may do everything.

mod password;

use std::{collections::HashMap, sync::Arc};

use atoll_control::{
    api::ControlApi as _,
    core::error::Error,
    driver::{
        control::Control,
        swap::swap,
        system_identity,
        users::{KnownUser, KnownUsers},
    },
    proto::{etcdserverpb as pb, internal::command::Op, mvccpb::KeyValue},
};
use atoll_kv::{
    core::{
        acl::{User, check_name, read_record, write_record},
        command::CommandError,
    },
    face::{
        acl::{Acl, DEFAULT_USER, rules_prefix},
        server::{Awaited, Identity, wrong_rule},
        session::Credentials,
    },
};
use bytes::Bytes;
use tokio::sync::Mutex;

/// How often a change is tried again when somebody else changes the same user meanwhile.
const ATTEMPTS_MAX: usize = 16;

/// The user of connections that have not said who they are.
const DEFAULT: &str = "default";

/// Rules, as they were read at a revision.
type Read = HashMap<Bytes, (i64, User)>;

/// The cluster's users.
pub(super) struct Users {
    control: Control,
    prefix: String,
    /// Whether clients have to log in even while the cluster's logins are off: they can't.
    login_required: bool,
    acl: Acl,
    /// Held while users are read, so that older ones never take the place of newer ones.
    read: Mutex<Read>,
}

impl Users {
    pub(super) fn new(control: Control, login_required: bool) -> Users {
        Users {
            prefix: rules_prefix(control.standing().cluster),
            control,
            login_required,
            acl: Acl::of([]),
            read: Mutex::default(),
        }
    }

    /// What users may do. Clones follow what the cluster decides.
    pub(super) fn acl(&self) -> &Acl {
        &self.acl
    }

    /// Goes by what the cluster decides, until this node stops.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut seen = None;
        while let Ok(version) = self.control.users_changed(seen).await {
            self.refresh().await;
            seen = Some(version);
        }
    }

    /// Goes by users and rules as this node knows them now.
    pub(super) async fn refresh(&self) {
        let mut read = self.read.lock().await;
        let kept = match self.kept(self.prefix.clone(), true).await {
            Ok(kept) => kept,
            Err(error) => {
                // The next change has it tried again; this node goes by what it knew.
                tracing::warn!(%error, "what users of the Redis port may do can't be read");
                return;
            }
        };
        // Read after the rules: a rule comes after its user.
        let known = self.control.known_users();
        let (mut now, mut orphans) = (Read::new(), Vec::new());
        for kv in kept {
            let name = kv.key.slice(self.prefix.len()..);
            let user = std::str::from_utf8(&name).ok();
            let user = user.and_then(|name| known.get(name));
            if !user.is_some_and(|user| are_of(user, kv.mod_revision)) {
                orphans.push(kv);
                continue;
            }
            let user = match read.remove(&name) {
                Some((revision, user)) if revision == kv.mod_revision => user,
                _ => read_or_nothing(&name, &kv.value),
            };
            now.insert(name, (kv.mod_revision, user));
        }
        *read = now;
        self.acl.replace(self.users(&known, &read));
        drop(read);
        let standing = self.control.standing();
        if standing.leader == Some(standing.node) {
            self.forget(orphans).await;
        }
    }

    fn users(&self, known: &KnownUsers, read: &Read) -> Vec<(Bytes, User)> {
        if self.login_required && !known.auth {
            return Vec::new();
        }
        let rules = |user: &KnownUser| match read.get(user.name.as_bytes()) {
            _ if user.is_admin => User::everything(),
            Some((_, rules)) => rules.clone(),
            None => User::nothing(),
        };
        let users = known.users.iter();
        let mut users: Vec<(Bytes, User)> = users
            .map(|user| (Bytes::copy_from_slice(user.name.as_bytes()), rules(user)))
            .collect();
        if !known.auth {
            users.retain(|(name, _)| name != DEFAULT_USER);
            let anybody = User::everything().without_password();
            users.push((Bytes::from_static(DEFAULT_USER), anybody));
        }
        users
    }

    /// Deletes rules of users that are gone: whoever gets the name next is somebody else.
    async fn forget(&self, orphans: Vec<KeyValue>) {
        for orphan in orphans {
            let forgotten = swap(&self.control, &orphan.key, orphan.mod_revision, None);
            if let Err(error) = forgotten.await {
                tracing::debug!(%error, "rules of a user that is gone were not deleted");
            }
        }
    }

    /// What is kept under keys that begin so.
    async fn kept(&self, prefix: String, serializable: bool) -> Result<Vec<KeyValue>, Error> {
        let mut range_end = prefix.clone().into_bytes();
        if let Some(last) = range_end.last_mut() {
            // A slash, or a letter of UTF-8, which is never the highest byte.
            *last += 1;
        }
        let request = pb::RangeRequest {
            key: prefix.into(),
            range_end: range_end.into(),
            serializable,
            ..pb::RangeRequest::default()
        };
        Ok(self.control.range(system_identity(), request).await?.kvs)
    }

    /// What is kept of one user, and the revision it was put at; 0 if there is nothing.
    async fn kept_of(&self, key: &Bytes) -> Result<(Option<Bytes>, i64), Error> {
        let request = pb::RangeRequest {
            key: key.clone(),
            ..pb::RangeRequest::default()
        };
        let mut found = self.control.range(system_identity(), request).await?;
        let kv = found.kvs.pop();
        let revision = kv.as_ref().map_or(0, |kv| kv.mod_revision);
        Ok((kv.map(|kv| kv.value), revision))
    }

    fn key(&self, name: &str) -> Bytes {
        format!("{}{name}", self.prefix).into()
    }

    /// Refuses who may not change users. They are those of the whole cluster, so that rights to
    /// hot data are not enough.
    fn permit_change(&self, asker: &[u8], known: &KnownUsers) -> Result<(), CommandError> {
        let name = std::str::from_utf8(asker).unwrap_or_default();
        if !known.auth || known.get(name).is_some_and(|user| user.is_admin) {
            return Ok(());
        }
        Err(CommandError::Text(format!(
            "NOPERM User {name} may not change users: that is for those who hold the role root"
        )))
    }

    async fn set(&self, asker: &[u8], name: &[u8], words: &[Bytes]) -> Result<(), CommandError> {
        let name = check_name(name).map_err(CommandError::Other)?;
        self.control.barrier().await.map_err(not_taken)?;
        let known = self.control.known_users();
        self.permit_change(asker, &known)?;
        if name == DEFAULT && !known.auth {
            return Err(CommandError::Other(
                "ERR The user 'default' may do everything while the cluster's logins are off",
            ));
        }
        let user = known.get(name);
        let (before, _) = self.rules_of(name, user).await?;
        let mut rules = before.clone();
        let changes = rules.apply(words).map_err(wrong_rule)?;
        let password = self.password(name, &changes).await?;
        match user {
            Some(user) if user.is_admin && rules != before => {
                return Err(CommandError::Text(format!(
                    "ERR The user '{name}' holds the role root and may do everything, with its \
                     password; only the password can be changed here"
                )));
            }
            Some(user) if user.no_password && password.is_some() => {
                return Err(CommandError::Text(format!(
                    "ERR The user '{name}' was made to log in without a password"
                )));
            }
            Some(_) => {}
            None => {
                let hashed_password = match &password {
                    Some(Some(password)) => self.hash(password).await?,
                    Some(None) | None => String::new(),
                };
                let add = pb::AuthUserAddRequest {
                    name: name.to_owned(),
                    hashed_password,
                    ..pb::AuthUserAddRequest::default()
                };
                self.propose(Op::UserAdd(add)).await.map_err(not_taken)?;
            }
        }
        // Rights first: nobody has a new password with old rights.
        if !user.is_some_and(|user| user.is_admin) {
            self.set_rules(name, user, words).await?;
        }
        if let (Some(_), Some(password)) = (user, password) {
            let hashed_password = match password {
                Some(password) => self.hash(&password).await?,
                None => String::new(),
            };
            let change = pb::AuthUserChangePasswordRequest {
                name: name.to_owned(),
                hashed_password,
                ..pb::AuthUserChangePasswordRequest::default()
            };
            let change = Op::UserChangePassword(change);
            self.propose(change).await.map_err(not_taken)?;
        }
        self.refresh().await;
        Ok(())
    }

    /// A user's rules before a change, and the revision they are of.
    async fn rules_of(
        &self,
        name: &str,
        user: Option<&KnownUser>,
    ) -> Result<(User, i64), CommandError> {
        let key = self.key(name);
        let (kept, revision) = self.kept_of(&key).await.map_err(not_taken)?;
        let rules = match (user, kept) {
            // Rules that are there already were somebody else's.
            (None, _) => User::default(),
            (Some(user), _) if user.is_admin => User::everything(),
            (Some(_), None) => User::nothing(),
            (Some(user), Some(_)) if !are_of(user, revision) => User::nothing(),
            (Some(_), Some(kept)) => read_record(&kept).map_err(|error| {
                CommandError::Text(format!(
                    "ERR The rules of the user '{name}' can't be read: {error}"
                ))
            })?,
        };
        Ok((rules, revision))
    }

    async fn set_rules(
        &self,
        name: &str,
        user: Option<&KnownUser>,
        words: &[Bytes],
    ) -> Result<(), CommandError> {
        for _ in 0..ATTEMPTS_MAX {
            let (mut rules, revision) = self.rules_of(name, user).await?;
            rules.apply(words).map_err(wrong_rule)?;
            let record = write_record(&rules).into();
            let key = self.key(name);
            let swapped = swap(&self.control, &key, revision, Some(record));
            if swapped.await.map_err(not_taken)? {
                return Ok(());
            }
        }
        Err(CommandError::Other(
            "ERR The user is changed by others all the time; try again",
        ))
    }

    async fn propose(&self, op: Op) -> Result<(), Error> {
        self.control.propose(system_identity(), op).await?;
        Ok(())
    }

    async fn delete(&self, asker: &[u8], names: &[Bytes]) -> Result<usize, CommandError> {
        self.control.barrier().await.map_err(not_taken)?;
        self.permit_change(asker, &self.control.known_users())?;
        let mut deleted = 0;
        for name in names {
            let Ok(name) = std::str::from_utf8(name) else {
                continue;
            };
            let delete = pb::AuthUserDeleteRequest {
                name: name.to_owned(),
            };
            match self.propose(Op::UserDelete(delete)).await {
                Ok(()) => deleted += 1,
                Err(Error::UserNotFound) => continue,
                Err(error) => return Err(not_taken(error)),
            }
            let key = self.key(name);
            let forget = pb::DeleteRangeRequest {
                key,
                ..pb::DeleteRangeRequest::default()
            };
            let forgotten = self.propose(Op::DeleteRange(forget)).await;
            forgotten.map_err(not_taken)?;
        }
        self.refresh().await;
        Ok(deleted)
    }
}

/// Whether rules that were put at a revision are this user's, not those of one that had its name
/// before.
fn are_of(user: &KnownUser, put_at: i64) -> bool {
    put_at > user.made_at
}

/// Rules that can't be read allow nothing.
fn read_or_nothing(name: &[u8], record: &[u8]) -> User {
    read_record(record).unwrap_or_else(|error| {
        let user = String::from_utf8_lossy(name);
        tracing::error!(%user, %error, "what a user of the Redis port may do can't be read");
        User::nothing()
    })
}

fn not_taken(error: Error) -> CommandError {
    CommandError::Text(format!("ERR the cluster did not do it: {error}"))
}

impl Identity for Users {
    fn acl(&self) -> &Acl {
        &self.acl
    }

    fn check<'a>(&'a self, credentials: &'a Credentials) -> Awaited<'a, bool> {
        Box::pin(async move {
            let text = |bytes: &'a Bytes| std::str::from_utf8(bytes);
            let (Ok(user), Ok(password)) = (text(&credentials.user), text(&credentials.password))
            else {
                return false;
            };
            self.control.check_password(user, password).await
        })
    }

    fn set_user<'a>(
        &'a self,
        asker: &'a [u8],
        user: &'a [u8],
        rules: &'a [Bytes],
    ) -> Awaited<'a, Result<(), CommandError>> {
        Box::pin(self.set(asker, user, rules))
    }

    fn delete_users<'a>(
        &'a self,
        asker: &'a [u8],
        users: &'a [Bytes],
    ) -> Awaited<'a, Result<usize, CommandError>> {
        Box::pin(self.delete(asker, users))
    }
}
