//! The binary: read what was asked, do it, tell what went wrong and what to do next.

mod cli;
mod client;
mod command;
mod context;
mod demo;
mod error;
mod init;
mod kube;
mod logging;
mod node;
mod output;
mod password;
mod recover;
mod restore;
mod settings;
mod start;
mod telemetry;
mod token;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{cli::Cli, error::CliError};

/// A request to hot data takes and gives back some twenty pieces of memory, on several threads:
/// the system's allocator spends a quarter of the processor's time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A thread takes a task from the queue of all threads after so many of its own. Tasks that have
/// no room in a thread's own queue (256) go there, and by default one comes back after 61, so
/// that with more requests at a time some wait ten times as long as the others.
const TASKS_PER_SHARED_TASK: u32 = 5;

fn main() -> ExitCode {
    if let Some(code) = shim() {
        return code;
    }
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .global_queue_interval(TASKS_PER_SHARED_TASK)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::note(&format!("atoll: cannot start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(cli.run()) {
        Ok(()) => 0,
        Err(error) => {
            report(&error);
            error.exit_code()
        }
    };
    // A command that is done does not wait for a thread that reads a pipe.
    runtime.shutdown_background();
    ExitCode::from(code)
}

/// The parent of a container's program is this program, too: it has no threads and no runtime, and
/// nobody asks for it by hand.
fn shim() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let is_shim = arguments.next()? == node::SHIM_COMMAND;
    let dir = arguments.next().filter(|_| is_shim)?;
    Some(atoll_world::workload::shim_main(dir.as_ref()))
}

fn report(error: &CliError) {
    if matches!(error, CliError::Exit(_)) {
        return;
    }
    output::note(&format!("atoll: {error}"));
    let next = error.next_step();
    if !next.is_empty() {
        output::note(&format!("  {next}"));
    }
}
