//! Several nodes of one cluster on loopback.

use std::path::Path;

use tempfile::TempDir;

use crate::{
    command::{Entry, Kind, Place, Server},
    node::{Error, Node, os, run},
};

/// Nodes that know each other, in a directory that is removed with them.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes; the first one founded the cluster.
    pub nodes: Vec<Node>,
    // After the nodes: they are killed before their directories go.
    dir: TempDir,
}

impl Cluster {
    /// Starts `count` nodes below the system's directory for temporary files.
    ///
    /// # Errors
    /// A node doesn't come up.
    pub async fn start(server: &Server, count: usize) -> Result<Self, Error> {
        Self::start_in(server, count, &std::env::temp_dir()).await
    }

    /// The same, with variables for every node.
    ///
    /// # Errors
    /// A node doesn't come up.
    pub async fn start_with(
        server: &Server,
        count: usize,
        environment: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let places = vec![Place::default(); count];
        Self::start_at(server, &places, &std::env::temp_dir(), environment).await
    }

    /// Starts `count` nodes below `parent`, and returns once all of them serve.
    ///
    /// # Errors
    /// A node doesn't come up.
    pub async fn start_in(server: &Server, count: usize, parent: &Path) -> Result<Self, Error> {
        Self::start_at(server, &vec![Place::default(); count], parent, &[]).await
    }

    /// Starts a node at each of `places`, below `parent` and with variables for every node, and
    /// returns once all of them serve.
    ///
    /// # Errors
    /// A node doesn't come up.
    pub async fn start_at(
        server: &Server,
        places: &[Place],
        parent: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let dir = tempfile::Builder::new()
            .prefix("atoll-e2e-")
            .tempdir_in(parent)
            .map_err(os("make a cluster's directory"))?;
        let nodes = places
            .iter()
            .enumerate()
            .map(|(index, place)| {
                let name = format!("node-{index}");
                let mut node = Node::new_at(server.clone(), dir.path(), &name, place.clone())?;
                node.set_environment(environment);
                Ok(node)
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let mut cluster = Self { nodes, dir };
        match server.kind {
            Kind::Atoll => cluster.join_one_by_one().await?,
            Kind::Etcd => cluster.found_together().await?,
        }
        Ok(cluster)
    }

    /// The directory of everything that belongs to the cluster.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Every node's address for clients, running or not.
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(Node::endpoint).collect()
    }

    /// The processes that run.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(Node::pid).collect()
    }

    /// Adds one more node (Atoll only) and returns once it serves.
    ///
    /// # Errors
    /// No token, or the node doesn't come up.
    pub async fn join(&mut self) -> Result<(), Error> {
        let first = &self.nodes[0];
        let name = format!("node-{}", self.nodes.len());
        let mut node = Node::new(first.server().clone(), self.dir.path(), &name)?;
        node.start(&join_entry(first, 1)?).await?;
        self.nodes.push(node);
        Ok(())
    }

    async fn join_one_by_one(&mut self) -> Result<(), Error> {
        let (first, others) = self.nodes.split_first_mut().expect("at least one node");
        first.start(&Entry::Found).await?;
        if others.is_empty() {
            return Ok(());
        }
        let entry = join_entry(first, others.len())?;
        // A second node has no vote before a third has caught up, so no node waits for its own
        // readiness alone.
        for node in others.iter_mut() {
            node.spawn(&entry)?;
        }
        for node in others {
            node.ready().await?;
        }
        Ok(())
    }

    async fn found_together(&mut self) -> Result<(), Error> {
        let members = self
            .nodes
            .iter()
            .map(|node| (node.layout().name.clone(), node.layout().peer_port))
            .collect();
        let entry = Entry::FoundTogether(members);
        for node in &mut self.nodes {
            node.spawn(&entry)?;
        }
        for node in &mut self.nodes {
            node.ready().await?;
        }
        Ok(())
    }
}

/// What `uses` nodes are told to join the cluster of a node that runs (Atoll only).
///
/// # Errors
/// It makes no token.
pub fn join_entry(first: &Node, uses: usize) -> Result<Entry, Error> {
    let mut command = first.server().token_create(first.layout(), uses);
    let printed = run(&mut command)?;
    let token = Server::token_from(&printed).ok_or(Error::NoToken(printed))?;
    Ok(Entry::Join {
        host: format!("{}:{}", first.layout().place.host, first.layout().peer_port),
        token,
    })
}
