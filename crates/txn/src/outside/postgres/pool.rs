//! A few connections to a database, which are used again.

use std::{sync::Arc, time::Duration};

use atoll_world::{clock, net, task};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, task::AbortHandle};
use tokio_postgres::{CancelToken, Client, NoTls};
use tokio_rustls::{
    TlsConnector,
    rustls::pki_types::{InvalidDnsNameError, ServerName},
};

use super::{
    databases::Database,
    session::{Session, SessionError},
    wire::{Allowance, Metered, Upgrade},
};

/// So many connections a node has to one database; who needs another one waits.
const CONNECTIONS_MAX: usize = 8;
/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections to one database.
pub(super) struct Pool {
    database: Database,
    free: Arc<Semaphore>,
    idle: Mutex<Vec<Link>>,
}

/// A connection. Dropped, its socket is closed, whatever the database is doing for it.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) allowance: Allowance,
    _carrier: Carrier,
}

/// The task that carries what is said.
struct Carrier(AbortHandle);

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Pool {
    pub(super) fn new(database: Database) -> Self {
        Pool {
            database,
            free: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            idle: Mutex::default(),
        }
    }

    /// A connection that nobody else uses. Dropped, it is closed.
    pub(super) async fn session(&self) -> Result<Session, SessionError> {
        let permit = self.free.clone().acquire_owned().await;
        let permit = permit.map_err(|_| SessionError::Timeout)?;
        let idle = {
            let mut idle = self.idle.lock();
            idle.retain(|link| !link.client.is_closed());
            idle.pop()
        };
        if let Some(link) = idle {
            link.allowance.renew();
            return Ok(Session::new(link, permit));
        }
        let session = Session::new(self.connect().await?, permit);
        session.set_up().await?;
        Ok(session)
    }

    /// Lets others use it.
    pub(super) fn keep(&self, session: Session) {
        let link = session.into_link();
        if !link.client.is_closed() {
            self.idle.lock().push(link);
        }
    }

    /// Ends what a connection is busy with, and the connection. Its statement may have switched
    /// off the database's own limits of time.
    pub(super) async fn stop(&self, session: Session) {
        let cancel = self.cancel(session.cancel_token());
        match clock::timeout(CONNECT_TIMEOUT, cancel).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a statement could not be cancelled"),
            Err(_) => tracing::debug!("a statement could not be cancelled in time"),
        }
    }

    async fn cancel(&self, token: CancelToken) -> Result<(), SessionError> {
        let stream = self.dial(Allowance::default()).await?;
        match self.upgrade()? {
            None => token.cancel_query_raw(stream, NoTls).await?,
            Some(upgrade) => token.cancel_query_raw(stream, upgrade).await?,
        }
        Ok(())
    }

    async fn dial(&self, allowance: Allowance) -> Result<Metered, SessionError> {
        let it = &self.database;
        let address = match it.host.contains(':') {
            true => format!("[{}]:{}", it.host, it.port),
            false => format!("{}:{}", it.host, it.port),
        };
        let stream = net::connect(&address, CONNECT_TIMEOUT).await?;
        Ok(Metered::new(stream, allowance))
    }

    fn upgrade(&self) -> Result<Option<Upgrade>, SessionError> {
        let Some(tls) = &self.database.tls else {
            return Ok(None);
        };
        Ok(Some(Upgrade {
            connector: TlsConnector::from(tls.clone()),
            name: ServerName::try_from(self.database.host.clone())?,
        }))
    }

    async fn connect(&self) -> Result<Link, SessionError> {
        let allowance = Allowance::default();
        let stream = self.dial(allowance.clone()).await?;
        let config = &self.database.config;
        let (client, carrier) = match self.upgrade()? {
            None => {
                let (client, connection) = config.connect_raw(stream, NoTls).await?;
                (client, task::spawn(ended(connection)))
            }
            Some(upgrade) => {
                let (client, connection) = config.connect_raw(stream, upgrade).await?;
                (client, task::spawn(ended(connection)))
            }
        };
        Ok(Link {
            client,
            allowance,
            _carrier: Carrier(carrier.abort_handle()),
        })
    }
}

async fn ended(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to a database ended");
    }
}

impl From<InvalidDnsNameError> for SessionError {
    fn from(_: InvalidDnsNameError) -> Self {
        SessionError::Name
    }
}
