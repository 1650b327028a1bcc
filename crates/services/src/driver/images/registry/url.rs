//! Where something is asked for.

use std::{fmt, net::IpAddr};

use hyper::Uri;

use super::RegistryError;

/// A URL has at most so many bytes. Those that lead to content carry long signatures.
const URL_BYTES_MAX: usize = 16 << 10;

/// An `http` or `https` URL. Shown without its query, which may hold a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// The path, with a query if there is one.
    pub(super) path: String,
}

impl Url {
    /// A registry, as an image's name has it: without TLS if it is on this machine, as Docker
    /// does.
    pub(super) fn of_registry(host: &str) -> Result<Url, RegistryError> {
        let with_tls = Url::read(&format!("https://{host}/"))?;
        match with_tls.is_loopback() {
            true => Url::read(&format!("http://{host}/")),
            false => Ok(with_tls),
        }
    }

    pub(super) fn read(text: &str) -> Result<Url, RegistryError> {
        let refused = |why| RegistryError::Address(shown(text).to_owned(), why);
        if text.len() > URL_BYTES_MAX {
            return Err(refused("it is too long"));
        }
        let uri: Uri = text.parse().map_err(|_| refused("it is no URL"))?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refused("it is neither http nor https")),
        };
        let authority = uri.authority().ok_or_else(|| refused("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refused("it has a user in it"));
        }
        let host = authority.host().trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(refused("it has no host"));
        }
        let path = uri.path_and_query().map_or("/", |it| it.as_str());
        Ok(Url {
            is_tls,
            host: host.to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(default_port(is_tls)),
            path: path.to_owned(),
        })
    }

    pub(super) fn with_path(&self, path: &str) -> Url {
        Url {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// With more parameters in its query.
    pub(super) fn with_query(&self, query: &str) -> Url {
        let sign = if self.path.contains('?') { '&' } else { '?' };
        match query {
            "" => self.clone(),
            query => self.with_path(&format!("{}{sign}{query}", self.path)),
        }
    }

    pub(super) fn is_same_origin(&self, other: &Url) -> bool {
        let origin = |it: &Url| (it.is_tls, it.port, it.host.clone());
        origin(self) == origin(other)
    }

    /// Whether nobody but this machine hears what is said.
    fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|it| it.is_loopback())
    }

    /// Whether an answer from here may send on to `to`. Who is asked with TLS never leads to
    /// where there is none, nor a stranger to what listens on this machine.
    pub(super) fn may_lead_to(&self, to: &Url) -> Result<(), RegistryError> {
        let refused = |why| Err(RegistryError::Address(to.to_string(), why));
        match (to.is_tls, to.is_loopback(), self.is_loopback()) {
            (_, true, false) => refused("it is this machine, and a stranger leads there"),
            (false, false, _) => refused("it has no TLS"),
            (false, true, true) if self.is_tls => refused("it has no TLS"),
            _ => Ok(()),
        }
    }

    /// Where to connect.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    /// As the field `Host` has it.
    pub(super) fn authority(&self) -> String {
        match self.port == default_port(self.is_tls) {
            true => self.bracketed(),
            false => self.address(),
        }
    }

    fn bracketed(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), shown(&self.path))
    }
}

fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

/// Without a query.
fn shown(text: &str) -> &str {
    text.split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_of_this_machine_need_no_tls() {
        let cases = [
            ("registry-1.docker.io", "https://registry-1.docker.io/"),
            ("example.com:5000", "https://example.com:5000/"),
            ("localhost:5000", "http://localhost:5000/"),
            ("127.1.2.3", "http://127.1.2.3/"),
            ("[::1]:5000", "http://[::1]:5000/"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/"),
            ("localhost.example.com", "https://localhost.example.com/"),
        ];
        for (host, url) in cases {
            assert_eq!(Url::of_registry(host).unwrap().to_string(), url);
        }
        let url = Url::read("https://[::1]:443/a?b").unwrap();
        assert_eq!(
            (url.address(), url.authority()),
            ("[::1]:443".into(), "[::1]".into())
        );
    }

    #[test]
    fn what_is_no_place_to_ask_is_refused() {
        let long = format!("https://a/{}", "x".repeat(URL_BYTES_MAX));
        for text in [
            "",
            "/a",
            "a",
            "ftp://a/",
            "https://",
            "http://u:p@a/",
            "https:///x",
            &long,
        ] {
            assert!(Url::read(text).is_err(), "{text:.40}");
        }
        let told = Url::read("ftp://a/b?secret").unwrap_err().to_string();
        assert!(!told.contains("secret"), "{told}");
        let shown = Url::read("https://a/b?secret").unwrap().to_string();
        assert_eq!(shown, "https://a/b");
    }

    #[test]
    fn answers_lead_to_no_worse_place() {
        let cases = [
            ("https://a/", "https://b/", true),
            ("https://a/", "http://b/", false),
            ("https://a/", "http://127.0.0.1/", false),
            ("https://a/", "https://localhost/", false),
            ("http://localhost:5000/", "https://b/", true),
            ("http://localhost:5000/", "http://127.0.0.1:80/", true),
            ("http://localhost:5000/", "http://b/", false),
            ("https://localhost/", "http://localhost/", false),
        ];
        for (from, to, may) in cases {
            let [from, to] = [from, to].map(|text| Url::read(text).unwrap());
            assert_eq!(from.may_lead_to(&to).is_ok(), may, "{from} to {to}");
        }
        let url = Url::read("https://a/t").unwrap();
        assert_eq!(url.with_query("x=1").with_query("y=2").path, "/t?x=1&y=2");
        assert!(!url.is_same_origin(&Url::read("https://a:444/t").unwrap()));
        assert!(url.is_same_origin(&Url::read("https://A/other").unwrap()));
    }
}
