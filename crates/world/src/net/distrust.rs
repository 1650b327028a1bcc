//! Why two sides did not come to TLS, as far as somebody can do something about it.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use super::NetError;

/// What stands between the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// The other side's certificate is for other names.
    Name,
    /// Nobody who is trusted issued it.
    Issuer,
    /// It is not valid yet, or no more; or a clock is wrong.
    Time,
    /// It can't be used for another reason.
    Certificate,
    /// The other side does not accept what was shown to it, or that nothing was.
    Ours,
    /// The other side speaks no TLS.
    NoTls,
    /// It speaks none of the protocols that it was asked for.
    Protocol,
}

impl NetError {
    /// Why there is no TLS; `None`: it is about something else.
    pub fn distrust(&self) -> Option<Distrust> {
        match self {
            NetError::NotSpoken { .. } => Some(Distrust::Protocol),
            NetError::Tls { source, .. } => Distrust::of(source),
            _ => None,
        }
    }
}

impl Distrust {
    /// Of an error that a connection under TLS ended with.
    pub fn of(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(match error {
            Error::InvalidCertificate(wrong) => match wrong {
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Distrust::Name,
                // An authority of the same name with another key, as after a change of it.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Distrust::Issuer
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Distrust::Time,
                _ => Distrust::Certificate,
            },
            Error::NoApplicationProtocol
            | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Distrust::Protocol,
            Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError,
            ) => Distrust::Ours,
            Error::InvalidMessage(_) => Distrust::NoTls,
            _ => return None,
        })
    }
}
