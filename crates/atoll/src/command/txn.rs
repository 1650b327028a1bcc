//! `atoll txn`: transactions with participants outside of the cluster.

mod hot;
mod keys;

use std::time::Duration;

use atoll_txn::proto::{
    self as pb, AbortRequest, BeginRequest, CommitRequest, EnlistRequest, GetRequest,
    HttpParticipant, ListRequest, PostgresParticipant, ResolveRequest, Statement,
    enlist_request::Participant as Enlisted,
};
use atoll_world::clock;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use self::{hot::HotOptions, keys::KeysArgs};
use crate::{
    client::{Client, Retry},
    error::CliError,
    output::{Done, Format, View, date, table},
};

/// What is told after a transaction that was asked to commit was aborted.
const EXIT_ABORTED: u8 = 1;
/// Votes take their time; a decision is waited for at least so long.
const DECISION_WAIT: Duration = Duration::from_secs(35);

/// What can be done with transactions.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TxnCommand {
    /// Begin a transaction and print its id.
    Begin {
        /// How it is brought to its end.
        #[arg(long, value_enum, default_value_t)]
        kind: Kind,
        /// It is given up after so long.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=604_800), value_name = "SECONDS")]
        ttl_s: u64,
    },
    /// Have somebody take part; in a saga, add the next step.
    Enlist {
        /// The transaction.
        id: String,
        #[command(flatten)]
        who: Who,
        /// What a service is to do, in its own language.
        #[arg(
            long,
            default_value = "",
            value_name = "TEXT",
            conflicts_with_all = ["postgres", "keys", "redis"]
        )]
        payload: String,
        /// How that is undone; only in sagas.
        #[arg(
            long,
            default_value = "",
            value_name = "TEXT",
            conflicts_with_all = ["postgres", "keys", "redis"]
        )]
        compensation: String,
        /// A statement that a database is to run; may be given several times.
        #[arg(long, value_name = "STATEMENT", conflicts_with_all = ["http", "keys", "redis"])]
        sql: Vec<String>,
        /// Each statement must touch so many rows.
        #[arg(long, value_name = "N", conflicts_with_all = ["http", "keys", "redis"])]
        rows: Option<u64>,
        #[command(flatten)]
        writes: Box<KeysArgs>,
        #[command(flatten)]
        hot: Box<HotOptions>,
    },
    /// Have all of it done, or nothing. Exits with 1 if it came to nothing.
    Commit {
        /// The transaction.
        id: String,
        /// Wait until all participants know, and not only until it is decided.
        #[arg(long)]
        until_ended: bool,
    },
    /// Have nothing of it done.
    Abort {
        /// The transaction.
        id: String,
    },
    /// The transactions that the cluster knows.
    List {
        /// Only those that are decided or half done, and not all of whose participants know.
        #[arg(long)]
        in_doubt: bool,
        /// Those after this one.
        #[arg(long, default_value = "", value_name = "ID")]
        after: String,
        /// No more than so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
        limit: u32,
    },
    /// How a transaction stands, who takes part, and what people did about it.
    Show {
        /// The transaction.
        id: String,
    },
    /// Say how a participant has ended that does not answer any more, or that was ended by hand.
    /// It is told nothing more; who said so, and why, is kept with the transaction.
    Resolve {
        /// The transaction.
        id: String,
        /// The participant's number, as `atoll txn show` lists it.
        branch: u32,
        /// How it has ended.
        #[arg(value_enum)]
        outcome: Ended,
        /// Why you know.
        #[arg(long, value_name = "TEXT")]
        remark: String,
    },
}

/// Somebody who takes part.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Who {
    /// A service: where its callbacks are.
    #[arg(long, value_name = "URL")]
    http: Option<String>,
    /// A PostgreSQL database, by the name that the nodes know it by.
    #[arg(long, value_name = "NAME")]
    postgres: Option<String>,
    /// Keys of the control plane, put and deleted if they are as --if says. A label tells several
    /// of them in one transaction apart.
    #[arg(
        long,
        value_name = "LABEL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    keys: Option<String>,
    /// The cluster's hot data: a Redis command, its words divided by spaces; may be given several
    /// times. A word with spaces in it stands between quotes, as redis-cli takes it.
    #[arg(long, value_name = "COMMAND")]
    redis: Vec<String>,
}

/// How a transaction is brought to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Participants that can prepare.
    #[default]
    TwoPhase,
    /// Participants that also hear that all have voted yes; whoever waits asks the cluster.
    ThreePhase,
    /// The same, but they end it among themselves when they hear of no coordinator.
    ThreePhasePeers,
    /// Steps one after the other, undone one by one where one fails.
    Saga,
}

/// How a participant has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ended {
    /// All of it is done.
    Committed,
    /// None of it is.
    Aborted,
}

