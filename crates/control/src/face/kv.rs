//! The KV service.

use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    Face,
    caller::{Caller, complete, header},
    check,
    generate::{Answers, Out, generate},
    methods, reply,
};
use crate::{
    api::{ControlApi, Standing},
    core::error::Error,
    proto::{
        etcdserverpb::{self as pb, kv_server::Kv, response_op},
        internal::{Identity, command::Op},
    },
};

/// Keys in the first chunk of a streamed range, before it is known how large they are.
const FIRST_CHUNK_KEYS: i64 = 10;

impl<C: ControlApi> Face<C> {
    pub(crate) async fn kv_range(
        &self,
        caller: Caller<'_>,
        request: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        let standing = self.enter(caller, request.serializable)?;
        check::range(&request)?;
        let identity = self.identity(caller, &standing)?;
        let mut response = self.control.range(identity, request).await?;
        response.header = complete(response.header, &standing);
        Ok(response)
    }

    pub(crate) async fn kv_put(
        &self,
        caller: Caller<'_>,
        request: pb::PutRequest,
    ) -> Result<pb::PutResponse, Status> {
        let standing = self.enter(caller, false)?;
        check::put(&request)?;
        let identity = self.identity(caller, &standing)?;
        self.fits(request.encoded_len())?;
        let applied = self.control.propose(identity, Op::Put(request)).await?;
        let mut response = reply!(applied.reply, Put);
        response.header = header(&standing, applied.revision.0);
        Ok(response)
    }

    pub(crate) async fn kv_delete_range(
        &self,
        caller: Caller<'_>,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Status> {
        let standing = self.enter(caller, false)?;
        check::delete_range(&request)?;
        let identity = self.identity(caller, &standing)?;
        self.fits(request.encoded_len())?;
        let applied = self
            .control
            .propose(identity, Op::DeleteRange(request))
            .await?;
        let mut response = reply!(applied.reply, DeleteRange);
        response.header = header(&standing, applied.revision.0);
        Ok(response)
    }

    pub(crate) async fn kv_txn(
        &self,
        caller: Caller<'_>,
        request: pb::TxnRequest,
    ) -> Result<pb::TxnResponse, Status> {
        let standing = self.enter(caller, false)?;
        check::txn(&request, self.limits.txn_ops_max)?;
        let identity = self.identity(caller, &standing)?;
        self.transact(&standing, identity, request).await
    }

    /// Runs a transaction that was checked before.
    pub(crate) async fn transact(
        &self,
        standing: &Standing,
        identity: Identity,
        request: pb::TxnRequest,
    ) -> Result<pb::TxnResponse, Status> {
        let mut response = if check::txn_only_reads(&request) {
            let mut response = self.control.read_txn(identity, request).await?;
            response.header = complete(response.header, standing);
            response
        } else {
            self.fits(request.encoded_len())?;
            let applied = self.control.propose(identity, Op::Txn(request)).await?;
            let mut response = reply!(applied.reply, Txn);
            response.header = header(standing, applied.revision.0);
            response
        };
        let revision = response.header.as_ref().map_or(0, |header| header.revision);
        inner_headers(&mut response.responses, revision);
        Ok(response)
    }

    pub(crate) async fn kv_compact(
        &self,
        caller: Caller<'_>,
        request: pb::CompactionRequest,
    ) -> Result<pb::CompactionResponse, Status> {
        let standing = self.enter(caller, false)?;
        let identity = self.admin(caller, &standing)?;
        let applied = self.control.propose(identity, Op::Compact(request)).await?;
        let mut response = reply!(applied.reply, Compact);
        response.header = header(&standing, applied.revision.0);
        Ok(response)
    }

    /// Refuses what is too large for the log.
    pub(crate) fn fits(&self, bytes: usize) -> Result<(), Error> {
        if bytes > self.limits.request_bytes_max {
            return Err(Error::RequestTooLarge);
        }
        Ok(())
    }
}

