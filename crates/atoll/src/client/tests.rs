//! The client against nodes that fail in every way: nodes with one service of two calls.
#![allow(clippy::disallowed_methods)] // Real sockets on loopback.

use atoll_control::proto::v1::{
    AcquireRequest, AcquireResponse, ReleaseRequest, ReleaseResponse,
    locks_server::{Locks, LocksServer},
};
use tokio::net::TcpListener;
use tonic::{
    Request,
    transport::{Server, server::TcpIncoming},
};

use super::*;

/// How a node behaves.
#[derive(Clone, Copy)]
enum Node {
    Answers(&'static str),
    HasNoLeader,
    Hangs,
    Refuses,
}

#[tonic::async_trait]
impl Locks for Node {
    async fn acquire(
        &self,
        _: Request<AcquireRequest>,
    ) -> Result<Response<AcquireResponse>, Status> {
        match self {
            Node::Answers(key) => Ok(Response::new(AcquireResponse {
                key: (*key).into(),
                ..Default::default()
            })),
            Node::HasNoLeader => Err(Status::unavailable("etcdserver: no leader")),
            Node::Hangs => std::future::pending().await,
            Node::Refuses => Err(Status::permission_denied("etcdserver: permission denied")),
        }
    }

    async fn release(
        &self,
        _: Request<ReleaseRequest>,
    ) -> Result<Response<ReleaseResponse>, Status> {
        Err(Status::unimplemented("not used"))
    }
}

/// A client of these nodes, and the nodes, to be polled while it is used. `None` is an endpoint
/// at which nobody listens.
async fn cluster(nodes: &[Option<Node>], timeout: Duration) -> (Client, impl Future<Output = ()>) {
    let mut endpoints = Vec::new();
    let mut servers = Vec::new();
    for node in nodes {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        endpoints.push(format!("http://{}", listener.local_addr().unwrap()));
        if let Some(node) = node {
            let server = Server::builder().add_service(LocksServer::new(*node));
            servers.push(server.serve_with_incoming(TcpIncoming::from(listener)));
        }
    }
    let options = Options {
        endpoints,
        ca: None,
        identity: None,
        login: None,
        timeout,
    };
    let serve = async {
        futures_util::future::join_all(servers).await;
        std::future::pending().await
    };
    (Client::new(options), serve)
}

async fn lock(client: &Client, retry: Retry) -> Result<bytes::Bytes, CliError> {
    let answer = client
        .call(
            retry,
            AcquireRequest::default(),
            |node, request| async move { node.locks().acquire(request).await },
        )
        .await?;
    Ok(answer.key)
}

/// What the first call gives, and the second.
async fn twice(
    nodes: &[Option<Node>],
    timeout_ms: u64,
    retry: Retry,
) -> [Result<bytes::Bytes, CliError>; 2] {
    let (client, nodes) = cluster(nodes, Duration::from_millis(timeout_ms)).await;
    tokio::select! {
        biased;
        results = async { [lock(&client, retry).await, lock(&client, retry).await] } => results,
        () = nodes => unreachable!("nodes never end"),
    }
}

const LONG_MS: u64 = 60_000;
const SHORT_MS: u64 = 100;

#[tokio::test]
async fn the_next_endpoint_is_asked_where_one_is_not_there() {
    for retry in [Retry::Safe, Retry::Never] {
        let results = twice(&[None, Some(Node::Answers("b"))], LONG_MS, retry).await;
        for result in results {
            assert_eq!(result.unwrap(), "b");
        }
    }
    let [result, _] = twice(&[None, None], LONG_MS, Retry::Safe).await;
    let error = result.unwrap_err();
    assert!(
        error.to_string().contains("(connection refused)"),
        "{error}"
    );
    assert!(error.next_step().contains("atoll start"));
}

#[tokio::test]
async fn only_what_does_no_harm_twice_is_asked_twice() {
    let nodes = [Some(Node::HasNoLeader), Some(Node::Answers("b"))];
    let [read, _] = twice(&nodes, LONG_MS, Retry::Safe).await;
    assert_eq!(read.unwrap(), "b");
    let [write, _] = twice(&nodes, LONG_MS, Retry::Never).await;
    assert_eq!(write.unwrap_err().to_string(), "no leader");

    let nodes = [Some(Node::Hangs), Some(Node::Answers("b"))];
    let [read, again] = twice(&nodes, SHORT_MS, Retry::Safe).await;
    assert_eq!(read.unwrap(), "b");
    assert_eq!(again.unwrap(), "b");
    let [write, _] = twice(&nodes, SHORT_MS, Retry::Never).await;
    assert!(matches!(
        write.unwrap_err(),
        CliError::OutcomeUnknown { .. }
    ));
}

#[tokio::test]
async fn an_answer_is_final() {
    let nodes = [Some(Node::Refuses), Some(Node::Answers("b"))];
    let [result, _] = twice(&nodes, LONG_MS, Retry::Safe).await;
    assert_eq!(result.unwrap_err().exit_code(), 4);
}

#[tokio::test]
async fn a_write_whose_connection_breaks_is_not_repeated() {
    let (client, nodes) = cluster(
        &[None, Some(Node::Answers("b"))],
        Duration::from_millis(LONG_MS),
    )
    .await;
    let breaks = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut endpoints = client.endpoints().to_vec();
    endpoints[0] = format!("http://{}", breaks.local_addr().unwrap());
    let client = client.at(endpoints);
    let breaker = async {
        loop {
            // The first bytes of a request, and then nothing more.
            let (stream, _) = breaks.accept().await.unwrap();
            stream.readable().await.unwrap();
            drop(stream);
        }
    };
    let test = async {
        let write = lock(&client, Retry::Never).await.unwrap_err();
        assert!(matches!(write, CliError::OutcomeUnknown { .. }), "{write}");
        assert_eq!(lock(&client, Retry::Safe).await.unwrap(), "b");
    };
    tokio::select! {
        biased;
        () = test => {}
        () = nodes => unreachable!("nodes never end"),
        () = breaker => unreachable!("it never ends"),
    }
}
