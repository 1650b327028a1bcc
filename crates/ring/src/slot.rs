//! From a key to one of 16,384 hash slots, exactly as the Redis Cluster specification says
//! ("Key distribution model", "Hash tags"), because cluster clients compute it themselves.

/// How many slots there are.
pub const SLOTS: u16 = 16_384;

/// A hash slot: below [`SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number, if there is one.
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOTS {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The slot that a key belongs to.
    pub fn of_key(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key)) % SLOTS)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What of a key is hashed: what stands between the first `{` and the first `}` after it, if
/// that is anything, else the whole key. Keys with one tag share one slot.
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else {
        return key;
    };
    let inside = &key[open + 1..];
    match inside.iter().position(|&byte| byte == b'}') {
        Some(length) if length > 0 => &inside[..length],
        _ => key,
    }
}

/// CRC16 as XMODEM computes it: polynomial 0x1021, begun at 0, nothing reflected or inverted.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ TABLE[usize::from(high ^ byte)]
    })
}

const POLYNOMIAL: u16 = 0x1021;

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= POLYNOMIAL;
            }
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn crc16_is_the_one_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
        assert_eq!(TABLE[1], 0x1021);
        assert_eq!(TABLE[255], 0x1EF0);
    }

    /// Answers of a Redis Cluster's CLUSTER KEYSLOT.
    #[test]
    fn keys_fall_into_the_slots_that_clients_expect() {
        for (key, slot) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("bar", 5_061),
            ("hello", 866),
            ("", 0),
        ] {
            assert_eq!(Slot::of_key(key.as_bytes()).number(), slot, "{key:?}");
        }
    }

    /// The examples of the specification.
    #[test]
    fn a_hash_tag_is_the_first_pair_of_braces_with_something_inside() {
        for (key, hashed) in [
            ("{user1000}.following", "user1000"),
            ("{user1000}.followers", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
            ("foo}bar{", "foo}bar{"),
            ("}{a}", "a"),
            ("{}", "{}"),
            ("plain", "plain"),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), hashed.as_bytes(), "{key}");
        }
    }

    #[test]
    fn only_numbers_below_the_count_are_slots() {
        assert_eq!(Slot::new(16_383).map(Slot::number), Some(16_383));
        assert_eq!(Slot::new(16_384), None);
    }

    proptest! {
        #[test]
        fn the_table_does_what_the_bits_do(bytes: Vec<u8>) {
            let bitwise = bytes.iter().fold(0u16, |crc, &byte| {
                (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                    if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL }
                })
            });
            prop_assert_eq!(crc16(&bytes), bitwise);
        }

        #[test]
        fn one_tag_one_slot(tag in "[^{}]{1,9}", before in "[^{}]{0,9}", after: String) {
            let key = format!("{before}{{{tag}}}{after}");
            prop_assert_eq!(Slot::of_key(key.as_bytes()), Slot::of_key(tag.as_bytes()));
        }
    }
}
