//! The libraries of functions: one value of partition 0, in the database that no client sees.

use std::{sync::Arc, time::Duration};

use atoll_base::id::PartitionId;
use bytes::Bytes;

use super::{condition::is_slow, is, listing};
use crate::{
    api::{Answer, Refusal, Version},
    core::{
        data::HIDDEN,
        dump,
        machine::{self, Call, Operation, Running},
        reply::Reply,
        script::{self, CATALOG_BYTES_MAX, Catalog, Library},
    },
    driver::{
        Kv,
        ask::{answer, error_reply, given},
        shard::AskKind,
    },
};

/// The key of the value.
const KEY: Bytes = Bytes::from_static(b"functions");
/// Where it is.
const PARTITION: PartitionId = PartitionId(0);
/// How long the text of a library may run while it is loaded: Redis's limit.
const LOAD_LIMIT: Duration = Duration::from_millis(500);
/// So often somebody else may be quicker before a change is given up.
const ATTEMPTS_MAX: usize = 32;

/// Libraries as they were at a version of the value.
#[derive(Default)]
pub(super) struct Known {
    pub(super) catalog: Catalog,
    version: u64,
}

/// The libraries as they are now: whatever was acknowledged before is among them.
pub(super) async fn known(kv: &Kv) -> Result<Arc<Known>, Answer> {
    for _ in 0..ATTEMPTS_MAX {
        let versions = Operation::Versions(vec![(HIDDEN, KEY)]);
        let version = match answer(given(kv, PARTITION, AskKind::Read, versions.encode()).await) {
            Answer::Versions(versions) => versions.first().map_or(0, |Version(it)| *it),
            refused => return Err(refused),
        };
        let known = kv.0.scripts.known.lock().clone();
        if known.version == version {
            return Ok(known);
        }
        let read = transaction(vec![Bytes::from_static(b"GET"), KEY], version);
        let value = match answer(given(kv, PARTITION, AskKind::Read, read).await) {
            Answer::Executed(mut replies) => replies.pop(),
            // It was changed in between.
            Answer::Discarded => continue,
            refused => return Err(refused),
        };
        let catalog = match value {
            Some(Reply::Bulk(bytes)) => Catalog::decode(bytes)
                .map_err(|error| error_reply(format!("ERR functions can't be read: {error}")))?,
            _ => Catalog::default(),
        };
        let known = Arc::new(Known { catalog, version });
        *kv.0.scripts.known.lock() = known.clone();
        return Ok(known);
    }
    Err(Answer::Refused(Refusal::Overloaded))
}

/// Looks what the libraries are now.
async fn known_now(kv: &Kv) {
    if let Err(refused) = known(kv).await {
        tracing::debug!(?refused, "functions can't be read again after a change");
    }
}

/// A command on the value, if that still stands where it stood.
fn transaction(words: Vec<Bytes>, version: u64) -> Bytes {
    let database = HIDDEN;
    Operation::Transaction {
        calls: vec![Call { database, words }],
        watched: vec![(HIDDEN, KEY, version)],
    }
    .encode()
}

/// Changes the libraries, for all nodes.
async fn change(
    kv: &Kv,
    changed: impl Fn(&mut Catalog) -> Result<Reply, String>,
) -> Result<Reply, Answer> {
    for _ in 0..ATTEMPTS_MAX {
        let known = known(kv).await?;
        let mut catalog = known.catalog.clone();
        let reply = changed(&mut catalog).map_err(error_reply)?;
        if catalog == known.catalog {
            return Ok(reply);
        }
        let bytes = catalog.encode();
        if bytes.len() > CATALOG_BYTES_MAX {
            return Err(error_reply(format!(
                "ERR all libraries together have at most {CATALOG_BYTES_MAX} bytes"
            )));
        }
        let words = vec![Bytes::from_static(b"SET"), KEY, bytes];
        let write = transaction(words, known.version);
        match answer(given(kv, PARTITION, AskKind::Write, write).await) {
            Answer::Executed(_) => {
                // What this node knows of functions without asking (CLIENT PAUSE needs it) is to
                // hold these. Where that fails, whoever calls them asks again.
                known_now(kv).await;
                return Ok(reply);
            }
            // Somebody else was quicker.
            Answer::Discarded => {}
            // That it takes a transaction is nobody else's affair.
            Answer::Reply(Reply::Error(text)) if text.starts_with(machine::ABORTED.as_bytes()) => {
                let reason = text.slice(machine::ABORTED.len()..);
                return Err(Answer::Reply(Reply::Error(reason)));
            }
            refused => return Err(refused),
        }
    }
    Err(Answer::Refused(Refusal::Overloaded))
}

