//! `atoll.v1.Transactions`, by gRPC and by JSON, on the control plane's listener.
//!
//! Who asks was found out before ([`Guest`]); here it is asked what that one may do. Rights go by
//! keys below `/atoll/txn/`, which nobody but the cluster writes: a role that may write them may
//! begin, enlist, commit and abort, one that may read them may look. Who enlists commands of hot
//! data must also have the right to run them.

mod convert;
pub mod hot;

use std::sync::Arc;

use atoll_control::{
    api::ControlApi,
    core::{auth::Need, error::Error, level::FeatureLevel},
    face::Guest,
    proto::{
        etcdserverpb::TxnRequest,
        internal::{Identity, identity::Who},
    },
};
use atoll_world::clock;
use tonic::{Request, Response, Status, codegen::Service as _};

use self::hot::HotData;
use crate::{
    core::global::{
        Branch, Outcome, Place, TransactionId,
        coordinator::{Answer, Request as Ask, Until},
    },
    driver::global::{Cluster, Global, GlobalError},
    outside::hot::{NAME as HOT, work::Work},
    proto::{
        self as pb,
        enlist_request::Participant as Enlisted,
        transactions_server::{Transactions, TransactionsServer},
    },
};

/// What rights go by.
const RIGHTS: (&[u8], &[u8]) = (b"/atoll/txn/", b"/atoll/txn0");
/// A transaction's time, where a client does not say.
const TIMEOUT_MS_DEFAULT: u64 = 60_000;
/// So many transactions are listed, where a client does not say.
const LIMIT_DEFAULT: u32 = 100;
/// No more than so many.
const LIMIT_MAX: u32 = 1_000;

/// Paths of the JSON gateway.
const PATHS: &[(&str, &str)] = &[
    ("/v1/transactions/begin", "Begin"),
    ("/v1/transactions/enlist", "Enlist"),
    ("/v1/transactions/commit", "Commit"),
    ("/v1/transactions/abort", "Abort"),
    ("/v1/transactions/get", "Get"),
    ("/v1/transactions/list", "List"),
    ("/v1/transactions/inquire", "Inquire"),
    ("/v1/transactions/resolve", "Resolve"),
];

struct Face<A, C, H> {
    control: A,
    global: Global<C>,
    hot: H,
}

/// The service, for the control plane's listener.
pub fn guest<A: ControlApi, C: Cluster, H: HotData>(
    control: A,
    global: Global<C>,
    hot: H,
) -> Guest {
    let face = Arc::new(Face {
        control,
        global,
        hot,
    });
    Guest {
        service: "atoll.v1.Transactions",
        descriptors: pb::DESCRIPTORS,
        paths: PATHS,
        call: Arc::new(move |request, bytes_max| {
            let server = TransactionsServer::from_arc(face.clone());
            let mut server = server.max_decoding_message_size(bytes_max);
            Box::pin(async move {
                let Ok(answer) = server.call(request).await;
                answer
            })
        }),
    }
}

fn who<T>(request: &Request<T>) -> Result<Identity, Status> {
    let identity = request.extensions().get::<Identity>().cloned();
    identity.ok_or_else(|| Status::unauthenticated("nobody knows who asks"))
}

/// Who a person is, for the record.
fn name_of(identity: &Identity) -> String {
    match &identity.who {
        Some(Who::User(user)) => user.name.clone(),
        _ => "somebody (logins are off)".to_owned(),
    }
}

fn id_of(text: &str) -> Result<TransactionId, Status> {
    let is_id = text.len() == 32 && text.bytes().all(|it| it.is_ascii_hexdigit());
    let id = u128::from_str_radix(text, 16).ok().filter(|_| is_id);
    id.map(TransactionId).ok_or_else(|| {
        Status::invalid_argument("a transaction's id has 32 hexadecimal digits, as Begin told it")
    })
}

fn place_of(branch: u32) -> Result<Place, Status> {
    let place = u16::try_from(branch);
    place
        .map(Place)
        .map_err(|_| Status::invalid_argument("there is no participant of this number"))
}

