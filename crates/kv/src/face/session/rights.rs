//! What the client may do (Redis: "ACL").

use bytes::Bytes;

use super::{Session, transaction::Queued};
use crate::{
    core::{
        acl::{Caller, Denied, sorts_by_others},
        command::{Command, CommandError, Flags},
    },
    face::acl::{Acl, DEFAULT_USER, Rights},
    hub::Topic,
};

/// So many refusals are kept until somebody asks for them.
const DENIALS_MAX: usize = 128;

/// So many bytes are kept of the name of what was refused.
const OBJECT_BYTES_MAX: usize = 1024;

/// Something that the client was not allowed, as ACL LOG tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// `command`, `key`, `channel` or `auth`.
    pub reason: &'static str,
    /// `toplevel`, or `multi` in a transaction.
    pub context: &'static str,
    /// The name of the command, key or channel.
    pub object: Bytes,
    /// Who asked.
    pub user: Bytes,
}

impl Denial {
    /// With no more of the object than is to be kept, and in bytes of its own.
    pub(crate) fn new(
        reason: &'static str,
        context: &'static str,
        object: &[u8],
        user: &[u8],
    ) -> Denial {
        Denial {
            reason,
            context,
            object: Bytes::copy_from_slice(&object[..object.len().min(OBJECT_BYTES_MAX)]),
            user: Bytes::copy_from_slice(&user[..user.len().min(OBJECT_BYTES_MAX)]),
        }
    }
}

impl Session {
    /// The same connection, of a client that may do what these rules say.
    #[must_use]
    pub fn with_acl(mut self, acl: Acl) -> Session {
        self.rights = Rights::new(acl);
        self.become_user(self.first_user());
        self
    }

    /// Somebody else, or nobody, is at the other end from now on.
    pub(super) fn become_user(&mut self, user: Option<Bytes>) {
        self.user = user;
        self.rights.forget();
    }

    /// Who a client is that has not said it.
    pub(super) fn first_user(&self) -> Option<Bytes> {
        let is_known = !self.settings.auth_required && self.rights.acl().is_open();
        is_known.then(|| Bytes::from_static(DEFAULT_USER))
    }

    /// Refuses what the client may not do. The number of words was checked.
    pub(super) fn permit(
        &mut self,
        command: &'static Command,
        words: &[Bytes],
    ) -> Result<(), CommandError> {
        let Some(name) = &self.user else {
            // Without a name one may only say one.
            return Ok(());
        };
        let denied = match self.rights.of(name) {
            Some(user) => match user.check(command, words) {
                Ok(()) => {
                    return match sorts_by_others(command, words) {
                        Some(option) if !user.may_read_all(command, words) => {
                            Err(CommandError::Text(format!(
                                "ERR {option} option of SORT denied due to insufficient ACL permissions."
                            )))
                        }
                        _ => Ok(()),
                    };
                }
                Err(denied) => denied,
            },
            None if command.flags.has(Flags::NO_AUTH) => return Ok(()),
            None => Denied::Command,
        };
        let text = format!("NOPERM {}", denied.text(name, command));
        let context = match self.queue {
            Some(_) => "multi",
            None => "toplevel",
        };
        self.note_denied(denied, context, command, words);
        Err(CommandError::Text(text))
    }

    /// Whose scripts are asked for, if not those of somebody who may do everything.
    pub(super) fn caller(&mut self) -> Option<Caller> {
        let name = self.user.clone().unwrap_or_default();
        let rules = self.rights.shared(&name);
        match rules {
            Some(rules) if rules.allows_everything() => None,
            // Who is nobody any more may do nothing.
            rules => Some(Caller {
                rules: rules.unwrap_or_default(),
                name,
            }),
        }
    }

    /// What of a transaction is not allowed any longer, and why.
    pub(super) fn recheck(&mut self, (command, words, _): &Queued) -> Option<&'static str> {
        let name = self.user.as_ref()?;
        let denied = match self.rights.of(name) {
            Some(user) => user.check(command, words).err()?,
            None => Denied::Command,
        };
        self.note_denied(denied, "multi", command, words);
        Some(denied.text_of_exec())
    }

    fn note_denied(
        &mut self,
        denied: Denied,
        context: &'static str,
        command: &Command,
        words: &[Bytes],
    ) {
        if self.denials.len() == DENIALS_MAX {
            return;
        }
        let user = self.user.as_deref().unwrap_or_default();
        let object = denied.object(command, words);
        let denial = Denial::new(denied.reason(), context, &object, user);
        self.denials.push(denial);
    }

    /// What the client was not allowed, since this was asked last.
    pub fn take_denials(&mut self) -> Vec<Denial> {
        std::mem::take(&mut self.denials)
    }

    /// Whether the connection has no right to be any longer: the user is gone, or may not
    /// listen any more to what it listens to (Redis: "ACL", `resetchannels`).
    pub fn is_outlived(&mut self) -> bool {
        let Some(name) = &self.user else {
            return false;
        };
        let Some(user) = self.rights.of(name) else {
            return true;
        };
        let may_not = |topic: Topic| {
            let mut names = self.subscriptions.of(topic).iter();
            names.any(|name| !user.may_listen(name, topic == Topic::Pattern))
        };
        !user.allows_everything()
            && [Topic::Channel, Topic::Pattern, Topic::Shard]
                .into_iter()
                .any(may_not)
    }
}
