//! Which wire a client gets for what it offers.
//!
//! A request to upgrade names either `websocket` and subprotocols (RFC 6455), or `SPDY/3.1` and
//! versions in `X-Stream-Protocol-Version`. The first of the client's that is spoken here is
//! taken; if there is none, the client is told in Kubernetes' words, and kubectl tries the other.

use super::{channels::Coding, exec::EndForm, websocket};
use crate::core::status::{Failure, Reason};

/// What is said over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Exec or attach.
    Exec,
    /// Port-forward.
    PortForward,
}

/// A wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Channels in messages of a WebSocket.
    Channels {
        /// How messages are written.
        coding: Coding,
        /// How the end of a process is told.
        end_form: EndForm,
        /// Whether channels can end one by one.
        has_close: bool,
    },
    /// Streams in SPDY.
    Spdy {
        /// How the end of a process is told.
        end_form: EndForm,
        /// Whether clients send sizes of their terminals.
        has_resize: bool,
    },
    /// SPDY in messages of a WebSocket.
    Tunnel,
}

/// A wire, and its name as client and server agreed on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The wire.
    pub wire: Wire,
    /// The subprotocol or the version; empty if the client named none.
    pub name: &'static str,
    /// `Sec-WebSocket-Accept`, on a WebSocket.
    pub accept: Option<String>,
}

/// What the headers of a request say about an upgrade.
#[derive(Clone, Debug, Default)]
pub struct Offer<'a> {
    /// `Connection`, all values.
    pub connection: Vec<&'a str>,
    /// `Upgrade`.
    pub upgrade: &'a str,
    /// `Sec-WebSocket-Key`.
    pub key: &'a str,
    /// `Sec-WebSocket-Version`.
    pub version: &'a str,
    /// `Sec-WebSocket-Protocol`, all values.
    pub subprotocols: Vec<&'a str>,
    /// `X-Stream-Protocol-Version`, all values.
    pub stream_versions: Vec<&'a str>,
    /// How many headers there are.
    pub headers: usize,
}

impl Protocol {
    /// Whether the request has to name ports: [`super::options::Ports`].
    pub fn needs_ports(&self, purpose: Purpose) -> bool {
        purpose == Purpose::PortForward && matches!(self.wire, Wire::Channels { .. })
    }
}

