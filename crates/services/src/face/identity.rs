//! Who asks, and what that one may do.
//!
//! Nobody is served without a credential, not even on loopback: to run workloads is to run code.
//! A bearer token of a login or a client certificate tells who it is; both are the identity
//! store's that every protocol has. While logins are off there are no users, and only the
//! certificate of root passes, which nobody has who can't read a node's folder.
//!
//! Rights on objects are rights on the keys under which they lie. What goes on for long asks for
//! them again when users, roles or rights have changed ([`Right`]).

use std::time::Duration;

use atoll_control::{
    api::ControlApi,
    core::{
        auth::{Need, ROOT_USER},
        error::Error,
    },
    face::Connection,
    proto::internal::{Identity, identity::Who},
};
use atoll_world::clock;
use axum::http::{
    HeaderMap,
    header::{AUTHORIZATION, ORIGIN},
};

use super::route::Resource;
use crate::{
    core::{
        object::Name,
        status::{Failure, Reason},
    },
    driver::store,
};

/// How often a session looks whether it may go on.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the identity store is asked.
pub(crate) trait Rights {
    /// Whether logins are on, and how often users, roles and rights have changed.
    fn standing(&self) -> (bool, u64);

    /// A user as of now.
    ///
    /// # Errors
    /// There is none of that name.
    fn named(&self, name: &str) -> Result<Identity, Error>;

    /// Refuses who lacks a right on keys, or was identified before a change.
    ///
    /// # Errors
    /// Why.
    fn allow(&self, identity: &Identity, need: Need, key: &[u8], end: &[u8]) -> Result<(), Error>;
}

impl<C: ControlApi> Rights for C {
    fn standing(&self) -> (bool, u64) {
        self.auth_status()
    }

    fn named(&self, name: &str) -> Result<Identity, Error> {
        self.identify_certificate(name)
    }

    fn allow(&self, identity: &Identity, need: Need, key: &[u8], end: &[u8]) -> Result<(), Error> {
        self.permit(identity, need, key, end)
    }
}

/// Somebody who is known.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// The name.
    pub(crate) name: String,
    identity: Identity,
}

/// Finds out who asks.
///
/// # Errors
/// `Unauthorized`.
pub(crate) fn identify<C: ControlApi>(
    control: &C,
    headers: &HeaderMap,
    connection: &Connection,
) -> Result<User, Failure> {
    let is_on = control.auth_status().0;
    if let Some(token) = bearer(headers) {
        let identity = control.identify_token(token).map_err(|_| unauthorized())?;
        return known(identity);
    }
    let Some(name) = connection.peer_common_name.as_deref() else {
        return Err(unauthorized());
    };
    if is_on {
        let identity = control.identify_certificate(name);
        return known(identity.map_err(|_| unauthorized())?);
    }
    match name == ROOT_USER {
        true => Ok(User {
            name: name.to_owned(),
            identity: Identity::default(),
        }),
        false => Err(unauthorized()),
    }
}

/// Who asks on the control plane's listener, which has found out who is logged in there, and
/// perhaps nobody is.
///
/// # Errors
/// `Unauthorized`.
pub(crate) fn identified<C: ControlApi>(
    control: &C,
    identity: Identity,
    common_name: Option<&str>,
) -> Result<User, Failure> {
    let is_on = control.auth_status().0;
    match is_on || common_name != Some(ROOT_USER) {
        true => known(identity),
        false => Ok(User {
            name: ROOT_USER.to_owned(),
            identity: Identity::default(),
        }),
    }
}

/// Somebody who was known, as of now: rights are held against one moment's identity.
///
/// # Errors
/// `Unauthorized`: there is no such user any more.
pub(crate) fn again(rights: &impl Rights, name: &str) -> Result<User, Failure> {
    if !rights.standing().0 && name == ROOT_USER {
        return Ok(User {
            name: name.to_owned(),
            identity: Identity::default(),
        });
    }
    known(rights.named(name).map_err(|_| unauthorized())?)
}

/// Refuses who speaks for somebody else, and pages of browsers, which send their user's
/// certificate along unasked.
///
/// # Errors
/// `Forbidden`.
pub(crate) fn refuse_others(headers: &HeaderMap) -> Result<(), Failure> {
    let is_other = |name: &str| name.starts_with("impersonate-");
    if headers.keys().any(|name| is_other(name.as_str())) {
        let message = "impersonation is not served: ask with the credential of who it is";
        return Err(Failure::new(Reason::Forbidden, message));
    }
    if headers.contains_key(ORIGIN) {
        let message = "pages of browsers are not served here";
        return Err(Failure::new(Reason::Forbidden, message));
    }
    Ok(())
}

fn known(identity: Identity) -> Result<User, Failure> {
    match &identity.who {
        Some(Who::User(user)) => Ok(User {
            name: user.name.clone(),
            identity,
        }),
        _ => Err(unauthorized()),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::trim)
}

