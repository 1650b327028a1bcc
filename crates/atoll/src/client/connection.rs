//! One connection to one endpoint, with every service of the API on it.

use std::{error::Error, io, time::Duration};

use atoll_control::proto::{
    cluster::{
        authority_client::AuthorityClient, certificates_client::CertificatesClient,
        drains_client::DrainsClient, tokens_client::TokensClient,
    },
    etcdserverpb::{
        auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient,
        lease_client::LeaseClient, maintenance_client::MaintenanceClient,
        watch_client::WatchClient,
    },
    v1::locks_client::LocksClient,
};
use atoll_txn::proto::transactions_client::TransactionsClient;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::Options;
use crate::password::Secret;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a silent connection is asked whether it still stands, and how long it may take
/// to say so. A watch or a lock notices a dead node after the sum of the two.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// The header that carries the token, as etcd's clients send it.
const TOKEN_HEADER: &str = "token";

/// Sends the token along.
#[derive(Clone)]
pub(crate) struct Bearer {
    token: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert(TOKEN_HEADER, token.clone());
        }
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Bearer>;

/// A connection; cheap to clone.
#[derive(Clone)]
pub(crate) struct Connection {
    service: Service,
}

macro_rules! services {
    ($($(#[$doc:meta])* $name:ident: $client:ident;)*) => {
        impl Connection {$(
            $(#[$doc])*
            pub(crate) fn $name(&self) -> $client<Service> {
                // The server limits what it sends; a client that asked for it wants it all.
                $client::new(self.service.clone()).max_decoding_message_size(usize::MAX)
            }
        )*}
    };
}

services! {
    /// Keys.
    kv: KvClient;
    /// Watches.
    watch: WatchClient;
    /// Leases.
    lease: LeaseClient;
    /// Members.
    cluster: ClusterClient;
    /// Status, alarms, snapshots.
    maintenance: MaintenanceClient;
    /// Users and roles.
    auth: AuthClient;
    /// Locks.
    locks: LocksClient;
    /// The authority.
    authority: AuthorityClient;
    /// Users' certificates.
    certificates: CertificatesClient;
    /// Nodes that are to be empty.
    drains: DrainsClient;
    /// Join tokens.
    tokens: TokensClient;
    /// Transactions with participants outside.
    transactions: TransactionsClient;
}

impl Connection {
    pub(super) fn new(channel: Channel, token: Option<&Secret>) -> Connection {
        let token = token.and_then(|secret| {
            let mut value = MetadataValue::try_from(secret.0.as_str()).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Connection {
            service: InterceptedService::new(channel, Bearer { token }),
        }
    }
}

/// Connects, or says why not.
pub(super) async fn open(options: &Options, url: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|_| "not a URL such as http://127.0.0.1:2379".to_owned())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .tcp_nodelay(true);
    let endpoint = match &options.ca {
        Some(ca) if url.starts_with("https://") => {
            let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            if let Some((cert, key)) = &options.identity {
                tls = tls.identity(Identity::from_pem(cert, &key.0));
            }
            endpoint.tls_config(tls).map_err(|error| reason(&error))?
        }
        None if url.starts_with("https://") => {
            return Err(
                "TLS needs the cluster's authority: name it with --cacert or --context".into(),
            );
        }
        _ => endpoint,
    };
    endpoint.connect().await.map_err(|error| reason(&error))
}

/// Whether the connection broke, so that the server's own answer never came. A status that a
/// server sent has no cause on our side; one that was made up here always has.
pub(super) fn broken(status: &Status) -> bool {
    status.source().is_some()
}

/// The innermost cause, which is the one that tells something.
pub(crate) fn reason(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if let Some(io) = innermost.downcast_ref::<io::Error>()
        && io.kind() == io::ErrorKind::ConnectionRefused
    {
        return "connection refused".into();
    }
    innermost.to_string()
}
