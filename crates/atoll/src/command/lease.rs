//! `atoll lease`: leases, which take their keys along when they end.

use std::time::Duration;

use atoll_control::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
};
use clap::Subcommand;
use futures_util::stream;
use serde::Serialize;
use serde_json::{Map, Value};
use tonic::{Response, Status};

use super::parse_lease;
use crate::{
    client::{Client, Connection, Retry},
    error::CliError,
    output::{Done, Format, View, put_bytes, table},
};

/// What can be done with leases.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Make a lease and print its id.
    Grant {
        /// After how many seconds without a sign of life it ends.
        #[arg(value_name = "TTL_S", value_parser = clap::value_parser!(i64).range(1..=9_000_000_000))]
        ttl_s: i64,
    },
    /// End a lease now, and delete its keys.
    Revoke {
        /// Its id.
        #[arg(value_parser = parse_lease)]
        id: i64,
    },
    /// Every lease.
    List,
    /// What is left of a lease, and which keys it holds.
    Get {
        /// Its id.
        #[arg(value_parser = parse_lease)]
        id: i64,
    },
    /// Keep a lease alive until interrupted.
    KeepAlive {
        /// Its id.
        #[arg(value_parser = parse_lease)]
        id: i64,
        /// Only once.
        #[arg(long)]
        once: bool,
    },
}

/// Does it.
pub(crate) async fn run(
    command: LeaseCommand,
    client: &Client,
    output: Format,
) -> Result<(), CliError> {
    match command {
        LeaseCommand::Grant { ttl_s } => {
            let (id, ttl_s) = grant(client, ttl_s).await?;
            output.show(&Lease {
                id: format!("{id:x}"),
                ttl_s,
            })
        }
        LeaseCommand::Revoke { id } => {
            revoke(client, id).await?;
            output.show(&Done::new(format!("lease {id:x} revoked")))
        }
        LeaseCommand::List => output.show(&list(client).await?),
        LeaseCommand::Get { id } => output.show(&time_to_live(client, id).await?),
        LeaseCommand::KeepAlive { id, once } => keep_alive(client, id, once, output).await,
    }
}

/// Makes a lease; answers its id and its time to live in seconds, which the cluster may have
/// raised.
pub(super) async fn grant(client: &Client, ttl_s: i64) -> Result<(i64, i64), CliError> {
    let request = LeaseGrantRequest { ttl: ttl_s, id: 0 };
    let answer = client
        // Asked twice, it makes two; the other one ends by itself.
        .call(Retry::Safe, request, |node, request| async move {
            node.lease().lease_grant(request).await
        })
        .await?;
    Ok((answer.id, answer.ttl))
}

/// Ends a lease.
pub(super) async fn revoke(client: &Client, id: i64) -> Result<(), CliError> {
    let request = LeaseRevokeRequest { id };
    client
        .call(Retry::Safe, request, |node, request| async move {
            node.lease().lease_revoke(request).await
        })
        .await?;
    Ok(())
}

/// Renews a lease once; answers what it has from now on in seconds, 0 if there is none.
pub(super) async fn renew(client: &Client, id: i64) -> Result<i64, CliError> {
    client.call(Retry::Safe, id, renew_at).await
}

async fn renew_at(node: Connection, id: i64) -> Result<Response<i64>, Status> {
    let requests = stream::iter([LeaseKeepAliveRequest { id }]);
    let mut answers = node.lease().lease_keep_alive(requests).await?.into_inner();
    match answers.message().await? {
        Some(answer) => Ok(Response::new(answer.ttl)),
        None => Err(Status::unavailable(
            "the node ended the stream without an answer",
        )),
    }
}

async fn keep_alive(client: &Client, id: i64, once: bool, output: Format) -> Result<(), CliError> {
    loop {
        let ttl_s = renew(client, id).await?;
        if ttl_s <= 0 {
            return Err(Status::not_found("etcdserver: requested lease not found").into());
        }
        output.show_streamed(&Done::new(format!("lease {id:x} kept alive for {ttl_s} s")))?;
        if once {
            return Ok(());
        }
        // A third, so that two may fail before it ends.
        tokio::time::sleep(Duration::from_secs(ttl_s.unsigned_abs()) / 3).await;
    }
}

async fn list(client: &Client) -> Result<Leases, CliError> {
    let answer = client
        .call(
            Retry::Safe,
            LeaseLeasesRequest {},
            |node, request| async move { node.lease().lease_leases(request).await },
        )
        .await?;
    Ok(Leases(
        answer
            .leases
            .iter()
            .map(|lease| format!("{:x}", lease.id))
            .collect(),
    ))
}

async fn time_to_live(client: &Client, id: i64) -> Result<Left, CliError> {
    let request = LeaseTimeToLiveRequest { id, keys: true };
    let answer = client
        .call(Retry::Safe, request, |node, request| async move {
            node.lease().lease_time_to_live(request).await
        })
        .await?;
    if answer.ttl < 0 {
        return Err(Status::not_found("etcdserver: requested lease not found").into());
    }
    let key = |bytes: &bytes::Bytes| {
        let mut object = Map::new();
        put_bytes(&mut object, "key", bytes);
        Value::Object(object)
    };
    Ok(Left {
        id: format!("{:x}", answer.id),
        granted_s: answer.granted_ttl,
        left_s: answer.ttl,
        keys: answer.keys.iter().map(key).collect(),
        keys_shown: answer
            .keys
            .iter()
            .map(|key| String::from_utf8_lossy(key).into_owned())
            .collect(),
    })
}

#[derive(Serialize)]
struct Lease {
    id: String,
    ttl_s: i64,
}

impl View for Lease {
    fn text(&self) -> String {
        self.id.clone()
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Leases(Vec<String>);

impl View for Leases {
    fn text(&self) -> String {
        self.0.join("\n")
    }
}

#[derive(Serialize)]
struct Left {
    id: String,
    granted_s: i64,
    left_s: i64,
    keys: Vec<Value>,
    #[serde(skip)]
    keys_shown: Vec<String>,
}

impl View for Left {
    fn text(&self) -> String {
        let row = vec![
            self.id.clone(),
            format!("{} s", self.granted_s),
            format!("{} s", self.left_s),
            self.keys_shown.join(" "),
        ];
        table(&["LEASE", "GRANTED", "LEFT", "KEYS"], &[row])
    }
}