fn unauthorized() -> Failure {
    Failure::new(Reason::Unauthorized, "Unauthorized")
}

/// What somebody wants to do with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verb(pub(crate) &'static str);

impl Verb {
    fn need(self) -> Need {
        match self.0 {
            "get" | "list" | "watch" => Need::Read,
            _ => Need::Write,
        }
    }
}

/// Refuses who has no right on the objects.
///
/// # Errors
/// `Forbidden`, in the words of Kubernetes.
pub(crate) fn permit(
    rights: &impl Rights,
    user: &User,
    verb: Verb,
    resource: &Resource,
) -> Result<(), Failure> {
    let (key, end) = keys(resource);
    if rights
        .allow(&user.identity, verb.need(), &key, &end)
        .is_ok()
    {
        return Ok(());
    }
    let kind = resource.kind;
    let part = resource.subresource.map(|part| format!("/{}", part.name()));
    let scope = match &resource.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let why = format!(
        "User {:?} cannot {} resource {:?} in API group {:?} {scope}",
        user.name,
        verb.0,
        format!("{}{}", kind.plural, part.unwrap_or_default()),
        kind.group
    );
    let name = resource.name.as_deref().unwrap_or_default();
    Err(Failure::forbidden(kind.group, kind.plural, name, &why))
}

/// What somebody may do, for as long as it goes on.
#[derive(Clone, Debug)]
pub(crate) struct Right {
    name: String,
    verb: Verb,
    resource: Resource,
    /// When it was looked at last.
    standing: Option<(bool, u64)>,
}

impl Right {
    pub(crate) fn new(user: &User, verb: Verb, resource: &Resource) -> Right {
        Right {
            name: user.name.clone(),
            verb,
            resource: resource.clone(),
            standing: None,
        }
    }

    /// Refuses who has it no more.
    ///
    /// # Errors
    /// `Forbidden`, `Unauthorized`.
    pub(crate) fn check(&mut self, rights: &impl Rights) -> Result<(), Failure> {
        let standing = Some(rights.standing());
        if standing != self.standing {
            let user = again(rights, &self.name)?;
            permit(rights, &user, self.verb, &self.resource)?;
            self.standing = standing;
        }
        Ok(())
    }

    /// Waits until it is had no more; why.
    pub(crate) async fn ends(mut self, rights: &impl Rights) -> Failure {
        loop {
            if let Err(failure) = self.check(rights) {
                return failure;
            }
            clock::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// The keys of what is asked for; an empty end is the one key.
fn keys(resource: &Resource) -> (Vec<u8>, Vec<u8>) {
    let kind = resource.kind;
    match &resource.name {
        Some(name) => {
            let name = Name {
                kind,
                namespace: resource.namespace.clone().unwrap_or_default(),
                name: name.clone(),
            };
            (store::key(&name).to_vec(), Vec::new())
        }
        None => {
            let prefix = store::prefix(kind, resource.namespace.as_deref());
            let end = store::range_end(&prefix).to_vec();
            (prefix.into_bytes(), end)
        }
    }
}

#[cfg(test)]
mod tests {
    use atoll_control::proto::internal;

    use super::*;
    use crate::core::kinds;

    /// Where ann has all rights, or none.
    struct Few {
        revision: u64,
        has_right: bool,
    }

    impl Rights for Few {
        fn standing(&self) -> (bool, u64) {
            (true, self.revision)
        }

        fn named(&self, name: &str) -> Result<Identity, Error> {
            let user = internal::User {
                name: name.to_owned(),
                auth_revision: self.revision,
            };
            match name {
                "ann" => Ok(Identity {
                    who: Some(Who::User(user)),
                }),
                _ => Err(Error::PermissionDenied),
            }
        }

        fn allow(&self, of: &Identity, _: Need, _: &[u8], _: &[u8]) -> Result<(), Error> {
            match &of.who {
                Some(Who::User(user)) if user.auth_revision < self.revision => {
                    Err(Error::AuthOldRevision)
                }
                _ if self.has_right => Ok(()),
                _ => Err(Error::PermissionDenied),
            }
        }
    }

    #[test]
    fn a_right_outlasts_changes_that_are_about_others_and_ends_with_its_own() {
        let pods = Resource {
            kind: &kinds::PODS,
            version: &kinds::PODS,
            namespace: Some("default".to_owned()),
            name: None,
            subresource: None,
        };
        let mut rights = Few {
            revision: 7,
            has_right: true,
        };
        let ann = again(&rights, "ann").unwrap();
        let mut right = Right::new(&ann, Verb("watch"), &pods);
        right.check(&rights).unwrap();
        rights.revision += 1;
        right.check(&rights).unwrap();
        (rights.revision, rights.has_right) = (9, false);
        let refused = right.check(&rights).unwrap_err();
        assert_eq!(refused.reason, Reason::Forbidden);
        let refused = again(&rights, "bob").unwrap_err();
        assert_eq!(refused.reason, Reason::Unauthorized);
    }
}
