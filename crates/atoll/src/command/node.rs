//! `atoll node`: who belongs to the cluster.

use atoll_base::id::NodeId;
use atoll_control::proto::etcdserverpb as pb;
use atoll_control::proto::etcdserverpb::{Member, alarm_request::AlarmAction};
use clap::Subcommand;
use serde::Serialize;

use super::{
    drain::{self, Named, Removal},
    hot, parse_hex, status,
};
use crate::{
    client::{Client, Retry},
    error::CliError,
    output::{Done, Format, View, table},
};

/// What can be done with nodes. A node is named by its id or its name.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Every node of the cluster.
    List,
    /// Give a learner that has caught up a vote.
    Promote {
        /// Its id or name.
        node: String,
    },
    /// Have other nodes take over the hot data that a node holds. It stays a member and serves
    /// clients. This goes on in the background, whoever restarts meanwhile.
    Drain {
        /// Its id or name.
        node: String,
        /// Return only when it holds nothing any more, and show how far it is.
        #[arg(long)]
        wait: bool,
    },
    /// Let a node that is being drained, or was, hold its share again.
    Undrain {
        /// Its id or name.
        node: String,
    },
    /// Take a node out of the cluster, for good: its folder is of no use after that. Drain it
    /// first: a node that is just removed leaves its partitions with a replica less until other
    /// nodes have copied them.
    Remove {
        /// Its id or name.
        node: String,
        /// Even if partitions of hot data lose the majority of their replicas by that, and with
        /// it what they hold.
        #[arg(long)]
        force: bool,
    },
    /// Let another node lead.
    TransferLeader {
        /// The id or name of the one that shall lead.
        node: String,
    },
    /// Lift every alarm, once its cause is gone.
    Disarm,
}

/// Does it.
pub(crate) async fn run(
    command: NodeCommand,
    client: &Client,
    output: Format,
) -> Result<(), CliError> {
    match command {
        NodeCommand::List => {
            let (_, members) = status::members(client).await?;
            output.show(&Nodes(members.into_iter().map(Node::from).collect()))
        }
        NodeCommand::Promote { node } => {
            let id = find(client, &node).await?;
            client
                .call(
                    Retry::Never,
                    pb::MemberPromoteRequest { id },
                    |node, r| async move { node.cluster().member_promote(r).await },
                )
                .await?;
            output.show(&Done::new(format!("node {id:x} has a vote")))
        }
        NodeCommand::Drain { node, wait } => {
            let node = find_named(client, &node).await?;
            drain::drain(client, node, wait, output).await
        }
        NodeCommand::Undrain { node } => {
            let node = find_named(client, &node).await?;
            drain::undrain(client, node, output).await
        }
        NodeCommand::Remove { node, force } => {
            let named = find_named(client, &node).await?;
            let (id, name) = (named.id, &named.name);
            let (cluster, _) = status::members(client).await?;
            let mut told = String::new();
            if let Some(topology) = hot::topology(client, cluster, true).await? {
                let up = status::up(client).await?;
                let removal = Removal::of(&topology, NodeId(id), &up);
                if !force {
                    removal.check(&named)?;
                }
                told = removal.told();
            }
            client
                .call(
                    Retry::Never,
                    pb::MemberRemoveRequest { id },
                    |node, r| async move { node.cluster().member_remove(r).await },
                )
                .await?;
            output.show(&Done::new(format!(
                "node {name} is no longer part of the cluster{told}"
            )))
        }
        NodeCommand::TransferLeader { node } => {
            let id = find(client, &node).await?;
            transfer_leader(client, id).await?;
            output.show(&Done::new(format!("node {id:x} leads")))
        }
        NodeCommand::Disarm => disarm(client, output).await,
    }
}

async fn transfer_leader(client: &Client, target_id: u64) -> Result<(), CliError> {
    let request = pb::MoveLeaderRequest { target_id };
    let at = async |client: &Client| {
        client
            .call(Retry::Never, request, |node, r| async move {
                node.maintenance().move_leader(r).await
            })
            .await
    };
    match at(client).await {
        // In etcd's API only the leader itself hands over.
        Err(CliError::Refused { status }) if status.message().contains("not leader") => {
            at(&status::leader_client(client).await?).await?;
        }
        other => {
            other?;
        }
    }
    Ok(())
}

