//! CLIENT TRACKING (Redis: "Client-side caching in Redis"): what the connection asked for. Who
//! remembers which keys it read, and tells it, is whoever holds the sessions.

use bytes::Bytes;

use super::{
    Handled, Outcome, Session,
    ask::{Ask, Finish, Heard, Registry},
    client::on_or_off,
};
use crate::core::{
    command::{Command, CommandError, Flags, runs_scripts},
    data::parse_integer,
    reply::Reply,
};

/// So many prefixes a connection may be told of.
const PREFIXES_MAX: usize = 1024;

/// How a client wants to hear of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    /// Another connection is told in its place.
    pub redirect: Option<u64>,
    /// Changes to all keys that begin so are told, read or not.
    pub broadcast: bool,
    /// Such prefixes; the empty one is of all keys.
    pub prefixes: Vec<Bytes>,
    /// Keys are tracked only after CLIENT CACHING YES.
    pub opt_in: bool,
    /// Keys are tracked except after CLIENT CACHING NO.
    pub opt_out: bool,
    /// Changes that this connection makes are not told.
    pub no_loop: bool,
    /// What CLIENT CACHING said about the next command.
    pub caching: Option<bool>,
    /// The connection that is told in its place is gone.
    pub redirect_broken: bool,
}

impl Session {
    /// Whether the client asked to be told otherwise than before, since this was asked last.
    pub fn take_tracking_change(&mut self) -> bool {
        std::mem::take(&mut self.tracking_changed)
    }

    /// Keys of scripts that are about to run. Whether these read anything is told afterwards
    /// ([`take_script_read`](Self::take_script_read)); only then all of them count as read
    /// (Redis: "Client-side caching").
    pub fn take_script_reads(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.script_reads)
    }

    /// Whether a script has read something since this was asked last.
    pub fn take_script_read(&mut self) -> bool {
        std::mem::take(&mut self.has_script_read)
    }

    /// Keys that the questions since this was asked last read, and that are to be remembered.
    pub fn take_reads(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.reads)
    }

    /// The connection that is told in its place is gone.
    pub fn note_broken_redirect(&mut self) {
        if let Some(tracking) = &mut self.tracking {
            tracking.redirect_broken = true;
        }
    }

    /// Notes which keys a command reads, if the client caches them.
    pub(super) fn note_reads(&mut self, command: &'static Command, words: &[Bytes]) {
        let Some(tracking) = &self.tracking else {
            return;
        };
        let is_cached = match tracking.caching {
            Some(caching) => caching,
            None => !tracking.opt_in,
        };
        let is_script = runs_scripts(command);
        if is_cached && !tracking.broadcast && (is_script || command.flags.has(Flags::READONLY)) {
            let places = command.keys.of(words);
            let keys = places.into_iter().map(|place| words[place].clone());
            match is_script {
                true => self.script_reads.extend(keys),
                false => self.reads.extend(keys),
            }
        }
    }

    pub(super) fn forget_caching(&mut self) {
        if let Some(tracking) = &mut self.tracking {
            tracking.caching = None;
        }
    }

    pub(super) fn track(&mut self, tracking: Option<Tracking>) {
        self.tracking_changed |= self.tracking.is_some() || tracking.is_some();
        self.tracking = tracking;
    }

    pub(super) fn set_tracking(&mut self, words: &[Bytes]) -> Handled {
        let on = on_or_off(&words[0])?;
        let new = parse(&words[1..])?;
        if !on {
            self.track(None);
            return Ok(Reply::OK.into());
        }
        let new = self.check_tracking(new)?;
        if let Some(id) = new.redirect {
            let ask = Ask::Registry(Registry::Exists(id));
            return Ok(Outcome::wait(ask, Finish::Tracking(Box::new(new))));
        }
        self.track(Some(new));
        Ok(Reply::OK.into())
    }

    /// What is asked for, together with what was asked for before.
    fn check_tracking(&self, mut new: Tracking) -> Result<Tracking, CommandError> {
        if !new.broadcast && !new.prefixes.is_empty() {
            return Err(CommandError::Other(
                "ERR PREFIX option requires BCAST mode to be enabled",
            ));
        }
        if let Some(old) = &self.tracking {
            if old.broadcast != new.broadcast {
                return Err(CommandError::Other(
                    "ERR You can't switch BCAST mode on/off before disabling tracking for this \
                     client, and then re-enabling it with a different mode.",
                ));
            }
            if (old.opt_in && new.opt_out) || (old.opt_out && new.opt_in) {
                return Err(CommandError::Other(
                    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this \
                     client, and then re-enabling it with a different mode.",
                ));
            }
        }
        if new.broadcast && (new.opt_in || new.opt_out) {
            return Err(CommandError::Other(
                "ERR OPTIN and OPTOUT are not compatible with BCAST",
            ));
        }
        if new.opt_in && new.opt_out {
            return Err(CommandError::Other(
                "ERR You can't specify both OPTIN mode and OPTOUT mode",
            ));
        }
        let old = self.tracking.as_ref().map_or(&[][..], |old| &old.prefixes);
        new.prefixes = join(old, &new.prefixes)?;
        if new.broadcast && new.prefixes.is_empty() {
            new.prefixes.push(Bytes::new());
        }
        Ok(new)
    }

    pub(super) fn finish_tracking(&mut self, tracking: Tracking, heard: Heard) -> Handled {
        match heard {
            Heard::Registry(Reply::Boolean(true)) => {
                self.track(Some(tracking));
                Ok(Reply::OK.into())
            }
            Heard::Registry(Reply::Boolean(false)) => Err(CommandError::Other(
                "ERR The client ID you want redirect to does not exist",
            )),
            other => Ok(other.into_reply().into()),
        }
    }

    pub(super) fn set_caching(&mut self, word: &[u8]) -> Handled {
        let Some(tracking) = &mut self.tracking else {
            return Err(CommandError::Other(
                "ERR CLIENT CACHING can be called only when the client is in tracking mode with \
                 OPTIN or OPTOUT mode enabled",
            ));
        };
        if word.eq_ignore_ascii_case(b"YES") {
            if !tracking.opt_in {
                return Err(CommandError::Other(
                    "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
                ));
            }
            tracking.caching = Some(true);
        } else if word.eq_ignore_ascii_case(b"NO") {
            if !tracking.opt_out {
                return Err(CommandError::Other(
                    "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
                ));
            }
            tracking.caching = Some(false);
        } else {
            return Err(CommandError::Syntax);
        }
        Ok(Reply::OK.into())
    }

    /// -1 if nothing is tracked, 0 if this connection is told itself.
    pub(super) fn redirection(&self) -> i64 {
        self.tracking.as_ref().map_or(-1, |tracking| {
            tracking
                .redirect
                .map_or(0, |id| i64::try_from(id).unwrap_or(i64::MAX))
        })
    }

    pub(super) fn tracking_info(&self) -> Reply {
        let mut flags = Vec::new();
        let mut prefixes = Vec::new();
        match &self.tracking {
            None => flags.push("off"),
            Some(tracking) => {
                flags.push("on");
                let more = [
                    ("bcast", tracking.broadcast),
                    ("optin", tracking.opt_in),
                    ("caching-yes", tracking.caching == Some(true)),
                    ("optout", tracking.opt_out),
                    ("caching-no", tracking.caching == Some(false)),
                    ("noloop", tracking.no_loop),
                    ("broken_redirect", tracking.redirect_broken),
                ];
                flags.extend(more.iter().filter(|(_, set)| *set).map(|(name, _)| name));
                prefixes = tracking.prefixes.iter().map(Reply::bulk).collect();
            }
        }
        Reply::Map(vec![
            (
                Reply::bulk("flags"),
                Reply::Set(flags.into_iter().map(Reply::bulk).collect()),
            ),
            (Reply::bulk("redirect"), Reply::Integer(self.redirection())),
            (Reply::bulk("prefixes"), Reply::Array(prefixes)),
        ])
    }
}

