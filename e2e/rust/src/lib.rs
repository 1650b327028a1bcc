//! A server of one node and a connected `etcd-client`, for each test its own.

use atoll_e2e::{cluster::Cluster, command::Server};
use etcd_client::{Client, ConnectOptions};

/// Environment variable that names a server that runs already, instead of one for each test.
/// Tests that switch authentication on are then not fit to run beside others.
pub const ENDPOINT: &str = "ATOLL_E2E_ENDPOINT";

/// A running server.
pub struct Served {
    /// Its address for clients.
    pub endpoint: String,
    // Held: the server ends with it.
    _cluster: Option<Cluster>,
}

impl Served {
    /// The server that runs already, or a fresh one.
    pub async fn start() -> Self {
        if let Ok(endpoint) = std::env::var(ENDPOINT) {
            return Self {
                endpoint,
                _cluster: None,
            };
        }
        let server = Server::under_test();
        let cluster = Cluster::start(&server, 1).await.expect("a node starts");
        Self {
            endpoint: cluster.nodes[0].endpoint(),
            _cluster: Some(cluster),
        }
    }

    /// A client without a name.
    pub async fn client(&self) -> Client {
        Client::connect([&self.endpoint], None)
            .await
            .expect("the client connects")
    }

    /// A client that logs in.
    ///
    /// # Errors
    /// The server refuses the name or the password.
    pub async fn login(&self, name: &str, password: &str) -> Result<Client, etcd_client::Error> {
        let options = ConnectOptions::new().with_user(name, password);
        Client::connect([&self.endpoint], Some(options)).await
    }
}

/// The message of a refusal by the server.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, etcd_client::Error>) -> String {
    match result {
        Err(etcd_client::Error::GRpcStatus(status)) => status.message().to_owned(),
        other => panic!("a refusal was expected, not {other:?}"),
    }
}
