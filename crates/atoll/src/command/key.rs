//! `atoll key`: read, write and delete keys.

use std::io::{self, Read as _};

use atoll_control::proto::{
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse,
        range_request::{SortOrder, SortTarget},
    },
    mvccpb::KeyValue,
};
use clap::{Args, Subcommand, ValueEnum};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::{parse_lease, range::RangeArgs, watch};
use crate::{
    client::{Client, Retry},
    error::CliError,
    output::{Done, Format, View, print_bytes, put_bytes},
};

/// What can be done with keys.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Print keys and their values.
    Get(GetArgs),
    /// Set a key.
    Put(PutArgs),
    /// Delete keys.
    Del(DelArgs),
    /// Print every change of keys, as it happens.
    Watch(watch::WatchArgs),
    /// Forget what keys were before a revision.
    Compact {
        /// The revision; what is in force at it stays readable.
        revision: i64,
    },
}

/// Arguments of `atoll key get`.
#[derive(Clone, Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    range: RangeArgs,
    /// As they were at this revision.
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "REVISION"
    )]
    rev: i64,
    /// At most so many.
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    limit: i64,
    /// In the order of this.
    #[arg(long, value_enum, default_value_t = SortBy::Key, value_name = "FIELD")]
    sort_by: SortBy,
    /// The greatest first.
    #[arg(long)]
    descending: bool,
    /// What the asked node knows, which may be a little old; works without a majority.
    #[arg(long)]
    serializable: bool,
    /// Keys without their values.
    #[arg(long, conflicts_with_all = ["value_only", "count_only"])]
    keys_only: bool,
    /// How many there are, and nothing else.
    #[arg(long, conflicts_with = "value_only")]
    count_only: bool,
    /// Values without their keys.
    #[arg(long)]
    value_only: bool,
}

/// What keys are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SortBy {
    Key,
    Version,
    Create,
    Modify,
    Value,
}

/// Arguments of `atoll key put`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PutArgs {
    /// The key.
    #[arg(value_name = "KEY")]
    name: String,
    /// The value; read from standard input if it is left away. One that begins with a dash and
    /// is no number comes after `--`.
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,
    /// The lease with which the key goes.
    #[arg(long, value_parser = parse_lease, value_name = "LEASE", conflicts_with = "ignore_lease")]
    lease: Option<i64>,
    /// Print what was there before.
    #[arg(long)]
    prev: bool,
    /// Keep the value; change the lease alone.
    #[arg(long, conflicts_with = "value")]
    ignore_value: bool,
    /// Keep the lease; change the value alone.
    #[arg(long)]
    ignore_lease: bool,
}

/// Arguments of `atoll key del`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DelArgs {
    #[command(flatten)]
    range: RangeArgs,
    /// Print what was there before.
    #[arg(long)]
    prev: bool,
}

/// Does it.
pub(crate) async fn run(
    command: KeyCommand,
    client: &Client,
    output: Format,
) -> Result<(), CliError> {
    match command {
        KeyCommand::Get(args) => get(args, client, output).await,
        KeyCommand::Put(args) => put(args, client, output).await,
        KeyCommand::Del(args) => del(args, client, output).await,
        KeyCommand::Watch(args) => watch::run(args, client, output).await,
        KeyCommand::Compact { revision } => {
            let request = CompactionRequest {
                revision,
                physical: false,
            };
            client
                .call(Retry::Never, request, |node, request| async move {
                    node.kv().compact(request).await
                })
                .await?;
            output.show(&Done::new(format!("compacted up to revision {revision}")))
        }
    }
}

