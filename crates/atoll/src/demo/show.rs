//! What the demonstration shows: a table that is brought up to date on a terminal, a line a
//! second elsewhere; JSON is left alone on standard output.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use serde::Serialize;

use super::nodes::{Node, Nodes, State};
use crate::{
    error::CliError,
    output::{self, Format, View},
};

/// The last second.
pub(super) struct Second {
    pub(super) writes: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) longest_stall: Duration,
    pub(super) acknowledged: u64,
    pub(super) lost: u64,
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
        second: Second,
        nodes: &Nodes,
    ) -> Result<(), CliError> {
        if self.terminal {
            let table = table(elapsed, &second, nodes.list());
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
        self.print(&format!("{head}{}\n", row(elapsed, &second)))
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

const HEADINGS: &str = "  TIME  WRITES/S       P50       P99  LONGEST STALL  ACKNOWLEDGED  LOST";

fn row(elapsed: Duration, second: &Second) -> String {
    let ms = |us: u64| format!("{:.1} ms", us as f64 / 1e3);
    format!(
        "{:>4} s  {:>8}  {:>8}  {:>8}  {:>10} ms  {:>12}  {:>4}",
        elapsed.as_secs(),
        second.writes,
        ms(second.p50_us),
        ms(second.p99_us),
        second.longest_stall.as_millis(),
        second.acknowledged,
        second.lost,
    )
}

fn table(elapsed: Duration, second: &Second, nodes: &[Node]) -> String {
    let mut text = format!("\n{HEADINGS}\n{}\n\n", row(elapsed, second));
    for node in nodes {
        let what = match node.state {
            State::Leads => "leads",
            State::Follows => "follows",
            State::Silent => "does not answer",
            State::Killed => "killed",
        };
        let pid = node.child.as_ref().and_then(|child| child.id());
        let pid = pid.map_or(String::new(), |pid| format!("  (process {pid})"));
        text += &format!("  {}  {what}{pid}\n", node.name);
    }
    text.trim_end().to_owned()
}

/// What came of it.
#[derive(Serialize)]
pub(super) struct Summary {
    pub(super) seconds: f64,
    pub(super) kills: u64,
    pub(super) acknowledged: u64,
    pub(super) reads: u64,
    pub(super) lost: u64,
    pub(super) longest_write_stall_ms: f64,
    pub(super) write_p50_ms: f64,
    pub(super) write_p99_ms: f64,
    /// The nodes that were asked for every acknowledged write.
    pub(super) nodes_asked: Vec<String>,
}

impl View for Summary {
    fn text(&self) -> String {
        format!(
            "
  acknowledged         {acknowledged} writes in {seconds:.1} s, and {reads} reads
  lost                 {lost} (asked: {asked})
  kills of the leader  {kills}
  longest write stall  {stall:.0} ms
  write latency        p50 {p50:.1} ms, p99 {p99:.1} ms",
            acknowledged = self.acknowledged,
            seconds = self.seconds,
            reads = self.reads,
            lost = self.lost,
            asked = self.nodes_asked.join(", "),
            kills = self.kills,
            stall = self.longest_write_stall_ms,
            p50 = self.write_p50_ms,
            p99 = self.write_p99_ms,
        )
    }
}
