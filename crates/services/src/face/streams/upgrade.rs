//! The answer to a request to upgrade.

use axum::{
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
        header::{
            CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
            SEC_WEBSOCKET_VERSION, UPGRADE,
        },
    },
};

use crate::core::{
    status::Failure,
    streams::negotiate::{Offer, Protocol, Purpose, negotiate},
};

const STREAM_VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Chooses the protocol, and makes the answer that says so; after it was sent, the connection
/// speaks that protocol.
///
/// # Errors
/// It is no request to upgrade, or none to what is spoken here.
pub(crate) fn upgrade_response(
    headers: &HeaderMap,
    purpose: Purpose,
) -> Result<(Protocol, Response<Body>), Failure> {
    let protocol = negotiate(&offer(headers), purpose)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let name = HeaderValue::from_static(protocol.name);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    match &protocol.accept {
        Some(accept) => {
            let accept = HeaderValue::from_str(accept).expect("base64 is text");
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
            if !name.is_empty() {
                headers.insert(SEC_WEBSOCKET_PROTOCOL, name);
            }
        }
        None => {
            headers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
            headers.insert(STREAM_VERSION, name);
        }
    }
    Ok((protocol, response))
}

fn offer(headers: &HeaderMap) -> Offer<'_> {
    let all = |name: HeaderName| {
        let values = headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok()).collect()
    };
    let one = |name: HeaderName| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    };
    Offer {
        connection: all(CONNECTION),
        upgrade: one(UPGRADE),
        key: one(SEC_WEBSOCKET_KEY),
        version: one(SEC_WEBSOCKET_VERSION),
        subprotocols: all(SEC_WEBSOCKET_PROTOCOL),
        stream_versions: all(STREAM_VERSION),
        headers: headers.keys_len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_websocket_is_accepted() {
        let asked = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ]);
        let (_, response) = upgrade_response(&asked, Purpose::Exec).unwrap();
        assert_eq!(response.status(), 101);
        let told = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", "v5.channel.k8s.io"),
        ]);
        assert_eq!(response.headers(), &told);
    }

    #[test]
    fn spdy_is_accepted() {
        let asked = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v9.channel.k8s.io"),
            ("x-stream-protocol-version", "v3.channel.k8s.io"),
        ]);
        let (_, response) = upgrade_response(&asked, Purpose::Exec).unwrap();
        let told = headers(&[
            ("connection", "Upgrade"),
            ("upgrade", "SPDY/3.1"),
            ("x-stream-protocol-version", "v3.channel.k8s.io"),
        ]);
        assert_eq!(response.headers(), &told);
        let refused = upgrade_response(&asked, Purpose::PortForward).unwrap_err();
        assert_eq!(refused.code(), 403);
        assert!(upgrade_response(&headers(&[]), Purpose::Exec).is_err());
    }
}
