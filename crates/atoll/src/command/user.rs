//! `atoll user`: who may log in.

use std::path::PathBuf;

use atoll_control::proto::{authpb::UserAddOptions, etcdserverpb as pb};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::certificate::{self, CertificateArgs};
use crate::{
    client::{Client, Retry},
    error::CliError,
    output::{Done, Format, Names, View},
    password::{self, Secret},
};

/// The variable that holds a new password.
const PASSWORD_NEW_VARIABLE: &str = "ATOLL_PASSWORD_NEW";

/// What can be done with users.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user. The password is asked for.
    Add {
        /// Its name.
        name: String,
        #[command(flatten)]
        password: NewPassword,
        /// A user without a password: it comes in by client certificate alone.
        #[arg(long, conflicts_with = "new_password_file")]
        no_password: bool,
    },
    /// Delete a user.
    #[command(alias = "del")]
    Delete {
        /// Its name.
        name: String,
    },
    /// Every user.
    List,
    /// A user's roles.
    Get {
        /// Its name.
        name: String,
    },
    /// Change a user's password. The new one is asked for.
    Passwd {
        /// Its name.
        name: String,
        #[command(flatten)]
        password: NewPassword,
    },
    /// Give a user a role.
    Grant {
        /// The user.
        name: String,
        /// The role.
        role: String,
    },
    /// Make a client certificate that logs a user in. Its key is made here and goes nowhere.
    Certificate(CertificateArgs),
    /// Take a role from a user.
    Revoke {
        /// The user.
        name: String,
        /// The role.
        role: String,
    },
}

/// Where a new password comes from.
#[derive(Clone, Debug, Args)]
pub(crate) struct NewPassword {
    /// A file whose first line is the new password; - is standard input. Without it, the
    /// variable ATOLL_PASSWORD_NEW; without that, it is asked for.
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

impl NewPassword {
    fn obtain(&self, user: &str) -> Result<Secret, CliError> {
        let prompt = format!("New password of {user}: ");
        let file = self.new_password_file.as_deref();
        let secret = password::obtain(file, PASSWORD_NEW_VARIABLE, &prompt, true)?;
        if secret.0.is_empty() {
            return Err(CliError::usage(
                "an empty password is none",
                "choose one, or use --no-password with `atoll user add`",
            ));
        }
        Ok(secret)
    }
}

/// Does it.
pub(crate) async fn run(
    command: UserCommand,
    client: &Client,
    output: Format,
) -> Result<(), CliError> {
    match command {
        UserCommand::Add {
            name,
            password,
            no_password,
        } => {
            let secret = match no_password {
                true => None,
                false => Some(password.obtain(&name)?),
            };
            add(client, &name, secret).await?;
            output.show(&Done::new(format!("user {name} added")))
        }
        UserCommand::Delete { name } => {
            let request = pb::AuthUserDeleteRequest { name: name.clone() };
            client
                .call(Retry::Never, request, |node, r| async move {
                    node.auth().user_delete(r).await
                })
                .await?;
            output.show(&Done::new(format!("user {name} deleted")))
        }
        UserCommand::List => {
            let request = pb::AuthUserListRequest {};
            let answer = client
                .call(Retry::Safe, request, |node, r| async move {
                    node.auth().user_list(r).await
                })
                .await?;
            output.show(&Names(answer.users))
        }
        UserCommand::Get { name } => output.show(&get(client, name).await?),
        UserCommand::Passwd { name, password } => {
            let request = pb::AuthUserChangePasswordRequest {
                name: name.clone(),
                password: password.obtain(&name)?.0,
                hashed_password: String::new(),
            };
            client
                .call(Retry::Never, request, |node, r| async move {
                    node.auth().user_change_password(r).await
                })
                .await?;
            output.show(&Done::new(format!("password of {name} changed")))
        }
        UserCommand::Certificate(args) => certificate::run(args, client, output).await,
        UserCommand::Grant { name, role } => {
            let request = pb::AuthUserGrantRoleRequest {
                user: name.clone(),
                role: role.clone(),
            };
            client
                .call(Retry::Never, request, |node, r| async move {
                    node.auth().user_grant_role(r).await
                })
                .await?;
            output.show(&Done::new(format!("user {name} has the role {role}")))
        }
        UserCommand::Revoke { name, role } => {
            let request = pb::AuthUserRevokeRoleRequest {
                name: name.clone(),
                role: role.clone(),
            };
            client
                .call(Retry::Never, request, |node, r| async move {
                    node.auth().user_revoke_role(r).await
                })
                .await?;
            output.show(&Done::new(format!(
                "user {name} no longer has the role {role}"
            )))
        }
    }
}

async fn add(client: &Client, name: &str, secret: Option<Secret>) -> Result<(), CliError> {
    let request = pb::AuthUserAddRequest {
        name: name.to_owned(),
        options: Some(UserAddOptions {
            no_password: secret.is_none(),
        }),
        password: secret.map_or_else(String::new, |secret| secret.0),
        hashed_password: String::new(),
    };
    client
        .call(Retry::Never, request, |node, r| async move {
            node.auth().user_add(r).await
        })
        .await?;
    Ok(())
}

async fn get(client: &Client, name: String) -> Result<User, CliError> {
    let request = pb::AuthUserGetRequest { name: name.clone() };
    let answer = client
        .call(Retry::Safe, request, |node, r| async move {
            node.auth().user_get(r).await
        })
        .await?;
    Ok(User {
        name,
        roles: answer.roles,
    })
}

#[derive(Serialize)]
struct User {
    name: String,
    roles: Vec<String>,
}

impl View for User {
    fn text(&self) -> String {
        match self.roles.is_empty() {
            true => format!("{} has no roles", self.name),
            false => format!("{} has the roles {}", self.name, self.roles.join(", ")),
        }
    }
}
