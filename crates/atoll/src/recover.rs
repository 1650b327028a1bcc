//! `atoll recover`: go on with one node after the majority is gone for good.

use atoll_base::{config::Config, id::ClusterId};
use atoll_control::{
    api::Member,
    driver::recovery::{Alone, RecoveryError},
};
use atoll_world::random;
use clap::Args;
use serde::Serialize;

use crate::{
    error::CliError,
    node::{self, Directory, record::Record},
    output::{Format, View},
    settings::SettingFlags,
};

/// What is answered when it was only told what would happen.
const EXIT_NOT_DONE: u8 = 2;

/// Arguments of `atoll recover`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RecoverArgs {
    /// Do it, after having read what may be lost. Without it, it is only told.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

#[derive(Serialize)]
struct Told {
    done: bool,
    dir: String,
    node: String,
    cluster: String,
    /// None as long as it is not done.
    new_cluster: Option<String>,
    last_term: u64,
    last_index: u64,
    stored_index: u64,
    stored_revision: i64,
    learner: bool,
    journal_end_damaged: bool,
    left_behind: Vec<Left>,
}

#[derive(Serialize)]
struct Left {
    node: String,
    name: String,
    learner: bool,
    peer_urls: Vec<String>,
}

impl Told {
    fn new(record: &Record, alone: &Alone, dir: String) -> Told {
        let (own, others): (Vec<&Member>, Vec<&Member>) = alone
            .members
            .iter()
            .partition(|member| member.node == record.node);
        let left = |member: &Member| Left {
            node: member.node.to_string(),
            name: member.name.clone(),
            learner: member.learner,
            peer_urls: member.peer_urls.clone(),
        };
        Told {
            done: false,
            dir,
            node: record.node.to_string(),
            cluster: record.cluster.to_string(),
            new_cluster: None,
            last_term: alone.last_term,
            last_index: alone.last_index,
            stored_index: alone.stored_index,
            stored_revision: alone.stored_revision,
            learner: own.iter().any(|member| member.learner),
            journal_end_damaged: alone.forgetful,
            left_behind: others.into_iter().map(left).collect(),
        }
    }

    fn losses(&self) -> String {
        let mut losses = format!(
            "  it has     every entry of the log up to term {term}, index {index}
             ({stored} of them are in its store already, the others are applied when it starts)
  may lose   writes that the others acknowledged and that never reached this node, if there
             are any: nobody can tell from here. Run this on every folder that is left
             and take the one with the highest term, and among those the highest index",
            term = self.last_term,
            index = self.last_index,
            stored = self.stored_index,
        );
        if self.learner {
            losses += "\n  careful    this node had no vote: the majority never waited for it";
        }
        if self.journal_end_damaged {
            losses += "\n  careful    the end of its journal is damaged and was cut off: writes it had acknowledged may be gone";
        }
        losses
    }

    fn others(&self) -> String {
        let rows = self.left_behind.iter().map(|left| {
            let role = if left.learner { "learner" } else { "voter" };
            let at = left.peer_urls.join(" ");
            format!("             {} {} ({role}, {at})\n", left.node, left.name)
        });
        let rows: String = rows.collect();
        if rows.is_empty() {
            "             nobody: it was alone already\n".into()
        } else {
            rows
        }
    }
}

impl View for Told {
    fn text(&self) -> String {
        let Told {
            node, cluster, dir, ..
        } = self;
        let (losses, others) = (self.losses(), self.others());
        match &self.new_cluster {
            None => format!(
                "\
Node {node} in {dir} would become the only member of its cluster. NOTHING WAS CHANGED.

{losses}
  leaves     behind, for good:
{others}             They must never be started again: their folders are of no use then
  becomes    a cluster with a new id (now {cluster}), so that they cannot be mistaken for members.
             Keys, revisions, leases, users, certificates and the node's own id stay

If a majority of the nodes can be brought back, do that instead.
To do this:  atoll recover --force --dir {dir}"
            ),
            Some(new_cluster) => format!(
                "\
Node {node} in {dir} is the only member of cluster {new_cluster} now (it was {cluster}).

{losses}
  left       behind, for good:
{others}  start it   atoll start --dir {dir}
  grow it    atoll token create --uses 2, then `atoll start --join` with new folders"
            ),
        }
    }
}

/// Makes the node in `config.node.dir` the only one of its cluster.
///
/// # Errors
/// The folder holds no node, or the node is running.
pub(crate) async fn run(args: RecoverArgs, config: Config, output: Format) -> Result<(), CliError> {
    let dir = config.node.dir.display().to_string();
    let no_node = || {
        CliError::usage(
            format!("{dir} holds no node"),
            "Name the folder of a node that is left with --dir.",
        )
    };
    // Opening would make it.
    if !config.node.dir.is_dir() {
        return Err(no_node());
    }
    let directory = Directory::open(&config.node.dir)?;
    let mut record = directory.record()?.ok_or_else(no_node)?;
    let alone = Alone::look(
        directory.disk.clone(),
        directory.path.clone(),
        node::stores(&config),
        node::journal_options(&config),
        record.node,
    )
    .map_err(told)?;
    let mut view = Told::new(&record, &alone, dir.clone());
    if !args.force {
        output.show(&view)?;
        return Err(CliError::Exit(EXIT_NOT_DONE));
    }
    // First: from here on no node that is left behind is listened to, whatever happens next.
    record.cluster = ClusterId(random::u64().max(1));
    record.founder = true;
    record.members.clear();
    record.save(&directory.disk, &directory.path)?;
    alone.seize().await.map_err(told)?;
    view.done = true;
    view.new_cluster = Some(record.cluster.to_string());
    output.show(&view)
}

fn told(error: RecoveryError) -> CliError {
    let next = match error {
        RecoveryError::NoMember => {
            "Take the folder of another node, or restore a snapshot: `atoll snapshot restore`."
        }
        _ => "",
    };
    CliError::failed(error.to_string(), next)
}
