//! The command line's client: any of several endpoints, over TLS or not, logged in or not.
//!
//! A call goes to the endpoint that answered last. Where that one cannot be reached the next
//! is asked. Where it took the request and gave no answer, the next is asked only if asking
//! twice does no harm: a write whose answer is lost is told as such, never repeated.

mod connection;
mod options;
pub(crate) mod redis;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use atoll_control::proto::etcdserverpb as pb;
use tokio::sync::{Mutex, OnceCell};
use tonic::{Code, Response, Status, transport::Channel};

use self::connection::open;
pub(crate) use self::{
    connection::{Connection, reason},
    options::{Login, Options},
};
use crate::{error::CliError, password::Secret};

/// Whether a request may reach two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It reads, or does the same when done twice.
    Safe,
    /// Done twice, it would do something else.
    Never,
}

/// A client of one cluster. Cheap to clone; connects when it is first used.
#[derive(Clone)]
pub(crate) struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    /// In the order of `options.endpoints`.
    channels: Vec<OnceCell<Channel>>,
    /// The endpoint that answered last.
    current: AtomicUsize,
    /// Shared with clients for other endpoints: logging in costs the cluster a slow hash.
    token: Arc<Mutex<Option<Token>>>,
}

/// What logging in gave.
#[derive(Clone)]
enum Token {
    /// Authentication is off: nothing to show.
    NotNeeded,
    Bearer(Secret),
}

/// Why an endpoint gave no result.
enum Failure {
    /// It was not reached: nothing was sent.
    NotSent(String),
    /// It was sent, and this came back.
    Answered(Status),
    /// It was sent, and nothing came back in time, or the connection broke.
    Silent(String),
}

impl Client {
    /// A client that is not connected yet.
    pub(crate) fn new(options: Options) -> Client {
        Client::with_token(options, Arc::default())
    }

    fn with_token(options: Options, token: Arc<Mutex<Option<Token>>>) -> Client {
        assert!(
            !options.endpoints.is_empty(),
            "options always name an endpoint"
        );
        let shared = Shared {
            channels: options.endpoints.iter().map(|_| OnceCell::new()).collect(),
            options,
            current: AtomicUsize::new(0),
            token,
        };
        Client {
            shared: Arc::new(shared),
        }
    }

    /// A client with the same credentials for other endpoints of the same cluster.
    pub(crate) fn at(&self, endpoints: Vec<String>) -> Client {
        let options = Options {
            endpoints,
            ..self.shared.options.clone()
        };
        Client::with_token(options, self.shared.token.clone())
    }

    /// A client that waits so long for each answer.
    pub(crate) fn with_timeout(&self, timeout: Duration) -> Client {
        let options = Options {
            timeout,
            ..self.shared.options.clone()
        };
        Client::with_token(options, self.shared.token.clone())
    }

    /// Who it logs in as; none if nobody.
    pub(crate) fn user(&self) -> Option<String> {
        let login = self.shared.options.login.as_ref();
        login.map(|login| login.user.clone())
    }

