//! Names of images, read as Docker and containerd do: `nginx` is
//! `docker.io/library/nginx:latest` (grammar and defaults: distribution/reference).

use std::{fmt, net::Ipv6Addr, str::FromStr};

use super::digest::{Digest, DigestError};

/// A reference has at most so many bytes.
pub const REFERENCE_BYTES_MAX: usize = 1_024;
/// A repository has at most so many bytes, without its registry.
const REPOSITORY_BYTES_MAX: usize = 255;
/// A registry's name has at most so many bytes, with its port.
const REGISTRY_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;
/// So many hexadecimal digits are a digest's, and name no repository.
const IDENTIFIER_CHARS: usize = 64;

const DEFAULT_REGISTRY: &str = "docker.io";
const LEGACY_REGISTRY: &str = "index.docker.io";
/// Where [`DEFAULT_REGISTRY`] is really asked.
const DEFAULT_REGISTRY_HOST: &str = "registry-1.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// What names an image; reads as its whole name. One that has a digest has no tag: what the tag
/// leads to today does not matter then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    Tag(String),
    Digest(Digest),
}

/// Why a text is no reference, in distribution's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It has not the form of one.
    #[error("invalid reference format")]
    Format,
    /// Repositories are written in lowercase.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// The digits of a digest alone.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// The repository is longer than 255 bytes.
    #[error("repository name must not be more than {REPOSITORY_BYTES_MAX} characters")]
    TooLong,
    /// The digest is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Reference {
    /// The registry as it is written: `docker.io`, `example.com:5000`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Where the registry is asked: host, and port if it is not the protocol's own.
    pub fn registry_host(&self) -> &str {
        match self.registry.as_str() {
            DEFAULT_REGISTRY => DEFAULT_REGISTRY_HOST,
            registry => registry,
        }
    }

    /// The repository in its registry, as `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest, if it has one.
    pub fn digest(&self) -> Option<Digest> {
        match &self.version {
            Version::Digest(digest) => Some(*digest),
            Version::Tag(_) => None,
        }
    }

    /// What its manifest is asked for by: the digest or the tag.
    pub fn version(&self) -> String {
        match &self.version {
            Version::Digest(digest) => digest.to_string(),
            Version::Tag(tag) => tag.clone(),
        }
    }

    /// Registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository at a digest, as a status names the image of a container.
    pub fn at(&self, digest: Digest) -> Reference {
        Reference {
            version: Version::Digest(digest),
            ..self.clone()
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match &self.version {
            Version::Tag(tag) => write!(f, ":{tag}"),
            Version::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        if text.len() > REFERENCE_BYTES_MAX {
            return Err(ReferenceError::Format);
        }
        if text.len() == IDENTIFIER_CHARS && Digest::from_hex(text).is_some() {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        let (registry, rest) = split_registry(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase(path.to_owned()));
        }
        let repository = match registry == DEFAULT_REGISTRY && !path.contains('/') {
            true => format!("{OFFICIAL}{path}"),
            false => path.to_owned(),
        };
        if !is_registry(registry) || !is_repository(&repository) || !tag.is_none_or(is_tag) {
            return Err(ReferenceError::Format);
        }
        if repository.len() > REPOSITORY_BYTES_MAX {
            return Err(ReferenceError::TooLong);
        }
        let version = match digest {
            Some(digest) => Version::Digest(digest.parse()?),
            None => Version::Tag(tag.unwrap_or(DEFAULT_TAG).to_owned()),
        };
        Ok(Reference {
            registry: registry.to_owned(),
            repository,
            version,
        })
    }
}

/// The first part is a registry if it looks like a host, and not like a part of a repository.
fn split_registry(text: &str) -> (&str, &str) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_REGISTRY, text);
    };
    let is_host = first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|byte| byte.is_ascii_uppercase());
    match first {
        LEGACY_REGISTRY => (DEFAULT_REGISTRY, rest),
        _ if is_host => (first, rest),
        _ => (DEFAULT_REGISTRY, text),
    }
}

