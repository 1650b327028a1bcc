//! The sizes of a client's terminal: JSON objects, one after the other.

use serde::Deserialize;

/// What is kept of an object that is not whole yet.
const KEPT_BYTES_MAX: usize = 1024;

/// Columns and rows. Who writes Go's field names reads any case.
#[derive(Deserialize)]
struct Size {
    #[serde(rename = "Width", alias = "width", default)]
    width: u16,
    #[serde(rename = "Height", alias = "height", default)]
    height: u16,
}

/// Reads sizes. What is none ends it, as it ends Kubernetes' reading.
#[derive(Default)]
pub(super) struct Resizes {
    kept: Vec<u8>,
    is_broken: bool,
}

impl Resizes {
    /// The last size of those that are whole now: earlier ones have passed.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<(u16, u16)> {
        if self.is_broken {
            return None;
        }
        self.kept.extend_from_slice(bytes);
        let mut sizes = serde_json::Deserializer::from_slice(&self.kept).into_iter::<Size>();
        let mut last = None;
        for size in &mut sizes {
            match size {
                Ok(size) => last = Some((size.width, size.height)),
                Err(error) if error.is_eof() => break,
                Err(_) => {
                    self.is_broken = true;
                    break;
                }
            }
        }
        let read = sizes.byte_offset();
        self.kept.drain(..read);
        self.is_broken |= self.kept.len() > KEPT_BYTES_MAX;
        if self.is_broken {
            self.kept = Vec::new();
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_from_pieces() {
        let mut resizes = Resizes::default();
        assert_eq!(
            resizes.read(b"{\"Width\":80,\"Height\":24}\n"),
            Some((80, 24))
        );
        assert_eq!(resizes.read(b"{\"Width\":81,\"Hei"), None);
        assert_eq!(
            resizes.read(b"ght\":25}{\"width\":1,\"height\":2}"),
            Some((1, 2))
        );
        assert_eq!(resizes.read(b"x{\"Width\":80}"), None);
        assert_eq!(resizes.read(b"{\"Width\":80}"), None);
    }

    #[test]
    fn an_endless_object_is_not_kept() {
        let mut resizes = Resizes::default();
        for _ in 0..100 {
            assert_eq!(resizes.read(&[b' '; 100]), None);
            assert_eq!(resizes.read(&[b'['; 100]), None);
            assert!(resizes.kept.len() <= KEPT_BYTES_MAX);
        }
    }
}
