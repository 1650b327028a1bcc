//! The token by which a client asks for the rest of a list: which revision it sees, and from
//! which key on. It goes through the client, so it is checked when it comes back.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;

use crate::{
    core::{kinds::Kind, status::Failure},
    driver::store,
};

/// The version of the token's form.
const VERSION: &str = "v1";

/// Writes a token.
pub(crate) fn write(revision: i64, next: &Bytes) -> String {
    let key = String::from_utf8_lossy(next);
    URL_SAFE_NO_PAD.encode(format!("{VERSION}:{revision}:{key}"))
}

/// Reads one, for a list of these objects.
///
/// # Errors
/// It is none, or of another list.
pub(crate) fn read(
    token: &str,
    kind: &'static Kind,
    namespace: Option<&str>,
) -> Result<(i64, Bytes), Failure> {
    let wrong =
        || Failure::bad_request("continue key is not valid: it is of another list, or was changed");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let mut parts = text.splitn(3, ':');
    let (version, revision, key) = (parts.next(), parts.next(), parts.next());
    let revision = revision
        .and_then(|it| it.parse::<i64>().ok())
        .filter(|it| *it > 0);
    let prefix = store::prefix(kind, namespace);
    let key = key.filter(|key| key.starts_with(&prefix));
    match (version, revision, key) {
        (Some(VERSION), Some(revision), Some(key)) => Ok((revision, key.to_owned().into())),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kinds;

    #[test]
    fn a_token_serves_its_own_list() {
        let next = Bytes::from("/atoll/objects/core/pods/default/a\0");
        let token = write(7, &next);
        assert_eq!(
            read(&token, &kinds::PODS, Some("default")),
            Ok((7, next.clone()))
        );
        assert_eq!(read(&token, &kinds::PODS, None), Ok((7, next)));
        assert!(read(&token, &kinds::PODS, Some("other")).is_err());
        assert!(read(&token, &kinds::NODES, None).is_err());
        for garbage in [
            "",
            "x",
            "é",
            &URL_SAFE_NO_PAD.encode("v1:0:/"),
            &URL_SAFE_NO_PAD.encode([0xff]),
        ] {
            assert!(read(garbage, &kinds::PODS, None).is_err());
        }
    }
}
