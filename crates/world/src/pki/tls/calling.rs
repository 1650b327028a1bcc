//! How programs that people brought are called under TLS: by whom their certificates have to be
//! issued, and what is shown to them.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
    sign::SingleCertAndKey,
};

use super::{RING, ShownCertificate, StrangersVerifier, roots};
use crate::{
    pki::{PkiError, certificates_from_pem},
    process, tree,
};

/// A file with the machine's authorities has at most so many bytes.
const BUNDLE_BYTES_MAX: u64 = 16 << 20;
/// Where OpenSSL's users name a file of their own.
const VARIABLE: &str = "SSL_CERT_FILE";
/// Where distributions keep them: Debian, Fedora, openSUSE, Alpine.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Who has to have issued the certificate of who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// The machine's own authorities, as its other programs believe them.
    System,
    /// One of these; where there are none, nobody is believed.
    Roots(Vec<CertificateDer<'static>>),
    /// Whoever answers is taken for who he should be.
    Anybody,
}

impl Trusted {
    /// The authorities of a PEM file.
    ///
    /// # Errors
    /// `Malformed`; `Tls`: one can't be an authority.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let certificates = certificates_from_pem("a certificate of an issuer", pem)?;
        roots(&certificates)?;
        Ok(Trusted::Roots(certificates))
    }
}

/// The authorities that the machine's other programs believe: of the first file that has any.
pub fn machine_roots() -> Vec<CertificateDer<'static>> {
    let own = process::variable(VARIABLE).into_iter();
    let all = own.chain(BUNDLES.map(str::to_owned));
    let mut bundles = all.map(|path| {
        let bytes = tree::read_file(Path::new(&path), BUNDLE_BYTES_MAX);
        authorities(&bytes.ok().flatten().unwrap_or_default())
    });
    bundles.find(|found| !found.is_empty()).unwrap_or_default()
}

/// The certificates of a PEM file; what is none is passed over.
fn authorities(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).flatten().collect()
}

/// A set-up to call with. What it remembers of sessions is its own, so that nobody is believed
/// because another set-up believed him.
#[derive(Clone, Debug)]
pub struct Calling(ClientConfig);

impl Calling {
    /// For these authorities, and showing this certificate to who asks for one.
    ///
    /// # Errors
    /// `Tls`: one of the authorities can't be one.
    pub fn new(trusted: &Trusted, shown: Option<&ShownCertificate>) -> Result<Self, PkiError> {
        let builder = ClientConfig::builder_with_provider(RING.clone())
            .with_safe_default_protocol_versions()?;
        let builder = match trusted {
            Trusted::System => {
                let mut store = RootCertStore::empty();
                store.add_parsable_certificates(machine_roots());
                builder.with_root_certificates(store)
            }
            Trusted::Roots(certificates) => builder.with_root_certificates(roots(certificates)?),
            Trusted::Anybody => {
                let verifier = StrangersVerifier { root: None };
                let builder = builder.dangerous();
                builder.with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        Ok(Calling(match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let own = SingleCertAndKey::from(shown.certified.clone());
                builder.with_client_cert_resolver(Arc::new(own))
            }
        }))
    }

    /// It, asking for one of these protocols, in order of preference; none: for no protocol.
    pub fn asking_for(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = self.0.clone();
        config.alpn_protocols = super::names(alpn);
        Arc::new(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_passed_over() {
        let pem = b"# An authority\n-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n\
            -----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n";
        assert_eq!(authorities(pem), [CertificateDer::from(vec![0, 1, 2])]);
        assert_eq!(authorities(b"nothing"), []);
    }

    #[test]
    fn authorities_of_people_have_to_be_some() {
        let made = ShownCertificate::self_signed("a.example").unwrap();
        let pem = crate::pki::to_pem("CERTIFICATE", &made.chain()[0]);
        let trusted = Trusted::from_pem(&pem).unwrap();
        assert_eq!(trusted, Trusted::Roots(made.chain().to_vec()));
        for wrong in [
            "",
            "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n",
        ] {
            assert!(Trusted::from_pem(wrong).is_err());
        }
    }
}
