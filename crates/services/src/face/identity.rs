//! Who asks, and what that one may do.
//!
//! Nobody is served without a credential, not even on loopback: to run workloads is to run code.
//! A bearer token of a login or a client certificate tells who it is; both are the identity
//! store's that every protocol has. While logins are off there are no users, and only the
//! certificate of root passes, which nobody has who can't read a node's folder.
//!
//! Rights on objects are rights on the keys under which they lie.

use atoll_control::{
    api::ControlApi,
    core::auth::{Need, ROOT_USER},
    face::Connection,
    proto::internal::{Identity, identity::Who},
};
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
pub(crate) fn permit<C: ControlApi>(
    control: &C,
    user: &User,
    verb: Verb,
    resource: &Resource,
) -> Result<(), Failure> {
    let (key, end) = keys(resource);
    if control
        .permit(&user.identity, verb.need(), &key, &end)
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