fn parse(words: &[Bytes]) -> Result<Tracking, CommandError> {
    let mut tracking = Tracking::default();
    let mut rest = words;
    while let [option, after @ ..] = rest {
        let is = |word: &str| option.eq_ignore_ascii_case(word.as_bytes());
        rest = after;
        match () {
            () if is("BCAST") => tracking.broadcast = true,
            () if is("OPTIN") => tracking.opt_in = true,
            () if is("OPTOUT") => tracking.opt_out = true,
            () if is("NOLOOP") => tracking.no_loop = true,
            () if is("REDIRECT") || is("PREFIX") => {
                let [value, after @ ..] = rest else {
                    return Err(CommandError::Syntax);
                };
                rest = after;
                if is("PREFIX") {
                    tracking.prefixes.push(Bytes::copy_from_slice(value));
                } else if tracking.redirect.is_some() {
                    return Err(CommandError::Other(
                        "ERR A client can only redirect to a single other client",
                    ));
                } else {
                    let id = parse_integer(value).ok_or(CommandError::NotInteger)?;
                    // No connection has number 0.
                    tracking.redirect = Some(u64::try_from(id).unwrap_or(0));
                }
            }
            () => return Err(CommandError::Syntax),
        }
    }
    Ok(tracking)
}

/// All prefixes, none of which is the beginning of another.
fn join(old: &[Bytes], new: &[Bytes]) -> Result<Vec<Bytes>, CommandError> {
    if old.len() + new.len() > PREFIXES_MAX {
        return Err(CommandError::Text(format!(
            "ERR a client can have {PREFIXES_MAX} prefixes"
        )));
    }
    for (place, prefix) in new.iter().enumerate() {
        let overlaps =
            |other: &&Bytes| other.starts_with(prefix) || prefix.starts_with(other.as_ref());
        let others = &new[place + 1..];
        let (kind, other) = match (old.iter().find(overlaps), others.iter().find(overlaps)) {
            (Some(other), _) => ("an existing", other),
            (None, Some(other)) => ("another provided", other),
            (None, None) => continue,
        };
        return Err(CommandError::Text(format!(
            "ERR Prefix '{}' overlaps with {kind} prefix '{}'. Prefixes for a single client must \
             not overlap.",
            String::from_utf8_lossy(prefix),
            String::from_utf8_lossy(other)
        )));
    }
    Ok([old, new].concat())
}
