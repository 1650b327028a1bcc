//! CLIENT PAUSE.

use std::time::Duration;

use atoll_world::clock::{self, Instant};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::face::session::PauseOf;

/// No pause is longer; Redis knows no limit, but a clock does.
const PAUSE_MS_MAX: u64 = 1000 * 60 * 60 * 24 * 365;

/// Whose commands wait, and until when.
#[derive(Default)]
pub(super) struct Pause {
    /// Looked at for each request, unlike the rest.
    may_hold: AtomicBool,
    pauses: Mutex<Pauses>,
}

#[derive(Default)]
struct Pauses {
    all: Option<Instant>,
    writes: Option<Instant>,
}

impl Pause {
    /// Lets commands wait. A pause never makes another one shorter.
    pub(super) fn begin(&self, of: PauseOf, timeout_ms: u64) {
        let timeout = Duration::from_millis(timeout_ms.min(PAUSE_MS_MAX));
        let until = clock::now() + timeout;
        let mut pauses = self.pauses.lock();
        let pause = match of {
            PauseOf::All => &mut pauses.all,
            PauseOf::Writes => &mut pauses.writes,
        };
        *pause = (*pause).max(Some(until));
        self.may_hold.store(true, Ordering::SeqCst);
    }

    pub(super) fn end(&self) {
        let mut pauses = self.pauses.lock();
        *pauses = Pauses::default();
        self.may_hold.store(false, Ordering::SeqCst);
    }

    /// Whose commands wait now, and until when.
    pub(super) fn now(&self) -> Option<(PauseOf, Instant)> {
        if !self.may_hold.load(Ordering::Relaxed) {
            return None;
        }
        let now = clock::now();
        let mut pauses = self.pauses.lock();
        pauses.all = pauses.all.filter(|until| *until > now);
        pauses.writes = pauses.writes.filter(|until| *until > now);
        let all = pauses.all.map(|until| (PauseOf::All, until));
        let held = all.or(pauses.writes.map(|until| (PauseOf::Writes, until)));
        if held.is_none() {
            self.may_hold.store(false, Ordering::SeqCst);
        }
        held
    }
}
