//! A cookie by which a client comes to the same endpoint again, made by the gateway for those
//! that bring none. It says nothing: which endpoint it means follows from its hash.

use atoll_world::random;
use hyper::header::{HeaderMap, HeaderValue};
use xxhash_rust::xxh3::xxh3_64;

use crate::core::fields;

/// What a request is told by, and the cookie to be set if it had none.
pub(super) fn key(headers: &HeaderMap, name: &str, is_tls: bool) -> (u64, Option<HeaderValue>) {
    if let Some(value) = fields::cookie(headers, name) {
        return (xxh3_64(value), None);
    }
    let value = format!("{:016x}", random::u64());
    let secure = if is_tls { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}");
    // A name that no field can hold is never sent back, either.
    let cookie = HeaderValue::try_from(cookie).ok();
    (xxh3_64(value.as_bytes()), cookie)
}
