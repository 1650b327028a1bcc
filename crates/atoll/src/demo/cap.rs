//! `atoll demo cap`: what either kind of keyspace does while a cluster is in two parts, on three
//! nodes of its own.
//!
//! One part is one node, the other is two. The parts run one after the other (`kill -9` in
//! between), so neither can have heard of the other, as when the network between them is cut; and
//! no right is needed to cut anything.

use std::time::Duration;

use atoll_world::clock;
use serde::Serialize;

use super::{nodes::Nodes, port::Redis, show::Screen};
use crate::{
    client::redis::Reply,
    error::CliError,
    output::{View, table},
};

/// The eventual keyspace.
const CARTS: &str = "carts";
/// How long nodes may take to serve again, and to come to the same.
const WAIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// Which keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Linearizable,
    Eventual,
}

/// Something that was asked while the cluster was so.
#[derive(Debug, Serialize)]
struct Step {
    cluster: &'static str,
    keyspace: Kind,
    node: String,
    asked: String,
    told: String,
}

/// All of it.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Story(Vec<Step>);

impl View for Story {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|step| {
            let keyspace = match step.keyspace {
                Kind::Linearizable => "linearizable",
                Kind::Eventual => "eventual",
            };
            vec![
                step.cluster.to_owned(),
                keyspace.to_owned(),
                step.node.clone(),
                step.asked.clone(),
                step.told.clone(),
            ]
        });
        let rows: Vec<_> = rows.collect();
        let told = table(&["CLUSTER", "KEYSPACE", "NODE", "ASKED", "TOLD"], &rows);
        format!(
            "{told}\n\nThe linearizable keyspace took writes on the side that has a majority only, \
             and lost none.\nThe eventual one took them on both sides, and came to the same."
        )
    }
}

/// A client of both keyspaces at all nodes, and what it saw.
struct Teller {
    redis: Redis,
    story: Story,
}

impl Teller {
    async fn ask(&mut self, kind: Kind, node: usize, words: &[&str]) -> Result<Reply, CliError> {
        let select: &[&str] = match kind {
            Kind::Linearizable => &["SELECT", "0"],
            Kind::Eventual => &["SELECT", CARTS],
        };
        match self.redis.ask(node, select).await? {
            Reply::Done => self.redis.ask(node, words).await,
            refused => Ok(refused),
        }
    }

    /// Asks, and tells of it. It has to come to this.
    async fn tell(
        &mut self,
        cluster: &'static str,
        kind: Kind,
        node: usize,
        words: &[&str],
        wanted: &str,
    ) -> Result<(), CliError> {
        let told = self.ask(kind, node, words).await?;
        let told = said(&told);
        let asked = words.join(" ");
        if !told.starts_with(wanted) {
            return Err(CliError::failed(
                format!(
                    "{cluster}: {asked} at node-{} was answered {told:?}, not {wanted:?}",
                    node + 1
                ),
                "",
            ));
        }
        self.story.0.push(Step {
            cluster,
            keyspace: kind,
            node: format!("node-{}", node + 1),
            asked,
            told,
        });
        Ok(())
    }

    /// Asks for what must not be done, and tells how that was refused.
    async fn refuse(
        &mut self,
        cluster: &'static str,
        node: usize,
        words: &[&str],
    ) -> Result<(), CliError> {
        let asked = words.join(" ");
        let told = match self.ask(Kind::Linearizable, node, words).await {
            Ok(Reply::Refused(why)) => why,
            Ok(other) => {
                let told = said(&other);
                return Err(CliError::failed(
                    format!("{asked} was answered {told:?} without a majority"),
                    "",
                ));
            }
            // It waits for a majority for longer than this client does.
            Err(error) => error.to_string(),
        };
        self.story.0.push(Step {
            cluster,
            keyspace: Kind::Linearizable,
            node: format!("node-{}", node + 1),
            asked,
            told,
        });
        Ok(())
    }

