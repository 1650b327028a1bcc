//! `atoll token`: tokens with which nodes join.

use atoll_control::proto::cluster::{CreateTokenRequest, ListTokensRequest, RevokeTokenRequest};
use atoll_world::clock;
use clap::Subcommand;
use serde::Serialize;

use crate::{
    client::{Client, Retry},
    error::CliError,
    output::{self, Format, View},
};

/// What can be done with tokens.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it, once.
    Create {
        /// How many nodes may join with it.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
        uses: u32,
        /// How long it is good for.
        #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
        ttl_s: u64,
    },
    /// The tokens there are: their ids, never themselves.
    List,
    /// Make a token useless.
    Revoke {
        /// Its id, as `atoll token list` shows it.
        id: String,
    },
}

/// A token that was just made.
#[derive(Serialize)]
struct Made {
    token: String,
    id: String,
    uses_left: u32,
    expires_ms: u64,
}

impl View for Made {
    fn text(&self) -> String {
        format!(
            "{}\n\nGood for {} node(s), shown this once. On the other machine:\n  atoll start --join HOST:PORT --token {}",
            self.token, self.uses_left, self.token
        )
    }
}

/// A token in a list.
#[derive(Serialize)]
struct Row {
    id: String,
    uses_left: u32,
    expires_ms: u64,
}

/// Tokens in a list.
#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl View for Rows {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|row| {
            let left_s = row.expires_ms.saturating_sub(clock::wall_ms()) / 1_000;
            vec![
                row.id.clone(),
                row.uses_left.to_string(),
                format!("{left_s} s"),
            ]
        });
        output::table(
            &["ID", "USES LEFT", "EXPIRES IN"],
            &rows.collect::<Vec<_>>(),
        )
    }
}

/// Does it.
///
/// # Errors
/// The cluster refused, or no node answers.
pub(crate) async fn run(
    command: TokenCommand,
    client: &Client,
    output: Format,
) -> Result<(), CliError> {
    match command {
        TokenCommand::Create { uses, ttl_s } => {
            let request = CreateTokenRequest { uses, ttl_s };
            let made = client
                .call(Retry::Never, request, |node, request| async move {
                    node.tokens().create(request).await
                })
                .await?;
            let facts = made.facts.unwrap_or_default();
            output.show(&Made {
                token: made.token,
                id: facts.id,
                uses_left: facts.uses_left,
                expires_ms: facts.expires_ms,
            })
        }
        TokenCommand::List => {
            let listed = client
                .call(
                    Retry::Safe,
                    ListTokensRequest {},
                    |node, request| async move { node.tokens().list(request).await },
                )
                .await?;
            let rows = listed.tokens.into_iter().map(|facts| Row {
                id: facts.id,
                uses_left: facts.uses_left,
                expires_ms: facts.expires_ms,
            });
            output.show(&Rows(rows.collect()))
        }
        TokenCommand::Revoke { id } => {
            client
                .call(
                    Retry::Never,
                    RevokeTokenRequest { id },
                    |node, request| async move { node.tokens().revoke(request).await },
                )
                .await?;
            Ok(())
        }
    }
}
