//! Who signs: the root and its two issuers, with their keys.

use std::{fmt, time::Duration};

use atoll_base::id::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use zeroize::Zeroizing;

use super::{
    BACKDATE, Facts, Fingerprint, ISSUER_LIFE, Identity, PEM_BYTES_MAX, PkiError, ROOT_LIFE, Trust,
    certificates_to_pem, node_dns_name, sealing::SealingKey, to_pem,
};
use crate::{clock, random};

/// The root and the two issuers, with their private keys. Whoever holds it is the cluster.
pub struct Authority {
    root: Signer,
    nodes: Signer,
    clients: Signer,
    /// While it takes the place of another.
    bridge: Option<Bridge>,
}

/// How those who know only the root of before find their way: that root has certified the new
/// issuer of nodes, too. Nodes show both ways until the old authority is dropped.
struct Bridge {
    nodes: CertificateDer<'static>,
    root: CertificateDer<'static>,
}

struct Signer {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Signer {
    /// Nobody outlives its issuer.
    fn limit(&self, params: &mut CertificateParams) -> Result<(), PkiError> {
        let end = Facts::of(&self.certificate)?.not_after_ms;
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_after = params.not_after.min(epoch + Duration::from_millis(end));
        Ok(())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = Fingerprint::of(&self.root.certificate);
        f.debug_struct("Authority")
            .field("root", &root)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a root and its issuers.
    ///
    /// # Errors
    /// `Make`.
    pub fn create() -> Result<Authority, PkiError> {
        Self::certified_by(None)
    }

    /// Makes the authority that shall take the place of this one. Until [`Authority::settle`],
    /// the nodes it certifies are also good for those who trust this one's root.
    ///
    /// # Errors
    /// `Make`.
    pub fn successor(&self) -> Result<Authority, PkiError> {
        Self::certified_by(Some(&self.root))
    }

    fn certified_by(before: Option<&Signer>) -> Result<Authority, PkiError> {
        // Old and new authorities can stand side by side: each has names of its own.
        let tag = random::u64() >> 32;
        let root_key = new_key()?;
        let root_params = authority_params(format!("Atoll root {tag:08x}"), ROOT_LIFE, 1, &[]);
        let certificate = root_params.self_signed(&root_key)?.der().clone();
        let root = Signer {
            certificate,
            issuer: Issuer::new(root_params, root_key),
        };

        let params = |role: &str, purposes: &[ExtendedKeyUsagePurpose]| {
            authority_params(format!("Atoll {role} {tag:08x}"), ISSUER_LIFE, 0, purposes)
        };
        let issuer = |params: &CertificateParams| {
            let key = new_key()?;
            let certificate = params.signed_by(&key, &root.issuer)?.der().clone();
            Ok::<_, PkiError>(Signer {
                certificate,
                issuer: Issuer::new(params.clone(), key),
            })
        };
        let mut of_nodes = params("nodes", &NODE_PURPOSES);
        let nodes = issuer(&of_nodes)?;
        let clients = issuer(&params("clients", &CLIENT_PURPOSES))?;
        let bridge = match before {
            None => None,
            Some(before) => {
                before.limit(&mut of_nodes)?;
                let certificate = of_nodes.signed_by(nodes.issuer.key(), &before.issuer)?;
                Some(Bridge {
                    nodes: certificate.der().clone(),
                    root: before.certificate.clone(),
                })
            }
        };
        Ok(Authority {
            root,
            nodes,
            clients,
            bridge,
        })
    }

    /// Whose authority it is.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.root.certificate)
    }

    /// Whether it certified a node.
    pub fn issued(&self, identity: &Identity) -> bool {
        identity.chain().contains(&self.nodes.certificate)
    }

    /// Forgets the authority of before.
    pub fn settle(&mut self) {
        self.bridge = None;
    }

    /// Whether nodes that it certifies are also good for those who trust the root of before.
    pub fn is_bridged(&self) -> bool {
        self.bridge.is_some()
    }

    /// The same identity with the chain that this authority gives its nodes now.
    pub(super) fn rechained(&self, identity: &Identity) -> Identity {
        Identity {
            chain: self.chain(identity.chain()[0].clone(), &self.nodes),
            key_pem: identity.key_pem.clone(),
        }
    }

