//! What a probe or a lifecycle hook does (`ProbeHandler`, `LifecycleHandler` of a container), read
//! once into a form that a driver can carry out without knowing the pod.

use std::collections::BTreeMap;

use serde_json::Value;

use super::environment::expand;
use crate::core::object;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Runs a program beside the container, with its environment; exit code 0 is good.
    Exec {
        /// The program and its arguments.
        argv: Vec<String>,
    },
    /// `GET`; a status from 200 to 399 is good.
    Http {
        /// Where; empty for the pod's own address, until it is [`Action::at`] that.
        host: String,
        /// 0 for the port that the driver has assigned to the container.
        port: u16,
        /// With its leading slash.
        path: String,
        /// HTTPS, whatever the certificate is.
        is_tls: bool,
        /// Sent besides; a `Host` replaces the usual one.
        headers: Vec<(String, String)>,
    },
    /// A connection that is accepted is good.
    Tcp {
        /// Where; empty for the pod's own address, until it is [`Action::at`] that.
        host: String,
        /// 0 for the port that the driver has assigned to the container.
        port: u16,
    },
    /// `grpc.health.v1.Health/Check`; `SERVING` is good.
    Grpc {
        /// Empty for the pod's own address, until it is [`Action::at`] that.
        host: String,
        /// 0 for the port that the driver has assigned to the container.
        port: u16,
        /// The service to ask about; empty for all.
        service: String,
    },
    /// Waits.
    Sleep {
        /// How long.
        seconds: u64,
    },
}

impl Action {
    /// Reads a handler.
    ///
    /// # Errors
    /// Says in words why it can't be done.
    pub(super) fn read(handler: &Value, container: &Value) -> Result<Action, String> {
        let host = |of: &Value| of["host"].as_str().unwrap_or_default().to_owned();
        if let Some(exec) = handler.get("exec") {
            let argv: Vec<String> = texts(&exec["command"]).map(str::to_owned).collect();
            return match argv.is_empty() {
                true => Err("no command specified".to_owned()),
                false => Ok(Action::Exec { argv }),
            };
        }
        if let Some(http) = handler.get("httpGet") {
            let path = http["path"].as_str().unwrap_or_default();
            let slash = if path.starts_with('/') { "" } else { "/" };
            return Ok(Action::Http {
                host: host(http),
                port: port(&http["port"], container)?,
                path: format!("{slash}{path}"),
                is_tls: http["scheme"] == "HTTPS",
                headers: headers(&http["httpHeaders"]),
            });
        }
        if let Some(tcp) = handler.get("tcpSocket") {
            let port = port(&tcp["port"], container)?;
            return Ok(Action::Tcp {
                host: host(tcp),
                port,
            });
        }
        if let Some(grpc) = handler.get("grpc") {
            let service = grpc["service"].as_str().unwrap_or_default().to_owned();
            return Ok(Action::Grpc {
                host: String::new(),
                port: port(&grpc["port"], container)?,
                service,
            });
        }
        if let Some(sleep) = handler.get("sleep") {
            let seconds = sleep["seconds"].as_u64().unwrap_or(0);
            return Ok(Action::Sleep { seconds });
        }
        Err("no handler specified".to_owned())
    }

    /// The same with `$(NAME)` in its command replaced by the container's plain variables, as
    /// probes have it and hooks do not.
    ///
    /// # Errors
    /// If it is too long then.
    pub(super) fn with_static_env(mut self, container: &Value) -> Result<Action, String> {
        if let Action::Exec { argv } = &mut self {
            let pair = |one: &'_ Value| {
                let value = one["value"].as_str().unwrap_or_default();
                Some((one["name"].as_str()?.to_owned(), value.to_owned()))
            };
            let known: BTreeMap<String, String> =
                object::items(&container["env"]).filter_map(pair).collect();
            for word in argv {
                let whole = expand(word, |name| known.get(name).map(String::as_str));
                *word = whole.ok_or("an argument is too long")?;
            }
        }
        Ok(self)
    }

    /// The same for a pod that has these addresses.
    pub(super) fn at(mut self, ips: &[String]) -> Action {
        if let Action::Http { host, .. } | Action::Tcp { host, .. } | Action::Grpc { host, .. } =
            &mut self
            && host.is_empty()
        {
            host.clone_from(ips.first().unwrap_or(&String::new()));
        }
        self
    }
}