type Table = [(&'static str, Wire)];

const fn channels(coding: Coding, end_form: EndForm, has_close: bool) -> Wire {
    Wire::Channels {
        coding,
        end_form,
        has_close,
    }
}

const fn spdy(end_form: EndForm, has_resize: bool) -> Wire {
    Wire::Spdy {
        end_form,
        has_resize,
    }
}

const EXEC_WEBSOCKET: &Table = &[
    (
        "v5.channel.k8s.io",
        channels(Coding::Binary, EndForm::Status, true),
    ),
    (
        "v4.channel.k8s.io",
        channels(Coding::Binary, EndForm::Status, false),
    ),
    (
        "v4.base64.channel.k8s.io",
        channels(Coding::Base64, EndForm::Status, false),
    ),
    (
        "channel.k8s.io",
        channels(Coding::Binary, EndForm::Text, false),
    ),
    (
        "base64.channel.k8s.io",
        channels(Coding::Base64, EndForm::Text, false),
    ),
    ("", channels(Coding::Binary, EndForm::Text, false)),
];
const EXEC_SPDY: &Table = &[
    ("v5.channel.k8s.io", spdy(EndForm::Status, true)),
    ("v4.channel.k8s.io", spdy(EndForm::Status, true)),
    ("v3.channel.k8s.io", spdy(EndForm::Text, true)),
    ("v2.channel.k8s.io", spdy(EndForm::Text, false)),
];
const FORWARD_WEBSOCKET: &Table = &[
    ("SPDY/3.1+portforward.k8s.io", Wire::Tunnel),
    (
        "v4.channel.k8s.io",
        channels(Coding::Binary, EndForm::Text, false),
    ),
    (
        "v4.base64.channel.k8s.io",
        channels(Coding::Base64, EndForm::Text, false),
    ),
    ("", channels(Coding::Binary, EndForm::Text, false)),
];
const FORWARD_SPDY: &Table = &[("portforward.k8s.io", spdy(EndForm::Text, false))];

/// Chooses the wire.
///
/// # Errors
/// It is no request to upgrade, or none to what is spoken here.
pub fn negotiate(offer: &Offer<'_>, purpose: Purpose) -> Result<Protocol, Failure> {
    let has = |texts: &[&str], word: &str| {
        let mut words = texts.iter().flat_map(|text| text.split(','));
        words.any(|it| it.trim().eq_ignore_ascii_case(word))
    };
    if !has(&offer.connection, "upgrade") {
        return Err(Failure::bad_request("Upgrade request required"));
    }
    if has(&[offer.upgrade], "websocket") {
        return websocket(offer, purpose);
    }
    if has(&[offer.upgrade], "SPDY/3.1") {
        return over_spdy(offer, purpose);
    }
    Err(Failure::bad_request(format!(
        "unable to upgrade: Upgrade is {:?}, not websocket or SPDY/3.1",
        offer.upgrade
    )))
}

fn websocket(offer: &Offer<'_>, purpose: Purpose) -> Result<Protocol, Failure> {
    if offer.version.trim() != websocket::VERSION {
        return Err(Failure::bad_request(
            "websocket: unsupported version: 13 not found in 'Sec-Websocket-Version' header",
        ));
    }
    let accept = websocket::accept(offer.key).ok_or_else(|| {
        Failure::bad_request(
            "websocket: not a websocket handshake: 'Sec-WebSocket-Key' header must be Base64 encoded value of 16-byte in length",
        )
    })?;
    let table = match purpose {
        Purpose::Exec => EXEC_WEBSOCKET,
        Purpose::PortForward => FORWARD_WEBSOCKET,
    };
    let mut offered = words(&offer.subprotocols);
    if offered.is_empty() {
        offered.push("");
    }
    let (name, wire) = choose(&offered, table).ok_or_else(|| {
        forbidden(format!(
            "requested protocol(s) are not supported: [{}]; supports [{}]",
            offered.join(" "),
            names(table)
        ))
    })?;
    Ok(Protocol {
        wire,
        name,
        accept: Some(accept),
    })
}

fn over_spdy(offer: &Offer<'_>, purpose: Purpose) -> Result<Protocol, Failure> {
    let table = match purpose {
        Purpose::Exec => EXEC_SPDY,
        Purpose::PortForward => FORWARD_SPDY,
    };
    let header = "unable to upgrade: header X-Stream-Protocol-Version";
    if offer.stream_versions.is_empty() {
        return Err(Failure::bad_request(format!(
            "{header} does not exist in request with {} headers",
            offer.headers
        )));
    }
    let offered = words(&offer.stream_versions);
    if offered.is_empty() {
        return Err(Failure::bad_request(format!(
            "{header} contains [{}], but no valid protocols",
            offer.stream_versions.join(" ")
        )));
    }
    let (name, wire) = choose(&offered, table).ok_or_else(|| {
        forbidden(format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
            offered.join(" "),
            names(table)
        ))
    })?;
    Ok(Protocol {
        wire,
        name,
        accept: None,
    })
}

/// What stands between commas.
fn words<'a>(texts: &[&'a str]) -> Vec<&'a str> {
    let words = texts.iter().flat_map(|text| text.split(','));
    words
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect()
}

fn choose(offered: &[&str], table: &Table) -> Option<(&'static str, Wire)> {
    let find = |name: &&str| table.iter().find(|(known, _)| known == name);
    offered.iter().find_map(find).copied()
}

fn names(table: &Table) -> String {
    let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
    names.join(" ").trim_end().to_owned()
}

