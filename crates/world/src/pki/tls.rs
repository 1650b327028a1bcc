//! TLS set-ups made of certificates: peers (mutual), clients' listeners, clients, joiners.
//!
//! Always ring, whatever else is linked in. Peers speak TLS 1.3 only and never resume, so
//! that every connection shows its certificate anew.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
};

use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion,
    client::{
        Resumption, WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{
        ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert,
        WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};

use super::{Facts, Fingerprint, Identity, PEM_BYTES_MAX, PkiError, Trust, certificates_from_pem};

mod calling;

pub use calling::{Calling, Trusted, machine_roots};

/// The protocol that peer links ask for, so that they can share a listener with clients.
pub const PEER_ALPN: &[u8] = b"atoll-peer/1";

const PEER_VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

static RING: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// What a client has to show at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// A certificate of the clients' issuer, or none.
    Optional,
    /// A certificate of the clients' issuer; without it the handshake fails.
    Required,
}

/// The accepting side of peer links: the caller must show a node's certificate.
///
/// # Errors
/// `Tls`, `Malformed`.
pub fn peer_server_config(
    identity: &Identity,
    trust: &Trust,
) -> Result<Arc<ServerConfig>, PkiError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(&trust.nodes)?, RING.clone())
        .build()
        .map_err(|error| PkiError::malformed("the certificate of the nodes' issuer", error))?;
    let mut config = server_config(identity, verifier, PEER_VERSIONS, &[PEER_ALPN])?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The calling side of peer links. The server name to ask for is
/// [`node_dns_name`](super::node_dns_name).
///
/// # Errors
/// `Tls`, `Malformed`.
pub fn peer_client_config(
    identity: &Identity,
    trust: &Trust,
) -> Result<Arc<ClientConfig>, PkiError> {
    let trusted = ClientConfig::builder_with_provider(RING.clone())
        .with_protocol_versions(PEER_VERSIONS)?
        .with_root_certificates(roots(&trust.nodes)?);
    let mut config = shown(trusted, Some(identity), &[PEER_ALPN])?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A listener for clients. Whatever they show must be good: a certificate of the clients'
/// issuer, in its time. Nobody is let in by a session of before, so that who is let in has
/// shown its certificate to the trust of now. `alpn` in order of preference, as `h2`,
/// `http/1.1`.
///
/// # Errors
/// `Tls`, `Malformed`.
pub fn listener_config(
    identity: &Identity,
    trust: &Trust,
    certificate: ClientCertificate,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, PkiError> {
    let mut verifier =
        WebPkiClientVerifier::builder_with_provider(roots(&trust.clients)?, RING.clone());
    if certificate == ClientCertificate::Optional {
        verifier = verifier.allow_unauthenticated();
    }
    let verifier = verifier
        .build()
        .map_err(|error| PkiError::malformed("the certificate of the clients' issuer", error))?;
    let mut config = server_config(identity, verifier, rustls::DEFAULT_VERSIONS, alpn)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// A certificate that people brought, with its chain and its key: of any issuer, and with a key
/// in any of the usual forms (PKCS #8, PKCS #1, SEC 1).
#[derive(Clone)]
pub struct ShownCertificate {
    certified: Arc<CertifiedKey>,
    facts: Arc<Facts>,
}

impl ShownCertificate {
    /// Puts a chain (the holder's own first) and its key together.
    ///
    /// # Errors
    /// `Malformed`; `Tls`: they don't belong together.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let chain = certificates_from_pem("a certificate", chain_pem)?;
        if key_pem.len() > PEM_BYTES_MAX {
            return Err(PkiError::malformed("a private key", "it is too long"));
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|error| PkiError::malformed("a private key", error))?;
        let facts = Arc::new(Facts::of(&chain[0])?);
        let certified = Arc::new(CertifiedKey::from_der(chain, key, &RING)?);
        Ok(ShownCertificate { certified, facts })
    }

    /// One that nobody trusts, made now, for callers whom there is none to show.
    ///
    /// # Errors
    /// `Make`.
    pub fn self_signed(name: &str) -> Result<Self, PkiError> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
        let key_pem = zeroize::Zeroizing::new(made.signing_key.serialize_pem());
        Self::from_pem(&made.cert.pem(), &key_pem)
    }

    /// What it says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The chain, the holder's own certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }
}

impl fmt::Debug for ShownCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShownCertificate")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// The same chain; its key is then the same as well.
impl PartialEq for ShownCertificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.certified, &other.certified) || self.chain() == other.chain()
    }
}

