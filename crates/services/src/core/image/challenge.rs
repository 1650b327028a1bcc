//! How a registry asks who is there, and what a token service answers (RFC 9110, section 11;
//! distribution's "Token Authentication Specification").

use serde::Deserialize;

/// A header field that asks is read up to so many bytes.
const CHALLENGE_BYTES_MAX: usize = 8 << 10;
/// An answer of a token service has at most so many bytes.
pub const TOKEN_ANSWER_BYTES_MAX: usize = 1 << 20;
/// A token has at most so many bytes.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A token of a token service.
    Bearer {
        /// Where the service is asked: a URL.
        realm: String,
        /// Whom the token is for; may be empty.
        service: String,
        /// What it is to allow; may be empty.
        scope: String,
    },
    /// A name and a password.
    Basic,
}

impl Challenge {
    /// The first challenge of a `WWW-Authenticate` field that can be met.
    pub fn read(field: &str) -> Option<Challenge> {
        if field.len() > CHALLENGE_BYTES_MAX {
            return None;
        }
        let mut rest = Rest(field);
        let mut scheme = rest.scheme()?;
        loop {
            let (challenge, next) = one(scheme, &mut rest);
            if challenge.is_some() {
                return challenge;
            }
            scheme = next?;
        }
    }
}

/// One challenge: its parameters up to the next scheme, which is returned.
fn one<'a>(scheme: &str, rest: &mut Rest<'a>) -> (Option<Challenge>, Option<&'a str>) {
    let (mut realm, mut service, mut scope) = Default::default();
    let mut next = None;
    while let Some(part) = rest.part() {
        match part {
            Part::Scheme(scheme) => {
                next = Some(scheme);
                break;
            }
            Part::Parameter(name, value) => {
                let into = match name.to_ascii_lowercase().as_str() {
                    "realm" => &mut realm,
                    "service" => &mut service,
                    "scope" => &mut scope,
                    _ => continue,
                };
                *into = value;
            }
        }
    }
    let challenge = match scheme.to_ascii_lowercase().as_str() {
        "bearer" if !realm.is_empty() => Some(Challenge::Bearer {
            realm,
            service,
            scope,
        }),
        "basic" => Some(Challenge::Basic),
        _ => None,
    };
    (challenge, next)
}

enum Part<'a> {
    Scheme(&'a str),
    Parameter(&'a str, String),
}

/// What is left of a field.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn token(&mut self) -> Option<&'a str> {
        let is_token = |it: char| it.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(it);
        let end = self.0.find(|it| !is_token(it)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn skip(&mut self, what: &[char]) {
        self.0 = self.0.trim_start_matches(what);
    }

    fn scheme(&mut self) -> Option<&'a str> {
        self.skip(&[' ', '\t', ',']);
        self.token()
    }

    /// A parameter, or the scheme of the next challenge. None at the end, and at what is no part
    /// of a challenge.
    fn part(&mut self) -> Option<Part<'a>> {
        let name = self.scheme()?;
        let before_blanks = self.0;
        self.skip(&[' ', '\t']);
        let Some(rest) = self.0.strip_prefix('=') else {
            self.0 = before_blanks;
            return Some(Part::Scheme(name));
        };
        self.0 = rest;
        self.skip(&[' ', '\t']);
        let value = match self.0.strip_prefix('"') {
            Some(rest) => {
                self.0 = rest;
                self.quoted()?
            }
            None => self.token().unwrap_or_default().to_owned(),
        };
        Some(Part::Parameter(name, value))
    }

    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut letters = self.0.char_indices();
        while let Some((place, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.0 = &self.0[place + 1..];
                    return Some(value);
                }
                '\\' => value.push(letters.next()?.1),
                other => value.push(other),
            }
        }
        None
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// The token in a token service's answer; none if there is none that a header can carry.
pub fn token(answer: &[u8]) -> Option<String> {
    if answer.len() > TOKEN_ANSWER_BYTES_MAX {
        return None;
    }
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let is_there = |token: &String| !token.is_empty();
    let token = answer.token.filter(is_there);
    let token = token.or(answer.access_token.filter(is_there))?;
    let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
    (is_visible && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: &str, scope: &str) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.to_owned(),
            scope: scope.to_owned(),
        })
    }

    #[test]
    fn challenges_are_read_as_rfc_9110_writes_them() {
        let cases = [
            (
                r#"Bearer realm="https://a/token",service="r.io",scope="repository:a/b:pull""#,
                bearer("https://a/token", "r.io", "repository:a/b:pull"),
            ),
            (
                r#"bearer  Scope = "x,y" , REALM="https://a", error="invalid_token""#,
                bearer("https://a", "", "x,y"),
            ),
            (
                r#"Negotiate, Digest realm="d", nonce=1, Bearer realm=plain"#,
                bearer("plain", "", ""),
            ),
            (r#"Bearer realm="a\"b\\c""#, bearer("a\"b\\c", "", "")),
            (r#"Basic realm="Registry""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            (r#"Bearer service="x""#, None),
            (r#"Bearer realm="unended"#, None),
            (r#"Bearer realm="a\"#, None),
            ("Negotiate", None),
            ("", None),
            ("=", None),
            (", ,", None),
        ];
        for (field, expected) in cases {
            assert_eq!(Challenge::read(field), expected, "{field}");
        }
        let long = format!("Bearer realm=\"{}\"", "x".repeat(CHALLENGE_BYTES_MAX));
        assert_eq!(Challenge::read(&long), None);
    }

    #[test]
    fn a_token_is_what_a_header_can_carry() {
        let cases = [
            (r#"{"token": "t", "expires_in": 300}"#, Some("t")),
            (r#"{"access_token": "a"}"#, Some("a")),
            (r#"{"token": "", "access_token": "a"}"#, Some("a")),
            (r#"{"token": null}"#, None),
            (r#"{"token": "a\r\nX-Evil: 1"}"#, None),
            (r#"{"token": "é"}"#, None),
            ("{}", None),
            ("token", None),
        ];
        for (answer, expected) in cases {
            assert_eq!(token(answer.as_bytes()).as_deref(), expected, "{answer}");
        }
        let long = format!(r#"{{"token": "{}"}}"#, "x".repeat(TOKEN_BYTES_MAX + 1));
        assert_eq!(token(long.as_bytes()), None);
    }
}
