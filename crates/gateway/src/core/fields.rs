//! The fields of a head on their way through: what belongs to one connection only is taken out
//! (RFC 9110 section 7.6.1), what the next one has to know about the client is put in, and what
//! was asked for is made certain. Everything else is passed as it came, W3C trace context and
//! unknown fields included.

use hyper::{
    HeaderMap, Method, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, Entry, FORWARDED, HOST, HeaderName, HeaderValue,
        PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
    },
};

#[cfg(test)]
mod tests;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_USER: HeaderName = HeaderName::from_static("x-forwarded-user");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The fields that always belong to one connection.
static HOP_BY_HOP: [HeaderName; 5] = [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];

/// The fields that frame a message, and those that the gateway answers for; of more than one word.
static OWN: [HeaderName; 7] = [
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    X_FORWARDED_USER,
    X_REAL_IP,
];

/// Takes out what belongs to one connection: the fields known for that, and those that
/// `Connection` names; but not those without which the message would be another one, whoever
/// names them.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        strip_named(headers);
    }
    strip(headers, |name| HOP_BY_HOP.contains(name));
}

/// Takes fields out. To look at each name there is takes less time than to look for those that
/// are hardly ever there.
fn strip(headers: &mut HeaderMap, is_stripped: impl Fn(&HeaderName) -> bool) {
    let names = headers.keys().filter(|name| is_stripped(name));
    let names: Vec<HeaderName> = names.cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn strip_named(headers: &mut HeaderMap) {
    let values: Vec<HeaderValue> = match headers.entry(CONNECTION) {
        Entry::Occupied(entry) => entry.remove_entry_mult().1.collect(),
        Entry::Vacant(_) => return,
    };
    for value in &values {
        for option in tokens(value) {
            let is_for_all = [HOST, CONTENT_LENGTH]
                .iter()
                .any(|name| option.eq_ignore_ascii_case(name.as_str().as_bytes()));
            if is_for_all {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(option) {
                headers.remove(name);
            }
        }
    }
}

/// Takes out of a request what is meant for a proxy, which is this one.
pub fn strip_proxy_credentials(headers: &mut HeaderMap) {
    strip(headers, |name| {
        *name == PROXY_AUTHORIZATION || *name == PROXY_AUTHENTICATE
    });
}

/// Takes out of a request what could be taken for a field that frames it or that the gateway
/// answers for. Endpoints that make variables of fields (RFC 3875 section 4.1.18) can't tell `_`
/// from `-`, so a client could say by `X_Forwarded_User` who it is.
pub fn strip_lookalikes(headers: &mut HeaderMap) {
    strip(headers, |name| is_lookalike(name.as_str()));
}

fn is_lookalike(name: &str) -> bool {
    let is_like = |other: &HeaderName| {
        let pairs = name.bytes().zip(other.as_str().bytes());
        name.len() == other.as_str().len()
            && pairs
                .into_iter()
                .all(|(a, b)| a == b || (a == b'_' && b == b'-'))
    };
    name.contains('_') && OWN.iter().any(is_like)
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let parts = value.as_bytes().split(|byte| *byte == b',');
    parts
        .map(<[u8]>::trim_ascii)
        .filter(|part| !part.is_empty())
}

fn lists(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|value| tokens(value).any(|it| it.eq_ignore_ascii_case(token.as_bytes())))
}

/// Whether the client can take trailers; gRPC servers ask for it.
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    lists(headers, TE, "trailers")
}

/// Whether a request asks for a WebSocket (RFC 6455 section 4.1). Other upgrades are not
/// passed on: a tunnel to a cluster would escape the routes (`h2c`).
pub fn wants_websocket(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    *method == Method::GET
        && version == Version::HTTP_11
        && is_websocket(headers)
        && !headers.contains_key(CONTENT_LENGTH)
        && !headers.contains_key(TRANSFER_ENCODING)
}

/// Whether a head, of a request or of an answer with status 101, is about a WebSocket.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    let mut wanted = headers.get_all(UPGRADE).iter();
    lists(headers, CONNECTION, "upgrade")
        && wanted
            .next()
            .is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && wanted.next().is_none()
}

/// Puts in what makes a head one about a WebSocket.
pub fn set_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Why it is not certain which host is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// None, where there has to be one.
    #[error("no host")]
    Missing,
    /// Several.
    #[error("several hosts")]
    Several,
    /// Not the form of a host.
    #[error("not a host")]
    Malformed,
    /// The whole target is one, which only CONNECT may ask for (RFC 9112 section 3.2.3).
    #[error("a host instead of a path")]
    Target,
}