async fn get(args: GetArgs, client: &Client, output: Format) -> Result<(), CliError> {
    let (key, range_end) = args.range.bounds();
    let target = match args.sort_by {
        SortBy::Key => SortTarget::Key,
        SortBy::Version => SortTarget::Version,
        SortBy::Create => SortTarget::Create,
        SortBy::Modify => SortTarget::Mod,
        SortBy::Value => SortTarget::Value,
    };
    let order = if args.descending {
        SortOrder::Descend
    } else {
        SortOrder::Ascend
    };
    let request = RangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        limit: args.limit,
        revision: args.rev,
        sort_target: target.into(),
        sort_order: order.into(),
        serializable: args.serializable,
        keys_only: args.keys_only,
        count_only: args.count_only,
        ..RangeRequest::default()
    };
    let answer = client
        .call(Retry::Safe, request, |node, request| async move {
            node.kv().range(request).await
        })
        .await?;
    let show = match &args {
        GetArgs {
            count_only: true, ..
        } => Show::Count,
        GetArgs {
            keys_only: true, ..
        } => Show::Keys,
        GetArgs {
            value_only: true, ..
        } => Show::Values,
        _ => Show::Both,
    };
    match output {
        // Values are bytes; they go out as they came in.
        Format::Table => print_bytes(&lines(&answer, show)),
        Format::Json => output.show(&Found { answer, show }),
    }
}

async fn put(args: PutArgs, client: &Client, output: Format) -> Result<(), CliError> {
    let value = match args.value {
        _ if args.ignore_value => Vec::new(),
        Some(value) => value.into_bytes(),
        None => standard_input()?,
    };
    let request = PutRequest {
        key: args.name.into_bytes().into(),
        value: value.into(),
        lease: args.lease.unwrap_or(0),
        prev_kv: args.prev,
        ignore_value: args.ignore_value,
        ignore_lease: args.ignore_lease,
    };
    let answer = client
        .call(Retry::Never, request, |node, request| async move {
            node.kv().put(request).await
        })
        .await?;
    let revision = answer.header.map_or(0, |header| header.revision);
    if args.prev {
        return output.show(&Before {
            revision,
            deleted: None,
            before: Vec::from_iter(answer.prev_kv),
        });
    }
    match output {
        Format::Table => output.show(&Done::new(format!("OK, revision {revision}"))),
        Format::Json => output.show(&Before {
            revision,
            deleted: None,
            before: Vec::new(),
        }),
    }
}

fn standard_input() -> Result<Vec<u8>, CliError> {
    let mut value = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut value)
        .map_err(|error| CliError::file("read", "standard input", error))?;
    Ok(value)
}

async fn del(args: DelArgs, client: &Client, output: Format) -> Result<(), CliError> {
    let (key, range_end) = args.range.bounds();
    let request = DeleteRangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        prev_kv: args.prev,
    };
    let answer = client
        .call(Retry::Never, request, |node, request| async move {
            node.kv().delete_range(request).await
        })
        .await?;
    output.show(&Before {
        revision: answer.header.map_or(0, |header| header.revision),
        deleted: Some(answer.deleted),
        before: answer.prev_kvs,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Show {
    Both,
    Keys,
    Values,
    Count,
}

/// Key and value on lines of their own, as etcdctl prints them.
fn lines(answer: &RangeResponse, show: Show) -> Vec<u8> {
    if show == Show::Count {
        return format!("{}\n", answer.count).into_bytes();
    }
    let mut out = Vec::new();
    for kv in &answer.kvs {
        if show != Show::Values {
            out.extend_from_slice(&kv.key);
            out.push(b'\n');
        }
        if show != Show::Keys {
            out.extend_from_slice(&kv.value);
            out.push(b'\n');
        }
    }
    out
}

struct Found {
    answer: RangeResponse,
    show: Show,
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = Map::new();
        let revision = self
            .answer
            .header
            .as_ref()
            .map_or(0, |header| header.revision);
        object.insert("revision".into(), revision.into());
        object.insert("count".into(), self.answer.count.into());
        if self.show != Show::Count {
            object.insert("more".into(), self.answer.more.into());
            let kvs = self
                .answer
                .kvs
                .iter()
                .map(|kv| kv_json(kv, self.show != Show::Keys));
            object.insert("kvs".into(), kvs.collect());
        }
        object.serialize(serializer)
    }
}

impl View for Found {
    fn text(&self) -> String {
        String::from_utf8_lossy(&lines(&self.answer, self.show))
            .trim_end()
            .to_owned()
    }
}

/// A key as JSON.
pub(super) fn kv_json(kv: &KeyValue, value: bool) -> Value {
    let mut object = Map::new();
    put_bytes(&mut object, "key", &kv.key);
    if value {
        put_bytes(&mut object, "value", &kv.value);
    }
    object.insert("create_revision".into(), kv.create_revision.into());
    object.insert("mod_revision".into(), kv.mod_revision.into());
    object.insert("version".into(), kv.version.into());
    if kv.lease != 0 {
        object.insert("lease".into(), format!("{:x}", kv.lease).into());
    }
    Value::Object(object)
}

/// What a write did, and what was there before it.
struct Before {
    revision: i64,
    deleted: Option<i64>,
    before: Vec<KeyValue>,
}

impl Serialize for Before {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = json!({ "revision": self.revision });
        if let Some(deleted) = self.deleted {
            object["deleted"] = deleted.into();
        }
        if !self.before.is_empty() {
            object["before"] = self.before.iter().map(|kv| kv_json(kv, true)).collect();
        }
        object.serialize(serializer)
    }
}

