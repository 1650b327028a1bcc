//! The load generators, and what they say.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::error::{Error, Result};

/// Significant digits of latencies.
const DIGITS: u8 = 3;

/// How long a load generator may take besides what it was told, and how many times that.
const SLACK: Duration = Duration::from_secs(60);
const TIMES_MAX: u32 = 5;
const POLL: Duration = Duration::from_millis(10);
/// Requests on each stream of HTTP/2 by which the first rate is found.
const FIRST_ROUNDS: usize = 4;

/// What a load generator measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) requests: u64,
    pub(super) requests_per_second: f64,
    pub(super) p99_us: f64,
}

/// wrk: HTTP/1.1.
#[derive(Clone, Debug)]
pub(super) struct Wrk(pub(super) PathBuf);

impl Wrk {
    /// # Errors
    /// It fails, or a request did.
    pub(super) fn run(
        &self,
        url: &str,
        connections: usize,
        closes: bool,
        time: Duration,
    ) -> Result<Figures> {
        let mut command = Command::new(&self.0);
        command
            .args(["--threads", "1", "--latency", "--timeout", "10s"])
            .args(["--connections", &connections.to_string()])
            .args(["--duration", &format!("{}s", time.as_secs())]);
        if closes {
            command.args(["--header", "Connection: close"]);
        }
        let said = said("wrk", command.arg(url), time)?;
        wrk_figures(&said).ok_or(Error::Tool("wrk", said))
    }
}

/// `None` where a request failed, too.
fn wrk_figures(said: &str) -> Option<Figures> {
    if said.contains("Socket errors") || said.contains("Non-2xx") {
        return None;
    }
    let lines = || said.lines().map(str::trim);
    let behind = |name: &str| {
        lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let requests = lines().find_map(|line| line.split_once(" requests in "))?.0;
    Some(Figures {
        requests: requests.parse().ok()?,
        requests_per_second: behind("Requests/sec:")?.parse().ok()?,
        p99_us: microseconds(behind("99%")?)?,
    })
}

/// A time with a unit, as `1.50ms`.
fn microseconds(text: &str) -> Option<f64> {
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let scale = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

/// h2load: HTTP/2.
#[derive(Clone, Debug)]
pub(super) struct H2load(pub(super) PathBuf);

/// What is asked of h2load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    pub(super) url: &'a str,
    pub(super) connections: usize,
    /// Requests at one time on each of them.
    pub(super) streams: usize,
}

impl H2load {
    /// Runs for about as long. It does not end by itself where connections are still being made
    /// when a time is over, so it is given a number of requests; the rate so far tells which.
    /// `dir`: for the file in which it writes down each request.
    ///
    /// # Errors
    /// It fails, or a request did.
    pub(super) fn run(
        &self,
        shape: Shape<'_>,
        rate: Option<f64>,
        time: Duration,
        dir: &Path,
    ) -> Result<Figures> {
        let all_once = shape.connections * shape.streams;
        let rate = match rate {
            Some(rate) => rate,
            None => {
                self.ask(shape, all_once * FIRST_ROUNDS, time, dir)?
                    .requests_per_second
            }
        };
        let requests = (rate * time.as_secs_f64()) as usize;
        self.ask(shape, requests.max(all_once), time, dir)
    }

    fn ask(
        &self,
        shape: Shape<'_>,
        requests: usize,
        time: Duration,
        dir: &Path,
    ) -> Result<Figures> {
        let log = dir.join("h2load.log");
        let mut command = Command::new(&self.0);
        command
            .args([
                "--threads",
                "1",
                "--clients",
                &shape.connections.to_string(),
            ])
            .args(["--max-concurrent-streams", &shape.streams.to_string()])
            .arg(format!("--requests={requests}"))
            .arg(format!("--log-file={}", log.display()));
        let said = said("h2load", command.arg(shape.url), time)?;
        let (requests, requests_per_second) =
            h2load_figures(&said).ok_or(Error::Tool("h2load", said))?;
        let file = File::open(&log).map_err(Error::io("read h2load's log"))?;
        let p99_us = h2load_p99_us(BufReader::new(file))?;
        fs::remove_file(&log).map_err(Error::io("remove h2load's log"))?;
        Ok(Figures {
            requests,
            requests_per_second,
            p99_us,
        })
    }
}

/// Runs a load generator and gives what it said; `time`: for how long it is to measure.
fn said(name: &'static str, command: &mut Command, time: Duration) -> Result<String> {
    let told = || Error::io(&format!("run {name}"));
    let command = command.stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(told())?;
    let limit = SLACK + time * TIMES_MAX;
    let deadline = Instant::now() + limit;
    // What it says fits into the pipe.
    while child.try_wait().map_err(told())?.is_none() {
        if Instant::now() > deadline {
            child.kill().and_then(|()| child.wait()).map_err(told())?;
            return Err(Error::Late("end of a load generator", limit));
        }
        thread::sleep(POLL);
    }
    let output = child.wait_with_output().map_err(told())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(Error::Tool(name, text)),
    }
}

