//! Whose scripts run, and what these may call.

use std::sync::Arc;

use bytes::Bytes;

use super::{User, sorts_by_others};
use crate::core::command::Command;

/// Somebody who may not do everything, and has a script run. What it calls is held against the
/// rules as they were when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user's name.
    pub name: Bytes,
    /// What the user may do.
    pub rules: Arc<User>,
}

impl Caller {
    /// Whether a script of this user may call this. The number of words was checked.
    ///
    /// # Errors
    /// The error's whole text.
    pub fn check(&self, command: &Command, words: &[Bytes]) -> Result<(), String> {
        self.rules.check(command, words).map_err(|denied| {
            let reason = denied.text(&self.name, command);
            format!("NOPERM ACL failure in script: {reason}")
        })?;
        match sorts_by_others(command, words) {
            Some(option) if !self.rules.may_read_all(command, words) => Err(format!(
                "ERR {option} option of SORT denied due to insufficient ACL permissions."
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{acl::Denied, command};

    #[test]
    fn what_is_fenced_is_held_against_rules_too() {
        let words = |text: &str| -> Vec<Bytes> {
            let words = text.split(' ');
            words
                .map(|word| Bytes::copy_from_slice(word.as_bytes()))
                .collect()
        };
        let mut rules = User::nothing();
        rules.apply(&words("+atoll.fenced +set ~x*")).unwrap();
        let selector = Bytes::from("(+atoll.fenced +del ~z* ~f)");
        rules.apply(&[selector]).unwrap();
        let denied = |call: &str| {
            let words = words(call);
            let command = command::find(&words).unwrap();
            rules.check(command, &words).err()
        };
        assert_eq!(denied("ATOLL.FENCED xf 1 SET xx 1"), None);
        assert_eq!(denied("ATOLL.FENCED xf 1 SET y 1"), Some(Denied::Key(4)));
        assert_eq!(denied("ATOLL.FENCED y 1 SET xx 1"), Some(Denied::Key(1)));
        assert_eq!(
            denied("ATOLL.FENCED xf 1 HSET xx f v"),
            Some(Denied::Command)
        );
        assert_eq!(denied("ATOLL.FENCED f 1 DEL z1 z2"), None);
        assert_eq!(denied("ATOLL.FENCED f 1 DEL z1 xx"), Some(Denied::Key(5)));
    }

    #[test]
    fn what_scripts_call_is_held_against_rules() {
        let words = |text: &str| -> Vec<Bytes> {
            text.split(' ')
                .map(|word| Bytes::copy_from_slice(word.as_bytes()))
                .collect()
        };
        let mut rules = User::nothing();
        rules.apply(&words("+get +sort ~x* +publish &a")).unwrap();
        let caller = Caller {
            name: "bob".into(),
            rules: Arc::new(rules),
        };
        let told = |call: &str| {
            let words = words(call);
            let command = command::find(&words).unwrap();
            caller.check(command, &words).err().unwrap_or_default()
        };
        assert_eq!(told("GET xx"), "");
        assert_eq!(
            told("SET xx 1"),
            "NOPERM ACL failure in script: User bob has no permissions to run the 'set' command"
        );
        assert_eq!(
            told("GET y"),
            "NOPERM ACL failure in script: No permissions to access a key"
        );
        assert_eq!(
            told("PUBLISH b m"),
            "NOPERM ACL failure in script: No permissions to access a channel"
        );
        assert_eq!(told("SORT xx ALPHA BY nosort"), "");
        for (call, option) in [("SORT xx BY w*", "BY"), ("SORT xx GET w*", "GET")] {
            assert_eq!(
                told(call),
                format!("ERR {option} option of SORT denied due to insufficient ACL permissions.")
            );
        }
    }
}
