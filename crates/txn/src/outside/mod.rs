//! Those who take part in global transactions, each kind with a connection of its own: services
//! by HTTP callbacks ([`http`]), databases by prepared transactions ([`postgres`]), the cluster's
//! own hot data by locks that last ([`hot`]).
//!
//! A participant's name says what it is: `http://…` and `https://…` are services, `postgres:NAME`
//! is a database, `atoll:hot` is hot data. Clients choose names; which of them a node talks to, its
//! settings say ([`hosts`], [`postgres::databases`]).

pub mod hosts;
pub mod hot;
pub mod http;
pub mod postgres;

use std::sync::Arc;

use atoll_world::pki::{self, PkiError};
use tokio_rustls::rustls::ClientConfig;

use crate::{
    core::global::{Branch, Kind, Report},
    driver::global::{Call, Later, Outside, Unfit},
};

pub use hosts::Hosts;
pub use hot::Hot;
pub use http::Http;
pub use postgres::Postgres;

/// How others prove by TLS who they are.
pub type Tls = Arc<ClientConfig>;

/// Those who are trusted to say who is who: authorities, as PEM.
///
/// # Errors
/// They can't be read.
pub fn tls(roots_pem: &str) -> Result<Tls, PkiError> {
    let roots = pki::certificates_from_pem("the authorities of participants", roots_pem)?;
    pki::tls::client_config(&roots, None, &[])
}

/// Everybody whom this node can reach.
pub struct Everybody {
    /// Services.
    pub http: Http,
    /// Databases.
    pub postgres: Postgres,
    /// Hot data.
    pub hot: Hot,
}

/// What a participant is.
enum Sort {
    Service,
    Database,
    HotData,
}

fn sort(name: &str) -> Sort {
    match name {
        hot::NAME => Sort::HotData,
        name if name.starts_with(postgres::PREFIX) => Sort::Database,
        _ => Sort::Service,
    }
}

impl Outside for Everybody {
    fn reaches(&self, name: &str) -> Result<(), Unfit> {
        match sort(name) {
            // Every node reaches it, if anybody does.
            Sort::HotData => Ok(()),
            Sort::Database => self.postgres.reaches(name),
            Sort::Service => self.http.target(name).map(drop),
        }
    }

    fn check(&self, kind: Kind, name: &str, payload: &[u8]) -> Result<(), Unfit> {
        match sort(name) {
            Sort::HotData => Hot::check(kind, payload),
            Sort::Database => self.postgres.check(kind, name, payload),
            Sort::Service => self.http.check(name, payload),
        }
    }

    fn tell(&self, call: Call) -> Later<Option<Report>> {
        match sort(&call.name) {
            Sort::HotData => self.hot.tell(call),
            Sort::Database => self.postgres.tell(call),
            Sort::Service => self.http.tell(call),
        }
    }

    fn held(&self) -> Later<Vec<(Branch, String)>> {
        // Services ask by themselves.
        let postgres = self.postgres.clone();
        Box::pin(async move { postgres.held().await })
    }

    fn found(&self) -> Vec<(Branch, String)> {
        self.hot.found()
    }
}
