//! The cluster's own certificate authority.
//!
//! One root; under it two issuers, one for nodes and one for clients, so that a user's
//! certificate can never pass for a node's. A node's certificate names it twice: the id in
//! hexadecimal as common name, and `atoll-node-<id>` as DNS name, which is what other nodes
//! verify; the addresses of its listeners stand beside it for clients. A client's common name
//! is its user. All keys are ECDSA P-256; files and messages carry PEM.
//!
//! The SHA-256 of the root is its [`Fingerprint`]: a joining node knows it from its token and
//! verifies the other side by it before it sends anything ([`tls::joiner_config`]).

use std::{fmt, str::FromStr, time::Duration};

use atoll_base::id::NodeId;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

mod authority;
pub mod files;
mod keyring;
pub mod sealing;
#[cfg(test)]
mod tests;
pub mod tls;

pub use authority::Authority;
pub use keyring::{Admission, Keyring, Standing};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a root serves.
pub const ROOT_LIFE: Duration = Duration::from_secs(20 * 365 * DAY.as_secs());
/// How long an issuer serves.
pub const ISSUER_LIFE: Duration = Duration::from_secs(10 * 365 * DAY.as_secs());
/// How long a node's or a client's certificate serves, unless asked otherwise.
pub const LEAF_LIFE: Duration = Duration::from_secs(365 * DAY.as_secs());
/// Certificates begin this much in the past, for clocks that are behind.
const BACKDATE: Duration = Duration::from_secs(3600);
/// Longest PEM text that is parsed, in bytes.
pub const PEM_BYTES_MAX: usize = 256 << 10;

/// Why a certificate could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The text or its contents are not what they should be.
    #[error("{what} can't be read: {reason}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A key does not belong to its certificate.
    #[error("the private key does not belong to the certificate of {common_name:?}")]
    WrongKey {
        /// Whom the certificate names.
        common_name: String,
    },
    /// This node's folder has no authority.
    #[error("this node does not hold the cluster's authority: authority.key is missing")]
    NoAuthority,
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Make(#[from] rcgen::Error),
    /// TLS could not be set up with these certificates.
    #[error("TLS could not be set up with these certificates")]
    Tls(#[from] rustls::Error),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: std::path::PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl PkiError {
    /// Something that was read, and is not what it should be.
    pub fn malformed(what: &'static str, reason: impl fmt::Display) -> Self {
        PkiError::Malformed {
            what,
            reason: reason.to_string(),
        }
    }
}

/// A node's certificates name it so in DNS.
pub fn node_dns_name(node: NodeId) -> String {
    format!("atoll-node-{node}")
}

/// The SHA-256 of a certificate. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Fingerprint(Sha256::digest(certificate.as_ref()).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        let malformed = || PkiError::malformed("a fingerprint", "it is not 64 hexadecimal digits");
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| malformed())?;
        }
        Ok(Fingerprint(bytes))
    }
}

/// What a certificate says about its holder and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The node's id, or the user's name.
    pub common_name: String,
    /// The names and addresses under which it may be reached, as text.
    pub names: Vec<String>,
    /// From when it serves, milliseconds since the epoch.
    pub not_before_ms: u64,
    /// Until when it serves, milliseconds since the epoch.
    pub not_after_ms: u64,
}

impl Facts {
    /// Reads a certificate, without verifying who issued it.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Facts, PkiError> {
        let (_, x509) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| PkiError::malformed("a certificate", error))?;
        let mut names = x509.subject().iter_common_name();
        let common_name = names
            .next()
            .and_then(|name| name.as_str().ok())
            .unwrap_or_default();
        let ms = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
        Ok(Facts {
            common_name: common_name.to_owned(),
            names: alternative_names(&x509),
            not_before_ms: ms(x509.validity().not_before.timestamp()),
            not_after_ms: ms(x509.validity().not_after.timestamp()),
        })
    }

    /// The node that a certificate of the nodes' issuer names.
    pub fn node_id(&self) -> Option<NodeId> {
        let node = NodeId(u64::from_str_radix(&self.common_name, 16).ok()?);
        (self.common_name == node.to_string() && self.names.contains(&node_dns_name(node)))
            .then_some(node)
    }

    /// Whether the last third of its life has begun.
    pub fn needs_renewal(&self, now_ms: u64) -> bool {
        let life_ms = self.not_after_ms.saturating_sub(self.not_before_ms);
        now_ms >= self.not_after_ms.saturating_sub(life_ms / 3)
    }
}

fn alternative_names(x509: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(extension)) = x509.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(octets) => ip_text(octets),
            _ => None,
        })
        .collect()
}

fn ip_text(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(std::net::IpAddr::from);
    let ip = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(std::net::IpAddr::from));
    ip.ok().map(|ip| ip.to_string())
}

