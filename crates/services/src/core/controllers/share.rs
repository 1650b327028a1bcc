//! Numbers that may be said as a share: `maxUnavailable: 25%` (`IntOrString`).

use serde_json::Value;

/// Where a share that is no whole number goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    Up,
    Down,
}

/// A number, or so many percent of a total; none if it is neither.
pub(super) fn of(value: &Value, total: i64, round: Round) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let percent: u32 = value.as_str()?.strip_suffix('%')?.parse().ok()?;
    let hundredths = i64::from(percent).saturating_mul(total);
    Some(match round {
        Round::Up => hundredths.saturating_add(99) / 100,
        Round::Down => hundredths / 100,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_shares() {
        for (value, up, down) in [
            (json!(3), Some(3), Some(3)),
            (json!(-1), Some(-1), Some(-1)),
            (json!("25%"), Some(3), Some(2)),
            (json!("0%"), Some(0), Some(0)),
            (json!("200%"), Some(20), Some(20)),
            (json!("4294967295%"), Some(429_496_730), Some(429_496_729)),
            (json!("25"), None, None),
            (json!("-1%"), None, None),
            (json!("%"), None, None),
            (json!(null), None, None),
        ] {
            assert_eq!(of(&value, 10, Round::Up), up, "{value}");
            assert_eq!(of(&value, 10, Round::Down), down, "{value}");
        }
        let most = json!("4294967295%");
        assert_eq!(of(&most, i64::MAX, Round::Up), Some(i64::MAX / 100));
    }
}
