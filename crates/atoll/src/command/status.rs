//! `atoll status`: the cluster at a glance.
//!
//! Every node is asked for itself, at once, so that one that hangs hides only its own line.

use std::collections::{BTreeMap, BTreeSet};

use atoll_base::id::NodeId;
use atoll_control::proto::etcdserverpb::{
    AlarmRequest, AlarmType, Member, MemberListRequest, StatusRequest, StatusResponse,
};
use futures_util::future::{join, join_all, join3};
use serde::Serialize;

use super::{
    hot::{HotStatus, hot},
    lag::{EventualLag, lags},
    required,
};
use crate::{
    client::{Client, Retry},
    error::CliError,
    output::{Format, View, bytes_for_people, table},
};

/// Prints it. Ends with exit code 3 where no majority of the voters answers, with 1 where
/// endpoints belong to different clusters.
pub(crate) async fn run(client: &Client, output: Format) -> Result<(), CliError> {
    let status = gather(client).await?;
    output.show(&status)?;
    match status.failures_survived {
        None => Err(CliError::Exit(3)),
        Some(_) if !status.strangers.is_empty() => Err(CliError::Exit(1)),
        Some(_) => Ok(()),
    }
}

/// How the cluster is.
#[derive(Debug, Serialize)]
pub(super) struct ClusterStatus {
    cluster: String,
    leader: Option<String>,
    term: u64,
    revision: i64,
    /// Where the cluster stands; 0 if nobody said.
    feature_level: u32,
    /// How many more voters may fail before the cluster stops; none where it has stopped.
    failures_survived: Option<usize>,
    alarms: Vec<String>,
    /// Who holds hot data, where that could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    hot: Option<HotStatus>,
    /// How far behind replicas of eventual keyspaces may be, as nodes that answer tell it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    eventual: Vec<EventualLag>,
    /// Endpoints that were named and belong to other clusters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    strangers: Vec<Stranger>,
    nodes: Vec<NodeStatus>,
}

/// An endpoint of another cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Stranger {
    endpoint: String,
    cluster: String,
}

/// How one node is.
#[derive(Debug, Serialize)]
struct NodeStatus {
    id: String,
    name: String,
    role: &'static str,
    endpoints: Vec<String>,
    reachable: bool,
    /// Why it is not reachable.
    #[serde(skip_serializing_if = "String::is_empty")]
    problem: String,
    version: String,
    /// The highest feature level that it serves.
    feature_level_max: u32,
    store_bytes: u64,
    store_bytes_in_use: u64,
    applied_index: u64,
    last_index: u64,
}

/// The members, as one node knows them.
pub(super) async fn members(client: &Client) -> Result<(u64, Vec<Member>), CliError> {
    // Not linearizable: who lost the majority needs this most.
    let request = MemberListRequest {
        linearizable: false,
    };
    let answer = client
        .call(Retry::Safe, request, |node, request| async move {
            node.cluster().member_list(request).await
        })
        .await?;
    let cluster = answer.header.map_or(0, |header| header.cluster_id);
    Ok((cluster, answer.members))
}

/// What one node says of itself.
async fn ask(client: &Client) -> Result<StatusResponse, CliError> {
    client
        .call(Retry::Safe, StatusRequest {}, |node, request| async move {
            node.maintenance().status(request).await
        })
        .await
}

pub(super) type Answers = BTreeMap<u64, Result<StatusResponse, String>>;

fn cluster_of(status: &StatusResponse) -> u64 {
    status.header.as_ref().map_or(0, |header| header.cluster_id)
}

/// What each member says, and which of the endpoints that were named are none of theirs.
async fn answers(client: &Client, cluster: u64, members: &[Member]) -> (Answers, Vec<Stranger>) {
    let own = client
        .endpoints()
        .iter()
        .map(|endpoint| client.at(vec![endpoint.clone()]));
    let own = join_all(own.map(|node| async move {
        let endpoint = node.endpoints()[0].clone();
        ask(&node).await.ok().map(|status| (endpoint, status))
    }));
    let theirs = members.iter().map(|member| async move {
        if member.client_ur_ls.is_empty() {
            return (member.id, Err("has not started yet".to_owned()));
        }
        let answer = ask(&client.at(member.client_ur_ls.clone())).await;
        (
            member.id,
            answer
                .map_err(problem)
                .and_then(|status| of(cluster, status)),
        )
    });
    let (own, theirs) = join(own, join_all(theirs)).await;
    let mut answers: Answers = theirs.into_iter().collect();
    // A node may be reached at the endpoint that we were given and not at the one that it
    // tells (through a tunnel, for one).
    let mut strangers = Vec::new();
    for (endpoint, status) in own.into_iter().flatten() {
        if cluster_of(&status) != cluster {
            strangers.push(Stranger {
                endpoint,
                cluster: format!("{:x}", cluster_of(&status)),
            });
            continue;
        }
        if let Some(id) = status.header.as_ref().map(|header| header.member_id)
            && let Some(answer) = answers.get_mut(&id)
        {
            *answer = Ok(status);
        }
    }
    (answers, strangers)
}

