//! What commands print: tables for people, JSON for programs.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it writes to its terminal.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::CliError;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document (or one a line, for what streams).
    Json,
}

/// A result that can be printed in every format.
pub(crate) trait View: Serialize {
    /// For people; ends without a line break.
    fn text(&self) -> String;
}

impl Format {
    /// Prints a result to standard output.
    pub(crate) fn show(self, view: &impl View) -> Result<(), CliError> {
        print(&self.render(view))
    }

    /// Prints one of a stream of results, on a line of its own in JSON.
    pub(crate) fn show_streamed(self, view: &impl View) -> Result<(), CliError> {
        match self {
            Format::Table => self.show(view),
            Format::Json => print(&format!("{}\n", json(serde_json::to_string(view)))),
        }
    }

    fn render(self, view: &impl View) -> String {
        let text = match self {
            Format::Table => view.text(),
            Format::Json => json(serde_json::to_string_pretty(view)),
        };
        if text.is_empty() { text } else { text + "\n" }
    }
}

fn json(result: serde_json::Result<String>) -> String {
    result.expect("our views have string keys only, so they are JSON")
}

/// Writes to standard output. A reader that has gone away (`| head`) ends the command quietly.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    print_bytes(text.as_bytes())
}

/// Writes bytes as they are to standard output.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(CliError::Exit(0)),
        Err(error) => Err(CliError::file("write to", "standard output", error)),
    }
}

/// Tells the person something that is not part of the result. That nobody reads it is no error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Something was done, and there is nothing to list.
#[derive(Serialize)]
pub(crate) struct Done {
    done: String,
}

impl Done {
    pub(crate) fn new(done: impl Into<String>) -> Done {
        Done { done: done.into() }
    }
}

impl View for Done {
    fn text(&self) -> String {
        self.done.clone()
    }
}

/// Names, one a line.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Names(pub(crate) Vec<String>);

impl View for Names {
    fn text(&self) -> String {
        self.0.join("\n")
    }
}

/// A date as people read it: year, month, day, hours and minutes of UTC. `ms` counts from the
/// epoch.
pub(crate) fn date(ms: u64) -> String {
    let minutes = ms / 60_000;
    let days = minutes / (24 * 60);
    // Days to a date of the Gregorian calendar, counted in years that begin in March, so that
    // the leap day is the last (Howard Hinnant, chrono-compatible low-level date algorithms).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hours, minutes) = (minutes / 60 % 24, minutes % 60);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02} UTC")
}

/// Rows under headings, each column as wide as its widest cell.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut headings.iter().copied())];
    for row in rows {
        assert_eq!(row.len(), headings.len(), "every row has a cell a column");
        lines.push(line(&mut row.iter().map(String::as_str)));
    }
    lines.join("\n")
}

/// A line on the terminal that says how far something is; nothing where there is no terminal.
pub(crate) struct Progress {
    shown: Option<String>,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress {
            shown: None,
            terminal: io::stderr().is_terminal(),
        }
    }

    /// So many bytes of so many are done.
    pub(crate) fn show(&mut self, done: u64, total: u64) {
        self.say(&share_for_people(done, total));
    }

    /// So many bytes of so many have been sent somewhere.
    pub(crate) fn show_to(&mut self, to: &str, done: u64, total: u64) {
        self.say(&format!("{to}: {}", share_for_people(done, total)));
    }

    /// So far it is, in words.
    pub(crate) fn say(&mut self, text: &str) {
        if self.terminal && self.shown.as_deref() != Some(text) {
            self.shown = Some(text.to_owned());
            let _ = write!(io::stderr(), "\r{text}   ");
        }
    }

    /// What comes next is on a line of its own.
    pub(crate) fn end(&self) {
        if self.shown.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}

fn share_for_people(done: u64, total: u64) -> String {
    let percent = (done.saturating_mul(100)).checked_div(total).unwrap_or(100);
    let (done, all) = (bytes_for_people(done), bytes_for_people(total));
    format!("{done} of {all} ({percent} %)")
}

/// A number of bytes for people.
pub(crate) fn bytes_for_people(bytes: u64) -> String {
    const UNITS: &[&str] = &["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// Puts bytes into a JSON object: as `name` where they are text, else as `name_base64`.
pub(crate) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(
            format!("{name}_base64"),
            BASE64_STANDARD.encode(bytes).into(),
        ),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            vec!["1".into(), "größer".into(), "x".into()],
            vec!["22222".into(), "b".into(), String::new()],
        ];
        assert_eq!(
            table(&["ID", "NAME", "C"], &rows),
            "ID     NAME    C\n1      größer  x\n22222  b"
        );
        assert_eq!(table(&["ID"], &[]), "ID");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, told) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399_999, "2000-02-28 23:59 UTC"),
            (951_782_400_000, "2000-02-29 00:00 UTC"),
            (951_868_800_000, "2000-03-01 00:00 UTC"),
            (1_735_689_599_000, "2024-12-31 23:59 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(date(ms), told);
        }
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes_for_people(0), "0 B");
        assert_eq!(bytes_for_people(1023), "1023 B");
        assert_eq!(bytes_for_people(1536), "1.5 KiB");
        assert_eq!(bytes_for_people(2 << 30), "2.0 GiB");
    }

    #[test]
    fn bytes_that_are_no_text_are_marked_as_such_in_json() {
        let mut object = Map::new();
        put_bytes(&mut object, "key", b"plain");
        put_bytes(&mut object, "value", &[0xff, 0]);
        assert_eq!(
            Value::Object(object).to_string(),
            r#"{"key":"plain","value_base64":"/wA="}"#
        );
    }

    #[test]
    fn every_format_prints_the_same_result() {
        let names = Names(vec!["a".into(), "b".into()]);
        assert_eq!(Format::Table.render(&names), "a\nb\n");
        assert_eq!(Format::Json.render(&names), "[\n  \"a\",\n  \"b\"\n]\n");
        assert_eq!(Format::Table.render(&Names(vec![])), "");
        assert_eq!(
            Format::Json.render(&Done::new("x")),
            "{\n  \"done\": \"x\"\n}\n"
        );
    }
}
