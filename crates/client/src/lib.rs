//! Transactions on Atoll's hot data, from Rust.
//!
//! ```no_run
//! # async fn example() -> Result<(), atoll_client::Error> {
//! use atoll_client::{Client, Error};
//!
//! let client = Client::connect("http://127.0.0.1:2379").await?;
//! let left = client
//!     .transact(|txn| async move {
//!         let stock: u64 = match txn.get("stock").await? {
//!             Some(text) => std::str::from_utf8(&text).ok().and_then(|it| it.parse().ok()).unwrap_or(0),
//!             None => 0,
//!         };
//!         txn.put("stock", stock.saturating_sub(1).to_string());
//!         Ok::<_, Error>(stock.saturating_sub(1))
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! Transactions are strictly serializable (docs/consistency.md). Nothing is locked while one is
//! under way: it reads, keeps what it wants to write, and commits all of it at once if what it
//! read still stands. If not, its function runs again, so that it should do nothing but read and
//! write through its [`Transaction`].
//!
//! A commit of which no answer came is asked for again under the same name, and done once.
#![allow(
    clippy::disallowed_methods,
    reason = "a client of real clusters: its clock and its chance are real"
)]

mod proto;
mod transaction;

use std::time::Duration;

use bytes::Bytes;
use rand::RngExt as _;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use proto::txn_client::TxnClient;
pub use transaction::Transaction;

/// A node that does not answer is left for another one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A node is asked so often whether it is there, and answers within as long.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No node can be reached at this address.
    #[error("connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// A node refused; nothing was done.
    #[error("{}: {}", .0.code(), .0.message())]
    Refused(Box<Status>),
    /// Others changed what was read again and again; nothing was done.
    #[error("given up after {attempts} attempts: others change the same keys all the time")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// No answer to a commit came, however often it was asked for: it was done or it was not.
    /// Asked for again under the same idempotency key, it is done once.
    #[error("it is not known whether it was committed: {0}")]
    Unknown(Box<Status>),
    /// It has more than one transaction takes.
    #[error("{0}")]
    TooLarge(&'static str),
    /// Without a name it could be committed twice.
    #[error("a transaction is committed under a name that is not empty")]
    Name,
    /// The token can't be sent.
    #[error("a token has visible ASCII characters only")]
    Token,
}

/// How often something is tried.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// So often a transaction runs before it is given up.
    pub attempts_max: u32,
    /// So often a node is asked for the same, where no answer came: to read, or to commit under
    /// one name.
    pub asks_max: u32,
    /// The longest rest before another attempt, at first; it doubles each time.
    pub rest_min: Duration,
    /// No rest is longer.
    pub rest_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts_max: 64,
            asks_max: 8,
            rest_min: Duration::from_millis(2),
            rest_max: Duration::from_millis(200),
        }
    }
}

/// A cluster. Clones share its connection.
#[derive(Clone, Debug)]
pub struct Client {
    txn: TxnClient<Channel>,
    token: Option<MetadataValue<Ascii>>,
    database: u32,
    retry: Retry,
}

impl Client {
    /// Connects to a node's client port, as `http://HOST:PORT`.
    ///
    /// # Errors
    /// [`Error::Connect`]
    pub async fn connect(url: &str) -> Result<Client, Error> {
        Ok(Client::over(endpoint(url)?.connect().await?))
    }

    /// Goes to several nodes, as `http://HOST:PORT` each: a call goes to one that can be reached,
    /// and where that one dies in the middle, it is asked for at another.
    ///
    /// # Errors
    /// [`Error::Connect`]: one of these is no URL. That a node can't be reached is no error before
    /// it is needed.
    pub fn balanced<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Client, Error> {
        let endpoints = urls.into_iter().map(endpoint);
        let endpoints: Vec<Endpoint> = endpoints.collect::<Result<_, Error>>()?;
        Ok(Client::over(Channel::balance_list(endpoints.into_iter())))
    }

    /// Over a channel of one's own, such as one with TLS. Any node serves every call. It should have
    /// HTTP/2's keep-alive, or a node that falls silent is waited for as long as the system does.
    pub fn over(channel: Channel) -> Client {
        Client {
            txn: TxnClient::new(channel).max_decoding_message_size(usize::MAX),
            token: None,
            database: 0,
            retry: Retry::default(),
        }
    }

