//! Certificates of users: made from a key that never leaves its owner, for the user itself or
//! for root.
//!
//! A certificate is a login under the user's name for as long as there is a user of that
//! name: nothing is kept of it here, and there is no list of revoked ones.

use std::time::Duration;

use atoll_world::pki::{Facts, PkiError, certificates_from_pem};

use crate::{api::ControlApi, core::error::Error, proto::internal::Identity};

/// Longest name that a certificate carries as its common name, in bytes (RFC 5280, ub-common-name).
const NAME_BYTES_MAX: usize = 64;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// Who asks may not, there is no such user, or the cluster did not answer.
    #[error(transparent)]
    Cluster(#[from] Error),
    /// This node holds no authority.
    #[error("this node does not hold the cluster's authority; ask another one")]
    NoAuthority,
    /// The name does not fit.
    #[error(
        "the name of the user is longer than the {NAME_BYTES_MAX} bytes that a certificate carries"
    )]
    NameTooLong,
    /// It would be good for longer than is allowed.
    #[error(
        "a certificate is good for at most {max_s} s here (security.user_certificate_life_s), not {wanted_s}"
    )]
    LifeTooLong {
        /// What was asked for, in seconds.
        wanted_s: u64,
        /// What is allowed, in seconds.
        max_s: u64,
    },
    /// The request cannot be certified.
    #[error("{0}")]
    Request(#[from] PkiError),
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The user.
    pub user: String,
    /// A PKCS#10 request for the key.
    pub csr_pem: String,
    /// How long it is good for, in seconds; 0: as long as is allowed.
    pub life_s: u64,
}

/// A certificate that was just made.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The user's certificate, its issuer and the root.
    pub certificate_pem: String,
    /// Whom the user has to trust.
    pub roots_pem: String,
    /// Until when it is good, milliseconds since the epoch.
    pub expires_ms: u64,
}

/// Certifies a key as a user's.
///
/// # Errors
/// See [`CertifyError`].
pub async fn issue<C: ControlApi>(
    control: &C,
    identity: &Identity,
    wanted: Wanted,
    life_max: Duration,
) -> Result<Issued, CertifyError> {
    // A certificate that anybody may ask for would be a login as soon as logins are wanted.
    if !control.auth_status().0 {
        return Err(Error::AuthNotEnabled.into());
    }
    // Not for a user that was deleted somewhere else a moment ago.
    control.barrier().await?;
    control.user(identity, &wanted.user)?;
    if wanted.user.len() > NAME_BYTES_MAX {
        return Err(CertifyError::NameTooLong);
    }
    let life_s = match wanted.life_s {
        0 => life_max.as_secs(),
        asked if asked > life_max.as_secs() => {
            return Err(CertifyError::LifeTooLong {
                wanted_s: asked,
                max_s: life_max.as_secs(),
            });
        }
        asked => asked,
    };
    let keyring = control.keyring().ok_or(CertifyError::NoAuthority)?;
    let life = Duration::from_secs(life_s);
    let certificate_pem = keyring.sign_client(&wanted.csr_pem, &wanted.user, life)?;
    let chain = certificates_from_pem("the new certificate", &certificate_pem)?;
    tracing::info!(user = wanted.user, life_s, "a user's key was certified");
    Ok(Issued {
        expires_ms: Facts::of(&chain[0])?.not_after_ms,
        certificate_pem,
        roots_pem: keyring.roots_pem(),
    })
}