async fn disarm(client: &Client, output: Format) -> Result<(), CliError> {
    let alarm = |action: AlarmAction, alarm: &pb::AlarmMember| pb::AlarmRequest {
        action: action.into(),
        member_id: alarm.member_id,
        alarm: alarm.alarm,
    };
    let send = async |request| {
        client
            .call(Retry::Safe, request, |node, r| async move {
                node.maintenance().alarm(r).await
            })
            .await
    };
    let raised = send(alarm(AlarmAction::Get, &pb::AlarmMember::default()))
        .await?
        .alarms;
    for one in &raised {
        send(alarm(AlarmAction::Deactivate, one)).await?;
    }
    output.show(&Done::new(format!("{} alarms lifted", raised.len())))
}

/// The id behind what a person wrote.
async fn find(client: &Client, node: &str) -> Result<u64, CliError> {
    Ok(find_named(client, node).await?.id)
}

/// The same, as others can name it too.
async fn find_named(client: &Client, node: &str) -> Result<Named, CliError> {
    let (_, members) = status::members(client).await?;
    let id = resolve(&members, node)?;
    let nodes = members.iter().map(|it| (format!("{:x}", it.id), &*it.name));
    Ok(Named {
        id,
        name: status::called(nodes, &format!("{id:x}")),
    })
}

fn resolve(members: &[Member], node: &str) -> Result<u64, CliError> {
    let by_name: Vec<u64> = members
        .iter()
        .filter(|m| m.name == node)
        .map(|m| m.id)
        .collect();
    match by_name[..] {
        [id] => return Ok(id),
        [] => {}
        _ => {
            return Err(CliError::usage(
                format!("more than one node is called `{node}`"),
                "name it by its id: `atoll node list` shows them",
            ));
        }
    }
    let id = parse_hex(node).ok();
    id.filter(|id| members.iter().any(|member| member.id == *id))
        .ok_or_else(|| {
            CliError::usage(
                format!("there is no node `{node}`"),
                "`atoll node list` shows the nodes there are",
            )
        })
}

#[derive(Serialize)]
struct Node {
    id: String,
    name: String,
    learner: bool,
    peer_urls: Vec<String>,
    client_urls: Vec<String>,
}

impl From<Member> for Node {
    fn from(member: Member) -> Node {
        Node {
            id: format!("{:x}", member.id),
            name: member.name,
            learner: member.is_learner,
            peer_urls: member.peer_ur_ls,
            client_urls: member.client_ur_ls,
        }
    }
}

#[derive(Serialize)]
#[serde(transparent)]
struct Nodes(Vec<Node>);

impl View for Nodes {
    fn text(&self) -> String {
        let row = |node: &Node| {
            vec![
                node.id.clone(),
                node.name.clone(),
                if node.learner { "learner" } else { "voter" }.to_owned(),
                node.peer_urls.join(" "),
                node.client_urls.join(" "),
            ]
        };
        table(
            &["ID", "NAME", "ROLE", "PEER", "CLIENT"],
            &self.0.iter().map(row).collect::<Vec<_>>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_found_by_name_and_by_id() {
        let member = |id, name: &str| Member {
            id,
            name: name.into(),
            ..Member::default()
        };
        let members = [
            member(0x1f, "a"),
            member(0xa, "b"),
            member(3, "c"),
            member(4, "c"),
        ];
        assert_eq!(
            resolve(&members, "a").unwrap(),
            0x1f,
            "a name goes before an id"
        );
        assert_eq!(resolve(&members, "1f").unwrap(), 0x1f);
        let nodes = members.iter().map(|it| (format!("{:x}", it.id), &*it.name));
        assert_eq!(status::called(nodes.clone(), "1f"), "a");
        assert_eq!(status::called(nodes.clone(), "3"), "3", "two have its name");
        assert_eq!(status::called(nodes, "7"), "7");
        assert_eq!(resolve(&members, "0x3").unwrap(), 3);
        assert!(
            resolve(&members, "c")
                .unwrap_err()
                .to_string()
                .contains("more than one")
        );
        assert!(
            resolve(&members, "7")
                .unwrap_err()
                .to_string()
                .contains("no node `7`")
        );
    }

    #[test]
    fn lists_are_tables_and_json() {
        let nodes = Nodes(vec![Node::from(Member {
            id: 31,
            name: "a".into(),
            peer_ur_ls: vec!["https://a:2380".into()],
            client_ur_ls: vec!["http://a:2379".into()],
            is_learner: true,
        })]);
        assert_eq!(
            nodes.text(),
            "ID  NAME  ROLE     PEER            CLIENT\n1f  a     learner  https://a:2380  http://a:2379"
        );
        assert_eq!(
            serde_json::to_string(&nodes).unwrap(),
            r#"[{"id":"1f","name":"a","learner":true,"peer_urls":["https://a:2380"],"client_urls":["http://a:2379"]}]"#
        );
    }
}