impl<A: ControlApi, C: Cluster, H: HotData> Face<A, C, H> {
    fn permit<T>(&self, request: &Request<T>, need: Need) -> Result<(), Status> {
        let identity = who(request)?;
        let (key, range_end) = RIGHTS;
        Ok(self.control.permit(&identity, need, key, range_end)?)
    }

    /// Has keys take part, if whoever asks may have that done now. It is asked again when it is.
    async fn enlist_keys(
        &self,
        id: TransactionId,
        identity: &Identity,
        keys: pb::KeysParticipant,
    ) -> Result<Answer, Status> {
        let txn = TxnRequest {
            compare: keys.compare,
            success: keys.success,
            failure: Vec::new(),
        };
        let part = self.control.part(identity, txn);
        let part = part.map_err(|error| match error {
            Error::NotCapable => Status::failed_precondition(format!(
                "keys can take part from feature level {} of the cluster on, which it reaches when every node runs a version that serves it (atoll status)",
                FeatureLevel::WRITES_BOTH_KEYSPACES
            )),
            error => error.into(),
        })?;
        Ok(self.global.enlist_keys(id, &keys.label, &part).await?)
    }

    /// Whether somebody may enlist this of hot data, and every node knows how to hold it.
    fn permit_hot(&self, identity: &Identity, payload: &[u8]) -> Result<(), Status> {
        let level = self.control.status().feature_level;
        let needed = FeatureLevel::HOLDS_BRANCHES;
        if level < needed {
            return Err(Status::failed_precondition(format!(
                "hot data takes part from feature level {needed} on, and the cluster is at {level}: \
                 some node runs an older version (atoll status shows them)"
            )));
        }
        let parts = Work::decode(payload).and_then(|work| work.parts());
        let parts = parts.map_err(|error| Status::invalid_argument(format!("{HOT}: {error}")))?;
        let (_, users) = hot::there(&self.hot)?;
        let (_, user) = hot::user_of(&users, Some(identity))?;
        let mut parts = parts.iter();
        parts.try_for_each(|part| hot::permit(&user, &part.call))
    }

