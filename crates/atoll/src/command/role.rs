//! `atoll role`: what those who log in may do.

use atoll_control::proto::{
    authpb::{Permission, permission::Type},
    etcdserverpb as pb,
};
use clap::{Subcommand, ValueEnum};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::range::RangeArgs;
use crate::{
    client::{Client, Retry},
    error::CliError,
    output::{Done, Format, Names, View, put_bytes, table},
};

/// What can be done with roles.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Add a role without any rights.
    Add {
        /// Its name.
        name: String,
    },
    /// Delete a role.
    #[command(alias = "del")]
    Delete {
        /// Its name.
        name: String,
    },
    /// Every role.
    List,
    /// A role's rights.
    Get {
        /// Its name.
        name: String,
    },
    /// Give a role a right to keys.
    Grant {
        /// The role.
        name: String,
        /// What it may do.
        right: Right,
        #[command(flatten)]
        range: RangeArgs,
    },
    /// Take a right to keys from a role; the keys are named as they were granted.
    Revoke {
        /// The role.
        name: String,
        #[command(flatten)]
        range: RangeArgs,
    },
}

/// What may be done with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Right {
    /// Read and watch.
    Read,
    /// Write and delete.
    Write,
    /// Both.
    Readwrite,
}

/// Does it.
pub(crate) async fn run(
    command: RoleCommand,
    client: &Client,
    output: Format,
) -> Result<(), CliError> {
    match command {
        RoleCommand::Add { name } => {
            let request = pb::AuthRoleAddRequest { name: name.clone() };
            client
                .call(Retry::Never, request, |node, r| async move {
                    node.auth().role_add(r).await
                })
                .await?;
            output.show(&Done::new(format!("role {name} added")))
        }
        RoleCommand::Delete { name } => {
            let request = pb::AuthRoleDeleteRequest { role: name.clone() };
            client
                .call(Retry::Never, request, |node, r| async move {
                    node.auth().role_delete(r).await
                })
                .await?;
            output.show(&Done::new(format!("role {name} deleted")))
        }
        RoleCommand::List => {
            let request = pb::AuthRoleListRequest {};
            let answer = client
                .call(Retry::Safe, request, |node, r| async move {
                    node.auth().role_list(r).await
                })
                .await?;
            output.show(&Names(answer.roles))
        }
        RoleCommand::Get { name } => {
            let request = pb::AuthRoleGetRequest { role: name.clone() };
            let answer = client
                .call(Retry::Safe, request, |node, r| async move {
                    node.auth().role_get(r).await
                })
                .await?;
            output.show(&Role {
                name,
                rights: answer.perm,
            })
        }
        RoleCommand::Grant { name, right, range } => {
            grant(client, &name, right, &range).await?;
            output.show(&Done::new(format!("role {name} has the right")))
        }
        RoleCommand::Revoke { name, range } => {
            let (key, range_end) = range.bounds();
            let request = pb::AuthRoleRevokePermissionRequest {
                role: name.clone(),
                key: key.into(),
                range_end: range_end.into(),
            };
            client
                .call(Retry::Never, request, |node, r| async move {
                    node.auth().role_revoke_permission(r).await
                })
                .await?;
            output.show(&Done::new(format!("role {name} no longer has the right")))
        }
    }
}

async fn grant(
    client: &Client,
    name: &str,
    right: Right,
    range: &RangeArgs,
) -> Result<(), CliError> {
    let (key, range_end) = range.bounds();
    let kind = match right {
        Right::Read => Type::Read,
        Right::Write => Type::Write,
        Right::Readwrite => Type::Readwrite,
    };
    let request = pb::AuthRoleGrantPermissionRequest {
        name: name.to_owned(),
        perm: Some(Permission {
            perm_type: kind.into(),
            key: key.into(),
            range_end: range_end.into(),
        }),
    };
    client
        .call(Retry::Never, request, |node, r| async move {
            node.auth().role_grant_permission(r).await
        })
        .await?;
    Ok(())
}

struct Role {
    name: String,
    rights: Vec<Permission>,
}

fn right_name(right: &Permission) -> &'static str {
    match right.perm_type() {
        Type::Read => "read",
        Type::Write => "write",
        Type::Readwrite => "readwrite",
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let one = |right: &Permission| {
            let mut object = Map::new();
            object.insert("right".into(), right_name(right).into());
            put_bytes(&mut object, "key", &right.key);
            if !right.range_end.is_empty() {
                put_bytes(&mut object, "range_end", &right.range_end);
            }
            Value::Object(object)
        };
        let rights: Vec<Value> = self.rights.iter().map(one).collect();
        json!({ "name": self.name, "rights": rights }).serialize(serializer)
    }
}

impl View for Role {
    fn text(&self) -> String {
        if self.rights.is_empty() {
            return format!("{} has no rights", self.name);
        }
        let row = |right: &Permission| vec![right_name(right).to_owned(), keys(right)];
        table(
            &["RIGHT", "KEYS"],
            &self.rights.iter().map(row).collect::<Vec<_>>(),
        )
    }
}

/// The keys of a right, in words.
fn keys(right: &Permission) -> String {
    let start = String::from_utf8_lossy(&right.key);
    match (&right.key[..], &right.range_end[..]) {
        (_, []) => start.into_owned(),
        ([0], [0]) => "every key".to_owned(),
        (_, [0]) => format!("from {start} on"),
        (_, end) => format!("from {start} to before {}", String::from_utf8_lossy(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_read_well() {
        let right = |kind: Type, key: &'static [u8], range_end: &'static [u8]| Permission {
            perm_type: kind.into(),
            key: key.into(),
            range_end: range_end.into(),
        };
        let role = Role {
            name: "r".into(),
            rights: vec![
                right(Type::Read, b"a", b""),
                right(Type::Write, b"a", b"c"),
                right(Type::Readwrite, &[0], &[0]),
            ],
        };
        assert_eq!(
            role.text(),
            "RIGHT      KEYS\nread       a\nwrite      from a to before c\nreadwrite  every key"
        );
        assert_eq!(
            serde_json::to_value(&role).unwrap()["rights"][1],
            json!({"right": "write", "key": "a", "range_end": "c"})
        );
    }
}
