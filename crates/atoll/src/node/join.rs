//! Joining: a node without a certificate comes to the peer listener with a token.
//!
//! The joiner first verifies that the other side's certificate ends in the root whose
//! fingerprint the token carries, and only then sends the token. The member it reached uses
//! the token up in the log, certifies the joiner's key, makes it a learner, and tells it all
//! that a member knows, so that it can let others in itself.

use std::{str::FromStr as _, sync::Arc, time::Duration};

use atoll_base::id::{ClusterId, NodeId};
use atoll_control::{
    api::ControlApi as _,
    core::error::Error,
    driver::{
        control::Control,
        peer_address,
        tokens::{self, JoinToken},
    },
    proto::{
        cluster::{
            JoinRequest, JoinResponse, Trust as TrustPem,
            join_client::JoinClient,
            join_server::{Join, JoinServer},
        },
        raft,
    },
};
use atoll_world::{
    net::{self, Stream},
    pki::{
        self, Authority, Fingerprint, KeyRequest, Keyring, PkiError, Trust, certificates_to_pem,
    },
    random, task,
};
use hyper_util::rt::TokioIo;
use tonic::{Request, Response, Status, transport::Endpoint};

use super::{Directory, pki_failed, record::Record};
use crate::error::CliError;

/// How long connecting to the member may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the cluster may take to let a node in.
const JOIN_TIMEOUT: Duration = Duration::from_secs(20);

/// Largest message of this service, in bytes: certificates and member lists are small.
const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// Names that a joiner may have put into its certificate.
const HOSTS_MAX: usize = 32;

/// Requests to join on one connection at a time.
const STREAMS_MAX: u32 = 4;

/// Joins the cluster that a member of is at `address`, and fills the directory.
pub(super) async fn join(
    directory: &Directory,
    address: &str,
    token: &str,
    member: &raft::Node,
    hosts: &[String],
) -> Result<Record, CliError> {
    let token = JoinToken::parse(token).ok_or_else(|| {
        CliError::usage(
            "this is not a join token",
            "`atoll token create` on a member prints one: it begins with atoll1.",
        )
    })?;
    let key = KeyRequest::new().map_err(pki_failed)?;
    let request = JoinRequest {
        token: token.reveal(),
        csr_pem: key.csr_pem().to_owned(),
        hosts: hosts.to_vec(),
        member: Some(member.clone()),
    };
    let answer = ask(address, &token, request).await?;
    take_in(directory, key, answer)
}

