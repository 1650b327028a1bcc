//! CLIENT.

use bytes::Bytes;

use super::{
    Handled, Outcome, Replies, Session,
    ask::{Ask, Finish, PauseOf, Registry},
    connection::timeout_ms,
    help,
    info::{ClientFilter, ClientKind},
    outcome::wrong_arguments,
    unhandled,
};
use crate::core::{command::CommandError, data::parse_integer, reply::Reply};

/// The longest name of a connection or of its library; each stands in every CLIENT LIST.
const NAME_BYTES_MAX: usize = 16 * 1024;

impl Session {
    /// `name` is the subcommand's; the number of words was checked.
    pub(super) fn run_client(&mut self, name: &str, words: &[Bytes]) -> Handled {
        let registry = match name {
            "id" => {
                let id = i64::try_from(self.id).unwrap_or(i64::MAX);
                return Ok(Reply::Integer(id).into());
            }
            "getname" => {
                let name = Some(&self.name).filter(|name| !name.is_empty());
                return Ok(Reply::optional(name).into());
            }
            "setname" => {
                check_name(&words[2])?;
                // A copy: the name should not keep alive all that came with it.
                self.name = Bytes::copy_from_slice(&words[2]);
                return Ok(Reply::OK.into());
            }
            "setinfo" => return self.set_info(&words[2], &words[3]),
            "reply" => return self.set_replies(&words[2]),
            "no-evict" => {
                self.no_evict = on_or_off(&words[2])?;
                return Ok(Reply::OK.into());
            }
            "no-touch" => {
                self.no_touch = on_or_off(&words[2])?;
                return Ok(Reply::OK.into());
            }
            "tracking" => return self.set_tracking(&words[2..]),
            "caching" => return self.set_caching(&words[2]),
            "trackinginfo" => return Ok(self.tracking_info().into()),
            "getredir" => return Ok(Reply::Integer(self.redirection()).into()),
            "info" => Registry::Info,
            "list" => Registry::List(Box::new(list_filter(&words[2..])?)),
            "kill" => self.kill(&words[2..])?,
            "pause" => pause(words)?,
            "unpause" => Registry::Unpause,
            "unblock" => unblock(words)?,
            "help" => return Ok(help::of(help::CLIENT).into()),
            _ => return Err(unhandled(name)),
        };
        Ok(Outcome::wait(Ask::Registry(registry), Finish::Reply))
    }

    fn set_info(&mut self, attribute: &Bytes, value: &Bytes) -> Handled {
        let place = if attribute.eq_ignore_ascii_case(b"LIB-NAME") {
            &mut self.library_name
        } else if attribute.eq_ignore_ascii_case(b"LIB-VER") {
            &mut self.library_version
        } else {
            return Err(CommandError::Text(format!(
                "ERR Unrecognized option '{}'",
                String::from_utf8_lossy(attribute)
            )));
        };
        check_length(value)?;
        if !is_plain(value) {
            return Err(CommandError::Text(format!(
                "ERR {} cannot contain spaces, newlines or special characters.",
                String::from_utf8_lossy(attribute)
            )));
        }
        *place = Bytes::copy_from_slice(value);
        Ok(Reply::OK.into())
    }

    fn set_replies(&mut self, word: &[u8]) -> Handled {
        if word.eq_ignore_ascii_case(b"ON") {
            self.replies = Replies::On;
            return Ok(Reply::OK.into());
        }
        if word.eq_ignore_ascii_case(b"OFF") {
            self.replies = Replies::Off;
        } else if !word.eq_ignore_ascii_case(b"SKIP") {
            return Err(CommandError::Syntax);
        } else if self.replies == Replies::On {
            self.replies = Replies::SkipNext;
        }
        Ok(Outcome::Written)
    }

    fn kill(&self, words: &[Bytes]) -> Result<Registry, CommandError> {
        if let [address] = words {
            return Ok(Registry::KillAddress(address.clone()));
        }
        let mut filter = ClientFilter {
            but: Some(self.id),
            ..ClientFilter::default()
        };
        let (pairs, []) = words.as_chunks::<2>() else {
            return Err(CommandError::Syntax);
        };
        for [option, value] in pairs {
            let is = |word: &str| option.eq_ignore_ascii_case(word.as_bytes());
            match () {
                () if is("ID") => filter.ids = Some(vec![kill_id(value)?]),
                () if is("TYPE") => filter.kind = Some(kind(value)?),
                () if is("USER") => {
                    if self.rights.acl().user(value).is_none() {
                        return Err(CommandError::Text(format!(
                            "ERR No such user '{}'",
                            String::from_utf8_lossy(value)
                        )));
                    }
                    filter.user = Some(value.clone());
                }
                () if is("ADDR") => filter.address = Some(value.clone()),
                () if is("LADDR") => filter.local_address = Some(value.clone()),
                () if is("SKIPME") => {
                    filter.but = if value.eq_ignore_ascii_case(b"YES") {
                        Some(self.id)
                    } else if value.eq_ignore_ascii_case(b"NO") {
                        None
                    } else {
                        return Err(CommandError::Syntax);
                    };
                }
                () if is("MAXAGE") => filter.age_s_min = Some(age_s(value)?),
                () => return Err(CommandError::Syntax),
            }
        }
        Ok(Registry::Kill(Box::new(filter)))
    }
}

