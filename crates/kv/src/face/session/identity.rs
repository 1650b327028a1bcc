//! Who the client is, and what it speaks: AUTH, HELLO and RESET.

use bytes::Bytes;

use super::{
    Handled, Outcome, REDIS_VERSION, Replies, Session,
    ask::{Ask, Credentials, Finish, Heard},
    client::check_name,
    keyspace::Levels,
};
use crate::{
    api::Consistency,
    core::{command::CommandError, data::parse_integer, reply::Reply},
    face::{acl::DEFAULT_USER, resp::Version},
};

const WRONG: CommandError =
    CommandError::Other("WRONGPASS invalid username-password pair or user is disabled.");

/// Somebody who said who it is, before that is known to be so.
#[derive(Debug)]
pub(super) struct Authentication {
    user: Bytes,
    /// What HELLO wants done then.
    hello: Option<Hello>,
}

/// What HELLO asks for.
#[derive(Debug, Default)]
struct Hello {
    version: Option<Version>,
    name: Option<Bytes>,
}

impl Session {
    pub(super) fn auth(&self, words: &[Bytes]) -> Handled {
        let (user, password) = match words {
            [_, _] if self.first_user().is_some() => {
                return Err(CommandError::Other(
                    "ERR AUTH <password> called without any password configured for the default \
                     user. Are you sure your configuration is correct?",
                ));
            }
            [_, password] => (Bytes::from_static(DEFAULT_USER), password.clone()),
            [_, user, password] => (user.clone(), password.clone()),
            _ => return Err(CommandError::Syntax),
        };
        Ok(ask(user, password, None))
    }

    pub(super) fn hello(&mut self, words: &[Bytes]) -> Handled {
        let mut hello = Hello::default();
        let mut credentials = None;
        if let Some(word) = words.get(1) {
            let number = parse_integer(word).ok_or(CommandError::Other(
                "ERR Protocol version is not an integer or out of range",
            ))?;
            hello.version = Some(match number {
                2 => Version::Resp2,
                3 => Version::Resp3,
                _ => return Err(CommandError::Other("NOPROTO unsupported protocol version")),
            });
        }
        let mut options = words.get(2..).unwrap_or_default();
        while let [option, rest @ ..] = options {
            options = match rest {
                [user, password, rest @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                    credentials = Some((user.clone(), password.clone()));
                    rest
                }
                [name, rest @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => {
                    check_name(name)?;
                    hello.name = Some(Bytes::copy_from_slice(name));
                    rest
                }
                _ => {
                    return Err(CommandError::Text(format!(
                        "ERR Syntax error in HELLO option '{}'",
                        String::from_utf8_lossy(option)
                    )));
                }
            };
        }
        if let Some((user, password)) = credentials {
            return Ok(ask(user, password, Some(hello)));
        }
        if !self.is_authenticated() {
            return Err(CommandError::Other(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                 HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client \
                 and select the RESP protocol version at the same time",
            ));
        }
        Ok(self.welcome(hello).into())
    }

    pub(super) fn finish_authentication(
        &mut self,
        authentication: Authentication,
        heard: Heard,
    ) -> Handled {
        let Authentication { user, hello } = authentication;
        match heard {
            Heard::Identity(true) => {
                if self.rights.acl().user(&user).is_none() {
                    // It was deleted meanwhile.
                    return Err(WRONG);
                }
                self.become_user(Some(user));
                let reply = match hello {
                    Some(hello) => self.welcome(hello),
                    None => Reply::OK,
                };
                Ok(reply.into())
            }
            Heard::Identity(false) => Err(WRONG),
            other => Ok(other.into_reply().into()),
        }
    }

    fn welcome(&mut self, hello: Hello) -> Reply {
        if let Some(version) = hello.version {
            self.version = version;
        }
        if let Some(name) = hello.name {
            self.name = name;
        }
        let mode = if self.settings.cluster {
            "cluster"
        } else {
            "standalone"
        };
        let version = match self.version {
            Version::Resp2 => 2,
            Version::Resp3 => 3,
        };
        let id = i64::try_from(self.id).unwrap_or(i64::MAX);
        let facts = [
            ("server", Reply::bulk("redis")),
            ("version", Reply::bulk(REDIS_VERSION)),
            ("proto", Reply::Integer(version)),
            ("id", Reply::Integer(id)),
            ("mode", Reply::bulk(mode)),
            ("role", Reply::bulk("master")),
            ("modules", Reply::Array(Vec::new())),
        ];
        let facts = facts.map(|(name, fact)| (Reply::bulk(name), fact));
        Reply::Map(facts.into())
    }

    /// Everything but the connection's number and the name of its library is as at first.
    pub(super) fn reset(&mut self) -> Outcome {
        self.end_transaction();
        self.subscriptions.clear();
        self.become_user(self.first_user());
        self.version = Version::default();
        self.database = 0;
        self.keyspace = None;
        self.levels = Levels::default();
        self.name = Bytes::new();
        self.consistency = Consistency::default();
        self.replies = Replies::On;
        self.no_evict = false;
        self.no_touch = false;
        self.track(None);
        self.monitor(false);
        Reply::Status("RESET").into()
    }
}

fn ask(user: Bytes, password: Bytes, hello: Option<Hello>) -> Outcome {
    let credentials = Credentials {
        user: user.clone(),
        password,
    };
    // A copy: the name should not keep alive all that came with it.
    let user = Bytes::copy_from_slice(&user);
    let authentication = Box::new(Authentication { user, hello });
    Outcome::wait(
        Ask::Identity(credentials),
        Finish::Authenticate(authentication),
    )
}
