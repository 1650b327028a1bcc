//! What commands come to: replies that are written, or questions.

use bytes::BytesMut;

use super::{
    End, Session, Step, Ticket,
    outcome::{Handled, Outcome},
    tally,
    transaction::Exec,
};
use crate::{
    core::command::Command,
    face::resp::{write, write_error},
};

impl Session {
    /// Writes what a command came to, unless something has to be asked.
    pub(super) fn conclude(
        &mut self,
        command: &'static Command,
        handled: Handled,
        muted: bool,
        exec: Option<Box<Exec>>,
        out: &mut BytesMut,
    ) -> Step {
        let step = match handled {
            Ok(Outcome::Ask { ask, finish, waits }) => {
                let ticket = Ticket {
                    command,
                    finish,
                    version: self.version,
                    muted,
                    waits: waits || exec.is_some(),
                    exec,
                };
                return Step::Ask(ask, ticket);
            }
            Ok(Outcome::Reply(reply)) => {
                self.note_reply(command, &reply);
                write(out, self.version, &reply);
                Step::Done
            }
            Ok(Outcome::Written) => {
                self.note(Some(command), End::Done);
                Step::Done
            }
            Ok(Outcome::Close) => {
                self.note(Some(command), End::Done);
                Step::Close
            }
            Err(error) => {
                let text = error.to_string();
                self.note(Some(command), End::Failed(tally::code(text.as_bytes())));
                write_error(out, text.as_bytes());
                Step::Done
            }
        };
        self.follow(step, muted, exec, out)
    }

    /// Goes on with the transaction that a command which came to its end is from, if any.
    pub(super) fn follow(
        &mut self,
        step: Step,
        muted: bool,
        exec: Option<Box<Exec>>,
        out: &mut BytesMut,
    ) -> Step {
        match exec {
            Some(mut exec) => {
                exec.speak(self.version);
                self.go_on(exec, step, muted, out)
            }
            None => step,
        }
    }
}
