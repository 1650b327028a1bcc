//! Names of Services: what "Kubernetes DNS-Based Service Discovery", version 1.1.0 (kubernetes/dns,
//! docs/specification.md) says, from Services and their EndpointSlices.
//!
//! Objects go into an [`Index`] as they change. A message of a client is read into a
//! [`Query`](message::Query) and answered from the index ([`message`], [`answer`]); where its name
//! is none of the cluster's, or leads to one that is not, the outcome says whom else to ask. What
//! programs need to find the server is the text of [`resolv_conf`].
//!
//! Messages are read and written by `hickory-proto`. Answers are bounded in records and bytes.

pub mod answer;
mod index;
pub mod message;
mod resolv;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use hickory_proto::rr::Name;

pub use self::{
    index::Index,
    resolv::{Resolvers, resolv_conf},
};

/// How long an answer may be kept, in seconds. It is short, since endpoints come and go.
pub const TTL_S: u32 = 5;
/// The version of the specification.
pub const SCHEMA_VERSION: &str = "1.1.0";
/// So many records an answer has at most; a name that has more gives these many of them, others
/// each time.
pub const RECORDS_MAX: usize = 1_024;
/// The longest name of a zone, in bytes: every name below it can then be said.
pub const ZONE_BYTES_MAX: usize = 60;

/// The zone that is served.
#[derive(Clone, Debug)]
pub struct Zone {
    name: Name,
    /// Where its server is; none: at no one address.
    server: Option<IpAddr>,
}

impl Zone {
    /// A zone, as `cluster.local`, and where its server is.
    ///
    /// # Errors
    /// The text is no name of a zone; the words say why.
    pub fn new(text: &str, server: Option<IpAddr>) -> Result<Zone, String> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > ZONE_BYTES_MAX {
            return Err(format!("it is longer than {ZONE_BYTES_MAX} bytes"));
        }
        let labels: Vec<&str> = text.split('.').collect();
        let is_label = |label: &&str| {
            let edges = [label.bytes().next(), label.bytes().next_back()];
            label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && edges
                    .iter()
                    .all(|edge| edge.is_some_and(|edge| edge != b'-'))
        };
        if !labels.iter().all(is_label) {
            return Err("it is not made of letters, digits and `-` between dots".to_owned());
        }
        let name = name(&labels, &Name::root()).ok_or("it has a part that is too long")?;
        Ok(Zone {
            name: name.to_lowercase(),
            server: server.filter(|server| !server.is_unspecified()),
        })
    }

    /// As it is written in a search list: without a dot at the end.
    pub fn text(&self) -> String {
        self.name.to_ascii().trim_end_matches('.').to_owned()
    }
}

/// A name below another one; none if that is too long.
fn name(labels: &[&str], below: &Name) -> Option<Name> {
    let labels = labels.iter().map(|label| label.as_bytes());
    let name = Name::from_labels(labels).ok()?;
    name.append_domain(below).ok()
}
