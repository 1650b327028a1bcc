//! Whom registries have to have their certificates from: the machine's own authorities, as its
//! other programs believe them, and those that were named besides.

use std::sync::Arc;

use atoll_world::pki::tls::machine_roots;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

/// What a registry has to show.
pub(in super::super) fn config(besides: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(machine_roots());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_t_be_believed_is_passed_over() {
        config(&[CertificateDer::from(vec![0, 1, 2])]);
    }
}
