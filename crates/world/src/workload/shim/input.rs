//! The input of a workload's program, as long as it is open: who is attached writes to it
//! directly, so nothing is kept here, and a program that reads slowly holds up nobody else.

use std::os::fd::{AsFd, BorrowedFd};

use crate::workload::{launch::InputEnd, spec::Spec};

#[derive(Debug)]
pub(super) struct Input {
    end: InputEnd,
    /// A terminal may be there for output alone.
    is_open: bool,
    /// One may write, and when that one goes, the input ends.
    once: bool,
    was_lent: bool,
}

/// What one who attaches gets.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    pub(super) tty: bool,
    pub(super) stdin: bool,
    pub(super) along: Option<BorrowedFd<'a>>,
}

impl Input {
    pub(super) fn new(end: InputEnd, spec: &Spec) -> Input {
        Input {
            end,
            is_open: spec.stdin,
            once: spec.stdin_once,
            was_lent: false,
        }
    }

    pub(super) fn lend(&mut self, is_asked: bool) -> Lent<'_> {
        match &self.end {
            InputEnd::Pipe(pipe) if is_asked && !(self.once && self.was_lent) => {
                self.was_lent = true;
                Lent {
                    tty: false,
                    stdin: true,
                    along: Some(pipe.as_fd()),
                }
            }
            InputEnd::Terminal { ours, .. } => Lent {
                tty: true,
                stdin: is_asked && self.is_open,
                along: Some(ours.as_fd()),
            },
            InputEnd::Pipe(_) | InputEnd::Closed => Lent {
                tty: false,
                stdin: false,
                along: None,
            },
        }
    }

    /// One who could write is gone.
    pub(super) fn give_back(&mut self) {
        if self.once && matches!(self.end, InputEnd::Pipe(_)) {
            self.end = InputEnd::Closed;
        }
    }
}