    /// What everybody may know of it.
    pub fn trust(&self) -> Trust {
        Trust {
            roots: vec![self.root.certificate.clone()],
            nodes: vec![self.nodes.certificate.clone()],
            clients: vec![self.clients.certificate.clone()],
        }
    }

    /// A key and certificate for a node; `names` are the DNS names and addresses under which
    /// clients reach it.
    ///
    /// # Errors
    /// `Make`, as for a name that is not one.
    pub fn issue_node(
        &self,
        node: NodeId,
        names: &[String],
        life: Duration,
    ) -> Result<Identity, PkiError> {
        let params = node_params(node, names, life)?;
        self.issue(&self.nodes, params)
    }

    /// A key and certificate for a user.
    ///
    /// # Errors
    /// `Make`.
    pub fn issue_client(&self, user: &str, life: Duration) -> Result<Identity, PkiError> {
        self.issue(&self.clients, client_params(user, life))
    }

    /// Certifies the key of a [`KeyRequest`](super::KeyRequest) for a node. Nothing but the
    /// public key is taken from the request. The answer is the chain as PEM.
    ///
    /// # Errors
    /// `Malformed`; `Make`.
    pub fn sign_node(
        &self,
        csr_pem: &str,
        node: NodeId,
        names: &[String],
        life: Duration,
    ) -> Result<String, PkiError> {
        self.sign(&self.nodes, csr_pem, node_params(node, names, life)?)
    }

    /// As [`Authority::sign_node`], for a user.
    ///
    /// # Errors
    /// `Malformed`; `Make`.
    pub fn sign_client(
        &self,
        csr_pem: &str,
        user: &str,
        life: Duration,
    ) -> Result<String, PkiError> {
        self.sign(&self.clients, csr_pem, client_params(user, life))
    }

    /// The key with which this authority's cluster seals its own secrets: whoever holds the
    /// authority can open them, and nobody else.
    pub fn sealing_key(&self) -> SealingKey {
        let secret = Zeroizing::new(self.root.issuer.key().serialize_der());
        SealingKey::derived(&secret, b"atoll authority v1")
    }

    /// All of it, private keys included, as one PEM text.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut pem = Zeroizing::new(String::new());
        for signer in [&self.root, &self.nodes, &self.clients] {
            pem.push_str(&to_pem("CERTIFICATE", &signer.certificate));
            pem.push_str(&Zeroizing::new(signer.issuer.key().serialize_pem()));
        }
        if let Some(bridge) = &self.bridge {
            pem.push_str(&certificates_to_pem(&[
                bridge.nodes.clone(),
                bridge.root.clone(),
            ]));
        }
        pem
    }

