//! What stands behind the question mark of exec, attach and port-forward (`PodExecOptions`,
//! `PodAttachOptions`, `PodPortForwardOptions`).

use serde::{Deserialize, Serialize};

use crate::core::{
    status::Failure,
    streams::channels::{ERROR, STDERR, STDOUT},
};

/// The most ports that a request names: two channels each, which single digits number in the
/// base64 form.
const PORTS_MAX: usize = 5;

/// Which streams of a process a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// It writes standard input.
    pub stdin: bool,
    /// It reads standard output.
    pub stdout: bool,
    /// It reads standard error. Not with a terminal, which has one output.
    pub stderr: bool,
    /// The process has a terminal.
    pub tty: bool,
}

impl Streams {
    /// The lowest channel that the client reads.
    pub(super) fn first_channel(self) -> u8 {
        match (self.stdout, self.stderr) {
            (true, _) => STDOUT,
            (_, true) => STDERR,
            _ => ERROR,
        }
    }
}

/// What a client wants of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOptions {
    /// The program and its arguments; none to attach.
    pub command: Vec<String>,
    /// The container; empty is the only one.
    pub container: String,
    /// Which streams.
    pub streams: Streams,
}

impl ExecOptions {
    /// Reads those of exec.
    ///
    /// # Errors
    /// There is no command, or none of the streams.
    pub fn exec(query: Option<&str>) -> Result<ExecOptions, Failure> {
        let options = ExecOptions::attach(query)?;
        if options.command.is_empty() {
            let message = "you must specify at least one command for the container";
            return Err(Failure::bad_request(message));
        }
        Ok(options)
    }

    /// Reads those of attach.
    ///
    /// # Errors
    /// None of the streams is wanted.
    pub fn attach(query: Option<&str>) -> Result<ExecOptions, Failure> {
        let mut options = ExecOptions::default();
        let mut first = [None; 4];
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let flag = match &*name {
                "command" => {
                    options.command.push(value.into_owned());
                    continue;
                }
                "container" => {
                    if options.container.is_empty() {
                        options.container = value.into_owned();
                    }
                    continue;
                }
                "stdin" => &mut first[0],
                "stdout" => &mut first[1],
                "stderr" => &mut first[2],
                "tty" => &mut first[3],
                _ => continue,
            };
            // Of several the first counts.
            flag.get_or_insert(is_true(&value));
        }
        let [stdin, stdout, stderr, tty] = first.map(|flag| flag == Some(true));
        options.streams = Streams {
            stdin,
            stdout,
            stderr: stderr && !tty,
            tty,
        };
        if !stdin && !stdout && !options.streams.stderr {
            let message = "you must specify at least 1 of stdin, stdout, stderr";
            return Err(Failure::bad_request(message));
        }
        Ok(options)
    }
}

/// As Kubernetes reads flags: all is true but what says no.
fn is_true(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}

/// The ports of a port-forward over channels. Over SPDY each stream tells its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(pub Vec<u16>);

impl Ports {
    /// Reads them.
    ///
    /// # Errors
    /// There is none, or one that is no port.
    pub fn parse(query: Option<&str>) -> Result<Ports, Failure> {
        let mut ports = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if name != "ports" && name != "port" {
                continue;
            }
            if value.is_empty() {
                let message = "query parameter \"port\" cannot be empty";
                return Err(Failure::bad_request(message));
            }
            for one in value.split(',') {
                ports.push(port(one)?);
            }
        }
        if ports.is_empty() {
            return Err(Failure::bad_request("query parameter \"port\" is required"));
        }
        if ports.len() > PORTS_MAX {
            let message = format!("{} ports: must have at most {PORTS_MAX}", ports.len());
            return Err(Failure::bad_request(message));
        }
        Ok(Ports(ports))
    }
}

fn port(text: &str) -> Result<u16, Failure> {
    match text.parse() {
        Ok(0) => Err(Failure::bad_request(format!("port {text:?} must be > 0"))),
        Ok(port) => Ok(port),
        Err(_) => Err(Failure::bad_request(format!(
            "unable to parse {text:?} as a port: it is no number from 1 to 65535"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_tells_what_is_wanted() {
        let query = "command=sh&command=-c&command=a%20b&container=web&stdin=true&stdout=1&stderr=";
        let options = ExecOptions::exec(Some(query)).unwrap();
        assert_eq!(options.command, ["sh", "-c", "a b"]);
        assert_eq!(options.container, "web");
        let all = Streams {
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
        };
        assert_eq!(options.streams, all);
        let tty = ExecOptions::attach(Some("stdout=true&stderr=true&tty=true")).unwrap();
        assert!(tty.streams.tty && !tty.streams.stderr);
        assert!(tty.command.is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let nothing = "you must specify at least 1 of stdin, stdout, stderr";
        for query in [
            None,
            Some("command=x&stdin=false&stdout=0"),
            Some("tty=1&stderr=1"),
        ] {
            let refused = ExecOptions::attach(query).unwrap_err();
            assert_eq!(refused.message, nothing, "{query:?}");
        }
        assert!(ExecOptions::exec(Some("stdout=1")).is_err());
        assert_eq!(
            Ports::parse(Some("ports=80,443&ports=1")),
            Ok(Ports(vec![80, 443, 1]))
        );
        let many = "ports=1,2,3,4,5,6";
        for query in ["", "ports=", "ports=0", "ports=x", "ports=65536", many] {
            assert!(Ports::parse(Some(query)).is_err(), "{query}");
        }
    }
}