/// How many requests, and how many in a second; `None` where one failed, too.
fn h2load_figures(said: &str) -> Option<(u64, f64)> {
    let line = |name: &str| said.lines().find_map(|line| line.strip_prefix(name));
    let numbered = |line: &str, what: &str| {
        let part = line.split(',').find_map(|it| it.trim().strip_suffix(what));
        part?.trim().parse::<u64>().ok()
    };
    let requests = line("requests:")?;
    let (done, good) = (
        numbered(requests, "done")?,
        numbered(line("status codes:")?, "2xx")?,
    );
    let failed = numbered(requests, "failed")? + numbered(requests, "errored")?;
    if failed > 0 || good < done {
        return None;
    }
    let rate = line("finished in ")?
        .split(", ")
        .nth(1)?
        .strip_suffix(" req/s")?;
    Some((done, rate.parse().ok()?))
}

/// The third column of each line is how long a request took.
fn h2load_p99_us(log: impl BufRead) -> Result<f64> {
    let mut latencies = Histogram::<u64>::new(DIGITS).expect("digits of a histogram");
    for line in log.lines() {
        let line = line.map_err(Error::io("read h2load's log"))?;
        let took = line
            .split('\t')
            .nth(2)
            .and_then(|it| it.parse::<u64>().ok());
        let took = took.ok_or_else(|| Error::Tool("h2load", line.clone()))?;
        latencies
            .record(took)
            .map_err(|_| Error::Tool("h2load", line))?;
    }
    Ok(latencies.value_at_quantile(0.99) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "\
Running 1s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Latency Distribution
     50%    1.24ms
     99%  530.00us
  23119 requests in 1.10s, 3.84MB read
Requests/sec:  21012.37
Transfer/sec:      3.49MB
";

    #[test]
    fn wrk_is_understood() {
        let figures = Figures {
            requests: 23_119,
            requests_per_second: 21_012.37,
            p99_us: 530.0,
        };
        assert_eq!(wrk_figures(WRK), Some(figures));
        for bad in [
            "  Socket errors: connect 0, read 1, write 0, timeout 0\n",
            "  Non-2xx or 3xx responses: 1\n",
        ] {
            assert_eq!(wrk_figures(&format!("{WRK}{bad}")), None);
        }
        assert_eq!(wrk_figures("unable to connect"), None);
    }

    #[test]
    fn times_have_units() {
        let all = ["1.50us", "1.50ms", "1.50s", "1.50m"].map(microseconds);
        assert_eq!(all, [Some(1.5), Some(1.5e3), Some(1.5e6), Some(90e6)]);
        assert_eq!(microseconds("1.50h"), None);
    }

    const H2LOAD: &str = "\
starting benchmark...
finished in 1.00s, 21012.00 req/s, 3.49MB/s
requests: 21012 total, 21652 started, 21012 done, 21012 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 21015 2xx, 0 3xx, 0 4xx, 0 5xx
";

    #[test]
    fn h2load_is_understood() {
        assert_eq!(h2load_figures(H2LOAD), Some((21_012, 21_012.0)));
        let failed = H2LOAD.replace("0 failed", "1 failed");
        assert_eq!(h2load_figures(&failed), None);
        let refused = H2LOAD.replace("21015 2xx", "21000 2xx");
        assert_eq!(h2load_figures(&refused), None);
        let log: String = (1..=100).map(|took| format!("1\t200\t{took}\n")).collect();
        assert_eq!(h2load_p99_us(log.as_bytes()).unwrap(), 99.0);
        assert!(h2load_p99_us(&b"1\t200\n"[..]).is_err());
    }
}