fn kill_id(word: &[u8]) -> Result<u64, CommandError> {
    parse_integer(word)
        .and_then(|id| u64::try_from(id).ok())
        .filter(|id| *id > 0)
        .ok_or(CommandError::Other(
            "ERR client-id should be greater than 0",
        ))
}

fn age_s(word: &[u8]) -> Result<u64, CommandError> {
    let age = parse_integer(word).ok_or(CommandError::Other(
        "ERR maxage is not an integer or out of range",
    ))?;
    u64::try_from(age)
        .ok()
        .filter(|age| *age > 0)
        .ok_or(CommandError::Other("ERR maxage should be greater than 0"))
}

fn list_filter(words: &[Bytes]) -> Result<ClientFilter, CommandError> {
    let mut filter = ClientFilter::default();
    match words {
        [] => {}
        [option, value] if option.eq_ignore_ascii_case(b"TYPE") => {
            filter.kind = Some(kind(value)?);
        }
        [option, ids @ ..] if option.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            let ids: Option<Vec<u64>> = ids
                .iter()
                // No connection has number 0.
                .map(|id| parse_integer(id).map(|id| u64::try_from(id).unwrap_or(0)))
                .collect();
            filter.ids = Some(ids.ok_or(CommandError::Other("ERR Invalid client ID"))?);
        }
        _ => return Err(CommandError::Syntax),
    }
    Ok(filter)
}

fn kind(word: &[u8]) -> Result<ClientKind, CommandError> {
    ClientKind::parse(word).ok_or_else(|| {
        CommandError::Text(format!(
            "ERR Unknown client type '{}'",
            String::from_utf8_lossy(word)
        ))
    })
}

fn pause(words: &[Bytes]) -> Result<Registry, CommandError> {
    let of = match &words[3..] {
        [] => PauseOf::All,
        [of] if of.eq_ignore_ascii_case(b"ALL") => PauseOf::All,
        [of] if of.eq_ignore_ascii_case(b"WRITE") => PauseOf::Writes,
        [_] => {
            return Err(CommandError::Other(
                "ERR CLIENT PAUSE mode must be WRITE or ALL",
            ));
        }
        _ => return Err(wrong_arguments(words)),
    };
    Ok(Registry::Pause {
        timeout_ms: timeout_ms(&words[2])?,
        of,
    })
}

fn unblock(words: &[Bytes]) -> Result<Registry, CommandError> {
    let with_error = match &words[3..] {
        [] => false,
        [reason] if reason.eq_ignore_ascii_case(b"TIMEOUT") => false,
        [reason] if reason.eq_ignore_ascii_case(b"ERROR") => true,
        [_, _, ..] => return Err(wrong_arguments(words)),
        _ => {
            return Err(CommandError::Other(
                "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
            ));
        }
    };
    let id = parse_integer(&words[2]).ok_or(CommandError::NotInteger)?;
    Ok(Registry::Unblock {
        // No connection has number 0.
        id: u64::try_from(id).unwrap_or(0),
        with_error,
    })
}

pub(super) fn on_or_off(word: &[u8]) -> Result<bool, CommandError> {
    if word.eq_ignore_ascii_case(b"ON") {
        Ok(true)
    } else if word.eq_ignore_ascii_case(b"OFF") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

/// A name stands in CLIENT LIST, so it must not look like more than one.
pub(super) fn check_name(name: &[u8]) -> Result<(), CommandError> {
    check_length(name)?;
    if is_plain(name) {
        return Ok(());
    }
    Err(CommandError::Other(
        "ERR Client names cannot contain spaces, newlines or special characters.",
    ))
}

fn check_length(name: &[u8]) -> Result<(), CommandError> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(CommandError::Text(format!(
        "ERR names of clients have at most {NAME_BYTES_MAX} bytes"
    )))
}

fn is_plain(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}
