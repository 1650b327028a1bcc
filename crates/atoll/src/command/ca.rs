//! `atoll ca`: the cluster's authority, and how it is replaced.

use atoll_base::id::NodeId;
use atoll_control::proto::cluster::{
    AbortAuthorityRequest, AuthorityPhase as Phase, AuthorityStatusRequest,
    AuthorityStatusResponse, FinishAuthorityRequest, MemberAuthority, RotateAuthorityRequest,
};
use atoll_world::pki::{Fingerprint, certificates_from_pem};
use clap::Subcommand;
use serde::Serialize;

use crate::{
    cli::Global,
    client::{Client, Retry},
    context::Contexts,
    error::CliError,
    node::pki_failed,
    output::{self, Done, Format, View, table},
};

/// What can be done with the authority.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// The authority, how far its replacement is, and what that waits for.
    Status,
    /// Begin to replace it: nodes get certificates of a new one by themselves.
    Rotate,
    /// Trust the old one no more, once every node shows a certificate of the new one.
    Finish {
        /// Although some nodes show old ones still: they are locked out for good.
        #[arg(long)]
        force: bool,
    },
    /// Give the replacement up, as long as no node shows a certificate of the new one.
    Abort,
    /// Print the roots that clients have to trust now (PEM).
    Roots {
        /// Keep them in the context in use, too.
        #[arg(long)]
        save: bool,
    },
}

/// Does it.
///
/// # Errors
/// The cluster refused, or no node answers.
pub(crate) async fn run(command: CaCommand, global: &Global) -> Result<(), CliError> {
    let client = global.client()?;
    match command {
        CaCommand::Status => show(ask_status(&client).await?, global.output),
        CaCommand::Rotate => {
            let request = RotateAuthorityRequest {};
            let answer = client
                .call(Retry::Never, request, |node, r| async move {
                    node.authority().rotate(r).await
                })
                .await?;
            show(answer, global.output)
        }
        CaCommand::Finish { force } => {
            trusts_what_comes(&client, &ask_status(&client).await?)?;
            let request = FinishAuthorityRequest { force };
            let answer = client
                .call(Retry::Never, request, |node, r| async move {
                    node.authority().finish(r).await
                })
                .await?;
            show(answer, global.output)
        }
        CaCommand::Abort => {
            let request = AbortAuthorityRequest {};
            let answer = client
                .call(Retry::Never, request, |node, r| async move {
                    node.authority().abort(r).await
                })
                .await?;
            show(answer, global.output)
        }
        CaCommand::Roots { save } => {
            let roots_pem = ask_status(&client).await?.roots_pem;
            match save {
                true => keep(global, roots_pem),
                false => output::print(&roots_pem),
            }
        }
    }
}

async fn ask_status(client: &Client) -> Result<AuthorityStatusResponse, CliError> {
    let request = AuthorityStatusRequest {};
    client
        .call(Retry::Safe, request, |node, r| async move {
            node.authority().status(r).await
        })
        .await
}

/// Who ends the rotation must still get in afterwards.
fn trusts_what_comes(client: &Client, status: &AuthorityStatusResponse) -> Result<(), CliError> {
    let Some(ca) = client.ca() else {
        return Ok(());
    };
    let roots = certificates_from_pem("the authority to trust", ca).map_err(pki_failed)?;
    let known = |root: &str| {
        roots
            .iter()
            .any(|one| Fingerprint::of(one).to_string() == root)
    };
    if status.phase() != Phase::Switched || known(&status.current) {
        return Ok(());
    }
    Err(CliError::failed(
        "this command does not trust the new authority itself: it could not reach the cluster afterwards",
        "`atoll ca roots --save` keeps it in the context; with --cacert, write `atoll ca roots` into that file. The same goes for every other client.",
    ))
}

fn keep(global: &Global, roots_pem: String) -> Result<(), CliError> {
    let path = Contexts::path()?;
    let mut contexts = Contexts::load(&path)?;
    let name = global.context.clone().or_else(|| contexts.current.clone());
    let name = name.ok_or_else(|| {
        CliError::usage(
            "there is no current context",
            "name one with --context, or leave --save away and write the roots where your clients find them",
        )
    })?;
    if !contexts.contexts.contains_key(&name) {
        return Err(contexts.unknown(&name));
    }
    let context = contexts.contexts.entry(name.clone()).or_default();
    context.ca = Some(roots_pem);
    context.ca_file = None;
    contexts.save(&path)?;
    global.output.show(&Done::new(format!(
        "the context {name} trusts what the cluster shows now"
    )))
}

fn show(answer: AuthorityStatusResponse, output: Format) -> Result<(), CliError> {
    output.show(&Status::from(answer))
}

#[derive(Serialize)]
struct Status {
    phase: &'static str,
    root: String,
    other_root: Option<String>,
    expires_ms: u64,
    ready: bool,
    nodes: Vec<Node>,
}

