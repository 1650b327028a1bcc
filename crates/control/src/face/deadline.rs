//! How long a client waits for its answer, as the `grpc-timeout` header says it: a number of at
//! most eight digits and a unit. What takes longer is given up here, too.

use std::time::Duration;

use axum::http::HeaderMap;
use tonic::Status;

/// Where clients say it.
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// Digits of the number.
const DIGITS_MAX: usize = 8;

/// How long the client waits; none if it does not say.
///
/// # Errors
/// The header is not what it should be.
pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(GRPC_TIMEOUT) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(parse) {
        Some(wait) => Ok(Some(wait)),
        None => Err(Status::internal(format!(
            "malformed grpc-timeout: {value:?}"
        ))),
    }
}

fn parse(text: &str) -> Option<Duration> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let digits = &text[..unit_at];
    // A sign would be taken, too.
    if digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(number * 60 * 60),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// That the time is over, in etcd's words.
pub(crate) fn exceeded() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_nothing_else() {
        let told = |text: &str| parse(text);
        assert_eq!(told("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(told("3M"), Some(Duration::from_secs(180)));
        assert_eq!(told("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(told("1500m"), Some(Duration::from_millis(1_500)));
        assert_eq!(told("7u"), Some(Duration::from_micros(7)));
        assert_eq!(told("0n"), Some(Duration::ZERO));
        for wrong in [
            "",
            "S",
            "5",
            "-5S",
            "+5S",
            "5s",
            "5 S",
            "5é",
            "100000000S",
            "1.5S",
        ] {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }
}
