//! Passwords, as ACL SETUSER changes them: the cluster keeps one a user.

use atoll_control::api::ControlApi as _;
use atoll_kv::{
    core::{
        acl::{PasswordChange, RuleError},
        command::CommandError,
    },
    face::server::wrong_rule,
};
use bytes::Bytes;

use super::{Users, not_taken};

impl Users {
    /// The password after these changes, if they change it: none is none.
    pub(super) async fn password(
        &self,
        name: &str,
        changes: &[PasswordChange],
    ) -> Result<Option<Option<String>>, CommandError> {
        let mut password: Option<Option<String>> = None;
        for change in changes {
            password = Some(match change {
                PasswordChange::Clear => None,
                PasswordChange::Set(new) => Some(text(new)?),
                PasswordChange::Remove(old) => {
                    let old = text(old)?;
                    let is_right = match &password {
                        Some(now) => now.as_ref() == Some(&old),
                        None => self.control.check_password(name, &old).await,
                    };
                    if !is_right {
                        let word = Bytes::from(format!("<{old}"));
                        return Err(wrong_rule((word, RuleError::NoSuchPassword)));
                    }
                    None
                }
            });
        }
        Ok(password)
    }

    pub(super) async fn hash(&self, password: &str) -> Result<String, CommandError> {
        let hashed = self.control.hash_password(password.to_owned());
        hashed.await.map_err(not_taken)
    }
}

fn text(password: &[u8]) -> Result<String, CommandError> {
    String::from_utf8(password.to_vec())
        .map_err(|_| CommandError::Other("ERR Passwords have to be UTF-8"))
}
