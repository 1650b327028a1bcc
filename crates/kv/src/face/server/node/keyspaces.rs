//! ATOLL.KEYSPACE CREATE.

use bytes::Bytes;

use crate::{
    api::{Api, KeyspaceError},
    core::{
        command::CommandError, data::parse_integer, eventual::quorum::Level, keyspaces::Wanted,
        reply::Reply,
    },
};

/// How many replicas an eventual keyspace has, if nobody says otherwise.
const REPLICAS_DEFAULT: u8 = 3;

/// Creates a keyspace; the reply is its number.
pub(super) async fn create<A: Api>(api: &A, words: &[Bytes]) -> Result<Reply, CommandError> {
    let created = api.create_keyspace(wanted(words)?).await;
    let created = created.map_err(|error: KeyspaceError| CommandError::Text(error.to_string()))?;
    Ok(Reply::Integer(created.number.0.into()))
}

fn wanted(words: &[Bytes]) -> Result<Wanted, CommandError> {
    let name = String::from_utf8_lossy(&words[2]).into_owned();
    let (kind, options) = match words.get(3) {
        None => (None, &[][..]),
        Some(kind) => (Some(kind), &words[4..]),
    };
    let is = |word: &Bytes, name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match kind {
        Some(kind) if is(kind, "EVENTUAL") => {}
        None => {
            return Ok(Wanted {
                name,
                eventual: None,
            });
        }
        Some(kind) if is(kind, "LINEARIZABLE") && options.is_empty() => {
            return Ok(Wanted {
                name,
                eventual: None,
            });
        }
        Some(_) => return Err(CommandError::Syntax),
    }
    let (mut replicas, mut write, mut read) = (REPLICAS_DEFAULT, Level::One, Level::One);
    for pair in options.chunks(2) {
        let [option, value] = pair else {
            return Err(CommandError::Syntax);
        };
        if is(option, "REPLICAS") {
            let count = parse_integer(value).ok_or(CommandError::NotInteger)?;
            replicas = u8::try_from(count).map_err(|_| CommandError::NotInteger)?;
        } else if is(option, "WRITE") {
            write = level(value)?;
        } else if is(option, "READ") {
            read = level(value)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let eventual = Some((replicas, write, read));
    Ok(Wanted { name, eventual })
}

fn level(word: &[u8]) -> Result<Level, CommandError> {
    Level::parse(word).ok_or(CommandError::Other("ERR a level is ONE, QUORUM or ALL"))
}
