//! `atoll auth`: whether logging in is needed.

use atoll_control::proto::etcdserverpb as pb;
use clap::Subcommand;
use serde::Serialize;

use crate::{
    client::{Client, Retry},
    error::CliError,
    output::{Done, Format, View},
};

/// What can be done with authentication.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// From now on everybody must log in. The user root must exist and hold the role root.
    Enable,
    /// From now on nobody needs to log in.
    Disable,
    /// Whether logging in is needed.
    Status,
}

/// Does it.
pub(crate) async fn run(
    command: AuthCommand,
    client: &Client,
    output: Format,
) -> Result<(), CliError> {
    match command {
        AuthCommand::Enable => {
            client
                .call(
                    Retry::Safe,
                    pb::AuthEnableRequest {},
                    |node, r| async move { node.auth().auth_enable(r).await },
                )
                .await?;
            output.show(&Done::new("authentication is on: log in with --user root"))
        }
        AuthCommand::Disable => {
            client
                .call(
                    Retry::Safe,
                    pb::AuthDisableRequest {},
                    |node, r| async move { node.auth().auth_disable(r).await },
                )
                .await?;
            output.show(&Done::new("authentication is off"))
        }
        AuthCommand::Status => {
            let answer = client
                .call(
                    Retry::Safe,
                    pb::AuthStatusRequest {},
                    |node, r| async move { node.auth().auth_status(r).await },
                )
                .await?;
            output.show(&AuthStatus {
                enabled: answer.enabled,
                auth_revision: answer.auth_revision,
            })
        }
    }
}

#[derive(Serialize)]
struct AuthStatus {
    enabled: bool,
    auth_revision: u64,
}

impl View for AuthStatus {
    fn text(&self) -> String {
        let word = if self.enabled { "on" } else { "off" };
        format!(
            "authentication is {word} (auth revision {})",
            self.auth_revision
        )
    }
}