/// An answer of a node of this cluster.
fn of(cluster: u64, status: StatusResponse) -> Result<StatusResponse, String> {
    match cluster_of(&status) {
        own if own == cluster => Ok(status),
        other => Err(format!("a node of cluster {other:x} answers there")),
    }
}

/// In a table that names the endpoint already.
fn problem(error: CliError) -> String {
    match error {
        CliError::Unreachable { tried } if tried.len() == 1 => tried[0].1.clone(),
        error => error.to_string(),
    }
}

async fn alarms(client: &Client) -> Vec<String> {
    let answer = client
        .call(
            Retry::Safe,
            AlarmRequest::default(),
            |node, request| async move { node.maintenance().alarm(request).await },
        )
        .await;
    match answer {
        Ok(answer) => answer
            .alarms
            .iter()
            .filter(|alarm| alarm.alarm() != AlarmType::None)
            .map(|alarm| {
                format!(
                    "{} (node {:x})",
                    alarm.alarm().as_str_name(),
                    alarm.member_id
                )
            })
            .collect(),
        Err(error) => vec![format!("unknown: {error}")],
    }
}

async fn gather(client: &Client) -> Result<ClusterStatus, CliError> {
    let (cluster, members) = members(client).await?;
    let asked = join3(
        answers(client, cluster, &members),
        alarms(client),
        hot(client, cluster),
    );
    let ((answers, strangers), alarms, hot) = asked.await;
    let status = summarize(cluster, &members, &answers, alarms);
    Ok(ClusterStatus {
        strangers,
        hot,
        ..status
    })
}

fn summarize(
    cluster: u64,
    members: &[Member],
    answers: &Answers,
    alarms: Vec<String>,
) -> ClusterStatus {
    let reached = || answers.values().filter_map(|answer| answer.as_ref().ok());
    // Of nodes that disagree, the one in the latest term knows best.
    let newest = reached()
        .filter(|s| s.leader != 0)
        .max_by_key(|s| s.raft_term);
    let leader = newest.map_or(0, |status| status.leader);
    let voters = members.iter().filter(|member| !member.is_learner);
    let voters_reached = voters
        .clone()
        .filter(|m| matches!(answers.get(&m.id), Some(Ok(_))))
        .count();
    let revision = |s: &StatusResponse| s.header.as_ref().map_or(0, |header| header.revision);
    ClusterStatus {
        cluster: format!("{cluster:x}"),
        leader: (leader != 0).then(|| format!("{leader:x}")),
        term: newest.map_or(0, |status| status.raft_term),
        revision: reached().map(revision).max().unwrap_or(0),
        feature_level: reached().map(|s| s.atoll_feature_level).max().unwrap_or(0),
        failures_survived: failures_survived(voters.count(), voters_reached),
        alarms,
        hot: None,
        eventual: lags(answers),
        strangers: Vec::new(),
        nodes: members
            .iter()
            .map(|member| node(member, answers, leader))
            .collect(),
    }
}

fn node(member: &Member, answers: &Answers, leader: u64) -> NodeStatus {
    let (status, problem) = match answers.get(&member.id) {
        Some(Ok(status)) => (Some(status), String::new()),
        Some(Err(problem)) => (None, problem.clone()),
        None => (None, "was not asked".to_owned()),
    };
    let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
    NodeStatus {
        id: format!("{:x}", member.id),
        name: member.name.clone(),
        role: match member {
            member if member.id == leader => "leader",
            member if member.is_learner => "learner",
            _ => "voter",
        },
        endpoints: member.client_ur_ls.clone(),
        reachable: status.is_some(),
        problem,
        version: status.map_or_else(String::new, |s| s.version.clone()),
        feature_level_max: status.map_or(0, |s| s.atoll_feature_level_max),
        store_bytes: status.map_or(0, |s| bytes(s.db_size)),
        store_bytes_in_use: status.map_or(0, |s| bytes(s.db_size_in_use)),
        applied_index: status.map_or(0, |s| s.raft_applied_index),
        last_index: status.map_or(0, |s| s.raft_index),
    }
}

/// How many more voters may fail before no majority is left; none where that is so now.
fn failures_survived(voters: usize, reached: usize) -> Option<usize> {
    let majority = voters / 2 + 1;
    reached.checked_sub(majority)
}

