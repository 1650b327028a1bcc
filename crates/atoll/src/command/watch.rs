//! `atoll key watch`: every change of some keys, once and in order, over broken connections.

use std::time::Duration;

use atoll_control::proto::{
    etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion},
    mvccpb::{Event, event::EventType},
};
use clap::Args;
use futures_util::stream::{self, StreamExt as _};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use tonic::{Code, Status};

use super::{key::kv_json, range::RangeArgs};
use crate::{
    client::Client,
    error::CliError,
    output::{Format, View, note, print_bytes, put_bytes},
};

/// How long to wait before a broken watch is opened again.
const PAUSE: Duration = Duration::from_millis(300);
/// How often in a row it may fail to open before it is given up.
const FAILURES_MAX: u32 = 100;

/// Arguments of `atoll key watch`.
#[derive(Clone, Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    range: RangeArgs,
    /// Begin with the changes of this revision, instead of with what comes now.
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "REVISION"
    )]
    rev: i64,
    /// Print what was there before, too.
    #[arg(long)]
    prev: bool,
}

/// Why a watch ended.
enum End {
    /// The connection broke, or the node stopped: go on elsewhere.
    Broken(String),
    /// It will not come back.
    Final(CliError),
}

/// Watches until it is interrupted.
pub(crate) async fn run(args: WatchArgs, client: &Client, output: Format) -> Result<(), CliError> {
    let mut next_revision = args.rev;
    let mut failures = 0;
    loop {
        let before = next_revision;
        let why = match watch_once(&args, client, output, &mut next_revision).await {
            End::Final(error) => return Err(error),
            End::Broken(why) => why,
        };
        failures = if next_revision > before {
            0
        } else {
            failures + 1
        };
        if failures >= FAILURES_MAX {
            return Err(CliError::failed(
                format!("the watch broke {failures} times in a row: {why}"),
                "see `atoll status`",
            ));
        }
        if failures <= 1 {
            note(&format!(
                "the watch broke ({why}); going on from revision {next_revision}"
            ));
        }
        client.turn_away();
        tokio::time::sleep(PAUSE).await;
    }
}

async fn watch_once(
    args: &WatchArgs,
    client: &Client,
    output: Format,
    next_revision: &mut i64,
) -> End {
    let connection = match client.connection().await {
        Ok(connection) => connection,
        // The first time it is the person's mistake; later the nodes may come back.
        Err(error @ CliError::Unreachable { .. }) if *next_revision != args.rev => {
            return End::Broken(error.to_string());
        }
        Err(error) => return End::Final(error),
    };
    let (key, range_end) = args.range.bounds();
    let create = WatchCreateRequest {
        key: key.into(),
        range_end: range_end.into(),
        start_revision: *next_revision,
        prev_kv: args.prev,
        ..WatchCreateRequest::default()
    };
    let request = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    // The stream of requests stays open: closing it would end the watch.
    let requests = stream::iter([request]).chain(stream::pending());
    let mut changes = match connection.watch().watch(requests).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return ended(status),
    };
    loop {
        match changes.message().await {
            Ok(Some(response)) => {
                if let Err(error) = handle(&response, output, next_revision) {
                    return End::Final(error);
                }
            }
            Ok(None) => return End::Broken("the node ended it".into()),
            Err(status) => return ended(status),
        }
    }
}

fn ended(status: Status) -> End {
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => {
            End::Broken(status.message().to_owned())
        }
        _ => End::Final(status.into()),
    }
}

fn handle(
    response: &WatchResponse,
    output: Format,
    next_revision: &mut i64,
) -> Result<(), CliError> {
    if response.canceled {
        return Err(canceled(response));
    }
    for event in &response.events {
        show(event, output)?;
    }
    // What a created watch, a batch of events and a progress report have in common: everything
    // up to the header's revision has been told. A watch of the past is told from its start.
    let told = response.header.as_ref().map_or(0, |header| header.revision) + 1;
    let past = response.created && *next_revision > 0;
    if !past {
        let events = response
            .events
            .iter()
            .filter_map(|e| Some(e.kv.as_ref()?.mod_revision + 1));
        *next_revision = events.max().unwrap_or(told).max(*next_revision);
    }
    Ok(())
}

