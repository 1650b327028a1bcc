//! What clients ask for.

use crate::core::chance;

/// A command by chance, and by how much it increments.
pub(super) fn call(random: &mut u64) -> (String, i128) {
    let mut below = |bound| chance::below(random, bound);
    let name = below(2);
    let element = ["a", "b", "c"][below(3)];
    let number = below(100) as i64 - 50;
    let mut added = 0;
    let call = match below(40) {
        0..12 => {
            added = i128::from(number);
            format!("INCRBY n{name} {number}")
        }
        12 => format!("SET n{name} {number}"),
        13 => format!("DEL n{name}"),
        14..19 => format!("SADD s{name} {element}"),
        19..22 => format!("SREM s{name} {element}"),
        22..27 => format!("HSET h{name} {element} {number}"),
        27..29 => format!("HDEL h{name} {element}"),
        29 => format!("DEL s{name} h{name}"),
        30 => format!("PEXPIRE n{name} {}", 100 + below(2_000)),
        31 => format!("PEXPIRE s{name} {}", 100 + below(2_000)),
        32 => format!("PERSIST s{name}"),
        33 => format!("SET t{name} {element}"),
        34 => format!("SADD t{name} {element}"),
        35 => format!("HSET t{name} {element} {number}"),
        36 => format!("SREM t{name} {element}"),
        37 => format!("DEL t{name}"),
        38 => format!("GET n{name}"),
        _ => format!("SMEMBERS s{name}"),
    };
    (call, added)
}