/// The texts of a list.
pub(super) fn texts(list: &Value) -> impl Iterator<Item = &str> {
    object::items(list).filter_map(Value::as_str)
}

fn headers(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pair = |one: &Value| (text(&one["name"]), text(&one["value"]));
    object::items(list).map(pair).collect()
}

/// A number, or the name of one of the container's ports.
fn port(port: &Value, container: &Value) -> Result<u16, String> {
    let name = port.as_str().unwrap_or_default();
    let number = match port.as_i64().or_else(|| name.parse().ok()) {
        Some(number) => Some(number),
        None => object::items(&container["ports"])
            .find(|one| one["name"] == *port)
            .and_then(|one| one["containerPort"].as_i64()),
    };
    let number = number.ok_or_else(|| format!("couldn't find port: {port}"))?;
    u16::try_from(number).map_err(|_| format!("invalid port number: {number}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn handlers_are_read() {
        let container = json!({
            "ports": [{"name": "web", "containerPort": 8080}],
            "env": [{"name": "DIR", "value": "/d"}],
        });
        let read = |handler: Value| Action::read(&handler, &container)?.with_static_env(&container);
        assert_eq!(
            read(
                json!({"httpGet": {"port": "web", "scheme": "HTTPS", "path": "up",
                "httpHeaders": [{"name": "Host", "value": "h"}]}})
            ),
            Ok(Action::Http {
                host: String::new(),
                port: 8080,
                path: "/up".to_owned(),
                is_tls: true,
                headers: vec![("Host".to_owned(), "h".to_owned())],
            })
        );
        let tcp = Action::Tcp {
            host: "1.2.3.4".to_owned(),
            port: 5,
        };
        assert_eq!(
            read(json!({"tcpSocket": {"port": 5, "host": "1.2.3.4"}})),
            Ok(tcp)
        );
        let grpc = Action::Grpc {
            host: String::new(),
            port: 7,
            service: "s".to_owned(),
        };
        assert_eq!(read(json!({"grpc": {"port": 7, "service": "s"}})), Ok(grpc));
        let there = |handler: Value| read(handler).unwrap().at(&["10.0.0.9".to_owned()]);
        let grpc = there(json!({"grpc": {"port": 7}}));
        assert!(matches!(grpc, Action::Grpc { host, .. } if host == "10.0.0.9"));
        let said = there(json!({"tcpSocket": {"port": 5, "host": "1.2.3.4"}}));
        assert!(matches!(said, Action::Tcp { host, .. } if host == "1.2.3.4"));
        assert_eq!(
            read(json!({"sleep": {"seconds": 3}})),
            Ok(Action::Sleep { seconds: 3 })
        );
        let argv = vec!["ls".to_owned(), "/d".to_owned(), "$(NO)".to_owned()];
        let exec = json!({"exec": {"command": ["ls", "$(DIR)", "$(NO)"]}});
        assert_eq!(read(exec), Ok(Action::Exec { argv }));
    }

    #[test]
    fn handlers_that_make_no_sense_are_told() {
        let read = |handler: Value| Action::read(&handler, &json!({})).unwrap_err();
        assert_eq!(
            read(json!({"tcpSocket": {"port": "x"}})),
            "couldn't find port: \"x\""
        );
        assert_eq!(
            read(json!({"tcpSocket": {"port": 70000}})),
            "invalid port number: 70000"
        );
        assert_eq!(read(json!({"exec": {}})), "no command specified");
        assert_eq!(read(json!({})), "no handler specified");
    }
}