#[derive(Serialize)]
struct Node {
    id: String,
    name: String,
    ready: bool,
    /// The root of its certificate; none if it has not told.
    root: Option<String>,
    expires_ms: u64,
}

impl From<MemberAuthority> for Node {
    fn from(member: MemberAuthority) -> Node {
        Node {
            id: NodeId(member.node).to_string(),
            name: member.name,
            ready: member.ready,
            root: Some(member.shown).filter(|root| !root.is_empty()),
            expires_ms: member.expires_ms,
        }
    }
}

impl From<AuthorityStatusResponse> for Status {
    fn from(answer: AuthorityStatusResponse) -> Status {
        Status {
            phase: match answer.phase() {
                Phase::Steady => "steady",
                Phase::Preparing => "preparing",
                Phase::Switched => "switched",
            },
            ready: answer.members.iter().all(|member| member.ready),
            root: answer.current,
            other_root: Some(answer.other).filter(|root| !root.is_empty()),
            expires_ms: answer.expires_ms,
            nodes: answer.members.into_iter().map(Node::from).collect(),
        }
    }
}

impl Status {
    fn next_step(&self) -> &'static str {
        match (self.phase, self.ready) {
            ("preparing", _) => {
                "Nodes take the new authority over; they switch to it by themselves once each of them has.\n\
                 One that is down holds this up: start it, or remove it with `atoll node remove`.\n\
                 `atoll ca abort` gives it up."
            }
            ("switched", false) => {
                "Both authorities are trusted. Some nodes have to get a certificate of the new one: start those\n\
                 that are down, or remove them with `atoll node remove`.\n\
                 Meanwhile give `atoll ca roots` to every client, and make users' certificates anew."
            }
            ("switched", true) => {
                "Every node shows the new authority; both are trusted. Give `atoll ca roots` to every client,\n\
                 make users' certificates and join tokens anew, then drop the old one with `atoll ca finish`."
            }
            (_, false) => "Nodes forget the old authority as soon as they hear of it.",
            (_, true) => "`atoll ca rotate` replaces it.",
        }
    }
}

impl View for Status {
    fn text(&self) -> String {
        let other = match (&self.other_root, self.phase) {
            (None, _) => String::new(),
            (Some(root), "preparing") => format!("\nto come   {root}"),
            (Some(root), _) => format!("\nbefore    {root}"),
        };
        let row = |node: &Node| {
            let shows = match &node.root {
                None => "not told yet",
                Some(root) if *root == self.root => "current",
                Some(root)
                    if Some(root) == self.other_root.as_ref() && self.phase == "switched" =>
                {
                    "OLD"
                }
                Some(_) => "another",
            };
            let until = match node.expires_ms {
                0 => String::new(),
                ms => output::date(ms),
            };
            let ready = if node.ready { "yes" } else { "NO" };
            vec![
                node.id.clone(),
                node.name.clone(),
                shows.to_owned(),
                until,
                ready.to_owned(),
            ]
        };
        let rows: Vec<_> = self.nodes.iter().map(row).collect();
        format!(
            "authority {root}, until {until}{other}\nphase     {phase}\n\n{nodes}\n\n{next}",
            root = self.root,
            until = output::date(self.expires_ms),
            phase = self.phase,
            nodes = table(&["ID", "NAME", "SHOWS", "UNTIL", "READY"], &rows),
            next = self.next_step(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u64, shown: &str, ready: bool) -> MemberAuthority {
        MemberAuthority {
            node,
            name: format!("n{node}"),
            ready,
            shown: shown.to_owned(),
            expires_ms: if shown.is_empty() { 0 } else { 86_400_000 },
        }
    }

    #[test]
    fn status_says_who_is_waited_for_and_what_to_do() {
        let status = Status::from(AuthorityStatusResponse {
            phase: Phase::Switched.into(),
            current: "bb".into(),
            other: "aa".into(),
            expires_ms: 0,
            roots_pem: String::new(),
            members: vec![
                member(1, "bb", true),
                member(2, "aa", false),
                member(3, "", false),
            ],
        });
        let text = status.text();
        assert!(
            text.starts_with(
                "authority bb, until 1970-01-01 00:00 UTC\n\
                 before    aa\n\
                 phase     switched\n\
                 \n\
                 ID  NAME  SHOWS         UNTIL                 READY\n\
                 1   n1    current       1970-01-02 00:00 UTC  yes\n\
                 2   n2    OLD           1970-01-02 00:00 UTC  NO\n\
                 3   n3    not told yet                        NO\n"
            ),
            "{text}"
        );
        assert!(text.contains("start those"), "{text}");
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(
            (&json["phase"], &json["ready"]),
            (&"switched".into(), &false.into())
        );
    }
}
