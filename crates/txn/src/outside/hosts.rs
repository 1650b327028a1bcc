//! Which hosts a node talks to on behalf of clients.
//!
//! A client names the services that take part, and the node sends requests there: from its own
//! place in the network, where it may reach what the client can't. So only hosts that the
//! operator has listed are talked to. While a node serves this machine only, services on this
//! machine need no listing.

use std::{fmt, net::IpAddr};

/// What can't be understood of a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not HOST or HOST:PORT (an IPv6 address stands in brackets)")]
pub struct HostsError(String);

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// In lower case, without brackets.
    host: String,
    /// Any, if none.
    port: Option<u16>,
}

/// The hosts that are talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    entries: Vec<Entry>,
    loopback: bool,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The list does not name it: it has to turn out to be this machine.
    pub only_loopback: bool,
}

impl fmt::Display for Place {
    /// As sockets want it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Hosts {
    /// Out of a list, separated by commas. Without one, this machine, if it may be (`loopback`).
    ///
    /// # Errors
    /// An entry that can't be understood.
    pub fn parse(list: &str, loopback: bool) -> Result<Hosts, HostsError> {
        let texts = list.split(',').map(str::trim).filter(|it| !it.is_empty());
        let entries = texts.map(|text| entry(text).ok_or_else(|| HostsError(text.to_owned())));
        let entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
        Ok(Hosts {
            loopback: loopback && entries.is_empty(),
            entries,
        })
    }

    /// Where a request to a host goes, if one may.
    pub fn place(&self, host: &str, port: u16) -> Option<Place> {
        let host = unbracketed(host).to_ascii_lowercase();
        let is_listed = |it: &Entry| it.host == host && it.port.is_none_or(|it| it == port);
        let only_loopback = !self.entries.iter().any(is_listed);
        let may = !only_loopback || (self.loopback && is_this_machine(&host));
        may.then_some(Place {
            host,
            port,
            only_loopback,
        })
    }
}

fn is_this_machine(host: &str) -> bool {
    let address: Result<IpAddr, _> = host.parse();
    host == "localhost" || address.is_ok_and(|it| it.is_loopback())
}

fn unbracketed(host: &str) -> &str {
    let inside = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    inside.unwrap_or(host)
}

fn entry(text: &str) -> Option<Entry> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        Some(_) => return None,
        None => (text, None),
    };
    let port = match port.map(str::parse) {
        Some(Ok(0) | Err(_)) => return None,
        Some(Ok(port)) => Some(port),
        None => None,
    };
    let inside = unbracketed(host);
    let is_address = host != inside && inside.parse::<std::net::Ipv6Addr>().is_ok();
    let is_name = host == inside
        && !host.is_empty()
        && host
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b".-_".contains(&it));
    (is_address || is_name).then(|| Entry {
        host: inside.to_ascii_lowercase(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(list: &str, loopback: bool, host: &str, port: u16) -> bool {
        let hosts = Hosts::parse(list, loopback).expect("a list");
        hosts.place(host, port).is_some()
    }

    #[test]
    fn only_what_is_listed_is_talked_to() {
        let list = "pay.example:443, Stock.example,[::1]:80";
        assert!(may(list, true, "pay.example", 443));
        assert!(may(list, true, "PAY.example", 443));
        assert!(!may(list, true, "pay.example", 80), "another port");
        assert!(may(list, true, "stock.example", 8_080));
        assert!(may(list, true, "[::1]", 80));
        assert!(!may(list, true, "evil.example", 443));
        assert!(!may(list, true, "pay.example.evil", 443));
        assert!(!may(list, true, "127.0.0.1", 443), "the list is all");
    }

    #[test]
    fn without_a_list_it_is_this_machine_or_nobody() {
        for host in ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "LocalHost"] {
            assert!(may("", true, host, 80), "{host}");
            assert!(!may("", false, host, 80), "{host}");
        }
        for host in [
            "10.0.0.1",
            "example",
            "0.0.0.0",
            "169.254.169.254",
            "localhost.evil",
        ] {
            assert!(!may("", true, host, 80), "{host}");
        }
        let hosts = Hosts::parse("", true).expect("empty");
        let place = hosts.place("localhost", 80).expect("this machine");
        assert!(place.only_loopback, "a name may lead elsewhere");
        assert_eq!(hosts.place("[::1]", 9).expect("it").to_string(), "[::1]:9");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for wrong in [
            "a:b", "a:0", "a:70000", "http://a", "a/b", "::1", "[a]", ":80", "*", "a b",
        ] {
            assert!(Hosts::parse(wrong, true).is_err(), "{wrong}");
        }
    }
}