impl ClusterStatus {
    /// The client URLs of the leader.
    pub(super) fn leader_endpoints(&self) -> Option<&[String]> {
        let leader = self.leader.as_deref()?;
        let node = self.nodes.iter().find(|node| node.id == leader)?;
        (!node.endpoints.is_empty()).then_some(&node.endpoints)
    }

    fn headline(&self) -> String {
        let reached = self.nodes.iter().filter(|node| node.reachable).count();
        let leader = match &self.leader {
            Some(id) => {
                let named = self
                    .nodes
                    .iter()
                    .find(|n| n.id == *id && !n.name.is_empty());
                let name = named.map_or(id.as_str(), |n| n.name.as_str());
                format!("leader {name} in term {}", self.term)
            }
            None => "no leader".to_owned(),
        };
        format!(
            "cluster {}: {reached} of {} nodes answer, {leader}, revision {}",
            self.cluster,
            self.nodes.len(),
            self.revision
        )
    }

    /// Where the cluster stands, and for whom it waits if some nodes serve more.
    fn features(&self) -> String {
        let level = self.feature_level;
        let reached = self.nodes.iter().filter(|node| node.reachable);
        let highest = reached
            .map(|node| node.feature_level_max)
            .max()
            .unwrap_or(0);
        if highest <= level {
            return format!("feature level {level}");
        }
        let behind =
            |node: &&NodeStatus| !node.reachable || node.feature_level_max <= self.feature_level;
        let names = self
            .nodes
            .iter()
            .filter(behind)
            .map(|node| match &*node.name {
                "" => node.id.as_str(),
                name => name,
            });
        let names: Vec<&str> = names.collect();
        match names.is_empty() {
            true => format!("feature level {level}, about to rise"),
            false => format!(
                "feature level {level}; some nodes serve {highest}, it waits for {}",
                names.join(", ")
            ),
        }
    }

    fn resilience(&self) -> String {
        match self.failures_survived {
            None => "NO MAJORITY: nothing is written until more voters are back".to_owned(),
            Some(0) => "survives no failure now".to_owned(),
            Some(1) => "survives 1 failure now".to_owned(),
            Some(count) => format!("survives {count} failures now"),
        }
    }
}

impl View for ClusterStatus {
    fn text(&self) -> String {
        let row = |node: &NodeStatus| {
            let (state, store, behind) = if node.reachable {
                let newest = self.nodes.iter().map(|n| n.last_index).max().unwrap_or(0);
                let store = bytes_for_people(node.store_bytes);
                (
                    "up".to_owned(),
                    store,
                    newest.saturating_sub(node.applied_index).to_string(),
                )
            } else {
                (
                    format!("DOWN: {}", node.problem),
                    String::new(),
                    String::new(),
                )
            };
            vec![
                node.id.clone(),
                node.name.clone(),
                node.role.to_owned(),
                node.endpoints.join(" "),
                node.version.clone(),
                store,
                behind,
                state,
            ]
        };
        let rows: Vec<_> = self.nodes.iter().map(row).collect();
        let headings = [
            "ID", "NAME", "ROLE", "ENDPOINT", "VERSION", "STORE", "BEHIND", "STATE",
        ];
        let alarms = match self.alarms.is_empty() {
            true => "no alarms".to_owned(),
            false => format!("ALARMS: {}", self.alarms.join(", ")),
        };
        let stranger = |it: &Stranger| {
            let Stranger { endpoint, cluster } = it;
            format!("NOT OF THIS CLUSTER: {endpoint} belongs to cluster {cluster}")
        };
        let mut parts = vec![self.headline(), self.resilience()];
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|node| (&*node.id, &*node.name));
        let name = |id: &str| called(nodes.clone(), id);
        parts.extend(self.hot.as_ref().map(|hot| hot.lines(name)));
        parts.extend(self.eventual.iter().map(|lag| lag.line(name)));
        parts.extend([self.features(), alarms]);
        parts.extend(self.strangers.iter().map(stranger));
        parts.extend([String::new(), table(&headings, &rows)]);
        parts.join("\n")
    }
}

/// What to call a node: its name if no other has the same, else its id.
pub(super) fn called<'a>(
    nodes: impl Iterator<Item = (impl AsRef<str>, &'a str)> + Clone,
    id: &str,
) -> String {
    let mut own = nodes.clone().filter(|(it, _)| it.as_ref() == id);
    let name = own.next().map_or("", |(_, name)| name);
    match nodes.filter(|(_, it)| *it == name).count() {
        1 if !name.is_empty() => name.to_owned(),
        _ => id.to_owned(),
    }
}