    /// Reads what [`Authority::to_pem`] wrote.
    ///
    /// # Errors
    /// `Malformed`; `WrongKey`.
    pub fn from_pem(pem: &str) -> Result<Authority, PkiError> {
        let malformed = |reason: &str| PkiError::malformed("the certificate authority", reason);
        if pem.len() > PEM_BYTES_MAX {
            return Err(malformed("it is too long"));
        }
        let mut certificates = super::certificates_from_pem("the certificate authority", pem)?;
        let keys = rustls::pki_types::PrivateKeyDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| PkiError::malformed("the certificate authority", error))?;
        if keys.len() != 3 || !matches!(certificates.len(), 3 | 5) {
            return Err(malformed("it is not three certificates with their keys"));
        }
        let bridge = match <[_; 2]>::try_from(certificates.split_off(3)) {
            Ok([nodes, root]) => Some(Bridge { nodes, root }),
            Err(_) => None,
        };
        let mut signers = Vec::new();
        for (certificate, key) in certificates.into_iter().zip(&keys) {
            let key = KeyPair::try_from(key).map_err(|error| {
                PkiError::malformed("a key of the certificate authority", error)
            })?;
            check_key(&certificate, &key)?;
            let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
            signers.push(Signer {
                certificate,
                issuer,
            });
        }
        match <[Signer; 3]>::try_from(signers) {
            Ok([root, nodes, clients]) => Ok(Authority {
                root,
                nodes,
                clients,
                bridge,
            }),
            Err(_) => unreachable!("there are three"),
        }
    }

    fn issue(&self, signer: &Signer, mut params: CertificateParams) -> Result<Identity, PkiError> {
        signer.limit(&mut params)?;
        let key = new_key()?;
        let certificate = params.signed_by(&key, &signer.issuer)?.der().clone();
        Ok(Identity {
            chain: self.chain(certificate, signer),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }

    fn sign(
        &self,
        signer: &Signer,
        csr_pem: &str,
        mut params: CertificateParams,
    ) -> Result<String, PkiError> {
        signer.limit(&mut params)?;
        if csr_pem.len() > PEM_BYTES_MAX {
            return Err(PkiError::malformed(
                "a certificate request",
                "it is too long",
            ));
        }
        let request = CertificateSigningRequestParams::from_pem(csr_pem)
            .map_err(|error| PkiError::malformed("a certificate request", error))?;
        if request.public_key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(PkiError::malformed(
                "a certificate request",
                "its key is not ECDSA P-256",
            ));
        }
        let certificate = params
            .signed_by(&request.public_key, &signer.issuer)?
            .der()
            .clone();
        Ok(certificates_to_pem(&self.chain(certificate, signer)))
    }

    /// With the root, since a joining node knows nothing but that one's fingerprint. The way
    /// to the root of before comes first: those who look for an issuer only once (OpenSSL)
    /// know that root alone, or both.
    fn chain(
        &self,
        certificate: CertificateDer<'static>,
        signer: &Signer,
    ) -> Vec<CertificateDer<'static>> {
        let bridge = self
            .bridge
            .as_ref()
            .filter(|_| signer.certificate == self.nodes.certificate);
        let mut chain = vec![certificate];
        chain.extend(bridge.map(|bridge| bridge.nodes.clone()));
        chain.push(signer.certificate.clone());
        chain.push(self.root.certificate.clone());
        chain.extend(bridge.map(|bridge| bridge.root.clone()));
        chain
    }
}

const NODE_PURPOSES: [ExtendedKeyUsagePurpose; 2] = [
    ExtendedKeyUsagePurpose::ServerAuth,
    ExtendedKeyUsagePurpose::ClientAuth,
];
const CLIENT_PURPOSES: [ExtendedKeyUsagePurpose; 1] = [ExtendedKeyUsagePurpose::ClientAuth];

fn new_key() -> Result<KeyPair, PkiError> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
}

fn node_params(
    node: NodeId,
    names: &[String],
    life: Duration,
) -> Result<CertificateParams, PkiError> {
    let mut all = vec![node_dns_name(node)];
    all.extend(names.iter().cloned());
    let alternative = CertificateParams::new(all)?.subject_alt_names;
    let mut params = base_params(node.to_string(), life, &NODE_PURPOSES);
    params.subject_alt_names = alternative;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn client_params(user: &str, life: Duration) -> CertificateParams {
    let mut params = base_params(user.to_owned(), life, &CLIENT_PURPOSES);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn authority_params(
    name: String,
    life: Duration,
    below: u8,
    purposes: &[ExtendedKeyUsagePurpose],
) -> CertificateParams {
    let mut params = base_params(name, life, purposes);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn base_params(
    common_name: String,
    life: Duration,
    purposes: &[ExtendedKeyUsagePurpose],
) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = Duration::from_millis(clock::wall_ms());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + (now + life);
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.extended_key_usages = purposes.to_vec();
    params.use_authority_key_identifier_extension = true;
    params
}

/// That a key is the certificate's.
pub(super) fn check_key(certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<(), PkiError> {
    let (_, x509) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| PkiError::malformed("a certificate", error))?;
    if x509.public_key().subject_public_key.data.as_ref() == key.der_bytes() {
        return Ok(());
    }
    let mut names = x509.subject().iter_common_name();
    let common_name = names
        .next()
        .and_then(|name| name.as_str().ok())
        .unwrap_or_default();
    Err(PkiError::WrongKey {
        common_name: common_name.to_owned(),
    })
}