    /// The endpoints, in the order in which they are tried.
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.shared.options.endpoints
    }

    /// The authority it trusts, as PEM; none without TLS.
    pub(crate) fn ca(&self) -> Option<&str> {
        self.shared.options.ca.as_deref()
    }

    /// How long one answer may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.shared.options.timeout
    }

    /// Sends one request and answers what came back.
    ///
    /// # Errors
    /// Nobody could be reached, the cluster refused, or (with [`Retry::Never`]) the answer was
    /// lost and the outcome is unknown.
    pub(crate) async fn call<R, T, F, Sent>(
        &self,
        retry: Retry,
        request: R,
        send: F,
    ) -> Result<T, CliError>
    where
        R: Clone,
        F: Fn(Connection, R) -> Sent,
        Sent: Future<Output = Result<Response<T>, Status>>,
    {
        let count = self.endpoints().len();
        let first = self.shared.current.load(Ordering::Relaxed);
        let mut tried = Vec::new();
        let mut refused = None;
        for index in (0..count).map(|step| (first + step) % count) {
            let endpoint = self.endpoints()[index].clone();
            match self.attempt(index, &request, &send).await {
                Ok(answer) => {
                    self.shared.current.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(Failure::NotSent(why)) => tried.push((endpoint, why)),
                Err(Failure::Silent(why)) if retry == Retry::Safe => tried.push((endpoint, why)),
                Err(Failure::Silent(why)) => {
                    return Err(CliError::OutcomeUnknown { endpoint, why });
                }
                // Cut off from the majority: another node may not be.
                Err(Failure::Answered(status))
                    if retry == Retry::Safe && status.code() == Code::Unavailable =>
                {
                    refused = Some(status);
                }
                Err(Failure::Answered(status)) => return Err(status.into()),
            }
        }
        match refused {
            Some(status) => Err(status.into()),
            None => Err(CliError::Unreachable { tried }),
        }
    }

    /// A connection to the first endpoint that answers, for streams, which their owner opens
    /// again when they break.
    ///
    /// # Errors
    /// Nobody can be reached, or logging in failed.
    pub(crate) async fn connection(&self) -> Result<Connection, CliError> {
        let count = self.endpoints().len();
        let first = self.shared.current.load(Ordering::Relaxed);
        let mut tried = Vec::new();
        for index in (0..count).map(|step| (first + step) % count) {
            match self.connect(index).await {
                Ok(connection) => {
                    self.shared.current.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(Failure::NotSent(why) | Failure::Silent(why)) => {
                    tried.push((self.endpoints()[index].clone(), why));
                }
                Err(Failure::Answered(status)) => return Err(status.into()),
            }
        }
        Err(CliError::Unreachable { tried })
    }

    /// Turns to the next endpoint: a stream to the current one broke.
    pub(crate) fn turn_away(&self) {
        let next = (self.shared.current.load(Ordering::Relaxed) + 1) % self.endpoints().len();
        self.shared.current.store(next, Ordering::Relaxed);
    }

    async fn attempt<R, T, F, Sent>(
        &self,
        index: usize,
        request: &R,
        send: &F,
    ) -> Result<T, Failure>
    where
        R: Clone,
        F: Fn(Connection, R) -> Sent,
        Sent: Future<Output = Result<Response<T>, Status>>,
    {
        let connection = self.connect(index).await?;
        let answer = self.in_time(send(connection, request.clone())).await;
        // The token may be older than the server remembers. Nothing was done then, so even a
        // write may be sent again, once.
        if matches!(&answer, Err(Failure::Answered(s)) if s.message().contains("invalid auth token"))
        {
            *self.shared.token.lock().await = None;
            let connection = self.connect(index).await?;
            return self.in_time(send(connection, request.clone())).await;
        }
        answer
    }

    async fn in_time<T>(
        &self,
        sent: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout(), sent).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if connection::broken(&status) => Err(Failure::Silent(reason(&status))),
            Ok(Err(status)) => Err(Failure::Answered(status)),
            Err(_) => Err(Failure::Silent(format!(
                "no answer in {} ms",
                self.timeout().as_millis()
            ))),
        }
    }

    async fn connect(&self, index: usize) -> Result<Connection, Failure> {
        let shared = &*self.shared;
        let channel = shared.channels[index]
            .get_or_try_init(|| open(&shared.options, &shared.options.endpoints[index]))
            .await
            .map_err(Failure::NotSent)?;
        let plain = Connection::new(channel.clone(), None);
        let Some(login) = &shared.options.login else {
            return Ok(plain);
        };
        // Held while logging in, so that many calls at once log in once.
        let mut token = shared.token.lock().await;
        let known = match token.clone() {
            Some(known) => known,
            None => self.log_in(&plain, login).await?,
        };
        *token = Some(known.clone());
        Ok(match known {
            Token::NotNeeded => plain,
            Token::Bearer(bearer) => Connection::new(channel.clone(), Some(&bearer)),
        })
    }

    async fn log_in(&self, connection: &Connection, login: &Login) -> Result<Token, Failure> {
        let request = pb::AuthenticateRequest {
            name: login.user.clone(),
            password: login.password.0.clone(),
        };
        let mut auth = connection.auth();
        match self.in_time(auth.authenticate(request)).await {
            Ok(answer) => Ok(Token::Bearer(Secret(answer.token))),
            Err(Failure::Answered(status))
                if status.message().contains("authentication is not enabled") =>
            {
                Ok(Token::NotNeeded)
            }
            // Nothing of the request itself was sent yet.
            Err(Failure::Silent(why)) => Err(Failure::NotSent(why)),
            Err(failure) => Err(failure),
        }
    }
}
