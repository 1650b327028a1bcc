//! ACL: users, and what they may do (Redis: "ACL").

use atoll_world::random;
use bytes::Bytes;

use super::help_of;
use crate::{
    api::Api,
    core::{
        acl::{Categories, Selector, User, categories_of},
        command::{CommandError, all, find},
        data::parse_integer,
        reply::Reply,
    },
    face::{
        server::{Server, members::Member, node::config::Setting},
        session::{Credentials, Denial},
    },
};

/// The longest password that ACL GENPASS makes up, in bits.
const PASSWORD_BITS_MAX: i64 = 4096;
/// That which it makes up when it is not told.
const PASSWORD_BITS: i64 = 256;
/// Bits in a hexadecimal digit.
const DIGIT_BITS: usize = 4;

const NO_FILE: CommandError = CommandError::Other(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users \
     via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis \
     configuration file set) in order to store users in the Redis configuration.",
);

impl<A: Api> Server<A> {
    /// Answers a command of `asker`; `name` is the subcommand's.
    pub(super) async fn acl(
        &self,
        asker: &Member,
        name: &str,
        words: &[Bytes],
    ) -> Result<Reply, CommandError> {
        let shared = &self.0;
        let acl = shared.identity.acl();
        Ok(match name {
            "whoami" => Reply::optional(asker.user()),
            "users" => {
                let users = acl.users();
                Reply::Array(users.keys().cloned().map(Reply::Bulk).collect())
            }
            "list" => {
                let line = |(name, user): (&Bytes, &std::sync::Arc<User>)| {
                    Reply::bulk([&b"user "[..], name, b" ", &user.text()].concat())
                };
                Reply::Array(acl.users().iter().map(line).collect())
            }
            "getuser" => acl
                .user(&words[2])
                .map_or(Reply::Null, |user| tell_user(&user)),
            "setuser" => {
                // A connection that ends by this is answered first.
                asker.begin_change();
                let changed = shared
                    .identity
                    .set_user(&asker.user().unwrap_or_default(), &words[2], &words[3..])
                    .await;
                asker.end_change();
                changed?;
                Reply::OK
            }
            "deluser" => {
                if words[2..].iter().any(|name| name == "default") {
                    return Err(CommandError::Other(
                        "ERR The 'default' user cannot be removed",
                    ));
                }
                asker.begin_change();
                let deleted = shared
                    .identity
                    .delete_users(&asker.user().unwrap_or_default(), &words[2..])
                    .await;
                asker.end_change();
                Reply::count(deleted?)
            }
            "cat" => tell_categories(&words[2..])?,
            "dryrun" => {
                let user = acl.user(&words[2]).ok_or_else(|| {
                    CommandError::Text(format!(
                        "ERR User '{}' not found",
                        String::from_utf8_lossy(&words[2])
                    ))
                })?;
                dry_run(&user, &words[2], &words[3..])?
            }
            "genpass" => make_up(&words[2..])?,
            "log" => match &words[2..] {
                [] => shared.acl_log.tell(None),
                [reset] if reset.eq_ignore_ascii_case(b"RESET") => {
                    shared.acl_log.reset();
                    Reply::OK
                }
                [count] => {
                    let count = parse_integer(count).ok_or(CommandError::NotInteger)?;
                    shared
                        .acl_log
                        .tell(Some(usize::try_from(count).unwrap_or(0)))
                }
                _ => return Err(wrong_number("LOG")),
            },
            "load" | "save" => return Err(NO_FILE),
            "help" => help_of(HELP),
            _ => return Err(CommandError::Arity("acl")),
        })
    }

    /// Whether a client is who it says.
    pub(in crate::face::server) async fn authenticate(
        &self,
        asker: &Member,
        credentials: &Credentials,
    ) -> bool {
        let identity = &self.0.identity;
        let is_right = match identity.acl().user(&credentials.user) {
            Some(user) if user.is_on() => {
                user.needs_no_password() || identity.check(credentials).await
            }
            _ => false,
        };
        if !is_right {
            let denial = Denial::new("auth", "toplevel", b"AUTH", &credentials.user);
            self.log_denials(asker.info().line(), vec![denial]);
        }
        is_right
    }

