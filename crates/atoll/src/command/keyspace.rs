//! `atoll keyspace`: named parts of hot data, each as consistent as it was created to be.

use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::{
    cli::Global,
    client::{
        Options,
        redis::{Link, Reply},
    },
    error::CliError,
    output::{Format, View, table},
};

/// What can be done with keyspaces.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeyspaceCommand {
    /// Create a keyspace; what it is then it stays.
    ///
    /// A linearizable keyspace is a database that transactions, scripts and all commands know,
    /// with a name. An eventual one takes writes at any replica, on both sides of a network
    /// partition, and comes to the same everywhere; it has fewer commands, and what only one
    /// replica has is lost with it. docs/consistency.md says what each promises.
    Create(CreateArgs),
    /// The keyspaces that have names, with the numbers that SELECT takes.
    List(ListArgs),
}

/// Where Redis clients come in.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Where Redis clients come in; port 6379 of the endpoint's host if nobody says otherwise.
    #[arg(long, value_name = "HOST:PORT")]
    redis: Option<String>,
}

/// What is created.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// Letters, digits, - and _, with a letter first.
    name: String,
    /// How consistent it is.
    #[arg(long, value_enum, default_value_t)]
    consistency: Consistency,
    /// How many replicas each part of an eventual keyspace has: as many as the cluster keeps of
    /// everything.
    #[arg(long, default_value_t = 3, value_name = "N")]
    replicas: u8,
    /// How many replicas have a write before it is answered, unless a connection says otherwise:
    /// a number, or one, quorum, all.
    #[arg(long, default_value = "1", value_name = "W")]
    write: String,
    /// How many replicas are asked for a read.
    #[arg(long, default_value = "1", value_name = "R")]
    read: String,
    #[command(flatten)]
    door: ListArgs,
}

/// Which promise a keyspace keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Consistency {
    /// Who reads sees all that was answered before.
    #[default]
    Linearizable,
    /// Any replica takes writes; all come to the same.
    Eventual,
}

/// A keyspace.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    name: String,
    number: i64,
    consistency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<String>,
}

/// Keyspaces in a list.
#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

impl View for Rows {
    fn text(&self) -> String {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
        let rows = self.0.iter().map(|row| {
            vec![
                row.name.clone(),
                row.number.to_string(),
                row.consistency.clone(),
                row.replicas
                    .map(|count| count.to_string())
                    .unwrap_or_default(),
                or_none(&row.write),
                or_none(&row.read),
            ]
        });
        table(
            &["NAME", "NUMBER", "CONSISTENCY", "REPLICAS", "WRITE", "READ"],
            &rows.collect::<Vec<_>>(),
        )
    }
}

/// A keyspace that was created.
#[derive(Serialize)]
struct Created {
    name: String,
    number: i64,
}

impl View for Created {
    fn text(&self) -> String {
        let Created { name, number } = self;
        format!("created; clients choose it with SELECT {name} or SELECT {number}")
    }
}

/// Does it.
pub(crate) async fn run(command: KeyspaceCommand, global: &Global) -> Result<(), CliError> {
    let options = Options::from_global(global)?;
    match command {
        KeyspaceCommand::Create(args) => create(args, &options, global.output).await,
        KeyspaceCommand::List(args) => {
            let mut link = Link::open(&options, args.redis.as_deref()).await?;
            let told = ask(&mut link, &["ATOLL.KEYSPACE", "LIST"]).await?;
            global.output.show(&Rows(rows(told)?))
        }
    }
}

async fn create(args: CreateArgs, options: &Options, output: Format) -> Result<(), CliError> {
    let mut words = vec![
        "ATOLL.KEYSPACE".to_owned(),
        "CREATE".to_owned(),
        args.name.clone(),
    ];
    match args.consistency {
        Consistency::Linearizable => words.push("LINEARIZABLE".to_owned()),
        Consistency::Eventual => {
            let (write, read) = (level(&args.write, &args)?, level(&args.read, &args)?);
            let said = [
                "EVENTUAL",
                "REPLICAS",
                &args.replicas.to_string(),
                "WRITE",
                write,
            ];
            words.extend(said.map(str::to_owned));
            words.extend(["READ", read].map(str::to_owned));
        }
    }
    let mut link = Link::open(options, args.door.redis.as_deref()).await?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match ask(&mut link, &words).await? {
        Reply::Integer(number) => output.show(&Created {
            name: args.name,
            number,
        }),
        _ => Err(strange()),
    }
}

