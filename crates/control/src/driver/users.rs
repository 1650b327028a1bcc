//! Users, as faces see them that have rules of their own for what users may do.

use super::{control::Control, passwords};
use crate::core::{
    auth::{Auth, ROOT_ROLE},
    error::Error,
};

/// A user of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownUser {
    /// Its name.
    pub name: String,
    /// It holds the role root.
    pub is_admin: bool,
    /// It was made to log in by certificate only.
    pub no_password: bool,
    /// The revision of the cluster's own keyspace when it was made: what is kept there under its
    /// name, put at this revision or before, was about a user that is gone. 0 if it was made when
    /// the cluster's feature level was lower than 2: then that is not known.
    pub made_at: i64,
}

/// All users of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownUsers {
    /// Whether logins are on.
    pub auth: bool,
    /// In order of their names.
    pub users: Vec<KnownUser>,
}

impl KnownUsers {
    /// The user of this name.
    pub fn get(&self, name: &str) -> Option<&KnownUser> {
        let users = &self.users;
        let place = users.binary_search_by(|user| user.name.as_str().cmp(name));
        place.ok().and_then(|place| users.get(place))
    }
}

/// Where users, and what the cluster keeps for itself, stand on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsersVersion {
    pub(super) auth: bool,
    pub(super) auth_revision: u64,
    pub(super) system_revision: i64,
}

fn known_users(auth: &Auth) -> KnownUsers {
    let users = auth.every_user().map(|(name, user)| KnownUser {
        name: name.to_owned(),
        is_admin: user.roles.iter().any(|role| role == ROOT_ROLE),
        no_password: user.options.is_some_and(|options| options.no_password),
        made_at: user.made_at,
    });
    KnownUsers {
        auth: auth.is_enabled(),
        users: users.collect(),
    }
}

impl Control {
    /// All users, as this node knows them.
    pub fn known_users(&self) -> KnownUsers {
        self.with_auth(known_users)
    }

    /// Returns when users, or what the cluster keeps for itself, are other than they were;
    /// at once if that is not known.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn users_changed(&self, seen: Option<UsersVersion>) -> Result<UsersVersion, Error> {
        let mut applied = self.applied_index();
        loop {
            let now = self.users_version();
            if Some(now) != seen {
                return Ok(now);
            }
            applied.changed().await.map_err(|_| Error::Stopped)?;
        }
    }

    /// Whether this is the password of a user that has one. Opens no login, and needs none to
    /// be on.
    pub async fn check_password(&self, name: &str, password: &str) -> bool {
        let stored = || self.with_auth(|auth| auth.stored_hash(name));
        let Some(hash) = stored() else {
            return false;
        };
        if self.verified().knows(name, &hash, password) {
            return true;
        }
        let Ok(text) = String::from_utf8(hash.to_vec()) else {
            return false;
        };
        // It may have been changed while this took its time.
        let is_right =
            passwords::verify(password.to_owned(), text).await && stored() == Some(hash.clone());
        if is_right {
            self.verified().note(name, hash, password);
        }
        is_right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::effects::Effects,
        proto::{authpb::UserAddOptions, etcdserverpb::AuthUserAddRequest},
    };

    #[test]
    fn users_are_known_as_they_are() {
        let (mut auth, mut effects) = (Auth::default(), Effects::default());
        let mut add = |auth: &mut Auth, name: &str, hash: &str, no_password| {
            let request = AuthUserAddRequest {
                name: name.to_owned(),
                hashed_password: hash.to_owned(),
                options: Some(UserAddOptions { no_password }),
                ..AuthUserAddRequest::default()
            };
            auth.user_add(&request, 7, &mut effects).unwrap();
        };
        add(&mut auth, "root", "hash", false);
        add(&mut auth, "ann", "", false);
        add(&mut auth, "bob", "hash", true);
        let mut effects = Effects::default();
        auth.role_add("other", &mut effects).unwrap();
        auth.user_grant_role("ann", "other", &mut effects).unwrap();
        auth.user_grant_role("root", ROOT_ROLE, &mut effects)
            .unwrap();
        let known = known_users(&auth);
        let facts: Vec<_> = known
            .users
            .iter()
            .map(|user| (user.name.as_str(), user.is_admin, user.no_password))
            .collect();
        assert_eq!(
            facts,
            [
                ("ann", false, false),
                ("bob", false, true),
                ("root", true, false)
            ]
        );
        assert!(!known.auth && known.users.iter().all(|user| user.made_at == 7));
        assert_eq!(known.get("bob"), known.users.get(1));
        assert_eq!(known.get("nobody"), None);
        // Nobody has an empty password.
        assert_eq!(auth.stored_hash("root"), Some("hash".into()));
        for name in ["ann", "bob", "nobody"] {
            assert_eq!(auth.stored_hash(name), None, "{name}");
        }
        auth.enable(&mut effects).unwrap();
        assert!(known_users(&auth).auth);
    }
}
