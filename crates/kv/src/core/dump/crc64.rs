//! The checksum of dumps: CRC-64 with Jones's polynomial, bits reflected, no inversion (Redis:
//! "CRC-64-Jones").

/// The polynomial, its bits in reverse order.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// What each byte does to the sum.
const TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            sum = (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
}

/// The checksum of these bytes.
pub(super) fn crc64(bytes: &[u8]) -> u64 {
    extend(0, bytes)
}

/// The checksum of bytes of which those before these have this sum.
pub(in crate::core) fn extend(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum: u64, byte| {
        // The lowest byte chooses the row.
        TABLE[usize::from(sum as u8 ^ byte)] ^ (sum >> 8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sums() {
        // The catalogue's check value.
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(b""), 0);
    }
}
