//! The sparse form: registers as runs of equal values, for a HyperLogLog that has seen little.
//!
//! A run is `00nnnnnn`: n+1 zeros; `01nnnnnn nnnnnnnn`: n+1 zeros; or `1vvvvvnn`: n+1 times v+1.

use super::REGISTERS;

/// A run's value is not higher.
pub(super) const VALUE_MAX: u8 = 32;

/// So many zeros fit in the short form.
const SHORT_ZEROS_MAX: usize = 64;
/// So many values fit in a byte.
const VALUES_MAX: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) value: u8,
    pub(super) length: usize,
}

impl Run {
    pub(super) fn of(value: u8, length: usize) -> Run {
        Run { value, length }
    }

    /// The first run and what follows; none if there is none, or only a part of one.
    fn read(bytes: &[u8]) -> Option<(Run, &[u8])> {
        Some(match bytes {
            [first @ 0x80..=0xff, rest @ ..] => {
                let (value, length) = ((first >> 2 & 31) + 1, usize::from(first & 3) + 1);
                (Run { value, length }, rest)
            }
            [first @ 0x40..=0x7f, second, rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([first & 63, *second])) + 1;
                (Run::of(0, length), rest)
            }
            [first @ 0..=0x3f, rest @ ..] => (Run::of(0, usize::from(*first) + 1), rest),
            _ => return None,
        })
    }
}

/// The runs, up to where the bytes make no sense.
pub(super) fn runs(mut bytes: &[u8]) -> impl Iterator<Item = Run> {
    std::iter::from_fn(move || {
        let (run, rest) = Run::read(bytes)?;
        bytes = rest;
        Some(run)
    })
}

/// Whether these are runs, for as many registers as there are.
pub(super) fn is_complete(mut bytes: &[u8]) -> bool {
    let mut registers = 0;
    while let Some((run, rest)) = Run::read(bytes) {
        registers += run.length;
        if registers > REGISTERS {
            return false;
        }
        bytes = rest;
    }
    bytes.is_empty() && registers == REGISTERS
}

/// Adds a run, whose value is not above [`VALUE_MAX`].
pub(super) fn write(bytes: &mut Vec<u8>, run: Run) {
    let mut left = run.length;
    while left > 0 {
        let taken = if run.value > 0 {
            let taken = left.min(VALUES_MAX);
            bytes.push(0x80 | (run.value - 1) << 2 | (taken - 1) as u8);
            taken
        } else if left <= SHORT_ZEROS_MAX {
            bytes.push((left - 1) as u8);
            left
        } else {
            let taken = left.min(REGISTERS);
            bytes.extend((0x4000 | (taken - 1) as u16).to_be_bytes());
            taken
        };
        left -= taken;
    }
}

/// What came of raising a register.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// It was as high already.
    Not,
    Done,
    /// This form has no room for it.
    NoRoom,
}

/// Raises a register to a value. The runs begin at `begin` and are complete; with what is before
/// them they get no longer than `bytes_max`.
pub(super) fn raise(
    bytes: &mut Vec<u8>,
    begin: usize,
    bytes_max: usize,
    index: usize,
    value: u8,
) -> Raised {
    // The run with the register, and where the one before it is.
    let (mut place, mut first) = (begin, 0);
    let mut before = None;
    let (run, end) = loop {
        let Some((run, rest)) = Run::read(&bytes[place..]) else {
            unreachable!("complete runs hold every register");
        };
        let end = bytes.len() - rest.len();
        if index < first + run.length {
            break (run, end);
        }
        before = Some((place, run));
        (place, first) = (end, first + run.length);
    };
    if run.value >= value {
        return Raised::Not;
    }
    if value > VALUE_MAX {
        return Raised::NoRoom;
    }
    // It falls into three; equal neighbours become one again.
    let after = Run::read(&bytes[end..]);
    let window_begin = before.map_or(place, |(place, _)| place);
    let window_end = after.map_or(end, |(_, rest)| bytes.len() - rest.len());
    let parts = [
        before.map(|(_, before)| before),
        Some(Run::of(run.value, index - first)),
        Some(Run::of(value, 1)),
        Some(Run::of(run.value, first + run.length - index - 1)),
        after.map(|(after, _)| after),
    ];
    let mut window = Vec::with_capacity(10);
    let mut last = Run::of(0, 0);
    for part in parts.into_iter().flatten().filter(|part| part.length > 0) {
        if part.value == last.value {
            last.length += part.length;
        } else {
            write(&mut window, last);
            last = part;
        }
    }
    write(&mut window, last);
    let grows = window.len() > window_end - window_begin;
    let length = bytes.len() - (window_end - window_begin) + window.len();
    if grows && length > bytes_max {
        return Raised::NoRoom;
    }
    bytes.splice(window_begin..window_end, window);
    Raised::Done
}