fn canceled(response: &WatchResponse) -> CliError {
    if response.compact_revision > 0 {
        return CliError::failed(
            format!(
                "the revisions before {} have been compacted away",
                response.compact_revision
            ),
            format!(
                "read the keys, then watch on with --rev {}",
                response.compact_revision
            ),
        );
    }
    CliError::from(Status::permission_denied(response.cancel_reason.clone()))
}

fn show(event: &Event, output: Format) -> Result<(), CliError> {
    match output {
        Format::Table => print_bytes(&lines(event)),
        Format::Json => output.show_streamed(&Change(event)),
    }
}

/// As etcdctl prints it: what happened, the key, the value.
fn lines(event: &Event) -> Vec<u8> {
    let mut out = Vec::new();
    let mut line = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        out.push(b'\n');
    };
    let before = event.prev_kv.as_ref();
    line(name(event).as_bytes());
    if let Some(before) = before {
        line(&before.key);
        line(&before.value);
    }
    if let Some(kv) = &event.kv {
        line(&kv.key);
        line(&kv.value);
    }
    out
}

fn name(event: &Event) -> &'static str {
    match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    }
}

struct Change<'a>(&'a Event);

impl Serialize for Change<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let deleted = self.0.r#type() == EventType::Delete;
        let mut object = Map::new();
        object.insert("type".into(), name(self.0).into());
        match &self.0.kv {
            Some(kv) if deleted => {
                put_bytes(&mut object, "key", &kv.key);
                object.insert("mod_revision".into(), kv.mod_revision.into());
            }
            Some(kv) => {
                if let Value::Object(fields) = kv_json(kv, true) {
                    object.extend(fields);
                }
            }
            None => {}
        }
        if let Some(before) = &self.0.prev_kv {
            object.insert("before".into(), kv_json(before, true));
        }
        object.serialize(serializer)
    }
}

impl View for Change<'_> {
    fn text(&self) -> String {
        String::from_utf8_lossy(&lines(self.0))
            .trim_end()
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use atoll_control::proto::{etcdserverpb::ResponseHeader, mvccpb::KeyValue};

    use super::*;

    fn response(revision: i64, created: bool) -> WatchResponse {
        WatchResponse {
            header: Some(ResponseHeader {
                revision,
                ..ResponseHeader::default()
            }),
            created,
            ..WatchResponse::default()
        }
    }

    #[test]
    fn a_broken_watch_goes_on_after_the_last_change_that_was_told() {
        let mut next = 0;
        handle(&response(7, true), Format::Table, &mut next).unwrap();
        assert_eq!(next, 8, "from now on");
        handle(&response(9, false), Format::Table, &mut next).unwrap();
        assert_eq!(next, 10, "progress");

        let mut next = 3;
        handle(&response(7, true), Format::Table, &mut next).unwrap();
        assert_eq!(next, 3, "what came since revision 3 is still to be told");
    }

    #[test]
    fn a_compacted_watch_says_where_to_go_on() {
        let mut next = 3;
        let mut gone = response(7, false);
        gone.canceled = true;
        gone.compact_revision = 5;
        let error = handle(&gone, Format::Table, &mut next).unwrap_err();
        assert!(error.to_string().contains("before 5") && error.next_step().contains("--rev 5"));
    }

    #[test]
    fn changes_are_one_json_object_each() {
        let kv = KeyValue {
            key: "a".into(),
            value: "1".into(),
            mod_revision: 4,
            create_revision: 4,
            version: 1,
            lease: 0,
        };
        let put = Event {
            r#type: EventType::Put.into(),
            kv: Some(kv.clone()),
            prev_kv: None,
        };
        assert_eq!(
            serde_json::to_string(&Change(&put)).unwrap(),
            r#"{"create_revision":4,"key":"a","mod_revision":4,"type":"PUT","value":"1","version":1}"#
        );
        let gone = KeyValue {
            key: "a".into(),
            mod_revision: 5,
            ..KeyValue::default()
        };
        let delete = Event {
            r#type: EventType::Delete.into(),
            kv: Some(gone),
            prev_kv: Some(kv),
        };
        assert_eq!(lines(&delete), b"DELETE\na\n1\na\n\n");
        assert!(
            serde_json::to_string(&Change(&delete))
                .unwrap()
                .contains(r#""before":{"#)
        );
    }
}
