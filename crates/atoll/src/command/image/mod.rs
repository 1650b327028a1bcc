//! `atoll image`: images of nodes. One from a file is handed to each node, since pods land on any
//! of them; nothing else copies it.

mod api;
mod archive;
mod show;

use std::path::PathBuf;

use atoll_base::config::Config;
use clap::{Args, Subcommand};

use self::{
    api::{Api, Refusal},
    archive::Archive,
    show::{Listing, OnNode, Removal},
};
use crate::{
    cli::Global,
    command::kubeconfig::{self, Wanted},
    error::CliError,
    node::API_FILE,
    output::{self, Format},
    settings::{self, SettingFlags},
};

/// A certificate that is made for one command is good for so long.
const LIFE_S: u64 = 3_600;

/// What can be done with images.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Hand an image to the nodes: what `docker save` wrote, or an OCI image layout.
    Import {
        /// The file, packed or not; or a folder that is an OCI image layout. - is standard input,
        /// for one node.
        file: PathBuf,
        /// What the image is called, in place of what the file says. Without a tag, the file's
        /// own is taken where it has one without a name.
        #[arg(long, value_name = "NAME[:TAG]")]
        name: Option<String>,
        #[command(flatten)]
        way: Way,
    },
    /// The images that nodes have.
    List {
        #[command(flatten)]
        way: Way,
    },
    /// Take a name away, and with its last name the image.
    Remove {
        /// The image.
        #[arg(value_name = "NAME:TAG")]
        name: String,
        #[command(flatten)]
        way: Way,
    },
}

/// How the nodes are reached.
#[derive(Clone, Debug, Args)]
pub(crate) struct Way {
    /// On this node; may be given several times. On all that are ready if it is left away.
    #[arg(long = "node", value_name = "NAME")]
    nodes: Vec<String>,
    /// The folder of a node on this machine, which needs no login.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Where the Kubernetes API is; the node's own address if it is left away.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// Does it.
///
/// # Errors
/// Nobody can be asked, or nodes say no.
pub(crate) async fn run(command: ImageCommand, global: &Global) -> Result<(), CliError> {
    match command {
        ImageCommand::Import { file, name, way } => {
            let archive = Archive::open(&file)?;
            let api = way.api(global).await?;
            let nodes = way.nodes(&api).await?;
            import(&api, &nodes, &archive, name.as_deref(), global.output).await
        }
        ImageCommand::List { way } => {
            let api = way.api(global).await?;
            let mut listing = Listing::default();
            for node in way.nodes(&api).await? {
                let images = api.list(&node).await;
                listing.add(node, images)?;
            }
            global.output.show(&listing)?;
            listing.outcome("can't be asked")
        }
        ImageCommand::Remove { name, way } => {
            let api = way.api(global).await?;
            let nodes = way.nodes(&api).await?;
            remove(&api, nodes, name, global.output).await
        }
    }
}

async fn import(
    api: &Api,
    nodes: &[String],
    archive: &Archive,
    name: Option<&str>,
    output: Format,
) -> Result<(), CliError> {
    if archive.is_stream() && nodes.len() > 1 {
        return Err(CliError::usage(
            format!(
                "standard input can be read once, and there are {} nodes",
                nodes.len()
            ),
            "Write it into a file first, or name one node with --node.",
        ));
    }
    let mut listing = Listing::default();
    for node in nodes {
        let body = archive.body(node);
        let images = api.import(node, name, body).await;
        listing.add(node.clone(), images)?;
    }
    output.show(&listing)?;
    listing.outcome("did not take it")
}

async fn remove(
    api: &Api,
    nodes: Vec<String>,
    name: String,
    output: Format,
) -> Result<(), CliError> {
    let mut removal = Removal {
        name,
        nodes: Vec::new(),
    };
    for node in nodes {
        match api.remove(&node, &removal.name).await {
            Ok(()) => removal.nodes.push(OnNode::done(node)),
            Err(Refusal::NotFound(_)) => {}
            Err(Refusal::Other(error)) => return Err(error),
        }
    }
    if removal.nodes.is_empty() {
        let what = format!("no node has an image {:?}", removal.name);
        return Err(CliError::failed(
            what,
            "`atoll image list` shows which there are",
        ));
    }
    output.show(&removal)
}

impl Way {
    /// A way to the API: by the folder of a node, or as somebody who logs in.
    async fn api(&self, global: &Global) -> Result<Api, CliError> {
        let config = self.config(global)?;
        let is_told = global.login.is_some() || !global.endpoint.is_empty();
        let is_here = self.dir.is_some() || (!is_told && global.context.is_none());
        let wanted = Wanted {
            user: None,
            server: self.server.as_deref(),
            ttl_s: Some(LIFE_S),
        };
        let is_here = is_here && config.node.dir.join(API_FILE).exists();
        if let (false, Some(dir)) = (is_here, &self.dir) {
            return Err(CliError::usage(
                format!("{} is not the folder of a node that has run", dir.display()),
                "Name the folder that `atoll start` was given.",
            ));
        }
        let access = match is_here {
            true => kubeconfig::from_folder(&config.node.dir, wanted.server, wanted.life())?,
            false => kubeconfig::from_cluster(&wanted, global).await?,
        };
        Api::connect(&access).await
    }

    fn config(&self, global: &Global) -> Result<Config, CliError> {
        let mut flags = SettingFlags::default();
        if let Some(dir) = &self.dir {
            flags.push("node.dir", dir.display().to_string());
        }
        Ok(settings::load(global.config_file.as_deref(), &flags)?.config)
    }

    /// The nodes that are meant.
    async fn nodes(&self, api: &Api) -> Result<Vec<String>, CliError> {
        if !self.nodes.is_empty() {
            return Ok(self.nodes.clone());
        }
        let all = api.nodes().await?;
        let (ready, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|node| node.is_ready);
        for node in others {
            output::note(&format!("{} is not ready, and left out", node.name));
        }
        match ready.is_empty() {
            false => Ok(ready.into_iter().map(|node| node.name).collect()),
            true => Err(CliError::failed(
                "no node is ready that runs pods",
                "`atoll status` and `kubectl get nodes` show which there are.",
            )),
        }
    }
}