fn forbidden(message: String) -> Failure {
    Failure::new(Reason::Forbidden, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket<'a>(subprotocols: &[&'a str]) -> Offer<'a> {
        Offer {
            connection: vec!["keep-alive, Upgrade"],
            upgrade: "WebSocket",
            key: "dGhlIHNhbXBsZSBub25jZQ==",
            version: "13",
            subprotocols: subprotocols.to_vec(),
            ..Offer::default()
        }
    }

    fn plain<'a>(versions: &[&'a str]) -> Offer<'a> {
        Offer {
            connection: vec!["Upgrade"],
            upgrade: "SPDY/3.1",
            stream_versions: versions.to_vec(),
            headers: 5,
            ..Offer::default()
        }
    }

    #[test]
    fn the_first_that_is_spoken_is_taken() {
        let cases = [
            (
                Purpose::Exec,
                socket(&["v5.channel.k8s.io"]),
                "v5.channel.k8s.io",
            ),
            (
                Purpose::Exec,
                socket(&["v9.x, v4.channel.k8s.io", "channel.k8s.io"]),
                "v4.channel.k8s.io",
            ),
            (Purpose::Exec, socket(&[]), ""),
            (
                Purpose::PortForward,
                socket(&["SPDY/3.1+portforward.k8s.io"]),
                "SPDY/3.1+portforward.k8s.io",
            ),
            (
                Purpose::Exec,
                plain(&["v4.channel.k8s.io", "v3.channel.k8s.io"]),
                "v4.channel.k8s.io",
            ),
            (
                Purpose::PortForward,
                plain(&["portforward.k8s.io"]),
                "portforward.k8s.io",
            ),
        ];
        for (purpose, offer, name) in cases {
            let protocol = negotiate(&offer, purpose).unwrap();
            assert_eq!(protocol.name, name);
            assert_eq!(protocol.accept.is_some(), offer.upgrade == "WebSocket");
        }
        let first = negotiate(&socket(&["base64.channel.k8s.io"]), Purpose::Exec).unwrap();
        assert_eq!(first.wire, channels(Coding::Base64, EndForm::Text, false));
    }

    #[test]
    fn others_are_told_why_not() {
        let mut none = plain(&["v4.channel.k8s.io"]);
        none.connection = vec!["keep-alive"];
        let mut other = plain(&["v4.channel.k8s.io"]);
        other.upgrade = "h2c";
        let (mut old, mut keyless) = (socket(&[]), socket(&[]));
        (old.version, keyless.key) = ("8", "x");
        let cases = [
            (none, 400, "Upgrade request required"),
            (
                other,
                400,
                "unable to upgrade: Upgrade is \"h2c\", not websocket or SPDY/3.1",
            ),
            (
                old,
                400,
                "websocket: unsupported version: 13 not found in 'Sec-Websocket-Version' header",
            ),
            (
                keyless,
                400,
                "websocket: not a websocket handshake: 'Sec-WebSocket-Key' header must be Base64 encoded value of 16-byte in length",
            ),
            (
                plain(&[]),
                400,
                "unable to upgrade: header X-Stream-Protocol-Version does not exist in request with 5 headers",
            ),
            (
                plain(&[" ,"]),
                400,
                "unable to upgrade: header X-Stream-Protocol-Version contains [ ,], but no valid protocols",
            ),
            (
                plain(&["a", "b"]),
                403,
                "unable to upgrade: unable to negotiate protocol: client supports [a b], server accepts [v5.channel.k8s.io v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io]",
            ),
            (
                socket(&["a"]),
                403,
                "requested protocol(s) are not supported: [a]; supports [v5.channel.k8s.io v4.channel.k8s.io v4.base64.channel.k8s.io channel.k8s.io base64.channel.k8s.io]",
            ),
        ];
        for (offer, code, message) in cases {
            let refused = negotiate(&offer, Purpose::Exec).unwrap_err();
            assert_eq!((refused.code(), refused.message.as_str()), (code, message));
        }
    }
}
