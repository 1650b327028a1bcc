//! Which requests an Ingress is for beyond host and path: by method and by fields, as annotations
//! `atoll.dev/match-…` say.

use hyper::{Method, header::HeaderName};

/// So many methods, and so many fields, an Ingress may ask for.
const MATCHES_MAX: usize = 16;

/// The requests that an Ingress is for.
#[derive(Debug, Default)]
pub(super) struct Matches {
    /// With one of these; none: with any.
    pub(super) methods: Vec<Method>,
    /// With all of these.
    pub(super) headers: Vec<(HeaderName, String)>,
}

impl Matches {
    /// The methods that a route is made for each of.
    pub(super) fn each_method(&self) -> Vec<Option<Method>> {
        match self.methods.is_empty() {
            true => vec![None],
            false => self.methods.iter().cloned().map(Some).collect(),
        }
    }
}

/// `GET, HEAD`.
pub(super) fn methods(text: &str) -> Result<Vec<Method>, String> {
    words(text)?.into_iter().map(method).collect()
}

/// `NAME=VALUE, NAME=VALUE`.
pub(super) fn headers(text: &str) -> Result<Vec<(HeaderName, String)>, String> {
    let pairs = words(text)?.into_iter().map(|word| {
        let told = || format!("{word:?} is not NAME=VALUE");
        let (name, value) = word.split_once('=').ok_or_else(told)?;
        let name = name.trim().parse().map_err(|_| told())?;
        Ok((name, value.trim().to_owned()))
    });
    pairs.collect()
}

/// A method as it is written.
pub(in crate::core) fn method(name: &str) -> Result<Method, String> {
    let is_plain = name.bytes().all(|it| it.is_ascii_uppercase() || it == b'-');
    let method = Method::from_bytes(name.as_bytes()).ok();
    method
        .filter(|_| is_plain)
        .ok_or_else(|| format!("{name:?} is no method: they are written as GET"))
}

fn words(text: &str) -> Result<Vec<&str>, String> {
    let words: Vec<_> = text.split(',').map(str::trim).collect();
    match words.len() <= MATCHES_MAX {
        true => Ok(words),
        false => Err(format!("it names more than {MATCHES_MAX}")),
    }
}
