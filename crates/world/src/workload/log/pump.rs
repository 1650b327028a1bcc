//! Moves what a program prints from its pipes into its log, on a thread of its own.

use std::{
    io::{self, PipeReader, PipeWriter, Read},
    thread::JoinHandle,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::OFlags,
    io::Errno,
};

use super::{Stream, write::Writer};
use crate::workload::now_ns;

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
        stdout: PipeReader,
        stderr: PipeReader,
        writer: Writer,
    ) -> io::Result<Pump> {
        let (stopped, stop) = io::pipe()?;
        for pipe in [&stdout, &stderr] {
            // This end only: the program's end of a pipe has flags of its own.
            rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        let sources = vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)];
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || run(sources, &stopped, writer))?;
        Ok(Pump { thread, stop })
    }

    /// Takes what is still in the pipes and ends, whoever else may hold their other ends.
    /// `None` if the thread had died.
    pub(in super::super) fn stop(self) -> Option<Writer> {
        drop(self.stop);
        self.thread.join().ok()
    }
}

fn run(mut sources: Vec<(Stream, PipeReader)>, stopped: &PipeReader, mut writer: Writer) -> Writer {
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
        sources.retain_mut(|(stream, pipe)| {
            let budget = if stopping {
                REST_BYTES_MAX
            } else {
                CHUNK_BYTES
            };
            let is_ready = ready.next().unwrap_or(true);
            let look = is_ready || stopping;
            !look || transfer(*stream, pipe, budget, &mut chunk, &mut writer)
        });
    }
    writer.finish(now_ns());
    writer
}

/// Waits until there is something to read, and says for each source, and last for the order to
/// stop, whether it is there.
fn wait(sources: &[(Stream, PipeReader)], stopped: &PipeReader) -> Result<Vec<bool>, Errno> {
    let mut polled: Vec<PollFd<'_>> = sources
        .iter()
        .map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN))
        .collect();
    polled.push(PollFd::new(stopped, PollFlags::IN));
    poll(&mut polled, None)?;
    let ready = polled.iter().map(|fd| !fd.revents().is_empty());
    Ok(ready.collect())
}

/// `false` once the stream has ended.
fn transfer(
    stream: Stream,
    pipe: &mut PipeReader,
    budget: usize,
    chunk: &mut [u8],
    writer: &mut Writer,
) -> bool {
    let mut taken = 0;
    while taken < budget {
        match pipe.read(chunk) {
            Ok(0) => return false,
            Ok(bytes) => {
                writer.take(now_ns(), stream, &chunk[..bytes]);
                taken += bytes;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}