    async fn decided(
        &self,
        id: TransactionId,
        ask: Ask,
    ) -> Result<Response<pb::OutcomeResponse>, Status> {
        match self.global.ask(id, ask).await? {
            Answer::Decided {
                outcome,
                reason,
                is_mixed,
            } => Ok(Response::new(pb::OutcomeResponse {
                outcome: pb::Outcome::from(Some(outcome)).into(),
                reason: pb::Reason::from(reason).into(),
                mixed: is_mixed,
            })),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &Answer) -> Status {
    Status::internal(format!(
        "the coordinator answered something else: {answer:?}"
    ))
}

#[tonic::async_trait]
impl<A: ControlApi, C: Cluster, H: HotData> Transactions for Face<A, C, H> {
    async fn begin(
        &self,
        request: Request<pb::BeginRequest>,
    ) -> Result<Response<pb::BeginResponse>, Status> {
        self.permit(&request, Need::Write)?;
        let request = request.into_inner();
        let kind = pb::Kind::try_from(request.kind)
            .map_err(|_| Status::invalid_argument("a transaction of this kind is not known"))?;
        let timeout_ms = match request.timeout_ms {
            0 => TIMEOUT_MS_DEFAULT,
            asked => asked,
        };
        let max = self.global.timeout_ms_max();
        if timeout_ms > max {
            return Err(Status::invalid_argument(format!(
                "a transaction has up to {max} ms"
            )));
        }
        let id = self.global.begin(kind.into(), timeout_ms).await?;
        Ok(Response::new(pb::BeginResponse {
            id: id.to_string(),
            deadline_ms: clock::wall_ms().saturating_add(timeout_ms),
        }))
    }

    async fn enlist(
        &self,
        request: Request<pb::EnlistRequest>,
    ) -> Result<Response<pb::EnlistResponse>, Status> {
        self.permit(&request, Need::Write)?;
        let identity = who(&request)?;
        let request = request.into_inner();
        let id = id_of(&request.id)?;
        let enlisted = match request.participant {
            Some(Enlisted::Keys(keys)) => self.enlist_keys(id, &identity, keys).await,
            participant => {
                let (name, payload, compensation) = convert::work(participant)?;
                // By its name, however somebody came to it.
                if name == HOT {
                    self.permit_hot(&identity, &payload)?;
                }
                let enlisted = self.global.enlist(id, name, payload, compensation);
                Ok(enlisted.await?)
            }
        };
        match enlisted? {
            Answer::Enlisted(place) => Ok(Response::new(pb::EnlistResponse {
                branch: place.0.into(),
            })),
            other => Err(unexpected(&other)),
        }
    }

    async fn commit(
        &self,
        request: Request<pb::CommitRequest>,
    ) -> Result<Response<pb::OutcomeResponse>, Status> {
        self.permit(&request, Need::Write)?;
        let request = request.into_inner();
        let until = match request.until_ended {
            true => Until::Ended,
            false => Until::Decided,
        };
        self.decided(id_of(&request.id)?, Ask::Commit { until })
            .await
    }

    async fn abort(
        &self,
        request: Request<pb::AbortRequest>,
    ) -> Result<Response<pb::OutcomeResponse>, Status> {
        self.permit(&request, Need::Write)?;
        self.decided(id_of(&request.get_ref().id)?, Ask::Abort)
            .await
    }

    async fn get(
        &self,
        request: Request<pb::GetRequest>,
    ) -> Result<Response<pb::Transaction>, Status> {
        self.permit(&request, Need::Read)?;
        let found = self.global.show(id_of(&request.get_ref().id)?).await?;
        let record = found.ok_or_else(|| {
            Status::not_found(
                "nothing is known of this transaction: it never began, or ended long ago",
            )
        })?;
        Ok(Response::new(record.into()))
    }

    async fn list(
        &self,
        request: Request<pb::ListRequest>,
    ) -> Result<Response<pb::ListResponse>, Status> {
        self.permit(&request, Need::Read)?;
        let request = request.into_inner();
        let limit = match request.limit {
            0 => LIMIT_DEFAULT,
            asked => asked.min(LIMIT_MAX),
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let after = match request.after.as_str() {
            "" => None,
            text => Some(id_of(text)?),
        };
        let index = self.global.index();
        let found = match request.in_doubt {
            true => index.under_way(after, usize::MAX),
            false => index.all(after, limit),
        };
        let is_listed = |it: &crate::driver::global::Summary| !request.in_doubt || !it.is_open();
        let listed = found.into_iter().filter(is_listed).take(limit);
        Ok(Response::new(pb::ListResponse {
            transactions: listed.map(Into::into).collect(),
        }))
    }

    async fn inquire(
        &self,
        request: Request<pb::InquireRequest>,
    ) -> Result<Response<pb::InquireResponse>, Status> {
        self.permit(&request, Need::Write)?;
        let request = request.into_inner();
        let branch = Branch {
            transaction: id_of(&request.id)?,
            place: place_of(request.branch)?,
        };
        self.global.inquire(branch, request.participant)?;
        Ok(Response::new(pb::InquireResponse {}))
    }

    async fn resolve(
        &self,
        request: Request<pb::ResolveRequest>,
    ) -> Result<Response<pb::ResolveResponse>, Status> {
        let identity = who(&request)?;
        self.control.require_admin(&identity)?;
        let request = request.into_inner();
        let outcome = match pb::Outcome::try_from(request.outcome) {
            Ok(pb::Outcome::Committed) => Outcome::Committed,
            Ok(pb::Outcome::Aborted) => Outcome::Aborted,
            _ => return Err(Status::invalid_argument("say COMMITTED or ABORTED")),
        };
        let ask = Ask::Resolve {
            place: place_of(request.branch)?,
            outcome,
            by: name_of(&identity),
            remark: request.remark,
        };
        match self.global.ask(id_of(&request.id)?, ask).await? {
            Answer::Resolved => Ok(Response::new(pb::ResolveResponse {})),
            other => Err(unexpected(&other)),
        }
    }
}

impl From<GlobalError> for Status {
    fn from(error: GlobalError) -> Status {
        convert::status(&error)
    }
}
