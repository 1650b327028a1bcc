//! Join tokens: made by an administrator, each used a stated number of times.
//!
//! A token is `atoll1.ID.SECRET.FINGERPRINT`: which record it is, the secret that proves it,
//! and the SHA-256 of the cluster's root certificate, by which the joiner knows whom it talks
//! to before it says anything. The cluster keeps the digest of the secret under
//! `/atoll/tokens/ID`, and uses it up in the log, by compare and set.

use std::fmt;

use atoll_world::{clock, random};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{swap::swap, system_identity};
use crate::{
    api::{ControlApi, Reply},
    core::error::Error,
    proto::{
        cluster::{StoredToken, TokenFacts},
        etcdserverpb as pb,
        internal::command::Op,
        mvccpb::KeyValue,
    },
};

const PREFIX: &str = "/atoll/tokens/";

const SCHEME: &str = "atoll1";

/// Tokens there may be at a time.
const TOKENS_MAX: usize = 1_000;

/// How often using a token is tried again when another node uses it at the same moment.
const ATTEMPTS_MAX: usize = 16;

/// A token, whole. Its `Debug` tells the id only.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Which record it is.
    pub id: String,
    secret: String,
    /// Hexadecimal SHA-256 of the cluster's root certificate.
    pub fingerprint: String,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl JoinToken {
    /// Reads a token; none if it is not one.
    pub fn parse(text: &str) -> Option<JoinToken> {
        let mut parts = text.trim().split('.');
        let (scheme, id, secret, fingerprint) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let sound = scheme == SCHEME
            && parts.next().is_none()
            && is_hex(id)
            && !secret.is_empty()
            && fingerprint.len() == 64
            && is_hex(fingerprint);
        sound.then(|| JoinToken {
            id: id.into(),
            secret: secret.into(),
            fingerprint: fingerprint.into(),
        })
    }

    /// The token as text, secret included.
    pub fn reveal(&self) -> String {
        format!("{SCHEME}.{}.{}.{}", self.id, self.secret, self.fingerprint)
    }

    fn new(fingerprint: &str) -> JoinToken {
        let mut secret = [0; 24];
        random::fill(&mut secret);
        JoinToken {
            id: format!("{:016x}", random::u64()),
            secret: URL_SAFE_NO_PAD.encode(secret),
            fingerprint: fingerprint.to_owned(),
        }
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.secret.as_bytes()).into()
    }
}

/// Why a token does not open the door.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Unknown, used up, revoked, or the secret is wrong: not told apart to a stranger.
    #[error(
        "the token is not good (any more): it is unknown, used up, expired or revoked; make a new one with `atoll token create`"
    )]
    NotGood,
    /// There are too many.
    #[error("there are {TOKENS_MAX} tokens already; revoke some with `atoll token revoke`")]
    TooMany,
    /// The cluster did not answer.
    #[error(transparent)]
    Cluster(#[from] Error),
}

fn key(id: &str) -> Bytes {
    format!("{PREFIX}{id}").into_bytes().into()
}

async fn read<C: ControlApi>(
    control: &C,
    key: Bytes,
    range_end: Bytes,
) -> Result<Vec<KeyValue>, Error> {
    let request = pb::RangeRequest {
        key,
        range_end,
        ..pb::RangeRequest::default()
    };
    Ok(control.range(system_identity(), request).await?.kvs)
}

/// Makes a token.
///
/// # Errors
/// `TooMany`, and those of the cluster.
pub async fn create<C: ControlApi>(
    control: &C,
    fingerprint: &str,
    uses: u32,
    ttl_s: u64,
) -> Result<(JoinToken, TokenFacts), TokenError> {
    remove_expired(control).await?;
    if list(control).await?.len() >= TOKENS_MAX {
        return Err(TokenError::TooMany);
    }
    let token = JoinToken::new(fingerprint);
    let expires_ms = clock::wall_ms().saturating_add(ttl_s.saturating_mul(1_000));
    let stored = StoredToken {
        secret_sha256: Bytes::copy_from_slice(&token.digest()),
        uses_left: uses,
        expires_ms,
        fingerprint: token.fingerprint.clone(),
    };
    let put = pb::PutRequest {
        key: key(&token.id),
        value: stored.encode_to_vec().into(),
        ..pb::PutRequest::default()
    };
    control.propose(system_identity(), Op::Put(put)).await?;
    let facts = TokenFacts {
        id: token.id.clone(),
        uses_left: uses,
        expires_ms,
    };
    Ok((token, facts))
}

/// The tokens there are.
///
/// # Errors
/// Those of the cluster.
pub async fn list<C: ControlApi>(control: &C) -> Result<Vec<TokenFacts>, Error> {
    let facts = stored(control).await?.into_iter();
    let facts = facts.map(|(id, stored)| TokenFacts {
        id,
        uses_left: stored.uses_left,
        expires_ms: stored.expires_ms,
    });
    Ok(facts.collect())
}

