//! Strings that Redis has compressed (LibLZF's format, Lehmann): runs of plain bytes, and
//! references to what came before.

use super::RestoreError;

/// Control bytes below this say how many plain bytes follow, less one.
const PLAIN_END: usize = 1 << 5;
/// A length of this in a control byte is continued by the next byte.
const LENGTH_CONTINUED: usize = 7;
/// References are at least so long.
const LENGTH_MIN: usize = 2;

/// Unpacks to exactly `length` bytes, which the caller has bounded.
pub(super) fn unpack(packed: &[u8], length: usize) -> Result<Vec<u8>, RestoreError> {
    // What is said about the length may be a lie, so nothing is set aside for it.
    let mut out: Vec<u8> = Vec::new();
    let mut rest = packed;
    while let Some(control) = byte(&mut rest) {
        if control < PLAIN_END {
            let (plain, after) = rest
                .split_at_checked(control + 1)
                .ok_or(RestoreError::Data)?;
            out.extend_from_slice(plain);
            rest = after;
        } else {
            let mut run = control >> 5;
            if run == LENGTH_CONTINUED {
                run += byte(&mut rest).ok_or(RestoreError::Data)?;
            }
            let near = byte(&mut rest).ok_or(RestoreError::Data)?;
            let back = ((control & 0x1f) << 8) + near + 1;
            repeat(&mut out, back, run + LENGTH_MIN)?;
        }
        if out.len() > length {
            return Err(RestoreError::Data);
        }
    }
    if out.len() == length {
        Ok(out)
    } else {
        Err(RestoreError::Data)
    }
}

fn byte(rest: &mut &[u8]) -> Option<usize> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(usize::from(*first))
}

/// Repeats what begins so many bytes back; it may run into what it has itself added.
fn repeat(out: &mut Vec<u8>, back: usize, run: usize) -> Result<(), RestoreError> {
    let from = out.len().checked_sub(back).ok_or(RestoreError::Data)?;
    for at in from..from + run {
        out.push(out[at]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_bytes_and_references() {
        // "abc", then six bytes from three back, then "!".
        let packed = [2, b'a', b'b', b'c', 4 << 5, 2, 0, b'!'];
        assert_eq!(unpack(&packed, 10), Ok(b"abcabcabc!".to_vec()));
        // One byte, repeated 7 + 2 + 10 times.
        let packed = [0, b'x', 7 << 5, 10, 0];
        assert_eq!(unpack(&packed, 20), Ok(vec![b'x'; 20]));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (packed, length) in [
            (&[2, b'a'][..], 3),
            (&[0, b'a', 1 << 5, 5], 4),
            (&[0, b'a', 7 << 5], 4),
            (&[0, b'a', 1 << 5], 4),
            (&[0, b'a'], 2),
            (&[0, b'a', 7 << 5, 255, 0], 3),
        ] {
            assert_eq!(
                unpack(packed, length),
                Err(RestoreError::Data),
                "{packed:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(packed in proptest::collection::vec(any::<u8>(), 0..200), length in 0..2_000_usize) {
            if let Ok(out) = unpack(&packed, length) {
                prop_assert_eq!(out.len(), length);
            }
        }
    }
}