    /// Keeps what a client was not allowed.
    pub(in crate::face::server) fn log_denials(&self, client: String, denials: Vec<Denial>) {
        let entries_max = self.0.config.size(Setting::DenialsMax);
        for denial in denials {
            self.0.acl_log.add(denial, client.clone(), entries_max);
        }
    }
}

fn wrong_number(name: &str) -> CommandError {
    CommandError::Text(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try ACL HELP."
    ))
}

fn tell_selector(selector: &Selector) -> [(Reply, Reply); 3] {
    [
        (Reply::bulk("commands"), Reply::bulk(selector.commands())),
        (Reply::bulk("keys"), Reply::bulk(selector.keys())),
        (Reply::bulk("channels"), Reply::bulk(selector.channels())),
    ]
}

/// Hashes of passwords are nobody's business, so there are none among the passwords.
fn tell_user(user: &User) -> Reply {
    let mut facts = vec![
        (
            Reply::bulk("flags"),
            Reply::Set(user.flags().map(Reply::bulk).collect()),
        ),
        (Reply::bulk("passwords"), Reply::Array(Vec::new())),
    ];
    facts.extend(tell_selector(user.root()));
    let selectors = user.selectors().iter();
    let selectors = selectors.map(|selector| Reply::Map(tell_selector(selector).into()));
    facts.push((Reply::bulk("selectors"), Reply::Array(selectors.collect())));
    Reply::Map(facts)
}

fn tell_categories(words: &[Bytes]) -> Result<Reply, CommandError> {
    let names: Vec<Reply> = match words {
        [] => Categories::names().map(Reply::bulk).collect(),
        [name] => {
            let category = Categories::parse(name).ok_or_else(|| {
                CommandError::Text(format!(
                    "ERR Unknown category '{}'",
                    String::from_utf8_lossy(name)
                ))
            })?;
            all()
                .flat_map(|command| std::iter::once(command).chain(command.subcommands))
                .filter(|command| categories_of(command).meets(category))
                .map(|command| Reply::bulk(command.name))
                .collect()
        }
        _ => return Err(wrong_number("CAT")),
    };
    Ok(Reply::Array(names))
}

fn dry_run(user: &User, name: &[u8], call: &[Bytes]) -> Result<Reply, CommandError> {
    let command = find(call)
        .filter(|command| command.subcommands.is_empty() || call.len() == 1)
        .ok_or_else(|| {
            let word = call.first().map(|word| String::from_utf8_lossy(word));
            CommandError::Text(format!(
                "ERR Command '{}' not found",
                word.unwrap_or_default()
            ))
        })?;
    if !command.takes(call.len()) {
        return Err(CommandError::Arity(command.name));
    }
    Ok(match user.check(command, call) {
        Ok(()) => Reply::OK,
        Err(denied) => Reply::bulk(denied.full_text(name, command, call)),
    })
}

fn make_up(words: &[Bytes]) -> Result<Reply, CommandError> {
    let bits = match words {
        [] => PASSWORD_BITS,
        [bits] => parse_integer(bits).unwrap_or(0),
        _ => return Err(wrong_number("GENPASS")),
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(CommandError::Other(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a \
             positive number up to 4096",
        ));
    }
    let digits = usize::try_from(bits).unwrap_or(0).div_ceil(DIGIT_BITS);
    let mut bytes = vec![0; digits.div_ceil(2)];
    random::fill(&mut bytes);
    let mut password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    password.truncate(digits);
    Ok(Reply::bulk(password))
}

const HELP: &[&str] = &[
    "ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAT [<category>]",
    "    List the categories of commands, or the commands of one.",
    "DELUSER <username> [<username> ...]",
    "    Delete users, in the whole cluster.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Tell whether a user might call this, without calling it.",
    "GETUSER <username>",
    "    Tell what a user may do.",
    "GENPASS [<bits>]",
    "    Make up a password (default: 256 bits).",
    "LIST",
    "    Tell what all users may do, as SETUSER takes it.",
    "LOAD",
    "    Is refused: there is no file of these rules.",
    "LOG [<count>|RESET]",
    "    Tell what clients of this node were not allowed, or forget it.",
    "SAVE",
    "    Is refused: there is no file of these rules.",
    "SETUSER <username> [<rule> ...]",
    "    Create a user, or change what it may do.",
    "USERS",
    "    List the users.",
    "WHOAMI",
    "    Tell as whom this connection is logged in.",
];
