//! Users, roles and permissions, and who may touch which keys.
//!
//! The rules are etcd's auth store: every change raises the auth revision, and a command
//! whose identity was established under an older one is refused, so that a right that was
//! just taken away cannot be used. Passwords are opaque here; hashing and verifying them is
//! the driver's.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use crate::{
    core::{
        effects::{Effects, Table},
        error::Error,
        guard::Who,
        intervals::{End, Intervals},
        restore::RestoreError,
        session::{Digest, Sessions},
    },
    proto::{
        authpb::{Permission, Role, User, permission::Type as Kind},
        etcdserverpb::{
            AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
            AuthUserChangePasswordRequest,
        },
        internal::{self, Identity, SessionOpen, SessionsEnd, identity},
    },
};

/// The user who must exist before authentication is switched on.
pub const ROOT_USER: &str = "root";
/// The role that may do everything.
pub const ROOT_ROLE: &str = "root";

const ENABLED_ROW: &[u8] = b"enabled";
const REVISION_ROW: &[u8] = b"revision";
const USER_ROW: &[u8] = b"user/";
const ROLE_ROW: &[u8] = b"role/";

/// Which right an operation needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To see keys and values.
    Read,
    /// To put and delete keys.
    Write,
}

/// Users, roles, logins, and the switch.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    enabled: bool,
    revision: u64,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
    /// Per user, the merged key ranges of all roles.
    rights: BTreeMap<String, Rights>,
    sessions: Sessions,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Rights {
    read: Intervals,
    write: Intervals,
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            enabled: false,
            // 0 stands for "nobody" in an identity, so the count begins at 1.
            revision: 1,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            rights: BTreeMap::new(),
            sessions: Sessions::default(),
        }
    }
}

/// What is asked and told.
impl Auth {
    /// Whether authentication is on.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Grows with every change of users, roles and permissions.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The password hash to verify a login against, and the auth revision to open the
    /// session under.
    ///
    /// # Errors
    /// `AuthNotEnabled`; `AuthFailed` for an unknown user or one without a password.
    pub fn password_hash(&self, name: &str) -> Result<(Bytes, u64), Error> {
        if !self.enabled {
            return Err(Error::AuthNotEnabled);
        }
        let user = self.users.get(name).filter(|user| !no_password(user));
        let user = user.ok_or(Error::AuthFailed)?;
        Ok((user.password.clone(), self.revision))
    }

    /// The password hash of a user that has a password, whether logins are on or not.
    pub(crate) fn stored_hash(&self, name: &str) -> Option<Bytes> {
        let user = self.users.get(name).filter(|user| !no_password(user))?;
        Some(user.password.clone()).filter(|hash| !hash.is_empty())
    }

    /// When a user was made; none if there is no such user.
    pub(crate) fn made_at(&self, name: &str) -> Option<i64> {
        self.users.get(name).map(|user| user.made_at)
    }

