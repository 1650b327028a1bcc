//! Connections to the servers under load.

use std::time::Duration;

use atoll_control::proto::etcdserverpb::{
    StatusRequest, StatusResponse, kv_client::KvClient, maintenance_client::MaintenanceClient,
};
use tonic::transport::{Channel, Endpoint};

use crate::error::{Error, Result};

/// So many clients share one HTTP/2 connection: a server works on each connection in one task.
const CLIENTS_PER_CONNECTION: usize = 16;
/// A range of 1,000 large values must fit.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// As many connections as `clients` need, spread over the endpoints in turn.
pub(crate) async fn connect(endpoints: &[String], clients: usize) -> Result<Vec<Channel>> {
    let count = clients
        .div_ceil(CLIENTS_PER_CONNECTION)
        .max(endpoints.len().min(clients));
    let mut channels = Vec::with_capacity(count);
    for address in endpoints.iter().cycle().take(count) {
        let channel = endpoint(address)?
            .connect_timeout(CONNECT_WAIT)
            .connect()
            .await;
        channels.push(channel.map_err(refused(address))?);
    }
    Ok(channels)
}

/// A connection that is opened when it is needed, and opened again after it broke.
pub(crate) fn lazy(address: &str, timeout: Duration) -> Result<Channel> {
    Ok(endpoint(address)?
        .connect_timeout(timeout)
        .timeout(timeout)
        .connect_lazy())
}

pub(crate) fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// What one server says about itself and its leader.
pub(crate) async fn status(address: &str) -> Result<StatusResponse> {
    let channel = lazy(address, CONNECT_WAIT)?;
    let answer = MaintenanceClient::new(channel)
        .status(StatusRequest {})
        .await
        .map_err(Error::refused("status"))?;
    Ok(answer.into_inner())
}

/// Puts the leader's address first, so that a single client speaks to it.
pub(crate) async fn leader_first(mut endpoints: Vec<String>) -> Result<Vec<String>> {
    for index in 0..endpoints.len() {
        let status = status(&endpoints[index]).await?;
        let own = status.header.map(|header| header.member_id);
        if own == Some(status.leader) {
            endpoints.swap(0, index);
            break;
        }
    }
    Ok(endpoints)
}

fn endpoint(address: &str) -> Result<Endpoint> {
    Ok(Endpoint::from_shared(address.to_owned())
        .map_err(refused(address))?
        .tcp_nodelay(true))
}

fn refused(endpoint: &str) -> impl FnOnce(tonic::transport::Error) -> Error + use<> {
    let endpoint = endpoint.to_owned();
    move |source| Error::Connect { endpoint, source }
}