    /// Waits until a read is answered so.
    async fn until(
        &mut self,
        kind: Kind,
        node: usize,
        key: &str,
        wanted: &str,
    ) -> Result<(), CliError> {
        let deadline = clock::now() + WAIT;
        loop {
            // A node that is not up yet is asked again.
            let told = self.ask(kind, node, &["GET", key]).await;
            if told.is_ok_and(|told| said(&told) == wanted) {
                return Ok(());
            }
            if clock::now() > deadline {
                let waited_s = WAIT.as_secs();
                return Err(CliError::failed(
                    format!(
                        "not within {waited_s} s: {key} is {wanted} at node-{}",
                        node + 1
                    ),
                    "Is this machine very busy?",
                ));
            }
            clock::sleep(POLL).await;
        }
    }
}

fn said(reply: &Reply) -> String {
    match reply {
        Reply::Done => "OK".to_owned(),
        Reply::Integer(number) => number.to_string(),
        Reply::String(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Missing => "nothing".to_owned(),
        Reply::Refused(why) => why.clone(),
        other => format!("{other:?}"),
    }
}

/// Plays it.
///
/// # Errors
/// A node can't be started, or something went otherwise than is promised.
pub(super) async fn play(nodes: &mut Nodes, screen: &mut Screen) -> Result<Story, CliError> {
    use Kind::{Eventual, Linearizable};
    screen.say(&format!("Three nodes on this machine, in {}", nodes.dir()))?;
    nodes.start_all().await?;
    nodes.all_placed().await?;
    let mut teller = Teller {
        redis: nodes.redis(),
        story: Story::default(),
    };
    screen.say("An eventual keyspace beside the linearizable one that is always there.")?;
    let create = [
        "ATOLL.KEYSPACE",
        "CREATE",
        CARTS,
        "EVENTUAL",
        "REPLICAS",
        "3",
        "WRITE",
        "ONE",
        "READ",
        "ONE",
    ];
    if let Reply::Refused(why) = teller.redis.ask(0, &create).await? {
        return Err(CliError::failed(why, ""));
    }
    for node in 0..3 {
        teller.until(Eventual, node, "visits", "nothing").await?;
    }
    let whole = "whole";
    teller
        .tell(whole, Linearizable, 0, &["SET", "stock", "100"], "OK")
        .await?;
    teller
        .tell(whole, Eventual, 0, &["INCRBY", "visits", "100"], "100")
        .await?;
    for node in 0..3 {
        teller.until(Eventual, node, "visits", "100").await?;
    }

    screen.say("Node-3 is alone: the others are killed.")?;
    nodes.kill(0).await;
    nodes.kill(1).await;
    let alone = "node-3 alone";
    teller.refuse(alone, 2, &["DECRBY", "stock", "1"]).await?;
    teller
        .tell(alone, Eventual, 2, &["INCRBY", "visits", "5"], "105")
        .await?;
    teller
        .tell(alone, Eventual, 2, &["GET", "visits"], "105")
        .await?;

    screen.say(
        "The other side: node-3 is killed, the others are there again and have heard nothing.",
    )?;
    nodes.kill(2).await;
    nodes.restart(&[0, 1])?;
    for node in [0, 1] {
        teller.until(Linearizable, node, "stock", "100").await?;
        teller.until(Eventual, node, "visits", "100").await?;
    }
    let two = "node-1 and node-2";
    teller
        .tell(two, Linearizable, 0, &["DECRBY", "stock", "7"], "93")
        .await?;
    teller
        .tell(two, Eventual, 1, &["INCRBY", "visits", "7"], "107")
        .await?;

    screen.say("Together again.")?;
    nodes.restart(&[2])?;
    for node in 0..3 {
        teller.until(Linearizable, node, "stock", "93").await?;
        teller.until(Eventual, node, "visits", "112").await?;
    }
    let again = "whole again";
    for node in 0..3 {
        teller
            .tell(again, Linearizable, node, &["GET", "stock"], "93")
            .await?;
        teller
            .tell(again, Eventual, node, &["GET", "visits"], "112")
            .await?;
    }
    Ok(teller.story)
}
