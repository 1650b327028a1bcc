//! What the demonstration shows: a table that is brought up to date on a terminal, a line a
//! second elsewhere; JSON is left alone on standard output.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use super::node::{Node, State};
use crate::{
    error::CliError,
    output::{self, Format},
};

/// The last second at one port.
pub(super) struct Second {
    pub(super) writes: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) longest_gap: Duration,
    pub(super) acknowledged: u64,
    /// Reads that did not find what had been acknowledged.
    pub(super) missed: u64,
}

/// The last second at both.
pub(super) struct Seconds {
    pub(super) etcd: Second,
    pub(super) redis: Second,
}

/// Where it is shown.
pub(super) struct Screen {
    json: bool,
    terminal: bool,
    /// Lines of the table that is on the terminal now.
    drawn: usize,
    headed: bool,
}

impl Screen {
    pub(super) fn new(output: Format) -> Screen {
        Screen {
            json: output == Format::Json,
            terminal: output == Format::Table && io::stdout().is_terminal(),
            drawn: 0,
            headed: false,
        }
    }

    /// Tells an event.
    pub(super) fn say(&mut self, text: &str) -> Result<(), CliError> {
        let over = self.take_away();
        self.print(&format!("{over}{text}\n"))
    }

    /// Shows the last second.
    pub(super) fn tick(
        &mut self,
        elapsed: Duration,
        seconds: &Seconds,
        nodes: &[Node],
    ) -> Result<(), CliError> {
        if self.terminal {
            let table = table(elapsed, seconds, nodes);
            let over = self.take_away();
            self.drawn = table.lines().count();
            return self.print(&format!("{over}{table}\n"));
        }
        let head = if self.headed {
            String::new()
        } else {
            format!("{HEADINGS}\n")
        };
        self.headed = true;
        self.print(&format!("{head}{}\n", rows(elapsed, seconds)))
    }

    /// The characters that take away the table that is there.
    fn take_away(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }

    fn print(&self, text: &str) -> Result<(), CliError> {
        if self.json {
            output::note(text.trim_end());
            return Ok(());
        }
        output::print(text)
    }
}

const HEADINGS: &str =
    "  TIME  PORT   WRITES/S       P50       P99    LONGEST GAP  ACKNOWLEDGED  LOST";

fn rows(elapsed: Duration, seconds: &Seconds) -> String {
    let etcd = row(elapsed, "etcd", &seconds.etcd);
    let redis = row(elapsed, "Redis", &seconds.redis);
    format!("{etcd}\n{redis}")
}

fn row(elapsed: Duration, port: &str, second: &Second) -> String {
    let ms = |us: u64| format!("{:.1} ms", us as f64 / 1e3);
    format!(
        "{:>4} s  {port:<5}  {:>8}  {:>8}  {:>8}  {:>10} ms  {:>12}  {:>4}",
        elapsed.as_secs(),
        second.writes,
        ms(second.p50_us),
        ms(second.p99_us),
        second.longest_gap.as_millis(),
        second.acknowledged,
        second.missed,
    )
}

fn table(elapsed: Duration, seconds: &Seconds, nodes: &[Node]) -> String {
    let mut text = format!("\n{HEADINGS}\n{}\n\n", rows(elapsed, seconds));
    for node in nodes {
        let what = match node.state {
            State::Leads => "leads",
            State::Follows => "follows",
            State::Silent => "does not answer",
            State::Killed => "killed",
        };
        let pid = node.child.as_ref().and_then(|child| child.id());
        let pid = pid.map_or(String::new(), |pid| {
            format!(", owns {} partitions  (process {pid})", node.owned)
        });
        text += &format!("  {}  {what}{pid}\n", node.name);
    }
    text.trim_end().to_owned()
}
