//! What is asked of a request before it is passed on, by the route that it takes.

use std::sync::Arc;

use hyper::header::HeaderName;

use super::Rate;
use crate::core::{basic::Users, jwt::Jwt, sources::Sources};

/// The conditions of a route. They are looked at in the order in which they stand here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutePolicy {
    /// What was asked for can't be had, as a list of passwords that is not there: requests are
    /// refused (503), since a route without its conditions would be open to everybody.
    pub is_broken: bool,
    /// Requests without TLS are sent to this port with it (308).
    pub https_port: Option<u16>,
    /// Who may ask (403).
    pub sources: Sources,
    /// How often (429).
    pub rate: Option<RouteRate>,
    /// Who one has to be (401).
    pub auth: Option<Auth>,
    /// The longest body, bytes (413).
    pub body_bytes_max: Option<u64>,
}

/// How clients say who they are.
#[derive(Clone, Debug, PartialEq)]
pub enum Auth {
    /// By a name and a password (RFC 7617).
    Basic {
        /// What browsers show to people.
        realm: String,
        /// Who there is.
        users: Arc<Users>,
    },
    /// By a token that somebody signed (RFC 7519).
    Jwt(Arc<Jwt>),
}

/// A rate of requests, for all clients together or for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRate {
    /// By which it is known from one snapshot to the next, and on every node.
    pub name: String,
    /// How much.
    pub rate: Rate,
    /// Of whom.
    pub by: RateKey,
    /// All nodes of the cluster count together. Where they can't, each one counts for itself.
    pub is_shared: bool,
}

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateKey {
    /// Everybody's.
    All,
    /// Those of one address.
    Source,
    /// Those with the same value of a field; those without it by address.
    Header(HeaderName),
}