    /// As somebody who has logged in: the token that etcd's Authenticate gives.
    ///
    /// # Errors
    /// [`Error::Token`]
    pub fn with_token(self, token: &str) -> Result<Client, Error> {
        let mut token: MetadataValue<Ascii> = token.parse().map_err(|_| Error::Token)?;
        token.set_sensitive(true);
        Ok(Client {
            token: Some(token),
            ..self
        })
    }

    /// In another logical database, 0 to 15.
    #[must_use]
    pub fn in_database(self, database: u32) -> Client {
        Client { database, ..self }
    }

    /// With other patience.
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Client {
        Client { retry, ..self }
    }

    /// Begins a transaction that is to be committed by [`commit`](Self::commit).
    pub fn begin(&self) -> Transaction {
        Transaction::new(self.clone())
    }

    /// Runs a transaction, again if something that it read was changed before it was committed.
    ///
    /// # Errors
    /// What the function fails with; nothing is done then. Otherwise see [`Error`].
    pub async fn transact<T, E, F>(&self, run: impl Fn(Transaction) -> F) -> Result<T, E>
    where
        E: From<Error>,
        F: Future<Output = Result<T, E>>,
    {
        for attempt in 0..self.retry.attempts_max {
            let transaction = self.begin();
            let done = run(transaction.clone()).await?;
            if self.commit(transaction).await? {
                return Ok(done);
            }
            self.rest(attempt).await;
        }
        let attempts = self.retry.attempts_max;
        Err(Error::Contended { attempts }.into())
    }

    /// Commits; false if something that it read stands no longer, and nothing was done.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn commit(&self, transaction: Transaction) -> Result<bool, Error> {
        let name: [u8; 16] = rand::rng().random();
        self.commit_as(transaction, &name).await
    }

    /// The same under a name of one's own: what is committed under one name is committed once
    /// within a day, however often the user asks for it, and whatever it would write by then.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn commit_as(&self, transaction: Transaction, name: &[u8]) -> Result<bool, Error> {
        if name.is_empty() {
            return Err(Error::Name);
        }
        let Some(request) = transaction.into_request(self.database, name)? else {
            // It has neither read nor written.
            return Ok(true);
        };
        let answer = self.until_answered(|| {
            let (mut txn, request) = (self.txn.clone(), self.request(request.clone()));
            async move { txn.commit_writes(request).await }
        });
        match answer.await {
            Ok(answer) => Ok(answer.into_inner().committed),
            Err(status) if passes(&status) => Err(Error::Unknown(Box::new(status))),
            Err(status) => Err(Error::Refused(Box::new(status))),
        }
    }

    /// Asks until there is an answer that stays the same if it is asked for again.
    async fn until_answered<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut attempt = 0;
        loop {
            match ask().await {
                Err(status) if passes(&status) && attempt + 1 < self.retry.asks_max => {
                    self.rest(attempt).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    /// Rests for a random time: who met somebody is not to meet the same again.
    async fn rest(&self, attempt: u32) {
        let rest = self.retry.rest_min.saturating_mul(1 << attempt.min(16));
        let most = rest.min(self.retry.rest_max).max(Duration::from_micros(1));
        let rest_us = rand::rng().random_range(0..most.as_micros() as u64 + 1);
        tokio::time::sleep(Duration::from_micros(rest_us)).await;
    }
}

/// A node that says nothing is found out, so that another can be asked.
fn endpoint(url: &str) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(url.to_owned())?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true))
}

/// Whether the same may be answered otherwise a moment later. What was asked may have been done.
fn passes(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unknown
            | Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Internal
            | Code::ResourceExhausted
            | Code::Aborted
    )
}

/// A key or a value.
pub trait IntoBytes {
    /// Its bytes.
    fn into_bytes(self) -> Bytes;
}

impl<T: Into<Vec<u8>>> IntoBytes for T {
    fn into_bytes(self) -> Bytes {
        Bytes::from(self.into())
    }
}