    /// Every user, in order of their names.
    pub(crate) fn every_user(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (name.as_str(), user))
    }

    /// The identity behind a bearer token's SHA-256; none if there is no such login.
    pub fn identify_digest(&self, digest: &[u8]) -> Option<Identity> {
        self.sessions.name(digest).map(|name| self.identify(name))
    }

    /// How many logins there are.
    pub fn logins(&self) -> usize {
        self.sessions.len()
    }

    /// Every login, by the SHA-256 of its token, in order.
    pub fn sessions(&self) -> impl Iterator<Item = Digest> + '_ {
        self.sessions.digests()
    }

    /// The identity of a user that was authenticated just now. Whether there is such a user,
    /// and what it may do, is asked when it does something.
    pub fn identify(&self, name: &str) -> Identity {
        Identity {
            who: Some(identity::Who::User(internal::User {
                name: name.to_owned(),
                auth_revision: self.revision,
            })),
        }
    }

    /// The identity of whom a client certificate names. A certificate outlives its user; the
    /// login does not.
    ///
    /// # Errors
    /// `PermissionDenied`, as etcd answers whom it does not know.
    pub fn identify_certificate(&self, name: &str) -> Result<Identity, Error> {
        if !self.users.contains_key(name) {
            return Err(Error::PermissionDenied);
        }
        Ok(self.identify(name))
    }

    /// Refuses anybody but a holder of the root role, while authentication is on.
    ///
    /// # Errors
    /// `UserEmpty`, `UserNotFound`, `PermissionDenied`.
    pub fn require_admin(&self, identity: &Identity) -> Result<(), Error> {
        self.permit_admin(identity.into())
    }

    /// Refuses who lacks the right on a key (empty `range_end`) or range, while
    /// authentication is on.
    ///
    /// # Errors
    /// `UserEmpty`, `AuthOldRevision`, `PermissionDenied`.
    pub fn require(
        &self,
        identity: &Identity,
        need: Need,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<(), Error> {
        self.permit(identity.into(), need, key, range_end)
    }

    /// A user's roles, for root and the user itself.
    ///
    /// # Errors
    /// `UserNotFound`, and those of [`Auth::require_admin`].
    pub fn user(&self, identity: &Identity, name: &str) -> Result<Vec<String>, Error> {
        let who = Who::from(identity);
        if !matches!(who, Who::User { name: own, .. } if own == name) {
            self.permit_admin(who)?;
        }
        self.users
            .get(name)
            .map(|user| user.roles.clone())
            .ok_or(Error::UserNotFound)
    }

    /// Every user's name, in order.
    ///
    /// # Errors
    /// Those of [`Auth::require_admin`].
    pub fn users(&self, identity: &Identity) -> Result<Vec<String>, Error> {
        self.require_admin(identity)?;
        Ok(self.users.keys().cloned().collect())
    }

    /// A role's permissions, for root and holders of the role.
    ///
    /// # Errors
    /// `RoleNotFound`, and those of [`Auth::require_admin`].
    pub fn role(&self, identity: &Identity, name: &str) -> Result<Vec<Permission>, Error> {
        let who = Who::from(identity);
        let holds_it = matches!(who, Who::User { name: own, .. }
            if self.users.get(own).is_some_and(|user| has_role(user, name)));
        if !holds_it {
            self.permit_admin(who)?;
        }
        let role = self.roles.get(name).ok_or(Error::RoleNotFound)?;
        if name == ROOT_ROLE {
            return Ok(vec![Permission {
                perm_type: Kind::Readwrite.into(),
                key: Bytes::new(),
                range_end: Bytes::from_static(&[0]),
            }]);
        }
        Ok(role.key_permission.clone())
    }

    /// Every role's name, in order.
    ///
    /// # Errors
    /// Those of [`Auth::require_admin`].
    pub fn roles(&self, identity: &Identity) -> Result<Vec<String>, Error> {
        self.require_admin(identity)?;
        Ok(self.roles.keys().cloned().collect())
    }

    pub(crate) fn permit_admin(&self, who: Who<'_>) -> Result<(), Error> {
        let name = match who {
            Who::System => return Ok(()),
            _ if !self.enabled => return Ok(()),
            Who::Anonymous => return Err(Error::UserEmpty),
            Who::User { name: "", .. } => return Err(Error::UserEmpty),
            Who::User { name, .. } => name,
        };
        let user = self.users.get(name).ok_or(Error::UserNotFound)?;
        has_role(user, ROOT_ROLE)
            .then_some(())
            .ok_or(Error::PermissionDenied)
    }

    pub(crate) fn permit(
        &self,
        who: Who<'_>,
        need: Need,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<(), Error> {
        let (name, auth_revision) = match who {
            Who::System => return Ok(()),
            _ if !self.enabled => return Ok(()),
            Who::Anonymous
            | Who::User {
                auth_revision: 0, ..
            } => return Err(Error::UserEmpty),
            Who::User {
                name,
                auth_revision,
            } => (name, auth_revision),
        };
        if auth_revision < self.revision {
            return Err(Error::AuthOldRevision);
        }
        let user = self.users.get(name).ok_or(Error::PermissionDenied)?;
        if has_role(user, ROOT_ROLE) {
            return Ok(());
        }
        let rights = self.rights.get(name).ok_or(Error::PermissionDenied)?;
        let allowed = match need {
            Need::Read => &rights.read,
            Need::Write => &rights.write,
        };
        let covered = match range_end {
            [] => allowed.contains_key(key),
            [0] => allowed.contains(key, &End::Never),
            end => allowed.contains(key, &End::Before(Bytes::copy_from_slice(end))),
        };
        covered.then_some(()).ok_or(Error::PermissionDenied)
    }
}

/// What is changed. Whether the caller may is checked before.
impl Auth {
    pub(crate) fn enable(&mut self, effects: &mut Effects) -> Result<(), Error> {
        if self.enabled {
            return Ok(());
        }
        let root = self.users.get(ROOT_USER).ok_or(Error::RootUserNotExist)?;
        if !has_role(root, ROOT_ROLE) {
            return Err(Error::RootRoleNotExist);
        }
        self.switch(true, effects);
        Ok(())
    }

    pub(crate) fn disable(&mut self, effects: &mut Effects) {
        if self.enabled {
            self.switch(false, effects);
            self.sessions.close_all(effects);
            self.commit(effects);
        }
    }

    pub(crate) fn user_add(
        &mut self,
        request: &AuthUserAddRequest,
        made_at: i64,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        if request.name.is_empty() {
            return Err(Error::UserEmpty);
        }
        if self.users.contains_key(&request.name) {
            return Err(Error::UserAlreadyExist);
        }
        let options = request.options.unwrap_or_default();
        let password = if options.no_password {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(request.hashed_password.as_bytes())
        };
        self.put_user(
            User {
                name: Bytes::copy_from_slice(request.name.as_bytes()),
                password,
                roles: Vec::new(),
                options: Some(options),
                made_at,
            },
            &request.name,
            effects,
        );
        self.commit(effects);
        Ok(())
    }

    pub(crate) fn user_delete(&mut self, name: &str, effects: &mut Effects) -> Result<(), Error> {
        if self.enabled && name == ROOT_USER {
            return Err(Error::InvalidAuthMgmt);
        }
        self.users.remove(name).ok_or(Error::UserNotFound)?;
        self.rights.remove(name);
        effects.delete(Table::Auth, row_key(USER_ROW, name));
        self.sessions.close_of_user(name, effects);
        self.commit(effects);
        Ok(())
    }

    pub(crate) fn user_change_password(
        &mut self,
        request: &AuthUserChangePasswordRequest,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let mut user = self
            .users
            .get(&request.name)
            .cloned()
            .ok_or(Error::UserNotFound)?;
        user.password = if no_password(&user) {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(request.hashed_password.as_bytes())
        };
        self.put_user(user, &request.name, effects);
        self.sessions.close_of_user(&request.name, effects);
        self.commit(effects);
        Ok(())
    }

    pub(crate) fn user_grant_role(
        &mut self,
        name: &str,
        role: &str,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let mut user = self.users.get(name).cloned().ok_or(Error::UserNotFound)?;
        if role != ROOT_ROLE && !self.roles.contains_key(role) {
            return Err(Error::RoleNotFound);
        }
        let Err(place) = user.roles.binary_search_by(|have| have.as_str().cmp(role)) else {
            return Ok(());
        };
        user.roles.insert(place, role.to_owned());
        self.put_user(user, name, effects);
        self.commit(effects);
        Ok(())
    }

    pub(crate) fn user_revoke_role(
        &mut self,
        name: &str,
        role: &str,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        if self.enabled && name == ROOT_USER && role == ROOT_ROLE {
            return Err(Error::InvalidAuthMgmt);
        }
        let mut user = self.users.get(name).cloned().ok_or(Error::UserNotFound)?;
        if !has_role(&user, role) {
            return Err(Error::RoleNotGranted);
        }
        user.roles.retain(|have| have != role);
        self.put_user(user, name, effects);
        self.commit(effects);
        Ok(())
    }

    pub(crate) fn role_add(&mut self, name: &str, effects: &mut Effects) -> Result<(), Error> {
        if name.is_empty() {
            return Err(Error::RoleEmpty);
        }
        if self.roles.contains_key(name) {
            return Err(Error::RoleAlreadyExist);
        }
        let role = Role {
            name: Bytes::copy_from_slice(name.as_bytes()),
            key_permission: Vec::new(),
        };
        self.put_role(role, name, effects);
        self.commit(effects);
        Ok(())
    }

    pub(crate) fn role_delete(&mut self, name: &str, effects: &mut Effects) -> Result<(), Error> {
        if self.enabled && name == ROOT_ROLE {
            return Err(Error::InvalidAuthMgmt);
        }
        self.roles.remove(name).ok_or(Error::RoleNotFound)?;
        effects.delete(Table::Auth, row_key(ROLE_ROW, name));
        for holder in self.holders(name) {
            let mut user = self.users[&holder].clone();
            user.roles.retain(|have| have != name);
            self.put_user(user, &holder, effects);
        }
        self.commit(effects);
        Ok(())
    }

    pub(crate) fn role_grant_permission(
        &mut self,
        request: &AuthRoleGrantPermissionRequest,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let given = request.perm.as_ref().ok_or(Error::PermissionNotGiven)?;
        if !is_valid_range(&given.key, &given.range_end) {
            return Err(Error::InvalidAuthMgmt);
        }
        let mut role = self
            .roles
            .get(&request.name)
            .cloned()
            .ok_or(Error::RoleNotFound)?;
        let same =
            |have: &&mut Permission| have.key == given.key && have.range_end == given.range_end;
        match role.key_permission.iter_mut().find(same) {
            Some(have) => have.perm_type = given.perm_type,
            None => {
                role.key_permission.push(given.clone());
                role.key_permission.sort_by(|a, b| a.key.cmp(&b.key));
            }
        }
        self.put_role(role, &request.name, effects);
        self.commit(effects);
        Ok(())
    }

    pub(crate) fn role_revoke_permission(
        &mut self,
        request: &AuthRoleRevokePermissionRequest,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let mut role = self
            .roles
            .get(&request.role)
            .cloned()
            .ok_or(Error::RoleNotFound)?;
        let before = role.key_permission.len();
        role.key_permission
            .retain(|have| have.key != request.key || have.range_end != request.range_end);
        if role.key_permission.len() == before {
            return Err(Error::PermissionNotGranted);
        }
        self.put_role(role, &request.role, effects);
        self.commit(effects);
        Ok(())
    }

    /// Opens a login, unless anything about users changed since its password was checked.
    pub(crate) fn session_open(
        &mut self,
        request: &SessionOpen,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        let (_, revision) = self.password_hash(&request.name)?;
        if request.auth_revision != revision {
            return Err(Error::AuthOldRevision);
        }
        let digest = Digest::try_from(&request.token_sha256[..]);
        let digest = digest.map_err(|_| Error::InvalidAuthToken)?;
        self.sessions.open(digest, &request.name, effects);
        effects.auth_changed = true;
        Ok(())
    }

    /// Ends logins that were not used for long; those that are gone already are no fault.
    pub(crate) fn sessions_end(&mut self, request: &SessionsEnd, effects: &mut Effects) {
        for digest in &request.token_sha256 {
            if let Ok(digest) = Digest::try_from(&digest[..]) {
                self.sessions.close(digest, effects);
            }
        }
        effects.auth_changed = true;
    }

    fn switch(&mut self, enabled: bool, effects: &mut Effects) {
        self.enabled = enabled;
        effects.put(Table::Auth, ENABLED_ROW, vec![u8::from(enabled)]);
        effects.auth_changed = true;
    }

    fn commit(&mut self, effects: &mut Effects) {
        self.revision += 1;
        effects.put(
            Table::Auth,
            REVISION_ROW,
            self.revision.to_be_bytes().to_vec(),
        );
        effects.auth_changed = true;
    }

    fn put_user(&mut self, user: User, name: &str, effects: &mut Effects) {
        effects.put(Table::Auth, row_key(USER_ROW, name), user.encode_to_vec());
        self.users.insert(name.to_owned(), user);
        self.merge_rights(name);
    }

    fn put_role(&mut self, role: Role, name: &str, effects: &mut Effects) {
        effects.put(Table::Auth, row_key(ROLE_ROW, name), role.encode_to_vec());
        self.roles.insert(name.to_owned(), role);
        for holder in self.holders(name) {
            self.merge_rights(&holder);
        }
    }

    fn holders(&self, role: &str) -> Vec<String> {
        let holders = self.users.iter().filter(|(_, user)| has_role(user, role));
        holders.map(|(name, _)| name.clone()).collect()
    }

    fn merge_rights(&mut self, name: &str) {
        let mut rights = Rights::default();
        let roles = self.users[name]
            .roles
            .iter()
            .filter_map(|role| self.roles.get(role));
        for permission in roles.flat_map(|role| &role.key_permission) {
            let end = match &permission.range_end[..] {
                [] => End::after_point(&permission.key),
                [0] => End::Never,
                _ => End::Before(permission.range_end.clone()),
            };
            let kind = Kind::try_from(permission.perm_type);
            if matches!(kind, Ok(Kind::Read | Kind::Readwrite)) {
                rights.read.insert(permission.key.clone(), end.clone());
            }
            if matches!(kind, Ok(Kind::Write | Kind::Readwrite)) {
                rights.write.insert(permission.key.clone(), end);
            }
        }
        self.rights.insert(name.to_owned(), rights);
    }
}

/// How it comes back from the store.
impl Auth {
    pub(crate) fn restore_row(&mut self, key: &[u8], value: &Bytes) -> Result<(), RestoreError> {
        let garbled = || RestoreError::garbled(Table::Auth, key);
        let name = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| garbled());
        if key == ENABLED_ROW {
            self.enabled = value[..] == [1];
        } else if key == REVISION_ROW {
            self.revision = u64::from_be_bytes(value[..].try_into().map_err(|_| garbled())?);
        } else if let Some(user) = key.strip_prefix(USER_ROW) {
            let row = User::decode(&value[..]).map_err(|_| garbled())?;
            self.users.insert(name(user)?, row);
        } else if let Some(role) = key.strip_prefix(ROLE_ROW) {
            let row = Role::decode(&value[..]).map_err(|_| garbled())?;
            self.roles.insert(name(role)?, row);
        } else {
            return Err(garbled());
        }
        Ok(())
    }

    pub(crate) fn restore_session(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        self.sessions.restore_row(key, value)
    }

    pub(crate) fn restored(&mut self) {
        for name in self.users.keys().cloned().collect::<Vec<_>>() {
            self.merge_rights(&name);
        }
    }
}

fn row_key(prefix: &[u8], name: &str) -> Vec<u8> {
    [prefix, name.as_bytes()].concat()
}

fn has_role(user: &User, role: &str) -> bool {
    user.roles
        .binary_search_by(|have| have.as_str().cmp(role))
        .is_ok()
}

fn no_password(user: &User) -> bool {
    user.options
        .as_ref()
        .is_some_and(|options| options.no_password)
}

/// A permission covers one key, a proper range, or everything from a key on.
fn is_valid_range(key: &[u8], range_end: &[u8]) -> bool {
    !key.is_empty() && (range_end.is_empty() || range_end == [0] || key < range_end)
}