/// A certificate with the chain up to the root, and its private key.
#[derive(Clone)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key_pem: Zeroizing<String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("facts", &self.facts())
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Puts a certificate chain (the holder's own first) and its key together.
    ///
    /// # Errors
    /// `Malformed`; `WrongKey`.
    pub fn from_pem(chain_pem: &str, key_pem: &str) -> Result<Identity, PkiError> {
        let chain = certificates_from_pem("a certificate", chain_pem)?;
        let key = rcgen::KeyPair::from_pem(key_pem)
            .map_err(|error| PkiError::malformed("a private key", error))?;
        authority::check_key(&chain[0], &key)?;
        Ok(Identity {
            chain,
            key_pem: Zeroizing::new(key_pem.to_owned()),
        })
    }

    /// The chain, the holder's own certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The chain as PEM.
    pub fn chain_pem(&self) -> String {
        certificates_to_pem(&self.chain)
    }

    /// The private key as PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// What its certificate says.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn facts(&self) -> Result<Facts, PkiError> {
        Facts::of(&self.chain[0])
    }

    fn key_der(&self) -> Result<PrivateKeyDer<'static>, PkiError> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .map_err(|error| PkiError::malformed("a private key", error))
    }
}

/// A new private key, and the request to have it certified. The key never leaves its maker.
pub struct KeyRequest {
    key: rcgen::KeyPair,
    csr_pem: String,
}

impl KeyRequest {
    /// Draws a key.
    ///
    /// # Errors
    /// `Make`.
    pub fn new() -> Result<KeyRequest, PkiError> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let csr_pem = params.serialize_request(&key)?.pem()?;
        Ok(KeyRequest { key, csr_pem })
    }

    /// What to send to the authority. It says nothing but the public key, and proves that
    /// the private one is held: whom the certificate names is the authority's decision.
    pub fn csr_pem(&self) -> &str {
        &self.csr_pem
    }

    /// Puts the authority's answer and the key together.
    ///
    /// # Errors
    /// `Malformed`; `WrongKey`.
    pub fn certified(self, chain_pem: &str) -> Result<Identity, PkiError> {
        Identity::from_pem(chain_pem, &Zeroizing::new(self.key.serialize_pem()))
    }
}

/// Whom to trust: public, and the same on every node. While an issuer or the root is being
/// replaced, the old and the new stand beside each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The roots; what clients are given. The first is the current one.
    pub roots: Vec<CertificateDer<'static>>,
    /// The issuers of nodes.
    pub nodes: Vec<CertificateDer<'static>>,
    /// The issuers of clients.
    pub clients: Vec<CertificateDer<'static>>,
}

impl Trust {
    /// The fingerprint of the current root.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.roots.first().expect("trust has a root"))
    }

    /// From three PEM texts, none of them empty.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn from_pem(roots: &str, nodes: &str, clients: &str) -> Result<Trust, PkiError> {
        Ok(Trust {
            roots: certificates_from_pem("the root certificate", roots)?,
            nodes: certificates_from_pem("the certificate of the nodes' issuer", nodes)?,
            clients: certificates_from_pem("the certificate of the clients' issuer", clients)?,
        })
    }

    /// The part of it that belongs to one root; none if that is not trusted. Each authority
    /// has one of each kind, in the same place.
    pub fn only(&self, root: Fingerprint) -> Option<Trust> {
        let at = self
            .roots
            .iter()
            .position(|one| Fingerprint::of(one) == root)?;
        Some(Trust {
            roots: vec![self.roots[at].clone()],
            nodes: vec![self.nodes.get(at)?.clone()],
            clients: vec![self.clients.get(at)?.clone()],
        })
    }

    /// This one's, and behind them another's.
    #[must_use]
    pub fn with(&self, other: &Trust) -> Trust {
        let mut both = self.clone();
        both.merge(other);
        both
    }

    /// Adds what another holds and this does not, as when an authority is replaced.
    pub fn merge(&mut self, other: &Trust) {
        let sets = [
            (&mut self.roots, &other.roots),
            (&mut self.nodes, &other.nodes),
            (&mut self.clients, &other.clients),
        ];
        for (ours, theirs) in sets {
            let new: Vec<_> = theirs
                .iter()
                .filter(|one| !ours.contains(one))
                .cloned()
                .collect();
            ours.extend(new);
        }
    }
}

/// Certificates as PEM, one after the other.
pub fn certificates_to_pem(certificates: &[CertificateDer<'_>]) -> String {
    certificates
        .iter()
        .map(|one| to_pem("CERTIFICATE", one))
        .collect()
}

/// At least one certificate from PEM; each of them can be read.
///
/// # Errors
/// `Malformed`.
pub fn certificates_from_pem(
    what: &'static str,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    if pem.len() > PEM_BYTES_MAX {
        let reason = format!("{} bytes are over the limit of {PEM_BYTES_MAX}", pem.len());
        return Err(PkiError::malformed(what, reason));
    }
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PkiError::malformed(what, error))?;
    if certificates.is_empty() {
        return Err(PkiError::malformed(what, "there is no certificate in it"));
    }
    for certificate in &certificates {
        Facts::of(certificate)?;
    }
    Ok(certificates)
}

fn to_pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut pem = format!("-----BEGIN {label}-----\n");
    // 48 bytes make a line of 64 characters.
    for line in der.chunks(48) {
        STANDARD.encode_string(line, &mut pem);
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}
