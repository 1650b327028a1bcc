//! Who calls, and what is checked before any request is looked at: learners, the client's
//! version, the wish for a leader, the token or certificate. In etcd's order.

use std::sync::Arc;

use tonic::{
    Request, Status,
    codegen::http::{Extensions, HeaderMap, HeaderValue},
};

use super::Face;
use crate::{
    api::{ControlApi, Standing},
    core::error::Error,
    proto::{
        etcdserverpb::ResponseHeader,
        internal::{Anonymous, Identity, identity::Who},
    },
};

/// What the listener knows about a connection. It accompanies every request on it.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// Common name of the verified client certificate, if one was shown.
    pub peer_common_name: Option<String>,
    /// Whether the listener is bound to loopback.
    pub loopback: bool,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// Metadata in which etcd's clients send their token.
const TOKEN: &str = "token";
/// Where HTTP clients send it.
const AUTHORIZATION: &str = "authorization";
/// Metadata that asks to be refused while there is no leader.
const HAS_LEADER: &str = "hasleader";
/// Metadata that carries the version of the client's API.
const CLIENT_API_VERSION: &str = "client-api-version";

/// The parts of a request that say who sent it.
#[derive(Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) headers: &'a HeaderMap<HeaderValue>,
    pub(crate) connection: Option<&'a Connection>,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(headers: &'a HeaderMap<HeaderValue>, extensions: &'a Extensions) -> Self {
        Caller {
            headers,
            connection: extensions.get::<Arc<Connection>>().map(|arc| &**arc),
        }
    }

    pub(crate) fn requires_leader(&self) -> bool {
        self.headers
            .get(HAS_LEADER)
            .is_some_and(|value| value.as_bytes() == b"true")
    }

    /// What has to outlive the request's own future.
    pub(crate) fn to_owned(self) -> OwnedCaller {
        let mut headers = HeaderMap::new();
        for name in [TOKEN, AUTHORIZATION, HAS_LEADER] {
            if let Some(value) = self.headers.get(name) {
                headers.insert(name, value.clone());
            }
        }
        OwnedCaller {
            headers,
            connection: self.connection.cloned(),
        }
    }
}

/// A [`Caller`] for streams.
pub(crate) struct OwnedCaller {
    headers: HeaderMap<HeaderValue>,
    connection: Option<Connection>,
}

impl OwnedCaller {
    pub(crate) fn borrow(&self) -> Caller<'_> {
        Caller {
            headers: &self.headers,
            connection: self.connection.as_ref(),
        }
    }
}

/// Nobody who logged in.
pub(crate) fn anonymous() -> Identity {
    Identity {
        who: Some(Who::Anonymous(Anonymous {})),
    }
}

impl<C: ControlApi> Face<C> {
    /// The checks that come before a request is even looked at.
    pub(crate) fn enter(
        &self,
        caller: Caller<'_>,
        allowed_on_learner: bool,
    ) -> Result<Standing, Error> {
        let standing = self.control.standing();
        if standing.learner && !allowed_on_learner {
            return Err(Error::NotSupportedForLearner);
        }
        if let Some(version) = caller.headers.get(CLIENT_API_VERSION)
            && std::str::from_utf8(version.as_bytes()).is_err()
        {
            return Err(Error::InvalidClientAPIVersion);
        }
        if standing.leader.is_none() && caller.requires_leader() {
            return Err(Error::NoLeader);
        }
        Ok(standing)
    }

    /// Who the caller is. While authentication is off nobody asks, and a stale token does not
    /// matter; unless this node can be reached from outside, where nobody is served then.
    pub(crate) fn identity(
        &self,
        caller: Caller<'_>,
        standing: &Standing,
    ) -> Result<Identity, Error> {
        if !standing.auth {
            let inside = caller.connection.is_some_and(|from| from.loopback);
            return match self.limits.login_required && !inside {
                true => Err(Error::LoginsOff),
                false => Ok(anonymous()),
            };
        }
        let token = caller
            .headers
            .get(TOKEN)
            .or_else(|| caller.headers.get(AUTHORIZATION));
        if let Some(token) = token {
            let token = token.to_str().map_err(|_| Error::InvalidAuthToken)?;
            let token = token.strip_prefix("Bearer ").unwrap_or(token);
            return self.control.identify_token(token);
        }
        match caller
            .connection
            .and_then(|c| c.peer_common_name.as_deref())
        {
            Some(name) => self.control.identify_certificate(name),
            None => Ok(anonymous()),
        }
    }

    /// The identity of somebody who has to be logged in while authentication is on.
    pub(crate) fn logged_in(
        &self,
        caller: Caller<'_>,
        standing: &Standing,
    ) -> Result<Identity, Error> {
        let identity = self.identity(caller, standing)?;
        if standing.auth && matches!(identity.who, None | Some(Who::Anonymous(_))) {
            return Err(Error::UserEmpty);
        }
        Ok(identity)
    }

    /// The identity of somebody with the root role.
    pub(crate) fn admin(&self, caller: Caller<'_>, standing: &Standing) -> Result<Identity, Error> {
        let identity = self.identity(caller, standing)?;
        self.control.require_admin(&identity)?;
        Ok(identity)
    }

    /// Lets nobody past but those who may administer the cluster.
    pub(crate) fn administer<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let caller = Caller::new(request.metadata().as_ref(), request.extensions());
        let standing = self.enter(caller, false)?;
        self.admin(caller, &standing)?;
        Ok(())
    }
}

/// A header that says where this node stood, at a revision (0: the standing's own).
pub(crate) fn header(standing: &Standing, revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        cluster_id: standing.cluster.0,
        member_id: standing.node.0,
        revision: if revision == 0 {
            standing.revision.0
        } else {
            revision
        },
        raft_term: standing.term,
    })
}

/// Fills what the control plane left out of an answer's header; its revision stays.
pub(crate) fn complete(
    header: Option<ResponseHeader>,
    standing: &Standing,
) -> Option<ResponseHeader> {
    self::header(standing, header.map_or(0, |header| header.revision))
}