pub(super) async fn ask(
    address: &str,
    token: &JoinToken,
    request: JoinRequest,
) -> Result<JoinResponse, CliError> {
    let root = Fingerprint::from_str(&token.fingerprint).map_err(pki_failed)?;
    let tls = pki::tls::joiner_config(root, &[b"h2"]).map_err(pki_failed)?;
    let to = address.to_owned();
    let connector = tower::service_fn(move |_| {
        let (to, tls) = (to.clone(), tls.clone());
        async move {
            // Any node of that root is right; the name it is reached by does not matter.
            let stream = net::connect_tls(&to, "atoll.invalid", tls, CONNECT_TIMEOUT).await?;
            Ok::<_, net::NetError>(TokioIo::new(stream))
        }
    });
    // TLS is the connector's: tonic must not look for its own.
    let endpoint = Endpoint::from_static("http://atoll.invalid").timeout(JOIN_TIMEOUT);
    let channel = endpoint.connect_with_connector(connector).await.map_err(|error| {
        CliError::failed(
            format!("cannot join at {address}: {}", chain(&error)),
            "--join takes HOST:PORT of a running member's peer listener (`atoll status` shows it), and the token must be of the same cluster; one that was made before the cluster's authority was rotated has to be made anew (`atoll token create`).",
        )
    })?;
    let mut client = JoinClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let answer = client.join(request).await.map_err(|status| {
        CliError::failed(
            format!("{address} does not let this node in: {}", status.message()),
            "",
        )
    })?;
    Ok(answer.into_inner())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn take_in(
    directory: &Directory,
    key: KeyRequest,
    answer: JoinResponse,
) -> Result<Record, CliError> {
    let trust = answer.trust.unwrap_or_default();
    let trust = Trust::from_pem(&trust.roots_pem, &trust.nodes_pem, &trust.clients_pem)
        .map_err(pki_failed)?;
    let authority = Authority::from_pem(&answer.authority_pem).map_err(pki_failed)?;
    let identity = key.certified(&answer.certificate_pem).map_err(pki_failed)?;
    let mut record = Record::new(ClusterId(answer.cluster), NodeId(answer.node), false);
    record.members = answer
        .members
        .iter()
        .filter(|(id, _)| **id != answer.node)
        .filter_map(|(id, node)| Some((NodeId(*id), peer_address(node)?)))
        .collect();
    let next = match answer.next_authority_pem.as_str() {
        "" => None,
        pem => Some(Authority::from_pem(pem).map_err(pki_failed)?),
    };
    let dir = directory.pki();
    Keyring::create(&dir, &identity, &trust, &authority, next.as_ref()).map_err(pki_failed)?;
    record.save(&directory.disk, &directory.path)?;
    Ok(record)
}

/// The member's side: lets holders of a token in.
#[derive(Clone)]
pub(super) struct Door {
    inner: Arc<Inner>,
}

struct Inner {
    control: Control,
    keyring: Arc<Keyring>,
    cluster: ClusterId,
}

impl Door {
    pub(super) fn new(control: Control, keyring: Arc<Keyring>, cluster: ClusterId) -> Door {
        Door {
            inner: Arc::new(Inner {
                control,
                keyring,
                cluster,
            }),
        }
    }

    /// Serves one connection of a joiner.
    pub(super) async fn serve(self, stream: Stream) {
        let service = JoinServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let service = hyper_util::service::TowerToHyperService::new(service);
        let mut builder =
            hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        builder
            .timer(hyper_util::rt::TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX);
        let serving = builder.serve_connection(TokioIo::new(stream), service);
        // A joiner that dawdles is not waited for.
        let _ = atoll_world::clock::timeout(JOIN_TIMEOUT, serving).await;
    }

    /// Undoes what was begun for a node that is not let in.
    async fn turn_away(&self, node: NodeId, used: tokens::Use) {
        let control = &self.inner.control;
        // If nobody answered in time, it may have become a member all the same: one that
        // nobody has a certificate for.
        match control.member_remove(node).await {
            Ok(()) | Err(Error::MemberNotFound) => {}
            Err(error) => {
                tracing::warn!(%node, %error, "a node that was not let in may be listed as a member; `atoll node remove` takes it out");
            }
        }
        if let Err(error) = tokens::give_back(control, used).await {
            tracing::warn!(%error, "a token lost one use for a node that was not let in");
        }
    }

    async fn admit(&self, request: JoinRequest) -> Result<JoinResponse, Status> {
        let inner = &*self.inner;
        let not_good = || Status::permission_denied(tokens::TokenError::NotGood.to_string());
        let token = JoinToken::parse(&request.token).ok_or_else(not_good)?;
        let member = request
            .member
            .ok_or_else(|| Status::invalid_argument("the request names no member"))?;
        if member.peer_urls.is_empty() || request.hosts.len() > HOSTS_MAX {
            return Err(Status::invalid_argument(format!(
                "a member has a peer URL and at most {HOSTS_MAX} names"
            )));
        }
        inner
            .control
            .admit_levels(&member)
            .map_err(|error| Status::failed_precondition(error.to_string()))?;
        let node = NodeId(random::u64().max(1));
        // Before the token is used up: a request that makes no sense costs nothing.
        inner
            .keyring
            .admit(&request.csr_pem, node, &request.hosts)
            .map_err(|error| match error {
                PkiError::NoAuthority => Status::failed_precondition(error.to_string()),
                error => Status::invalid_argument(error.to_string()),
            })?;
        let used = tokens::consume(&inner.control, &token)
            .await
            .map_err(|error| match error {
                tokens::TokenError::Cluster(error) => Status::unavailable(error.text()),
                other => Status::permission_denied(other.to_string()),
            })?;
        if let Err(error) = inner.control.admit(node, member).await {
            self.turn_away(node, used).await;
            return Err(Status::failed_precondition(error.text()));
        }
        tracing::info!(%node, token = token.id, "a node joins");
        // As of now that it is a member: a rotation of the authority, which waits for members
        // only, may have gone on since its request was looked at.
        let admission = inner
            .keyring
            .admit(&request.csr_pem, node, &request.hosts)
            .map_err(|error| Status::internal(error.to_string()))?;
        let members = inner.control.members().into_iter().map(|member| {
            let node = raft::Node {
                name: member.name,
                peer_urls: member.peer_urls,
                client_urls: member.client_urls,
                ..raft::Node::default()
            };
            (member.node.0, node)
        });
        Ok(JoinResponse {
            cluster: inner.cluster.0,
            node: node.0,
            certificate_pem: admission.certificate_pem,
            trust: Some(TrustPem {
                roots_pem: certificates_to_pem(&admission.trust.roots),
                nodes_pem: certificates_to_pem(&admission.trust.nodes),
                clients_pem: certificates_to_pem(&admission.trust.clients),
            }),
            authority_pem: admission.authority_pem.to_string(),
            members: members.collect(),
            next_authority_pem: admission
                .next_pem
                .map_or_else(String::new, |pem| pem.to_string()),
        })
    }
}

#[tonic::async_trait]
impl Join for Door {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        // A joiner that hangs up does not leave it half done.
        let door = self.clone();
        let admitted = task::spawn(async move { door.admit(request.into_inner()).await });
        match admitted.await {
            Ok(answer) => answer.map(Response::new),
            Err(_) => Err(Status::unavailable("this node is stopping")),
        }
    }
}
