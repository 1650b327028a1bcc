//! What each client asks, again and again.

use std::{sync::Arc, time::Duration};

use atoll_control::proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    kv_client::KvClient,
    request_op::Request,
};
use clap::ValueEnum;
use serde::Serialize;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::{
    connection,
    error::{Error, Result},
    load::Settings,
    streams::{Feed, FeedLane, LeaseLane, WatchLane},
};

/// Keys that one range reads.
const RANGE_KEYS: u64 = 1000;
/// Every fifth operation of the mixed load is a put.
const MIXED_PUT_EVERY: u64 = 5;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Workload {
    /// Put a random key.
    Put,
    /// Read a random key, linearizable.
    Get,
    /// Read a random key from the asked server's own state.
    GetSerializable,
    /// Read 1,000 keys in order, linearizable.
    Range1000,
    /// If a key isn't younger than the log: put it and read it.
    Txn,
    /// One writer; every client watches, each delivery is one operation.
    WatchFanout,
    /// Renew the client's own lease on its own stream.
    LeaseKeepalive,
    /// One put, four linearizable reads.
    Mixed,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::GetSerializable => "get-serializable",
            Self::Range1000 => "range1000",
            Self::Txn => "txn",
            Self::WatchFanout => "watch-fanout",
            Self::LeaseKeepalive => "lease-keepalive",
            Self::Mixed => "mixed",
        }
    }

    /// Whether every key must be there before it begins.
    pub(crate) fn reads(self) -> bool {
        matches!(
            self,
            Self::Get | Self::GetSerializable | Self::Range1000 | Self::Mixed | Self::Txn
        )
    }
}

/// Name of the key with this number; names sort as numbers do.
pub(crate) fn key(number: u64) -> Vec<u8> {
    format!("bench/{number:010}").into_bytes()
}

/// A value that doesn't compress to nothing.
pub(crate) fn value(bytes: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    (0..bytes)
        .map(|_| numbers.next().to_le_bytes()[0])
        .collect()
}

/// splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// One client: asks, waits for the answer, asks again.
pub(crate) enum Client {
    /// Any workload of single requests.
    Kv(KvLane),
    /// Renews one lease.
    Lease(LeaseLane),
    /// Waits for deliveries.
    Watch(WatchLane),
    /// Writes what the watchers wait for; its own writes aren't counted.
    Feed(FeedLane),
}

impl Client {
    /// Does one operation and answers how long it took; `None` if it doesn't count.
    pub(crate) async fn step(&mut self) -> Result<Option<Duration>> {
        let begin = Instant::now();
        match self {
            Self::Kv(lane) => lane.step().await?,
            Self::Lease(lane) => lane.step().await?,
            Self::Watch(lane) => return lane.step().await,
            Self::Feed(lane) => {
                lane.step().await?;
                return Ok(None);
            }
        }
        Ok(Some(begin.elapsed()))
    }
}

/// The clients of a workload, ready to go.
pub(crate) async fn clients(settings: &Settings, channels: &[Channel]) -> Result<Vec<Client>> {
    let feed = Arc::new(Feed::new());
    let mut clients = Vec::with_capacity(settings.clients + 1);
    for (index, channel) in (0..settings.clients).zip(channels.iter().cycle()) {
        clients.push(match settings.workload {
            Workload::LeaseKeepalive => Client::Lease(LeaseLane::open(channel.clone()).await?),
            Workload::WatchFanout => {
                Client::Watch(WatchLane::open(channel.clone(), feed.clone()).await?)
            }
            _ => Client::Kv(KvLane::new(settings, channel.clone(), index as u64)),
        });
    }
    if settings.workload == Workload::WatchFanout {
        clients.push(Client::Feed(FeedLane {
            kv: connection::kv(channels[0].clone()),
            feed,
            watchers: u32::try_from(settings.clients)
                .map_err(|_| Error::Options("too many clients".to_owned()))?,
            value_bytes: settings.value_bytes,
        }));
    }
    Ok(clients)
}

/// Single requests on the KV service.
pub(crate) struct KvLane {
    kv: KvClient<Channel>,
    workload: Workload,
    numbers: Numbers,
    value: Vec<u8>,
    keys: u64,
}

impl KvLane {
    fn new(settings: &Settings, channel: Channel, index: u64) -> Self {
        let mut seeds = Numbers(settings.seed ^ (index << 32));
        Self {
            kv: connection::kv(channel),
            workload: settings.workload,
            numbers: Numbers(seeds.next()),
            value: value(settings.value_bytes, seeds.next()),
            keys: settings.keys,
        }
    }

    async fn step(&mut self) -> Result<()> {
        match self.workload {
            Workload::Put => self.put().await,
            Workload::Get => self.get(false).await,
            Workload::GetSerializable => self.get(true).await,
            Workload::Range1000 => self.range().await,
            Workload::Txn => self.txn().await,
            Workload::Mixed if self.numbers.below(MIXED_PUT_EVERY) == 0 => self.put().await,
            Workload::Mixed => self.get(false).await,
            Workload::WatchFanout | Workload::LeaseKeepalive => {
                unreachable!("{} has lanes of its own", self.workload.name())
            }
        }
    }

    fn random_put(&mut self) -> PutRequest {
        PutRequest {
            key: key(self.numbers.below(self.keys)).into(),
            value: self.value.clone().into(),
            ..PutRequest::default()
        }
    }

    async fn put(&mut self) -> Result<()> {
        let request = self.random_put();
        self.kv.put(request).await.map_err(Error::refused("put"))?;
        Ok(())
    }

    async fn get(&mut self, serializable: bool) -> Result<()> {
        let request = RangeRequest {
            key: key(self.numbers.below(self.keys)).into(),
            serializable,
            ..RangeRequest::default()
        };
        let answer = self
            .kv
            .range(request)
            .await
            .map_err(Error::refused("get"))?;
        if answer.get_ref().kvs.len() != 1 {
            return Err(Error::Protocol("a key that was written isn't there"));
        }
        Ok(())
    }

    async fn range(&mut self) -> Result<()> {
        let first = self
            .numbers
            .below(self.keys - RANGE_KEYS.min(self.keys) + 1);
        let request = RangeRequest {
            key: key(first).into(),
            range_end: b"bench0".to_vec().into(),
            limit: RANGE_KEYS as i64,
            ..RangeRequest::default()
        };
        let answer = self
            .kv
            .range(request)
            .await
            .map_err(Error::refused("range"))?;
        if answer.get_ref().kvs.len() as u64 != RANGE_KEYS.min(self.keys) {
            return Err(Error::Protocol("a range is shorter than what was written"));
        }
        Ok(())
    }

    async fn txn(&mut self) -> Result<()> {
        let put = self.random_put();
        let get = RangeRequest {
            key: put.key.clone(),
            ..RangeRequest::default()
        };
        let request = TxnRequest {
            compare: vec![Compare {
                result: CompareResult::Less.into(),
                target: CompareTarget::Mod.into(),
                key: put.key.clone(),
                target_union: Some(TargetUnion::ModRevision(i64::MAX)),
                ..Compare::default()
            }],
            success: vec![op(Request::RequestPut(put)), op(Request::RequestRange(get))],
            failure: vec![],
        };
        let answer = self.kv.txn(request).await.map_err(Error::refused("txn"))?;
        if !answer.get_ref().succeeded {
            return Err(Error::Protocol("a compare that holds for every key failed"));
        }
        Ok(())
    }
}

pub(crate) fn op(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}