/// A transaction that was begun.
#[derive(Serialize)]
struct Begun {
    id: String,
    deadline_ms: u64,
}

impl View for Begun {
    fn text(&self) -> String {
        self.id.clone()
    }
}

/// A participant that was enlisted.
#[derive(Serialize)]
struct Place {
    branch: u32,
}

impl View for Place {
    fn text(&self) -> String {
        format!("participant {}", self.branch)
    }
}

/// What came of it.
#[derive(Serialize)]
struct Outcome {
    outcome: String,
    reason: String,
    mixed: bool,
}

impl View for Outcome {
    fn text(&self) -> String {
        let mut text = self.outcome.clone();
        if self.reason != "none" {
            text = format!("{text} ({})", self.reason);
        }
        if self.mixed {
            text += "; some participants have ended otherwise, and must be put right by hand";
        }
        text
    }
}

/// A transaction in a list.
#[derive(Serialize)]
struct Row {
    id: String,
    kind: String,
    phase: String,
    outcome: String,
    reason: String,
    mixed: bool,
    owner: String,
    began_ms: u64,
    deadline_ms: u64,
    ended_ms: u64,
    participant_count: u32,
}

/// A list of them.
#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl View for Rows {
    fn text(&self) -> String {
        let now_ms = clock::wall_ms();
        let rows = self.0.iter().map(|row| {
            vec![
                row.id.clone(),
                row.kind.clone(),
                row.phase.clone(),
                row.outcome.clone(),
                row.participant_count.to_string(),
                format!("{} s", now_ms.saturating_sub(row.began_ms) / 1_000),
                row.owner.clone(),
            ]
        });
        table(
            &[
                "ID",
                "KIND",
                "PHASE",
                "OUTCOME",
                "PARTICIPANTS",
                "AGE",
                "OWNER",
            ],
            &rows.collect::<Vec<_>>(),
        )
    }
}

/// A participant.
#[derive(Serialize)]
struct Participant {
    branch: usize,
    name: String,
    standing: String,
    outcome: String,
}

/// What a person did.
#[derive(Serialize)]
struct AuditLine {
    at_ms: u64,
    by: String,
    what: String,
}

/// All of a transaction.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    row: Row,
    participants: Vec<Participant>,
    audit: Vec<AuditLine>,
}

impl View for Whole {
    fn text(&self) -> String {
        let row = &self.row;
        let mut text = format!(
            "{}  {}, {}, {}, began {}\n",
            row.id,
            row.kind,
            row.phase,
            row.outcome,
            date(row.began_ms)
        );
        if row.reason != "none" {
            text += &format!("given up: {}\n", row.reason);
        }
        if row.mixed {
            text += "some participants have ended otherwise, and must be put right by hand\n";
        }
        let rows = self.participants.iter().map(|it| {
            vec![
                it.branch.to_string(),
                it.name.clone(),
                it.standing.clone(),
                it.outcome.clone(),
            ]
        });
        let rows: Vec<_> = rows.collect();
        text += &table(&["BRANCH", "PARTICIPANT", "STANDING", "OUTCOME"], &rows);
        for line in &self.audit {
            text += &format!("\n{}  {}: {}", date(line.at_ms), line.by, line.what);
        }
        text
    }
}