/// Certificates by the server name that is asked for, in small letters.
#[derive(Clone, Debug, Default)]
pub struct ByName {
    /// For this name.
    pub exact: BTreeMap<String, ShownCertificate>,
    /// For names of exactly one label more than this.
    pub wildcard: BTreeMap<String, ShownCertificate>,
    /// For other names, and for who asks for none; without it the handshake fails.
    pub fallback: Option<ShownCertificate>,
}

impl ByName {
    /// Which one is shown to who asks for this name.
    pub fn choose(&self, name: Option<&str>) -> Option<&ShownCertificate> {
        let found = name.map(str::to_ascii_lowercase).and_then(|name| {
            let parent = name.split_once('.').map(|(_, parent)| parent);
            let wildcard = || self.wildcard.get(parent?);
            self.exact.get(&name).or_else(wildcard)
        });
        found.or(self.fallback.as_ref())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.choose(hello.server_name());
        chosen.map(|chosen| chosen.certified.clone())
    }
}

/// A listener whose certificate is chosen by server name. `clients`: the roots that clients'
/// certificates are to be of, and whether they have to show one; then nobody is let in by a
/// session of before.
///
/// # Errors
/// `Tls`, `Malformed`.
pub fn named_listener_config(
    certificates: ByName,
    clients: Option<(&[CertificateDer<'static>], ClientCertificate)>,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, PkiError> {
    let builder = ServerConfig::builder_with_provider(RING.clone())
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)?;
    let asks = clients.is_some();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some((trusted, demand)) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots(trusted)?, RING.clone());
            let verifier = match demand {
                ClientCertificate::Optional => verifier.allow_unauthenticated(),
                ClientCertificate::Required => verifier,
            };
            let verifier = verifier.build();
            builder.with_client_cert_verifier(verifier.map_err(|error| {
                PkiError::malformed("the certificate of the clients' issuer", error)
            })?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = names(alpn);
    if asks {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

/// A client of the cluster: it trusts the given roots, and may show a certificate of its own.
///
/// # Errors
/// `Tls`, `Malformed`.
pub fn client_config(
    trusted: &[CertificateDer<'static>],
    identity: Option<&Identity>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, PkiError> {
    let trusted = ClientConfig::builder_with_provider(RING.clone())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(trusted)?);
    Ok(Arc::new(shown(trusted, identity, alpn)?))
}

fn server_config(
    identity: &Identity,
    verifier: Arc<dyn ClientCertVerifier>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> Result<ServerConfig, PkiError> {
    let mut config = ServerConfig::builder_with_provider(RING.clone())
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain().to_vec(), identity.key_der()?)?;
    config.alpn_protocols = names(alpn);
    Ok(config)
}

/// A client's set-up, once it is said whom it trusts.
fn shown(
    trusted: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&Identity>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, PkiError> {
    let mut config = match identity {
        Some(identity) => {
            trusted.with_client_auth_cert(identity.chain().to_vec(), identity.key_der()?)?
        }
        None => trusted.with_no_client_auth(),
    };
    config.alpn_protocols = names(alpn);
    Ok(config)
}

fn names(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.to_vec()).collect()
}

/// A node that is about to join and knows nothing but the root's fingerprint. It accepts any
/// node of that root, by whatever address it was reached, and nobody else; nothing is sent
/// before that is verified.
///
/// # Errors
/// `Tls`.
pub fn joiner_config(root: Fingerprint, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, PkiError> {
    let mut config = ClientConfig::builder_with_provider(RING.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(StrangersVerifier { root: Some(root) }))
        .with_no_client_auth();
    config.alpn_protocols = names(alpn);
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A client that accepts whoever answers: for questions whose answers nobody relies on, as
/// whether a program is up.
///
/// # Errors
/// `Tls`.
pub fn unverified_config(alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, PkiError> {
    let mut config = ClientConfig::builder_with_provider(RING.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(StrangersVerifier { root: None }))
        .with_no_client_auth();
    config.alpn_protocols = names(alpn);
    Ok(Arc::new(config))
}

fn roots(certificates: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, PkiError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate.clone())?;
    }
    Ok(Arc::new(store))
}

/// Knows nobody by name.
#[derive(Debug)]
struct StrangersVerifier {
    /// Whoever answers is a node under this root; none: it may be anybody.
    root: Option<Fingerprint>,
}

impl ServerCertVerifier for StrangersVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(root) = self.root else {
            return Ok(ServerCertVerified::assertion());
        };
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let mut presented = intermediates.iter();
        let root = presented
            .find(|one| Fingerprint::of(one) == root)
            .ok_or(unknown)?;
        let mut trusted = RootCertStore::empty();
        trusted.add(root.clone())?;
        // The clients' issuer is limited to clients, so that what passes here is a node.
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &trusted,
            intermediates,
            now,
            RING.signature_verification_algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &RING.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &RING.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        RING.signature_verification_algorithms.supported_schemes()
    }
}