async fn stored<C: ControlApi>(control: &C) -> Result<Vec<(String, StoredToken)>, Error> {
    let end = "/atoll/tokens0"; // The key after every key with the prefix.
    let rows = read(control, PREFIX.as_bytes().into(), end.as_bytes().into()).await?;
    let tokens = rows.into_iter().filter_map(|row| {
        let id = std::str::from_utf8(&row.key)
            .ok()?
            .strip_prefix(PREFIX)?
            .to_owned();
        Some((id, StoredToken::decode(row.value).ok()?))
    });
    Ok(tokens.collect())
}

/// Makes a token useless.
///
/// # Errors
/// `NotGood` if there is no such token, and those of the cluster.
pub async fn revoke<C: ControlApi>(control: &C, id: &str) -> Result<(), TokenError> {
    let delete = pb::DeleteRangeRequest {
        key: key(id),
        ..pb::DeleteRangeRequest::default()
    };
    match control
        .propose(system_identity(), Op::DeleteRange(delete))
        .await?
        .reply
    {
        Reply::DeleteRange(response) if response.deleted == 0 => Err(TokenError::NotGood),
        _ => Ok(()),
    }
}

/// Makes tokens useless that name another root: no node shows it any more.
///
/// # Errors
/// Those of the cluster.
pub(crate) async fn revoke_of_other_roots<C: ControlApi>(
    control: &C,
    fingerprint: &str,
) -> Result<(), TokenError> {
    for (id, stored) in stored(control).await? {
        if stored.fingerprint != fingerprint {
            revoke_if_there(control, &id).await?;
        }
    }
    Ok(())
}

async fn remove_expired<C: ControlApi>(control: &C) -> Result<(), TokenError> {
    let now = clock::wall_ms();
    for (id, stored) in stored(control).await? {
        if stored.expires_ms <= now {
            revoke_if_there(control, &id).await?;
        }
    }
    Ok(())
}

async fn revoke_if_there<C: ControlApi>(control: &C, id: &str) -> Result<(), TokenError> {
    match revoke(control, id).await {
        Ok(()) | Err(TokenError::NotGood) => Ok(()),
        Err(error) => Err(error),
    }
}

/// One use of a token, which can be given back.
#[derive(Debug)]
pub struct Use {
    id: String,
    /// What was there before it.
    before: StoredToken,
}

/// Uses a token once.
///
/// # Errors
/// `NotGood`, and those of the cluster.
pub async fn consume<C: ControlApi>(control: &C, token: &JoinToken) -> Result<Use, TokenError> {
    for _ in 0..ATTEMPTS_MAX {
        let row = read(control, key(&token.id), Bytes::new())
            .await?
            .pop()
            .ok_or(TokenError::NotGood)?;
        let mut stored = StoredToken::decode(row.value.clone()).map_err(|_| TokenError::NotGood)?;
        let proven = bool::from(stored.secret_sha256.ct_eq(&token.digest()));
        if !proven || stored.uses_left == 0 || stored.expires_ms <= clock::wall_ms() {
            return Err(TokenError::NotGood);
        }
        let before = stored.clone();
        stored.uses_left -= 1;
        if swap(control, &row.key, row.mod_revision, row_of(&stored)).await? {
            let id = token.id.clone();
            return Ok(Use { id, before });
        }
    }
    Err(TokenError::Cluster(Error::Timeout))
}

/// Gives a use back that let nobody in. A token that was revoked meanwhile stays so.
///
/// # Errors
/// Those of the cluster.
pub async fn give_back<C: ControlApi>(control: &C, used: Use) -> Result<(), TokenError> {
    for _ in 0..ATTEMPTS_MAX {
        let key = key(&used.id);
        let row = read(control, key.clone(), Bytes::new()).await?.pop();
        let (revision, stored) = match row {
            Some(row) => {
                let mut stored = StoredToken::decode(row.value).map_err(|_| TokenError::NotGood)?;
                stored.uses_left += 1;
                (row.mod_revision, stored)
            }
            // The last use takes the token with it; if there were more, somebody else did.
            None if used.before.uses_left == 1 => (0, used.before.clone()),
            None => return Ok(()),
        };
        if swap(control, &key, revision, row_of(&stored)).await? {
            return Ok(());
        }
    }
    Err(TokenError::Cluster(Error::Timeout))
}

/// What a token's row holds next: nothing after its last use.
fn row_of(stored: &StoredToken) -> Option<Bytes> {
    (stored.uses_left > 0).then(|| stored.encode_to_vec().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_nothing_else_does() {
        let token = JoinToken::new(&"ab".repeat(32));
        assert_eq!(JoinToken::parse(&token.reveal()), Some(token.clone()));
        assert_eq!(
            JoinToken::parse(&format!(" {}\n", token.reveal())),
            Some(token.clone())
        );
        let text = token.reveal();
        for wrong in [
            "",
            "atoll1",
            "atoll1...",
            &text[..text.len() - 1],
            &format!("{text}.x"),
            &text.replace("atoll1", "atoll2"),
        ] {
            assert_eq!(JoinToken::parse(wrong), None, "{wrong}");
        }
        assert!(!format!("{token:?}").contains(&token.secret));
    }
}
