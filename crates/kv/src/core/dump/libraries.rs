//! Libraries of functions as FUNCTION DUMP writes them and FUNCTION RESTORE takes them: the text
//! of each, after a mark (Redis: "RDB file format", opcode 245).

use bytes::Bytes;

use super::{RestoreError, open, reader::Reader, seal, write};

/// What marks the text of a library.
const LIBRARY: u8 = 245;

/// A dump of these texts.
pub fn dump_libraries<'a>(texts: impl IntoIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut out = Vec::new();
    for text in texts {
        out.push(LIBRARY);
        write::string(&mut out, text);
    }
    seal(&mut out);
    out
}

/// The texts of a dump.
///
/// # Errors
/// [`RestoreError`]
pub fn restore_libraries(payload: &[u8]) -> Result<Vec<Bytes>, RestoreError> {
    let mut reader = Reader::new(open(payload)?);
    let mut texts = Vec::new();
    while !reader.is_at_end() {
        if reader.byte()? != LIBRARY {
            return Err(RestoreError::Data);
        }
        texts.push(Bytes::copy_from_slice(&reader.string()?));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        let texts = vec![
            Bytes::from_static(b"#!lua name=a\n"),
            Bytes::from("x".repeat(70_000)),
        ];
        let dumped = dump_libraries(&texts);
        assert_eq!(restore_libraries(&dumped), Ok(texts));
        assert_eq!(
            restore_libraries(b"bad_payload"),
            Err(RestoreError::Envelope)
        );
        let mut other = vec![0];
        seal(&mut other);
        assert_eq!(restore_libraries(&other), Err(RestoreError::Data));
    }
}
