//! Who gets a program's output live, beside its log.
//!
//! What is printed goes into pipes, whose other ends the attachers have; the kernel's buffer of
//! a pipe is all that is kept for one. While it is full, the program has to wait, as on a slow
//! terminal; but no attacher can hold it up longer than [`STALL_MAX`], and then as long as it has
//! not held it up. Whoever exceeds that is cut off. All are waited for at the same time, so who is
//! quick does not suffer from who is not. The log has each piece before any attacher.

use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::Shutdown,
};

use super::{
    log::Stream,
    wire::{self, Event},
};

/// So long an attacher may hold a program up at once.
const STALL_MAX: Duration = Duration::from_secs(2);

/// One who gets output.
#[derive(Debug)]
pub(super) struct Attacher {
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) socket: Arc<OwnedFd>,
    is_gone: AtomicBool,
    patience: Mutex<Patience>,
}

/// All who get it. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Attachers(Arc<Mutex<Vec<Arc<Attacher>>>>);

impl Attachers {
    pub(super) fn add(&self, attacher: Arc<Attacher>) {
        self.0.lock().push(attacher);
    }

    pub(super) fn remove(&self, attacher: &Arc<Attacher>) {
        attacher.is_gone.store(true, Ordering::Relaxed);
        self.0.lock().retain(|other| !Arc::ptr_eq(other, attacher));
    }

    /// Gives a piece of output to all.
    pub(super) fn send(&self, stream: Stream, bytes: &[u8]) {
        // Not held while one is waited for.
        let attachers = self.0.lock().clone();
        let whole = attachers.iter().map(|attacher| (attacher, bytes));
        let mut waiting: Vec<(&Arc<Attacher>, &[u8])> = whole.collect();
        loop {
            waiting.retain_mut(|(attacher, rest)| !attacher.takes(stream, rest));
            if waiting.is_empty() {
                return;
            }
            wait(
                stream,
                waiting.iter().map(|(attacher, _)| attacher.as_ref()),
            );
        }
    }
}

/// Waits until one of them can take something or has exceeded its time.
fn wait<'a>(stream: Stream, waiting: impl Iterator<Item = &'a Attacher> + Clone) {
    let begun = Instant::now();
    let left = waiting
        .clone()
        .map(|attacher| attacher.patience.lock().at(begun));
    let timeout = left.min().and_then(|left| Timespec::try_from(left).ok());
    let mut polled: Vec<PollFd<'_>> = waiting
        .clone()
        .filter_map(|attacher| attacher.pipe(stream))
        .map(|pipe| PollFd::new(pipe, PollFlags::OUT))
        .collect();
    // Whatever it says, who can't take anything afterwards has used up some of its time.
    let _ = poll(&mut polled, timeout.as_ref());
    let ended = Instant::now();
    for attacher in waiting {
        if !attacher.patience.lock().has_waited(begun, ended) {
            attacher.cut_off();
        }
    }
}

impl Attacher {
    pub(super) fn new(stdout: Option<OwnedFd>, stderr: Option<OwnedFd>, socket: OwnedFd) -> Self {
        Attacher {
            stdout,
            stderr,
            socket: Arc::new(socket),
            is_gone: AtomicBool::new(false),
            patience: Mutex::new(Patience {
                left: STALL_MAX,
                since: Instant::now(),
            }),
        }
    }

    fn pipe(&self, stream: Stream) -> Option<&OwnedFd> {
        match stream {
            Stream::Stdout => self.stdout.as_ref(),
            Stream::Stderr => self.stderr.as_ref(),
        }
    }

    /// `true` if it has taken all of it, or never will.
    fn takes(&self, stream: Stream, rest: &mut &[u8]) -> bool {
        let Some(pipe) = self.pipe(stream) else {
            return true;
        };
        while !rest.is_empty() && !self.is_gone.load(Ordering::Relaxed) {
            match rustix::io::write(pipe, rest) {
                Ok(written) => *rest = &rest[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                // It does not listen any more.
                Err(_) => return true,
            }
        }
        true
    }

    /// The shim sees that the connection is closed, and forgets it.
    fn cut_off(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
        let _ = wire::send(&self.socket, &Event::CutOff, &[]);
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}

/// How long an attacher may still hold a program up.
#[derive(Debug)]
struct Patience {
    left: Duration,
    /// Since when it has not.
    since: Instant,
}

impl Patience {
    fn at(&self, now: Instant) -> Duration {
        let regained = now.saturating_duration_since(self.since);
        self.left.saturating_add(regained).min(STALL_MAX)
    }

    /// `false` once none is left.
    fn has_waited(&mut self, from: Instant, to: Instant) -> bool {
        let waited = to.saturating_duration_since(from);
        self.left = self.at(from).saturating_sub(waited);
        self.since = to;
        !self.left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, PipeReader, Read};

    use rustix::{
        fs::OFlags,
        net::{AddressFamily, SocketFlags, SocketType, socketpair},
    };

    use super::*;

    fn attacher() -> (Arc<Attacher>, PipeReader, OwnedFd) {
        let (reader, writer) = io::pipe().unwrap();
        rustix::fs::fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        let (shim, node) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        let attacher = Attacher::new(Some(writer.into()), None, shim);
        (Arc::new(attacher), reader, node)
    }

    #[test]
    fn whoever_takes_nothing_is_cut_off_and_others_get_all() {
        let all = Attachers::default();
        let (slow, _full, slow_node) = attacher();
        let (quick, mut reader, _node) = attacher();
        all.add(slow.clone());
        all.add(quick.clone());
        let read = std::thread::spawn(move || {
            let mut taken = Vec::new();
            reader.read_to_end(&mut taken).unwrap();
            taken.len()
        });
        let begun = Instant::now();
        let piece = vec![b'x'; 50_000];
        for _ in 0..4 {
            all.send(Stream::Stdout, &piece);
            all.send(Stream::Stderr, &piece);
        }
        assert!(slow.is_gone.load(Ordering::Relaxed));
        assert!(begun.elapsed() >= STALL_MAX, "it had its time");
        let (event, _) = wire::receive::<Event>(&slow_node).unwrap().unwrap();
        assert_eq!(event, Event::CutOff);
        assert!(wire::receive::<Event>(&slow_node).unwrap().is_none());
        all.remove(&quick);
        drop(quick);
        assert_eq!(read.join().unwrap(), 200_000);
    }

    #[test]
    fn patience_comes_back_up_to_its_bound() {
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let mut patience = Patience {
            left: STALL_MAX,
            since: begun,
        };
        assert_eq!(patience.at(at(9_000)), STALL_MAX);
        assert!(patience.has_waited(at(9_000), at(10_500)));
        assert_eq!(
            patience.at(at(10_500)),
            STALL_MAX - Duration::from_millis(1_500)
        );
        assert_eq!(
            patience.at(at(10_600)),
            STALL_MAX - Duration::from_millis(1_400)
        );
        assert!(!patience.has_waited(at(10_600), at(11_200)));
        assert_eq!(patience.at(at(11_300)), Duration::from_millis(100));
    }
}