/// A word of the API's, as we write it: `TWO_PHASE` is two-phase.
fn word(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

fn row(it: &pb::Transaction) -> Row {
    Row {
        id: it.id.clone(),
        kind: word(it.kind().as_str_name()),
        phase: word(it.phase().as_str_name()),
        outcome: word(it.outcome().as_str_name()),
        reason: word(it.reason().as_str_name()),
        mixed: it.mixed,
        owner: format!("{:x}", it.owner),
        began_ms: it.began_ms,
        deadline_ms: it.deadline_ms,
        ended_ms: it.ended_ms,
        participant_count: it.participant_count,
    }
}

fn whole(it: &pb::Transaction) -> Whole {
    let participants = it.participants.iter().enumerate();
    let participants = participants.map(|(branch, it)| Participant {
        branch,
        name: it.name.clone(),
        standing: word(it.standing().as_str_name()),
        outcome: match it.outcome() {
            pb::Outcome::Undecided => String::new(),
            outcome => word(outcome.as_str_name()),
        },
    });
    let audit = it.audit.iter().map(|line| AuditLine {
        at_ms: line.at_ms,
        by: line.by.clone(),
        what: line.what.clone(),
    });
    Whole {
        row: row(it),
        participants: participants.collect(),
        audit: audit.collect(),
    }
}

impl From<pb::OutcomeResponse> for Outcome {
    fn from(it: pb::OutcomeResponse) -> Outcome {
        Outcome {
            outcome: word(it.outcome().as_str_name()),
            reason: word(it.reason().as_str_name()),
            mixed: it.mixed,
        }
    }
}

/// Does it.
///
/// # Errors
/// The cluster refused, no node answers, or what was to be committed was aborted.
pub(crate) async fn run(
    command: TxnCommand,
    client: &Client,
    output: Format,
) -> Result<(), CliError> {
    match command {
        TxnCommand::Begin { kind, ttl_s } => output.show(&begin(client, kind, ttl_s).await?),
        TxnCommand::Enlist {
            id,
            who,
            payload,
            compensation,
            sql,
            rows,
            writes,
            hot,
        } => {
            let service = |url| {
                Enlisted::Http(HttpParticipant {
                    url,
                    payload,
                    compensation,
                })
            };
            let statements = sql.into_iter().map(|sql| Statement {
                sql,
                rows,
                ..Statement::default()
            });
            let database = |database| {
                Enlisted::Postgres(PostgresParticipant {
                    database,
                    statements: statements.collect(),
                })
            };
            let keys = |label| Enlisted::Keys(writes.participant(label));
            let participant = who.http.map(service).or(who.postgres.map(database));
            let participant = participant.or(who.keys.map(keys));
            let participant = match who.redis.is_empty() {
                true => participant,
                false => Some(Enlisted::Hot(hot.participant(&who.redis)?)),
            };
            let request = EnlistRequest { id, participant };
            let answer = client
                .call(Retry::Safe, request, |node, request| async move {
                    node.transactions().enlist(request).await
                })
                .await?;
            output.show(&Place {
                branch: answer.branch,
            })
        }
        TxnCommand::Commit { id, until_ended } => {
            let outcome = commit(client, id, until_ended).await?;
            output.show(&Outcome::from(outcome))?;
            match outcome.outcome() {
                pb::Outcome::Committed => Ok(()),
                _ => Err(CliError::Exit(EXIT_ABORTED)),
            }
        }
        TxnCommand::Abort { id } => {
            let client = patient(client);
            let answer = client
                .call(
                    Retry::Safe,
                    AbortRequest { id },
                    |node, request| async move { node.transactions().abort(request).await },
                )
                .await?;
            output.show(&Outcome::from(answer))
        }
        TxnCommand::List {
            in_doubt,
            after,
            limit,
        } => {
            let request = ListRequest {
                in_doubt,
                after,
                limit,
            };
            let answer = client
                .call(Retry::Safe, request, |node, request| async move {
                    node.transactions().list(request).await
                })
                .await?;
            output.show(&Rows(answer.transactions.iter().map(row).collect()))
        }
        TxnCommand::Show { id } => {
            let answer = client
                .call(Retry::Safe, GetRequest { id }, |node, request| async move {
                    node.transactions().get(request).await
                })
                .await?;
            output.show(&whole(&answer))
        }
        TxnCommand::Resolve {
            id,
            branch,
            outcome,
            remark,
        } => {
            resolve(client, id, branch, outcome, remark).await?;
            output.show(&Done::new(format!("participant {branch} is resolved")))
        }
    }
}

/// A client that waits for a decision.
fn patient(client: &Client) -> Client {
    client.with_timeout(client.timeout().max(DECISION_WAIT))
}

async fn begin(client: &Client, kind: Kind, ttl_s: u64) -> Result<Begun, CliError> {
    let kind = match kind {
        Kind::TwoPhase => pb::Kind::TwoPhase,
        Kind::ThreePhase => pb::Kind::ThreePhase,
        Kind::ThreePhasePeers => pb::Kind::ThreePhasePeers,
        Kind::Saga => pb::Kind::Saga,
    };
    let request = BeginRequest {
        kind: kind.into(),
        timeout_ms: ttl_s.saturating_mul(1_000),
    };
    let answer = client
        // Asked twice, it begins two; nobody uses the other one, and it ends by itself.
        .call(Retry::Safe, request, |node, request| async move {
            node.transactions().begin(request).await
        })
        .await?;
    Ok(Begun {
        id: answer.id,
        deadline_ms: answer.deadline_ms,
    })
}

async fn commit(
    client: &Client,
    id: String,
    until_ended: bool,
) -> Result<pb::OutcomeResponse, CliError> {
    let request = CommitRequest { id, until_ended };
    patient(client)
        .call(Retry::Safe, request, |node, request| async move {
            node.transactions().commit(request).await
        })
        .await
}

async fn resolve(
    client: &Client,
    id: String,
    branch: u32,
    outcome: Ended,
    remark: String,
) -> Result<(), CliError> {
    let outcome = match outcome {
        Ended::Committed => pb::Outcome::Committed,
        Ended::Aborted => pb::Outcome::Aborted,
    };
    let request = ResolveRequest {
        id,
        branch,
        outcome: outcome.into(),
        remark,
    };
    client
        .call(Retry::Safe, request, |node, request| async move {
            node.transactions().resolve(request).await
        })
        .await?;
    Ok(())
}
