//! Reading what a setting is set to.

use super::{Kind, Setting};
use crate::{
    core::{data::parse_integer, evict::Policy, notify::Notified},
    face::server::node::commands::parse_percentiles,
    memory::Tuning,
};

/// `maxmemory-samples` is no higher, as in Redis.
const SAMPLES_MAX: i64 = 64;

/// A change that was found to be possible.
pub(super) enum Change {
    Set(Setting, i64),
    Tune(Tuning, u64),
    Notify(Notified),
    Percentiles(Vec<f64>),
}

pub(super) fn read(kind: &Kind, value: &[u8]) -> Result<Change, String> {
    let (setting, number, min, max) = match *kind {
        Kind::Number(setting, min, max) => {
            let number =
                parse_integer(value).ok_or("argument couldn't be parsed into an integer")?;
            (setting, number, min, max)
        }
        Kind::Bytes(setting, min, max) => {
            let number = bytes(value).ok_or("argument must be a memory value")?;
            (setting, number, min, max)
        }
        Kind::Memory(tuning) => {
            return read_memory(tuning, value).map(|value| Change::Tune(tuning, value));
        }
        Kind::Notified => {
            return Notified::parse(value)
                .map(Change::Notify)
                .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned());
        }
        Kind::Flag(setting) => {
            let number = match value.to_ascii_lowercase().as_slice() {
                b"yes" => 1,
                b"no" => 0,
                _ => return Err("argument must be 'yes' or 'no'".to_owned()),
            };
            (setting, number, 0, 1)
        }
        Kind::Percentiles => return parse_percentiles(value).map(Change::Percentiles),
        Kind::OutputLimits | Kind::Fixed(_) | Kind::Given(_) | Kind::Listener(_) => {
            return Err("can't set immutable config".to_owned());
        }
    };
    if !(min..=max).contains(&number) {
        return Err(format!(
            "argument must be between {min} and {max} inclusive"
        ));
    }
    Ok(Change::Set(setting, number))
}

fn read_memory(tuning: Tuning, value: &[u8]) -> Result<u64, String> {
    let (number, max) = match tuning {
        Tuning::Policy => {
            let policy = Policy::parse(value).ok_or_else(|| {
                let names: Vec<&str> = Policy::names().collect();
                let names = names.join(", ");
                format!("argument(s) must be one of the following: {names}")
            })?;
            return Ok(policy.place());
        }
        Tuning::BytesMax => {
            let number = bytes(value).ok_or("argument must be a memory value")?;
            (number, i64::MAX)
        }
        Tuning::Samples | Tuning::LogFactor | Tuning::DecayMinutes => {
            let number =
                parse_integer(value).ok_or("argument couldn't be parsed into an integer")?;
            let max = match tuning {
                Tuning::Samples => SAMPLES_MAX,
                _ => i64::from(i32::MAX),
            };
            (number, max)
        }
    };
    let min = u64::from(tuning == Tuning::Samples);
    u64::try_from(number)
        .ok()
        .filter(|wanted| *wanted >= min && number <= max)
        .ok_or_else(|| format!("argument must be between {min} and {max} inclusive"))
}

/// A number of bytes, with a unit or without.
fn bytes(value: &[u8]) -> Option<i64> {
    let digits = value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, unit) = value.split_at(digits);
    let unit: i64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1024,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    parse_integer(number)?.checked_mul(unit)
}