/// Makes sure that a request names one host, in `Host`, and gives it: the authority of the
/// target where it has one (RFC 9112 section 3.2.2, RFC 9113 section 8.3.1). HTTP/1.0 may leave
/// it out; what is sent on is HTTP/1.1, and says so by an empty one.
///
/// # Errors
/// It is not certain which; the request is to be refused.
pub fn settle_host(
    version: Version,
    uri: &Uri,
    headers: &mut HeaderMap,
) -> Result<HeaderValue, HostError> {
    let mut named = headers.get_all(HOST).iter();
    let first = named.next();
    if named.next().is_some() {
        return Err(HostError::Several);
    }
    if version != Version::HTTP_2 && uri.authority().is_some() && uri.scheme().is_none() {
        return Err(HostError::Target);
    }
    let is_told = uri.authority().is_none() && first.is_some();
    let host = match (uri.authority(), first) {
        (Some(authority), first) => {
            let is_other = |host: &HeaderValue| {
                !host
                    .as_bytes()
                    .eq_ignore_ascii_case(authority.as_str().as_bytes())
            };
            if version == Version::HTTP_2 && first.is_some_and(is_other) {
                return Err(HostError::Several);
            }
            HeaderValue::from_str(authority.as_str()).map_err(|_| HostError::Malformed)?
        }
        (None, Some(host)) => host.clone(),
        (None, None) if version == Version::HTTP_10 => HeaderValue::from_static(""),
        (None, None) => return Err(HostError::Missing),
    };
    if !host.as_bytes().iter().all(|byte| is_of_host(*byte)) {
        return Err(HostError::Malformed);
    }
    if !is_told {
        headers.insert(HOST, host.clone());
    }
    Ok(host)
}

/// Letters of a host with a port: those of RFC 3986's `reg-name` but for percent signs.
fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]".contains(&byte)
}

/// What the next one has to know about a connection's client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address, without the port.
    pub address: HeaderValue,
    /// It came with TLS.
    pub is_tls: bool,
    /// It is a proxy whose fields are kept and added to.
    pub is_trusted: bool,
}

impl Client {
    /// Puts `X-Forwarded-For`, `-Proto` and `-Host` in.
    pub fn tell(&self, headers: &mut HeaderMap, host: &HeaderValue) {
        let scheme = if self.is_tls { "https" } else { "http" };
        if !self.is_trusted {
            headers.remove(FORWARDED);
            headers.remove(X_REAL_IP);
            headers.remove(X_FORWARDED_USER);
            headers.insert(X_FORWARDED_FOR, self.address.clone());
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
            headers.insert(X_FORWARDED_HOST, host.clone());
            return;
        }
        let mut chain = Vec::new();
        for value in headers.get_all(X_FORWARDED_FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(self.address.as_bytes());
        let chain = HeaderValue::from_bytes(&chain).expect("made of values and commas");
        headers.insert(X_FORWARDED_FOR, chain);
        let scheme = || HeaderValue::from_static(scheme);
        headers.entry(X_FORWARDED_PROTO).or_insert_with(scheme);
        headers
            .entry(X_FORWARDED_HOST)
            .or_insert_with(|| host.clone());
    }
}

impl Client {
    /// Whether a request came with TLS, be it to a proxy in front.
    pub fn came_by_tls(&self, headers: &HeaderMap) -> bool {
        let told = || only(headers, X_FORWARDED_PROTO);
        self.is_tls || (self.is_trusted && told().is_some_and(|it| it == "https"))
    }
}

/// Tells an endpoint who asks, as the gateway found it out.
pub fn tell_user(headers: &mut HeaderMap, user: &str) {
    match HeaderValue::from_str(user) {
        Ok(user) => headers.insert(X_FORWARDED_USER, user),
        // A name that no field can hold is nobody's.
        Err(_) => headers.remove(X_FORWARDED_USER),
    };
}

/// The value of a field that is there once.
pub fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The token of an `Authorization` field (RFC 6750 section 2.1).
pub fn bearer(field: &HeaderValue) -> Option<&str> {
    let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    Some(token.trim()).filter(|token| is_bearer && !token.is_empty())
}

/// A cookie's value.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.into_iter().find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
}