/// `host[:port]`, where the host is a name, an IPv4 address, or an IPv6 address in brackets.
fn is_registry(text: &str) -> bool {
    if text.len() > REGISTRY_BYTES_MAX {
        return false;
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, rest)) = rest.split_once(']') else {
                return false;
            };
            if address.parse::<Ipv6Addr>().is_err() {
                return false;
            }
            return rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_repository(text: &str) -> bool {
    text.split('/').all(is_component)
}

/// Lowercase letters and digits, in groups that `.`, `_`, `__` or any number of `-` part.
fn is_component(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_ending = |byte: Option<&u8>| byte.copied().is_some_and(is_inner);
    let bytes = text.as_bytes();
    if !is_ending(bytes.first()) || !is_ending(bytes.last()) {
        return false;
    }
    let mut separators = bytes.split(|byte| is_inner(*byte));
    separators.all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|it| *it == b'-')
    })
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=TAG_BYTES_MAX).contains(&text.len())
        && text.bytes().next().is_some_and(is_word)
        && text
            .bytes()
            .all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn names_are_made_whole_as_docker_does() {
        let digest = format!("@sha256:{HEX}");
        let cases = [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27-alpine", "docker.io/library/nginx:1.27-alpine"),
            ("user/app", "docker.io/user/app:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/nginx:x", "docker.io/library/nginx:x"),
            ("localhost/a", "localhost/a:latest"),
            ("localhost:5000/a/b:t", "localhost:5000/a/b:t"),
            ("ghcr.io/o/a__b.c---d", "ghcr.io/o/a__b.c---d:latest"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("Host/a", "Host/a:latest"),
            ("a:5000", "docker.io/library/a:5000"),
        ];
        for (text, whole) in cases {
            let read: Reference = text.parse().unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(read.to_string(), whole);
            assert_eq!(whole.parse(), Ok(read), "{whole} stays as it is");
        }
        for text in [format!("nginx{digest}"), format!("nginx:1{digest}")] {
            let read: Reference = text.parse().unwrap();
            let whole = format!("docker.io/library/nginx{digest}");
            assert_eq!(read.to_string(), whole);
            assert_eq!(read.version(), digest[1..]);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(256);
        let tag = format!("a:{}", "t".repeat(129));
        let format = [
            "",
            " ",
            "a b",
            "/a",
            "a/",
            "a//b",
            "-a",
            "a-",
            "a___b",
            "a..b",
            "a._b",
            ".a",
            "a:",
            "a:-t",
            "a:t:u",
            "a:é",
            "é",
            "ex_ample.com/a",
            "h:port/a",
            "h:65536/a",
            "h:/a",
            "[::1/a",
            "[x]/a",
            "[::1]5/a",
            "a\n",
            "a@",
            "http://h/a",
            "../a",
            "a?b",
            "%61",
            tag.as_str(),
            "-h.com/a",
        ];
        for text in format {
            let error = text.parse::<Reference>().expect_err(text);
            let is_told = error.to_string().contains("invalid");
            assert!(is_told, "{text}: {error}");
        }
        let told = |text: &str| text.parse::<Reference>().unwrap_err().to_string();
        assert_eq!(
            told("user/App"),
            "invalid reference format: repository name (user/App) must be lowercase"
        );
        assert!(told(HEX).contains("64-byte hexadecimal"));
        assert!(told(&long).contains("more than 255"));
        assert_eq!(told("a@sha256:12"), "invalid checksum digest format");
        let sha512 = format!("a@sha512:{HEX}{HEX}");
        assert_eq!(told(&sha512), "unsupported digest algorithm");
        assert_eq!(told(&"a/".repeat(600)), "invalid reference format");
    }

    #[test]
    fn the_hub_is_asked_elsewhere() {
        let read: Reference = "nginx".parse().unwrap();
        assert_eq!(read.registry_host(), "registry-1.docker.io");
        assert_eq!(
            (read.registry(), read.repository()),
            ("docker.io", "library/nginx")
        );
        let other: Reference = "localhost:5000/a:b".parse().unwrap();
        assert_eq!(other.registry_host(), "localhost:5000");
        assert_eq!(other.name(), "localhost:5000/a");
        let at = other.at(Digest::of(b"abc"));
        assert_eq!(at.to_string(), format!("localhost:5000/a@sha256:{HEX}"));
    }
}