/// Answers inside a transaction carry a revision and nothing else in their headers.
fn inner_headers(responses: &mut [pb::ResponseOp], revision: i64) {
    let fill = |header: &mut Option<pb::ResponseHeader>| {
        header.get_or_insert_with(|| pb::ResponseHeader {
            revision,
            ..Default::default()
        });
    };
    for response in responses {
        match &mut response.response {
            Some(response_op::Response::ResponseRange(inner)) => fill(&mut inner.header),
            Some(response_op::Response::ResponsePut(inner)) => fill(&mut inner.header),
            Some(response_op::Response::ResponseDeleteRange(inner)) => fill(&mut inner.header),
            Some(response_op::Response::ResponseTxn(inner)) => {
                fill(&mut inner.header);
                inner_headers(&mut inner.responses, revision);
            }
            None => {}
        }
    }
}

/// The next chunk's number of keys, so that chunks come near the largest request.
fn next_chunk_keys(keys: i64, bytes: usize, bytes_target: usize) -> i64 {
    if bytes < bytes_target / 2 {
        keys.saturating_mul(2)
    } else if bytes > bytes_target.saturating_mul(2) {
        (keys / 2).max(1)
    } else {
        keys
    }
}

/// Sends a range in chunks, all of the revision at which the first one was read. Only the last
/// one carries a header, the count and whether there is more.
async fn send_range<C: ControlApi>(
    control: C,
    identity: Identity,
    standing: Standing,
    mut request: pb::RangeRequest,
    chunk_bytes: usize,
    out: Out<pb::RangeStreamResponse>,
) -> Result<(), Status> {
    let keys_max = if request.limit > 0 {
        request.limit
    } else {
        i64::MAX
    };
    let counting = request.count_only;
    let mut chunk_keys = FIRST_CHUNK_KEYS;
    let mut sent = 0;
    let mut first: Option<(i64, i64)> = None;
    loop {
        if !counting {
            request.limit = chunk_keys.min(keys_max - sent);
        }
        let mut response = control.range(identity.clone(), request.clone()).await?;
        let revision_read = response.header.as_ref().map_or(0, |header| header.revision);
        let (revision, count) = *first.get_or_insert((revision_read, response.count));
        if request.revision == 0 {
            request.revision = revision;
        }
        // The first chunk waited for the leader; the others read the same revision.
        request.serializable = true;
        sent += i64::try_from(response.kvs.len()).unwrap_or(i64::MAX);
        let last = counting || !response.more || sent >= keys_max || response.kvs.is_empty();
        if last {
            response.header = header(&standing, revision);
            response.count = count;
        } else {
            let bytes = response.encoded_len();
            chunk_keys = next_chunk_keys(chunk_keys, bytes, chunk_bytes);
            if let Some(kv) = response.kvs.last() {
                request.key = [&kv.key[..], &[0]].concat().into();
            }
            response.header = None;
            response.count = 0;
            response.more = false;
        }
        out.send(pb::RangeStreamResponse {
            range_response: Some(response),
        })
        .await;
        if last {
            return Ok(());
        }
    }
}

#[tonic::async_trait]
impl<C: ControlApi> Kv for Face<C> {
    type RangeStreamStream = Answers<pb::RangeStreamResponse>;

    methods! {
        range: pb::RangeRequest => pb::RangeResponse, kv_range;
        put: pb::PutRequest => pb::PutResponse, kv_put;
        delete_range: pb::DeleteRangeRequest => pb::DeleteRangeResponse, kv_delete_range;
        txn: pb::TxnRequest => pb::TxnResponse, kv_txn;
        compact: pb::CompactionRequest => pb::CompactionResponse, kv_compact;
    }

    async fn range_stream(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let caller = Caller::new(metadata.as_ref(), &extensions);
        let standing = self.enter(caller, false)?;
        check::range_stream(&request)?;
        let identity = self.identity(caller, &standing)?;
        let control = self.control.clone();
        let chunk_bytes = self.limits.request_bytes_max;
        let required = caller.requires_leader();
        let leadership = self.leadership.clone();
        Ok(Response::new(generate(move |out| async move {
            let work = send_range(control, identity, standing, request, chunk_bytes, out);
            leadership.hold(required, work).await
        })))
    }
}
