//! The two ports that the load goes through.

use std::{ops::Range, sync::Arc};

use atoll_control::proto::etcdserverpb::{PutRequest, RangeRequest};
use atoll_kv::face::resp::write_request;
use bytes::{Bytes, BytesMut};

use super::written::{Rows, key};
use crate::{
    client::{
        Client, Options, Retry,
        redis::{Link, Reply},
    },
    error::CliError,
};

/// What is asked of a port. Nodes are named by their places.
pub(super) trait Port: Clone + Send + 'static {
    /// Writes; true if that was acknowledged.
    fn write(&mut self, node: usize, key: &[u8], value: &[u8])
    -> impl Future<Output = bool> + Send;

    /// Reads what is there, which may be nothing. None if the node did not tell.
    fn read(
        &mut self,
        node: usize,
        key: &[u8],
    ) -> impl Future<Output = Option<Option<Bytes>>> + Send;

    /// Reads what a client wrote with these numbers, as far as it is there, linearizably.
    fn rows(
        &mut self,
        node: usize,
        client: usize,
        numbers: Range<u64>,
    ) -> impl Future<Output = Result<Rows, CliError>> + Send;
}

/// The port of etcd's clients. Connections are shared.
#[derive(Clone)]
pub(super) struct Etcd(pub(super) Vec<Client>);

impl Port for Etcd {
    async fn write(&mut self, node: usize, key: &[u8], value: &[u8]) -> bool {
        let request = PutRequest {
            key: Bytes::copy_from_slice(key),
            value: Bytes::copy_from_slice(value),
            ..PutRequest::default()
        };
        let put = self.0[node].call(Retry::Never, request, |node, request| async move {
            node.kv().put(request).await
        });
        put.await.is_ok()
    }

    async fn read(&mut self, node: usize, key: &[u8]) -> Option<Option<Bytes>> {
        let request = RangeRequest {
            key: Bytes::copy_from_slice(key),
            ..RangeRequest::default()
        };
        let mut answer = self.range(node, request).await.ok()?;
        Some(answer.pop().map(|(_, value)| value.into()))
    }

    async fn rows(
        &mut self,
        node: usize,
        client: usize,
        numbers: Range<u64>,
    ) -> Result<Rows, CliError> {
        let request = RangeRequest {
            key: key(client, numbers.start).into(),
            range_end: key(client, numbers.end).into(),
            ..RangeRequest::default()
        };
        Ok(self.range(node, request).await?.into_iter().collect())
    }
}

impl Etcd {
    async fn range(
        &self,
        node: usize,
        request: RangeRequest,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, CliError> {
        let asked = self.0[node].call(Retry::Safe, request, |node, request| async move {
            node.kv().range(request).await
        });
        let rows = asked.await?.kvs.into_iter();
        Ok(rows.map(|kv| (kv.key.into(), kv.value.into())).collect())
    }
}

/// How a node's port of Redis clients is reached.
pub(super) struct Door {
    pub(super) options: Options,
    pub(super) address: String,
}

/// The port of Redis clients. A clone has connections of its own.
pub(super) struct Redis {
    doors: Arc<[Door]>,
    /// To each node, once it was needed, until it breaks.
    links: Vec<Option<Link>>,
}

impl Clone for Redis {
    fn clone(&self) -> Redis {
        Redis::with(self.doors.clone())
    }
}

impl Redis {
    /// Not connected yet.
    pub(super) fn new(doors: Vec<Door>) -> Redis {
        Redis::with(doors.into())
    }

    fn with(doors: Arc<[Door]>) -> Redis {
        Redis {
            links: doors.iter().map(|_| None).collect(),
            doors,
        }
    }

    async fn exchange(
        &mut self,
        node: usize,
        requests: &[u8],
        count: usize,
    ) -> Result<Vec<Reply>, CliError> {
        let mut link = match self.links[node].take() {
            Some(link) => link,
            None => {
                let door = &self.doors[node];
                Link::open(&door.options, Some(&door.address)).await?
            }
        };
        // A connection on which an answer is missing is of no use any more.
        let replies = link.exchange(requests, count).await?;
        self.links[node] = Some(link);
        Ok(replies)
    }

    /// Asks a node.
    pub(super) async fn ask(
        &mut self,
        node: usize,
        words: &[impl AsRef<[u8]>],
    ) -> Result<Reply, CliError> {
        let mut request = BytesMut::new();
        append(&mut request, words);
        let mut replies = self.exchange(node, &request, 1).await?;
        Ok(replies.pop().unwrap_or(Reply::Missing))
    }
}

fn append(requests: &mut BytesMut, words: &[impl AsRef<[u8]>]) {
    let words = words.iter().map(|it| Bytes::copy_from_slice(it.as_ref()));
    let words: Vec<Bytes> = words.collect();
    write_request(requests, &words);
}

impl Port for Redis {
    async fn write(&mut self, node: usize, key: &[u8], value: &[u8]) -> bool {
        let set = self.ask(node, &[&b"SET"[..], key, value]).await;
        matches!(set, Ok(Reply::Done))
    }

    async fn read(&mut self, node: usize, key: &[u8]) -> Option<Option<Bytes>> {
        match self.ask(node, &[&b"GET"[..], key]).await.ok()? {
            Reply::String(value) => Some(Some(value)),
            Reply::Missing => Some(None),
            _ => None,
        }
    }

    async fn rows(
        &mut self,
        node: usize,
        client: usize,
        numbers: Range<u64>,
    ) -> Result<Rows, CliError> {
        let keys: Vec<Vec<u8>> = numbers.map(|number| key(client, number)).collect();
        let mut requests = BytesMut::new();
        for key in &keys {
            append(&mut requests, &[&b"GET"[..], key]);
        }
        let replies = self.exchange(node, &requests, keys.len()).await?;
        let mut rows = Rows::new();
        for (key, reply) in keys.into_iter().zip(replies) {
            match reply {
                Reply::String(value) => {
                    rows.insert(key, value.into());
                }
                Reply::Missing => {}
                Reply::Refused(why) => return Err(CliError::failed(why, "")),
                _ => return Err(CliError::failed("GET was answered with no value", "")),
            }
        }
        Ok(rows)
    }
}
