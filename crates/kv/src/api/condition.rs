//! What a node knows before it is asked: what it can't do at the moment, and which keyspaces
//! there are.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;

use super::EventualStatus;
use crate::core::{
    command::{Command, Flags, runs_scripts},
    keyspaces::{KeyspaceNumber, Keyspaces},
};

/// Why a command is not taken now, though it may be later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// Where it would go, a script has run for longer than others want to wait.
    Script {
        /// It is a function's, not one of EVAL.
        is_function: bool,
    },
}

impl fmt::Display for Hindrance {
    /// As Redis says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hindrance::Script { is_function } = self;
        let kill = if *is_function { "FUNCTION" } else { "SCRIPT" };
        write!(
            f,
            "BUSY Redis is busy running a script. You can only call {kill} KILL or SHUTDOWN NOSAVE."
        )
    }
}

/// What a node knows before it is asked. The answers may be old when they arrive: whoever runs a
/// command looks again.
pub trait Condition: Send + Sync + 'static {
    /// Whether these words, which call this command, would be refused here because memory is
    /// short. False, if it is for another node to say.
    fn is_full(&self, command: &Command, words: &[Bytes]) -> bool;

    /// What these words would have to wait for.
    fn hindrance(&self, command: &Command, words: &[Bytes]) -> Option<Hindrance>;

    /// Whether these words may change something. A script may, unless it says that it doesn't.
    fn may_write(&self, command: &Command, words: &[Bytes]) -> bool;

    /// Which keyspaces have names.
    fn keyspaces(&self) -> Arc<Keyspaces> {
        Arc::default()
    }

    /// How the replicas of eventual keyspaces are that are held here.
    fn eventual_status(&self) -> BTreeMap<KeyspaceNumber, EventualStatus> {
        BTreeMap::new()
    }
}

/// Nothing is ever in the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unhindered;

impl Unhindered {
    /// For whoever knows no more.
    pub fn shared() -> Arc<dyn Condition> {
        Arc::new(Unhindered)
    }
}

impl Condition for Unhindered {
    fn is_full(&self, _: &Command, _: &[Bytes]) -> bool {
        false
    }

    fn hindrance(&self, _: &Command, _: &[Bytes]) -> Option<Hindrance> {
        None
    }

    fn may_write(&self, command: &Command, _: &[Bytes]) -> bool {
        let runs_what_may = runs_scripts(command) && !command.flags.has(Flags::READONLY);
        runs_what_may || command.flags.has(Flags::WRITE)
    }
}