impl View for Before {
    fn text(&self) -> String {
        let done = match self.deleted {
            Some(count) => format!("deleted {count}, revision {}", self.revision),
            None => format!("OK, revision {}", self.revision),
        };
        let mut lines = vec![done];
        for kv in &self.before {
            lines.push(String::from_utf8_lossy(&kv.key).into_owned());
            lines.push(String::from_utf8_lossy(&kv.value).into_owned());
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use atoll_control::proto::etcdserverpb::ResponseHeader;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn flags_are_never_taken_for_values() {
        let put = |line: &str| match clap::Parser::parse_from(line.split(' ')) {
            Cli {
                command: Command::Key(KeyCommand::Put(args)),
                ..
            } => (args.value, args.prev),
            other => panic!("{other:?}"),
        };
        assert_eq!(put("atoll key put a --prev"), (None, true));
        assert_eq!(put("atoll key put a -1 --prev"), (Some("-1".into()), true));
        assert_eq!(
            put("atoll key put --prev -- a --x"),
            (Some("--x".into()), true)
        );
    }

    fn answer() -> RangeResponse {
        let kv = |key: &'static str, value: &'static [u8], lease| KeyValue {
            key: key.into(),
            value: value.into(),
            create_revision: 2,
            mod_revision: 3,
            version: 1,
            lease,
        };
        RangeResponse {
            header: Some(ResponseHeader {
                revision: 9,
                ..ResponseHeader::default()
            }),
            kvs: vec![kv("a", b"1", 0), kv("b", &[0xff], 31)],
            more: true,
            count: 5,
        }
    }

    #[test]
    fn keys_and_values_take_turns_and_bytes_stay_as_they_are() {
        assert_eq!(lines(&answer(), Show::Both), b"a\n1\nb\n\xff\n");
        assert_eq!(lines(&answer(), Show::Keys), b"a\nb\n");
        assert_eq!(lines(&answer(), Show::Values), b"1\n\xff\n");
        assert_eq!(lines(&answer(), Show::Count), b"5\n");
    }

    #[test]
    fn json_has_every_field() {
        let found = Found {
            answer: answer(),
            show: Show::Both,
        };
        assert_eq!(
            serde_json::to_value(&found).unwrap(),
            json!({"revision": 9, "count": 5, "more": true, "kvs": [
                {"key": "a", "value": "1", "create_revision": 2, "mod_revision": 3, "version": 1},
                {"key": "b", "value_base64": "/w==", "create_revision": 2, "mod_revision": 3, "version": 1, "lease": "1f"},
            ]})
        );
        let found = Found {
            answer: answer(),
            show: Show::Count,
        };
        assert_eq!(
            serde_json::to_value(&found).unwrap(),
            json!({"revision": 9, "count": 5})
        );
        let before = Before {
            revision: 4,
            deleted: Some(0),
            before: vec![],
        };
        assert_eq!(
            serde_json::to_value(&before).unwrap(),
            json!({"revision": 4, "deleted": 0})
        );
    }
}
