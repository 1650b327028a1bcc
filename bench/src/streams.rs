//! Clients that keep a stream open: renewals of a lease, and deliveries of a watch.

use std::{sync::Arc, time::Duration};

use atoll_control::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, PutRequest,
    WatchCreateRequest, WatchRequest, WatchResponse, kv_client::KvClient,
    lease_client::LeaseClient, watch_client::WatchClient, watch_request::RequestUnion,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::error::{Error, Result};

/// Longer than any measurement, so that no lease ends in one.
const LEASE_TTL_S: i64 = 3600;
/// The one key that watchers watch.
const WATCHED_KEY: &[u8] = b"bench-watched";

/// One lease on a stream of its own.
pub(crate) struct LeaseLane {
    lease: i64,
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl LeaseLane {
    pub(crate) async fn open(channel: Channel) -> Result<Self> {
        let mut client = LeaseClient::new(channel);
        let grant = LeaseGrantRequest {
            ttl: LEASE_TTL_S,
            id: 0,
        };
        let lease = client
            .lease_grant(grant)
            .await
            .map_err(Error::refused("lease grant"))?
            .into_inner()
            .id;
        let (requests, receiver) = mpsc::channel(1);
        // The server may send its headers only with its first answer.
        let first = LeaseKeepAliveRequest { id: lease };
        requests.send(first).await.expect("the receiver is here");
        let mut answers = client
            .lease_keep_alive(ReceiverStream::new(receiver))
            .await
            .map_err(Error::refused("lease keep-alive"))?
            .into_inner();
        next(&mut answers, "lease keep-alive").await?;
        Ok(Self {
            lease,
            requests,
            answers,
        })
    }

    pub(crate) async fn step(&mut self) -> Result<()> {
        let request = LeaseKeepAliveRequest { id: self.lease };
        if self.requests.send(request).await.is_err() {
            return Err(Error::Protocol("the server ended a keep-alive stream"));
        }
        let answer = next(&mut self.answers, "lease keep-alive").await?;
        if answer.ttl <= 0 {
            return Err(Error::Protocol("a lease ended while it was renewed"));
        }
        Ok(())
    }
}

/// What the writer and the watchers share.
pub(crate) struct Feed {
    epoch: Instant,
    delivered: Semaphore,
}

impl Feed {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            delivered: Semaphore::new(0),
        }
    }
}

/// One watcher on a stream of its own.
pub(crate) struct WatchLane {
    feed: Arc<Feed>,
    // Held open: the server ends the watch when the client's side ends.
    _requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl WatchLane {
    pub(crate) async fn open(channel: Channel, feed: Arc<Feed>) -> Result<Self> {
        let (requests, receiver) = mpsc::channel(1);
        let create = WatchCreateRequest {
            key: WATCHED_KEY.to_vec().into(),
            ..WatchCreateRequest::default()
        };
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        requests.send(create).await.expect("the receiver is here");
        let mut answers = WatchClient::new(channel)
            .watch(ReceiverStream::new(receiver))
            .await
            .map_err(Error::refused("watch"))?
            .into_inner();
        if !next(&mut answers, "watch").await?.created {
            return Err(Error::Protocol("a watch doesn't begin with `created`"));
        }
        Ok(Self {
            feed,
            _requests: requests,
            answers,
        })
    }

    pub(crate) async fn step(&mut self) -> Result<Option<Duration>> {
        let answer = next(&mut self.answers, "watch").await?;
        let mut latency = None;
        for kv in answer.events.iter().filter_map(|event| event.kv.as_ref()) {
            let sent = kv.value.first_chunk().map(|it| u64::from_le_bytes(*it));
            let sent = sent.ok_or(Error::Protocol("a watched value is too short"))?;
            let now = self.feed.epoch.elapsed();
            latency = Some(now.saturating_sub(Duration::from_nanos(sent)));
            self.feed.delivered.add_permits(1);
        }
        Ok(latency)
    }
}

/// Writes the watched key, each time after every watcher has seen the one before.
pub(crate) struct FeedLane {
    pub(crate) kv: KvClient<Channel>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) watchers: u32,
    pub(crate) value_bytes: usize,
}

impl FeedLane {
    pub(crate) async fn step(&mut self) -> Result<()> {
        let mut value = vec![0; self.value_bytes.max(size_of::<u64>())];
        let now_ns = u64::try_from(self.feed.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        value[..size_of::<u64>()].copy_from_slice(&now_ns.to_le_bytes());
        let request = PutRequest {
            key: WATCHED_KEY.to_vec().into(),
            value: value.into(),
            ..PutRequest::default()
        };
        self.kv.put(request).await.map_err(Error::refused("put"))?;
        let seen = self.feed.delivered.acquire_many(self.watchers).await;
        seen.expect("nobody closes it").forget();
        Ok(())
    }
}

async fn next<T>(answers: &mut Streaming<T>, what: &'static str) -> Result<T> {
    match answers.message().await.map_err(Error::refused(what))? {
        Some(answer) => Ok(answer),
        None => Err(Error::Protocol("the server ended a stream")),
    }
}
