//! Whom registries have to have their certificates from: the machine's own authorities, as its
//! other programs believe them, and those that were named besides.

use std::{path::Path, sync::Arc};

use atoll_world::{process, tree};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

/// A file with authorities has at most so many bytes.
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

/// What a registry has to show.
pub(in super::super) fn config(besides: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(machine());
    roots.add_parsable_certificates(besides.iter().cloned());
    if roots.is_empty() {
        tracing::warn!("the machine trusts no authority; no registry can be asked with TLS");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has what TLS 1.2 and 1.3 need");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// The first file of authorities that has any.
fn machine() -> Vec<CertificateDer<'static>> {
    let own = process::variable(VARIABLE).into_iter();
    let all = own.chain(BUNDLES.map(str::to_owned));
    let mut bundles = all.map(|path| {
        let bytes = tree::read_file(Path::new(&path), BUNDLE_BYTES_MAX);
        let bytes = bytes.ok().flatten().unwrap_or_default();
        authorities(&bytes)
    });
    bundles.find(|found| !found.is_empty()).unwrap_or_default()
}

/// The certificates of a PEM file; what is none is passed over.
fn authorities(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).flatten().collect()
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
        // It is no certificate inside, and can't be believed.
        config(&authorities(pem));
    }
}
