//! Redis Cluster's side of a session: commands go to where their keys are, and CLUSTER tells
//! where that is (Redis: "Redis cluster specification").

mod place;
mod replies;

use std::sync::Arc;

use atoll_ring::slot::Slot;
use bytes::Bytes;

use super::{
    Handled, Outcome, Session,
    ask::{Ask, Finish},
    help, unhandled,
};
use crate::{
    api::{Body, Call, ClusterMap, ClusterView, Part},
    core::{
        command::{Command, CommandError, NO_SLOT, NO_SLOT_OR_COUNT, slot_of},
        data::parse_integer,
        reply::Reply,
    },
};

const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";

impl Session {
    /// The same of a client that is told of the cluster: it is sent to where its keys are.
    pub fn in_cluster(mut self, cluster: Arc<dyn ClusterMap>) -> Self {
        self.settings.cluster = true;
        self.cluster = Some(cluster);
        self
    }

    /// `name` is the subcommand's; the number of words was checked.
    pub(super) fn run_cluster(
        &mut self,
        command: &'static Command,
        name: &str,
        words: &[Bytes],
    ) -> Handled {
        let Some(cluster) = &self.cluster else {
            return Err(CommandError::Other(NO_CLUSTER));
        };
        if let "countkeysinslot" | "getkeysinslot" = name {
            return self.ask_of_slot(command, name, words);
        }
        let reply = match name {
            "keyslot" => Reply::Integer(Slot::of_key(&words[2]).number().into()),
            "myid" => Reply::bulk(replies::node_id(cluster.view().own)),
            "myshardid" => Reply::bulk(replies::shard_id(cluster.view().own)),
            "slots" => replies::slots(&cluster.view()),
            "shards" => replies::shards(&cluster.view()),
            "nodes" => Reply::Verbatim(replies::nodes(&cluster.view()).into()),
            "info" => Reply::Verbatim(replies::info(&cluster.view()).into()),
            "links" => replies::links(&cluster.view()),
            "replicas" | "slaves" => replicas(&**cluster, &words[2])?,
            "count-failure-reports" => {
                known_node(&cluster.view(), &words[2])?;
                Reply::Integer(0)
            }
            // What the cluster has decided is on disk.
            "saveconfig" => Reply::OK,
            "help" => help::of(help::CLUSTER),
            _ => return Err(refused(name)),
        };
        Ok(reply.into())
    }

    fn ask_of_slot(&mut self, command: &'static Command, name: &str, words: &[Bytes]) -> Handled {
        let slot = if name == "getkeysinslot" {
            let slot = slot_of(&words[2], NO_SLOT_OR_COUNT)?;
            let count = parse_integer(&words[3]).ok_or(CommandError::NotInteger)?;
            if count < 0 {
                return Err(CommandError::Other(NO_SLOT_OR_COUNT));
            }
            slot
        } else {
            slot_of(&words[2], NO_SLOT)?
        };
        let words = words.to_vec();
        let body = Body::Within {
            part: Part::Slot(slot),
            database: self.database,
            call: Call { command, words },
        };
        Ok(Outcome::Ask {
            ask: Ask::Api(self.request(body)),
            finish: Finish::Reply,
            waits: false,
        })
    }
}

/// The node that a word names.
fn known_node(view: &ClusterView, word: &[u8]) -> Result<usize, CommandError> {
    let mut nodes = view.nodes.iter();
    nodes
        .position(|node| replies::node_id(node.id).as_bytes() == word)
        .ok_or_else(|| {
            let word = String::from_utf8_lossy(&word[..word.len().min(40)]).into_owned();
            CommandError::Text(format!("ERR Unknown node {word}"))
        })
}

fn replicas(cluster: &dyn ClusterMap, word: &[u8]) -> Result<Reply, CommandError> {
    let view = cluster.view();
    let node = known_node(&view, word)?;
    let lines = replies::replicas(&view, view.nodes[node].id);
    Ok(Reply::Array(lines.iter().map(Reply::bulk).collect()))
}

/// What to do in the place of what Redis's operators do by hand.
fn refused(name: &str) -> CommandError {
    CommandError::Other(match name {
        "meet" => {
            "ERR CLUSTER MEET is refused: `atoll token create` on a node of the cluster, then \
             `atoll start --join` on the new one, bring a node in"
        }
        "forget" => "ERR CLUSTER FORGET is refused: `atoll node remove` takes a node out",
        "reset" => {
            "ERR CLUSTER RESET is refused: `atoll node remove` takes a node out; its folder can \
             then be deleted"
        }
        "failover" => {
            "ERR CLUSTER FAILOVER is refused: when a partition's owner can't be reached, the next \
             request makes another replica its owner; `atoll status` shows the nodes"
        }
        "replicate" => {
            "ERR CLUSTER REPLICATE is refused: every node holds replicas of some partitions and \
             owns others; `atoll status` shows how they are spread"
        }
        "bumpepoch" | "set-config-epoch" => {
            "ERR epochs are the cluster's own and can't be set; `atoll status` shows the present one"
        }
        "addslots" | "addslotsrange" | "delslots" | "delslotsrange" | "flushslots" | "setslot" => {
            "ERR slots follow the nodes by themselves: `atoll start --join` and `atoll node \
             remove` move them, `atoll status` shows how far they are"
        }
        _ => return unhandled(name),
    })
}