/// Runs a subcommand of FUNCTION.
pub(super) async fn run(kv: &Kv, name: &str, words: &[Bytes]) -> Answer {
    let options = &words[2..];
    let replied = match name {
        "function|load" => load(kv, options).await,
        "function|delete" => {
            change(kv, |catalog| match catalog.remove(&options[0]) {
                true => Ok(Reply::OK),
                false => Err("ERR Library not found".to_owned()),
            })
            .await
        }
        // Who has to decide whether to end it is told what is known here.
        "function|stats" if is_slow(kv, PARTITION) => {
            let known = kv.0.scripts.known.lock().clone();
            Ok(listing::stats(&known.catalog, kv.0.scripts.runs.function()))
        }
        "function|flush" => flush(kv, options).await,
        "function|restore" => restore(kv, options).await,
        _ => known(kv).await.and_then(|known| {
            let catalog = &known.catalog;
            match name {
                "function|list" => listing::list(catalog, options).map_err(error_reply),
                "function|stats" => Ok(listing::stats(catalog, kv.0.scripts.runs.function())),
                "function|dump" => {
                    let texts = catalog.libraries().iter().map(|library| &library.code);
                    Ok(Reply::Bulk(dump::dump_libraries(texts).into()))
                }
                _ => Err(error_reply(format!("ERR '{name}' is not supported"))),
            }
        }),
    };
    replied.map_or_else(|refused| refused, Answer::Reply)
}

/// Reads a library. Its text runs for a moment, on this node only.
fn read(kv: &Kv, code: &Bytes) -> Result<Library, String> {
    let running = Running {
        function: None,
        command: vec!["function".into(), "load".into()],
    };
    // A copy: a library should not keep alive all that came with it.
    let code = Bytes::copy_from_slice(code);
    let watch = kv.0.scripts.runs.begin(running, LOAD_LIMIT, None);
    script::load_library(&code, Some(watch))
}

async fn load(kv: &Kv, options: &[Bytes]) -> Result<Reply, Answer> {
    let mut replaces = false;
    let (code, options) = match options.split_last() {
        Some(split) => split,
        None => return Err(error_reply("ERR Function code is missing".to_owned())),
    };
    for option in options {
        if !is(option, "replace") {
            let text = String::from_utf8_lossy(option);
            return Err(error_reply(format!("ERR Unknown option given: {text}")));
        }
        replaces = true;
    }
    let library = read(kv, code).map_err(error_reply)?;
    change(kv, |catalog| {
        catalog.add(library.clone(), replaces)?;
        Ok(Reply::Bulk(library.name.clone()))
    })
    .await
}

async fn flush(kv: &Kv, options: &[Bytes]) -> Result<Reply, Answer> {
    match options {
        [] => {}
        [mode] if is(mode, "sync") || is(mode, "async") => {}
        [_] => {
            let text = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option";
            return Err(error_reply(text.to_owned()));
        }
        _ => return Err(error_reply(wrong_number("flush"))),
    }
    change(kv, |catalog| {
        *catalog = Catalog::default();
        Ok(Reply::OK)
    })
    .await
}

fn wrong_number(name: &str) -> String {
    format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try FUNCTION HELP.")
}

async fn restore(kv: &Kv, options: &[Bytes]) -> Result<Reply, Answer> {
    let (flushes, replaces) = match options {
        [_] => (false, false),
        [_, policy] if is(policy, "append") => (false, false),
        [_, policy] if is(policy, "flush") => (true, false),
        [_, policy] if is(policy, "replace") => (false, true),
        [_, _] => {
            let text = "ERR Wrong restore policy given, value should be either FLUSH, APPEND or \
                        REPLACE.";
            return Err(error_reply(text.to_owned()));
        }
        _ => return Err(error_reply(wrong_number("restore"))),
    };
    let texts = dump::restore_libraries(&options[0])
        .map_err(|_| error_reply("ERR DUMP payload version or checksum are wrong".to_owned()))?;
    let bytes: usize = texts.iter().map(Bytes::len).sum();
    if bytes > CATALOG_BYTES_MAX {
        return Err(error_reply(format!(
            "ERR all libraries together have at most {CATALOG_BYTES_MAX} bytes"
        )));
    }
    let libraries: Result<Vec<Library>, String> = texts.iter().map(|text| read(kv, text)).collect();
    let libraries = libraries.map_err(error_reply)?;
    change(kv, |catalog| {
        if flushes {
            *catalog = Catalog::default();
        }
        for library in &libraries {
            // In Redis's words here, which are without quotes.
            catalog
                .add(library.clone(), replaces)
                .map_err(|text| text.replace('\'', ""))?;
        }
        Ok(Reply::OK)
    })
    .await
}