/// The members that answer now.
pub(super) async fn up(client: &Client) -> Result<BTreeSet<NodeId>, CliError> {
    let (cluster, members) = members(client).await?;
    let (answers, _) = answers(client, cluster, &members).await;
    let up = answers.into_iter().filter(|(_, answer)| answer.is_ok());
    Ok(up.map(|(id, _)| NodeId(id)).collect())
}

/// The cluster's status, for a command that needs to know who leads.
pub(super) async fn leader_client(client: &Client) -> Result<Client, CliError> {
    let status = gather(client).await?;
    let endpoints = required(status.leader_endpoints(), "leader")?;
    Ok(client.at(endpoints.to_vec()))
}

#[cfg(test)]
mod tests {
    use atoll_control::proto::etcdserverpb::ResponseHeader;

    use super::*;

    fn member(id: u64, name: &str, learner: bool) -> Member {
        Member {
            id,
            name: name.into(),
            client_ur_ls: vec![format!("http://{name}:2379")],
            is_learner: learner,
            ..Member::default()
        }
    }

    fn answer(
        leader: u64,
        term: u64,
        revision: i64,
        atoll_feature_level_max: u32,
    ) -> Result<StatusResponse, String> {
        Ok(StatusResponse {
            header: Some(ResponseHeader {
                revision,
                ..ResponseHeader::default()
            }),
            version: "3.7.0".into(),
            db_size: 2048,
            leader,
            raft_index: 10,
            raft_applied_index: 9,
            raft_term: term,
            atoll_feature_level: 1,
            atoll_feature_level_max,
            ..StatusResponse::default()
        })
    }

    #[test]
    fn a_majority_of_the_voters_is_what_counts() {
        assert_eq!(failures_survived(1, 1), Some(0));
        assert_eq!(failures_survived(2, 2), Some(0));
        assert_eq!(failures_survived(3, 3), Some(1));
        assert_eq!(failures_survived(3, 2), Some(0));
        assert_eq!(failures_survived(3, 1), None);
        assert_eq!(failures_survived(5, 5), Some(2));
        assert_eq!(failures_survived(0, 0), None);
    }

    #[test]
    fn a_node_of_another_cluster_is_told_apart() {
        let of_cluster = |cluster_id| StatusResponse {
            header: Some(ResponseHeader {
                cluster_id,
                ..ResponseHeader::default()
            }),
            ..answer(1, 5, 7, 2).unwrap()
        };
        assert!(of(0xabc, of_cluster(0xabc)).is_ok());
        let told = of(0xabc, of_cluster(0xdef)).unwrap_err();
        assert_eq!(told, "a node of cluster def answers there");
        let members = [member(1, "a", false)];
        let answers = Answers::from([(1, answer(1, 5, 7, 2))]);
        let status = ClusterStatus {
            strangers: vec![Stranger {
                endpoint: "http://x:2379".into(),
                cluster: "def".into(),
            }],
            ..summarize(0xabc, &members, &answers, vec![])
        };
        let text = status.text();
        let line = "\nNOT OF THIS CLUSTER: http://x:2379 belongs to cluster def\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn status_tells_who_leads_and_who_is_missing() {
        let members = [
            member(1, "a", false),
            member(0x1f, "b", false),
            member(3, "c", false),
            member(4, "d", true),
        ];
        let answers = Answers::from([
            // Cut off since term 5, and still believing in a leader of that time.
            (1, answer(3, 5, 7, 2)),
            (0x1f, answer(0x1f, 6, 9, 1)),
            (3, Err("connection refused".into())),
            (4, answer(0x1f, 6, 9, 2)),
        ]);
        let status = summarize(0xabc, &members, &answers, vec![]);
        assert_eq!(status.leader_endpoints().unwrap(), ["http://b:2379"]);
        assert_eq!(
            status.text(),
            "cluster abc: 3 of 4 nodes answer, leader b in term 6, revision 9\n\
             survives no failure now\n\
             feature level 1; some nodes serve 2, it waits for b, c\n\
             no alarms\n\
             \n\
             ID  NAME  ROLE     ENDPOINT       VERSION  STORE    BEHIND  STATE\n\
             1   a     voter    http://a:2379  3.7.0    2.0 KiB  1       up\n\
             1f  b     leader   http://b:2379  3.7.0    2.0 KiB  1       up\n\
             3   c     voter    http://c:2379                            DOWN: connection refused\n\
             4   d     learner  http://d:2379  3.7.0    2.0 KiB  1       up"
        );
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["failures_survived"], 0);
        assert_eq!(json["nodes"][2]["reachable"], false);
        assert_eq!(json["nodes"][2]["problem"], "connection refused");
        assert_eq!(json["leader"], "1f");
    }
}
