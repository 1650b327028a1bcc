//! A steady load of HTTP requests at some gateways, over connections that are kept, and a count
//! of those that failed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use atoll_world::{clock, net, task};
use axum::body::{Body, to_bytes};
use hyper::{
    Request, StatusCode,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::JoinHandle;

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client rests between requests, so that clients don't starve the nodes on a small
/// machine.
const REST: Duration = Duration::from_millis(5);
/// So many different reasons of failures are told.
const REASONS_MAX: usize = 5;
/// The longest answer: the name of a pod.
const ANSWER_BYTES_MAX: usize = 1_024;

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Count {
    pub(super) requests: u64,
    pub(super) failed: u64,
    /// Why, and how many by each reason.
    pub(super) reasons: BTreeMap<String, u64>,
    /// The longest that one request took, whatever came of it.
    pub(super) longest_ms: f64,
}

impl Count {
    fn add(&mut self, told: Result<String, String>, took: Duration) {
        self.requests += 1;
        self.longest_ms = self.longest_ms.max(took.as_secs_f64() * 1e3);
        let Err(why) = told else { return };
        self.failed += 1;
        if self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&why) {
            *self.reasons.entry(why).or_default() += 1;
        }
    }
}

/// A connection to a gateway, once one was needed, until it breaks.
pub(super) struct Link {
    address: String,
    host: &'static str,
    sender: Option<SendRequest<Body>>,
}

impl Link {
    /// Not connected yet. `host` is what the route is told by.
    pub(super) fn new(address: String, host: &'static str) -> Link {
        Link {
            address,
            host,
            sender: None,
        }
    }

    /// Asks; the answer, or why there is none.
    pub(super) async fn ask(&mut self) -> Result<String, String> {
        match clock::timeout(TIMEOUT, self.exchange()).await {
            Ok(Ok((StatusCode::OK, body))) => Ok(body),
            Ok(Ok((status, body))) => Err(format!("{status}: {}", body.trim())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(late) => Err(late.to_string()),
        }
    }

    async fn exchange(
        &mut self,
    ) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
        // One on which an answer is missing is of no use any more: it is put back at the end.
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => {
                let stream = net::connect(&self.address, TIMEOUT).await?;
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                task::spawn(connection);
                sender
            }
        };
        sender.ready().await?;
        let request = Request::get("/").header("host", self.host);
        let answer = sender.send_request(request.body(Body::empty())?).await?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await?;
        self.sender = Some(sender);
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// Clients at work on one route.
pub(super) struct Requests {
    count: Arc<Mutex<Count>>,
    stopping: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Requests {
    /// Starts so many, spread over the gateways.
    pub(super) fn start(gateways: &[String], host: &'static str, clients: u64) -> Requests {
        let count = Arc::new(Mutex::new(Count::default()));
        let stopping = Arc::new(AtomicBool::new(false));
        let gateways = gateways.iter().cycle();
        let clients = gateways.take(usize::try_from(clients).unwrap_or(usize::MAX));
        let tasks = clients.map(|gateway| {
            let (count, stopping) = (count.clone(), stopping.clone());
            let mut link = Link::new(gateway.clone(), host);
            task::spawn(async move {
                while !stopping.load(Ordering::Relaxed) {
                    let begin = clock::now();
                    let told = link.ask().await;
                    count.lock().add(told, clock::now() - begin);
                    clock::sleep(REST).await;
                }
            })
        });
        let tasks = tasks.collect();
        Requests {
            count,
            stopping,
            tasks,
        }
    }

    /// Lets every client finish what it is at; what came of all.
    pub(super) async fn stop(self) -> Count {
        self.stopping.store(true, Ordering::Relaxed);
        for task in self.tasks {
            // A client that panicked has counted what it has.
            let _ = task.await;
        }
        let count = self.count.lock();
        count.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_and_some_are_told() {
        let mut count = Count::default();
        count.add(Ok("a pod".into()), Duration::from_millis(7));
        for number in 0..18 {
            let why = format!("502: {}", number % 9);
            count.add(Err(why), Duration::from_millis(3));
        }
        assert_eq!((count.requests, count.failed), (19, 18));
        assert_eq!(count.reasons.len(), REASONS_MAX);
        assert_eq!(count.reasons["502: 0"], 2);
        assert!((count.longest_ms - 7.0).abs() < 1e-9);
    }
}
