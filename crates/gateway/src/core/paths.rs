//! Paths as endpoints may read them. Many decode escapes, merge slashes, go up at `..`, and cut
//! off what stands behind a `;` before they look at a path (RFC 3986, section 6.2.2, and habits
//! beyond it). A request whose path leads to one route as it is written and to another one as it
//! may be read can be understood in two ways, and a route's conditions must not hang on which.

/// The path with all of that done; none if it stays as it is written.
pub fn read(path: &str) -> Option<String> {
    let is_plain = !path.contains(['%', '\\', ';']) && !path.contains("//") && !path.contains("/.");
    if is_plain {
        return None;
    }
    let decoded = decoded(path.as_bytes());
    let decoded = String::from_utf8_lossy(&decoded).replace('\\', "/");
    let mut parts: Vec<&str> = Vec::new();
    for part in decoded.split('/') {
        match part.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let end = if decoded.ends_with('/') && !parts.is_empty() {
        "/"
    } else {
        ""
    };
    Some(format!("/{}{end}", parts.join("/")))
}

/// Whether a path and its query have no letters but ASCII's, as all of a URI's are (RFC 3986,
/// section 2): what others stand for, everybody decides for himself.
pub fn is_certain(path_and_query: &str) -> bool {
    path_and_query.is_ascii()
}

/// Escapes that are none are left as they are.
fn decoded(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        let escaped = match first {
            b'%' => digit(0).zip(digit(1)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = &tail[2..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_endpoints_do() {
        for (path, wanted) in [
            ("/%61dmin", "/admin"),
            ("//admin", "/admin"),
            ("/x/../admin/", "/admin/"),
            ("/x/%2e%2E/admin", "/admin"),
            ("/x%2F..%2fadmin", "/admin"),
            ("/x\\..\\admin", "/admin"),
            ("/admin;a=b/c", "/admin/c"),
            ("/..;/admin", "/admin"),
            ("/../..", "/"),
            ("/100%", "/100%"),
            ("/%zz", "/%zz"),
            ("/.", "/"),
        ] {
            assert_eq!(read(path).as_deref(), Some(wanted), "{path}");
        }
        for plain in ["/", "/a/b", "/a.b/c", "*"] {
            assert_eq!(read(plain), None, "{plain}");
        }
    }
}
