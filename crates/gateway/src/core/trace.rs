//! W3C's trace context (Recommendation of November 2021, level 1): which trace a request is
//! part of. A good one is passed on as it came, since the gateway records no spans of its own;
//! where there is none, one is made, so that the access log and the endpoints name the same.

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// `00-` and a trace, a parent, and flags, with `-` between them.
const BYTES: usize = 55;
const NOTHING: &[u8; BYTES] = b"00-00000000000000000000000000000000-0000000000000000-00";

/// The id of a trace: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 32]);

impl std::fmt::Display for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).expect("digits are ASCII"))
    }
}

impl std::fmt::Debug for TraceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Makes sure that a request is part of one trace, and says of which. `draw` gives random
/// numbers; of new traces `percent` in a hundred say that they are recorded.
pub fn settle(headers: &mut HeaderMap, percent: u32, mut draw: impl FnMut() -> u64) -> TraceId {
    let mut named = headers.get_all(TRACEPARENT).iter();
    if let (Some(first), None) = (named.next(), named.next())
        && let Some(trace) = parse(first.as_bytes())
    {
        return trace;
    }
    // The state is another system's about a trace that is not there.
    headers.remove(TRACESTATE);
    let is_recorded = draw() % 100 < u64::from(percent);
    let mut made = *NOTHING;
    made[54] = b'0' + u8::from(is_recorded);
    // Neither may be nothing but zeros.
    for (at, number) in [(3, draw()), (19, draw() | 1), (36, draw() | 1)] {
        put_hex(&mut made[at..at + 16], number);
    }
    let value = HeaderValue::from_bytes(&made).expect("digits are ASCII");
    headers.insert(TRACEPARENT, value);
    TraceId(made[3..35].try_into().expect("it has 32 bytes"))
}

/// Writes a number as 16 digits, without a formatter's detours: it is done for each request.
fn put_hex(digits: &mut [u8], number: u64) {
    for (digit, shift) in digits.iter_mut().zip((0..16).rev()) {
        let nibble = (number >> (4 * shift)) & 0xf;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
}

fn parse(value: &[u8]) -> Option<TraceId> {
    let (known, rest) = value.split_at_checked(BYTES)?;
    let version = &known[..2];
    // A later version may have more, behind a `-`.
    let fits = match version {
        b"00" => rest.is_empty(),
        _ => rest.first().is_none_or(|it| *it == b'-'),
    };
    let are_apart = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    let parts = [version, &known[3..35], &known[36..52], &known[53..]];
    let is_digit = |it: &u8| matches!(it, b'0'..=b'9' | b'a'..=b'f');
    let are_digits = parts.iter().all(|it| it.iter().all(is_digit));
    let is_nothing = |part: &[u8]| part.iter().all(|it| *it == b'0');
    let is_good = fits
        && are_apart
        && are_digits
        && version != b"ff"
        && !is_nothing(parts[1])
        && !is_nothing(parts[2]);
    is_good.then(|| TraceId(parts[1].try_into().expect("it has 32 bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn settled(values: &[&str], percent: u32) -> (String, HeaderMap) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        let trace = settle(&mut headers, percent, || 50);
        (trace.to_string(), headers)
    }

    #[test]
    fn good_ones_are_passed_on() {
        for rest in [
            "00-TRACE-b7ad6b7169203331-01",
            "cc-TRACE-b7ad6b7169203331-00-what",
        ] {
            let value = rest.replace("TRACE", TRACE);
            let (trace, headers) = settled(&[&value], 100);
            assert_eq!(trace, TRACE);
            assert_eq!(headers[TRACEPARENT], value);
            assert_eq!(headers[TRACESTATE], "a=1");
        }
    }

    #[test]
    fn others_are_replaced() {
        let good = format!("00-{TRACE}-b7ad6b7169203331-01");
        let cases = [
            good.replace("00-", "ff-"),
            good.replace("0af", "0AF"),
            good.replace(TRACE, &"0".repeat(32)),
            good.replace("b7ad6b7169203331", &"0".repeat(16)),
            format!("{good}-more"),
            format!("01{}x", &good[2..]),
            good.replace("-01", "-1"),
            "00-1-2-01".to_owned(),
        ];
        for value in &cases {
            let (trace, headers) = settled(&[value], 50);
            assert_ne!(trace, TRACE, "{value}");
            let expected = format!("00-{trace}-0000000000000033-00");
            assert_eq!(headers[TRACEPARENT], expected, "{value}");
            assert!(!headers.contains_key(TRACESTATE));
        }
        let (trace, headers) = settled(&[&good, &good], 51);
        assert_eq!(trace, "00000000000000320000000000000033");
        assert!(headers[TRACEPARENT].to_str().unwrap().ends_with("-01"));
        assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1);
    }
}
