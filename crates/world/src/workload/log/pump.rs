//! Moves what a program prints from its pipes or its terminal into its log and to who is
//! attached, on a thread of its own.

use std::{
    fs::File,
    io::{self, PipeReader, PipeWriter, Read},
    os::fd::OwnedFd,
    thread::JoinHandle,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::OFlags,
    io::Errno,
};

use super::{Stream, write::Writer};
use crate::workload::{attachers::Attachers, now_ns};

/// Read from a pipe at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Read from a pipe after the program's end: all that a pipe can hold (fcntl(2),
/// F_SETPIPE_SZ for a user without rights; root may set more).
const REST_BYTES_MAX: usize = 1024 * 1024;

/// A pump at work.
#[derive(Debug)]
pub(in super::super) struct Pump {
    thread: JoinHandle<Writer>,
    /// It stops when this is closed.
    stop: PipeWriter,
}

impl Pump {
    pub(in super::super) fn start(
        outputs: Vec<(Stream, OwnedFd)>,
        attachers: Attachers,
        writer: Writer,
    ) -> io::Result<Pump> {
        let (stopped, stop) = io::pipe()?;
        let mut sources = Vec::new();
        for (stream, output) in outputs {
            // This end only: the program's end has flags of its own.
            rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK)?;
            sources.push((stream, File::from(output)));
        }
        let sinks = Sinks { writer, attachers };
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || run(sources, &stopped, sinks))?;
        Ok(Pump { thread, stop })
    }

    /// Takes what is still in the pipes and ends, whoever else may hold their other ends.
    /// `None` if the thread had died.
    pub(in super::super) fn stop(self) -> Option<Writer> {
        drop(self.stop);
        self.thread.join().ok()
    }
}

/// Where it goes.
struct Sinks {
    writer: Writer,
    attachers: Attachers,
}

fn run(mut sources: Vec<(Stream, File)>, stopped: &PipeReader, mut sinks: Sinks) -> Writer {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut stopping = false;
    while !stopping && !sources.is_empty() {
        let ready = match wait(&sources, stopped) {
            Ok(ready) => ready,
            Err(Errno::INTR) => continue,
            // There is nothing else that could be tried; the pipes are closed, and the program
            // gets to know when it prints.
            Err(_) => break,
        };
        stopping = ready.last().copied().unwrap_or(true);
        let mut ready = ready.into_iter();
        sources.retain_mut(|(stream, source)| {
            let budget = if stopping {
                REST_BYTES_MAX
            } else {
                CHUNK_BYTES
            };
            let is_ready = ready.next().unwrap_or(true);
            let look = is_ready || stopping;
            !look || transfer(*stream, source, budget, &mut chunk, &mut sinks)
        });
    }
    sinks.writer.finish(now_ns());
    sinks.writer
}

/// Waits until there is something to read, and says for each source, and last for the order to
/// stop, whether it is there.
fn wait(sources: &[(Stream, File)], stopped: &PipeReader) -> Result<Vec<bool>, Errno> {
    let mut polled: Vec<PollFd<'_>> = sources
        .iter()
        .map(|(_, source)| PollFd::new(source, PollFlags::IN))
        .collect();
    polled.push(PollFd::new(stopped, PollFlags::IN));
    poll(&mut polled, None)?;
    let ready = polled.iter().map(|fd| !fd.revents().is_empty());
    Ok(ready.collect())
}

/// `false` once the stream has ended.
fn transfer(
    stream: Stream,
    source: &mut File,
    budget: usize,
    chunk: &mut [u8],
    sinks: &mut Sinks,
) -> bool {
    let mut taken = 0;
    while taken < budget {
        match source.read(chunk) {
            Ok(0) => return false,
            Ok(bytes) => {
                let bytes_now = &chunk[..bytes];
                sinks.writer.take(now_ns(), stream, bytes_now);
                sinks.attachers.send(stream, bytes_now);
                taken += bytes;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A terminal whose session is over says EIO.
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}