/// The word for a number of replicas, or a level.
fn level(word: &str, args: &CreateArgs) -> Result<&'static str, CliError> {
    let quorum = args.replicas / 2 + 1;
    match (word.to_ascii_lowercase().as_str(), word.parse::<u8>()) {
        ("one", _) | (_, Ok(1)) => Ok("ONE"),
        ("all", _) => Ok("ALL"),
        ("quorum", _) => Ok("QUORUM"),
        (_, Ok(count)) if count == args.replicas => Ok("ALL"),
        (_, Ok(count)) if count == quorum => Ok("QUORUM"),
        _ => Err(CliError::Usage {
            what: format!("{word} of {} replicas is no level", args.replicas),
            next: format!("say 1, {quorum} or {}; or one, quorum, all", args.replicas),
        }),
    }
}

async fn ask(link: &mut Link, words: &[&str]) -> Result<Reply, CliError> {
    let words: Vec<Bytes> = words
        .iter()
        .map(|word| Bytes::copy_from_slice(word.as_bytes()))
        .collect();
    match link.ask(&words).await? {
        Reply::Refused(why) => {
            let why = why.strip_prefix("ERR ").unwrap_or(&why).to_owned();
            Err(CliError::failed(why, ""))
        }
        told => Ok(told),
    }
}

fn strange() -> CliError {
    CliError::failed(
        "the answer can't be understood",
        "use an `atoll` of the cluster's version: `atoll status` shows it",
    )
}

fn rows(told: Reply) -> Result<Vec<Row>, CliError> {
    let Reply::List(all) = told else {
        return Err(strange());
    };
    all.into_iter().map(row).collect()
}

fn row(told: Reply) -> Result<Row, CliError> {
    let Reply::List(facts) = told else {
        return Err(strange());
    };
    let find = |name: &str| {
        let mut pairs = facts.chunks_exact(2);
        pairs.find_map(|pair| match &pair[0] {
            Reply::String(found) if *found == name => Some(&pair[1]),
            _ => None,
        })
    };
    let text = |name| match find(name) {
        Some(Reply::String(text)) => Some(String::from_utf8_lossy(text).into_owned()),
        _ => None,
    };
    let number = |name| match find(name) {
        Some(Reply::Integer(number)) => Some(*number),
        _ => None,
    };
    Ok(Row {
        name: text("name").ok_or_else(strange)?,
        number: number("number").ok_or_else(strange)?,
        consistency: text("consistency").ok_or_else(strange)?,
        replicas: number("replicas"),
        write: text("write"),
        read: text("read"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &'static str) -> Reply {
        Reply::String(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn keyspaces_are_listed() {
        let orders = [
            string("name"),
            string("orders"),
            string("number"),
            Reply::Integer(1),
            string("consistency"),
            string("linearizable"),
        ];
        let carts = [
            string("name"),
            string("carts"),
            string("number"),
            Reply::Integer(32),
            string("consistency"),
            string("eventual"),
            string("replicas"),
            Reply::Integer(3),
            string("write"),
            string("ONE"),
            string("read"),
            string("QUORUM"),
        ];
        let told = Reply::List(vec![Reply::List(orders.into()), Reply::List(carts.into())]);
        let rows = Rows(rows(told).unwrap());
        let lines: Vec<Vec<String>> = rows
            .text()
            .lines()
            .map(|line| line.split_whitespace().map(str::to_owned).collect())
            .collect();
        assert_eq!(lines[1], ["orders", "1", "linearizable"]);
        assert_eq!(lines[2], ["carts", "32", "eventual", "3", "ONE", "QUORUM"]);
        assert!(super::rows(Reply::Done).is_err());
        assert!(row(Reply::List(vec![string("name")])).is_err());
    }

    #[test]
    fn numbers_of_replicas_are_levels() {
        let args = CreateArgs {
            name: "a".to_owned(),
            consistency: Consistency::Eventual,
            replicas: 3,
            write: "1".to_owned(),
            read: "1".to_owned(),
            door: ListArgs { redis: None },
        };
        let level = |word| level(word, &args).ok();
        assert_eq!(level("1"), Some("ONE"));
        assert_eq!(level("2"), Some("QUORUM"));
        assert_eq!(level("3"), Some("ALL"));
        assert_eq!(level("Quorum"), Some("QUORUM"));
        assert_eq!(level("4"), None);
        assert_eq!(level("some"), None);
    }
}
