//! The options of SET and GETEX that say when the key ends.

use bytes::Bytes;

use crate::core::{
    command::{
        CommandError,
        args::{self, Words},
    },
    data::Milliseconds,
};

/// Units and beginnings of a time of expiry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clock {
    Seconds,
    Milliseconds,
    SecondsSinceEpoch,
    MillisecondsSinceEpoch,
}

/// A time of expiry that was asked for, not looked at yet: syntax errors come before wrong
/// numbers.
#[derive(Clone, Copy)]
pub(super) struct Expiry<'a> {
    clock: Clock,
    number: &'a Bytes,
}

impl<'a> Expiry<'a> {
    /// Takes the option, and the number after it, if it is one of EX, PX, EXAT and PXAT. The
    /// same one may come again, and the last counts; two different ones are a syntax error.
    pub(super) fn read(
        before: Option<Expiry<'a>>,
        option: &[u8],
        words: &mut Words<'a>,
    ) -> Result<Option<Self>, CommandError> {
        let clock = match () {
            () if args::is(option, "EX") => Clock::Seconds,
            () if args::is(option, "PX") => Clock::Milliseconds,
            () if args::is(option, "EXAT") => Clock::SecondsSinceEpoch,
            () if args::is(option, "PXAT") => Clock::MillisecondsSinceEpoch,
            () => return Ok(None),
        };
        if before.is_some_and(|before| before.clock != clock) {
            return Err(CommandError::Syntax);
        }
        let number = words.expect()?;
        Ok(Some(Expiry { clock, number }))
    }

    /// Whether it is a point in time, not a length.
    pub(super) fn is_absolute(&self) -> bool {
        matches!(
            self.clock,
            Clock::SecondsSinceEpoch | Clock::MillisecondsSinceEpoch
        )
    }

    /// The moment.
    ///
    /// # Errors
    /// [`CommandError::NotInteger`], [`CommandError::ExpireTime`]
    pub(super) fn at_ms(
        &self,
        now_ms: Milliseconds,
        command: &'static str,
    ) -> Result<Milliseconds, CommandError> {
        let unit_ms = match self.clock {
            Clock::Seconds | Clock::SecondsSinceEpoch => 1_000,
            Clock::Milliseconds | Clock::MillisecondsSinceEpoch => 1,
        };
        let since_ms = if self.is_absolute() { 0 } else { now_ms };
        args::expiry(self.number, unit_ms, since_ms, command)
    }
}
