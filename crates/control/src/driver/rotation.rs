//! Replacing the cluster's authority: what is decided, and who has done what about it.
//!
//! A rotation goes through three phases, each decided in the log (`/atoll/authority/state`):
//!
//! * *preparing*: one member has made a new authority. The others fetch it, private keys
//!   included, over their links, and begin to trust it beside the old one;
//! * *switched*, decided by the leader as soon as every member has done so: each member shows
//!   a certificate of the new authority and issues with it. Both are trusted, and nodes show
//!   the way to the old root, too, for clients and tokens that know no other;
//! * *steady*, decided by a person once every member shows a new certificate: the old
//!   authority is trusted by nobody.
//!
//! Members say what they trust and show in `/atoll/authority/nodes/ID`. They follow the
//! phase whenever they see it, and each step can be taken twice, so that a crash anywhere
//! delays a rotation and breaks nothing. What is kept is public; keys never are.

use std::collections::BTreeMap;

use atoll_base::id::NodeId;
use atoll_world::{
    peers::{Peers, Service},
    pki::{Facts, Fingerprint, Keyring, PkiError, Standing, Trust, certificates_to_pem},
};
use bytes::Bytes;
use prost::Message as _;

use super::{
    swap::swap,
    system_identity, tokens,
    vault::{self, VaultError},
};
use crate::{
    api::ControlApi,
    core::error::Error,
    proto::{
        cluster::{
            AuthorityPhase as Phase, AuthorityRequest, AuthorityResponse, AuthorityStatusResponse,
            MemberAuthority, StoredAuthority, StoredMemberAuthority, Trust as TrustPem,
        },
        etcdserverpb as pb,
        internal::command::Op,
    },
};

/// Handing over an authority, between members.
pub const AUTHORITY: Service = Service(20);

const PREFIX: &str = "/atoll/authority/";
/// The key after every key with the prefix.
const PREFIX_END: &str = "/atoll/authority0";
const STATE: &str = "/atoll/authority/state";
const NODES: &str = "/atoll/authority/nodes/";

/// One rotation is begun at a time here: each draws keys, and the folder has room for one set.
static ROTATING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Why the authority is not replaced, or not yet.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The cluster did not answer.
    #[error(transparent)]
    Cluster(#[from] Error),
    /// This node holds no authority.
    #[error("this node does not hold the cluster's authority; ask another one")]
    NoAuthority,
    /// Certificates or keys cannot be read or made.
    #[error("{0}")]
    Pki(#[from] PkiError),
    /// What is sealed can't be sealed for the new authority.
    #[error("what the cluster has sealed can't be sealed for the new authority: {0}")]
    Vault(#[from] VaultError),
    /// A rotation is under way.
    #[error(
        "a rotation is under way: `atoll ca status` shows what it waits for; `atoll ca finish` or `atoll ca abort` ends it"
    )]
    UnderWay,
    /// None is.
    #[error("no rotation is under way; `atoll ca rotate` begins one")]
    NotUnderWay,
    /// It cannot be given up any more.
    #[error(
        "members show certificates of the new authority already: go on to `atoll ca finish` (and rotate again, if you want another one)"
    )]
    TooLate,
    /// It cannot be ended yet.
    #[error(
        "not every member has what it needs from the new authority: {waiting}. Start those nodes, or remove them with `atoll node remove`; `atoll ca finish --force` locks out, for good, those that show an old certificate"
    )]
    NotReady {
        /// Who is waited for.
        waiting: String,
    },
    /// Members do not trust the new authority yet, and force does not help.
    #[error(
        "not every member trusts the new authority yet: {waiting}. Start those nodes, remove them with `atoll node remove`, or give the rotation up with `atoll ca abort`"
    )]
    NotTrusted {
        /// Who is waited for.
        waiting: String,
    },
    /// Somebody else was faster, or this node is behind.
    #[error("the authority was changed meanwhile; look at `atoll ca status` and try again")]
    Changed,
}

/// What is decided about the authority.
#[derive(Clone, Debug)]
pub struct Decided {
    /// How far it is.
    pub phase: Phase,
    /// The authority that certifies.
    pub current: Trust,
    /// The one to come, or the one before; see the phase.
    pub other: Option<Trust>,
    /// The revision that it was read at, 0 if nothing was ever decided.
    revision: i64,
}

/// What is decided, and what members have told.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// None before the first rotation of this cluster.
    pub decided: Option<Decided>,
    told: BTreeMap<NodeId, StoredMemberAuthority>,
    /// Something is there that another cluster decided: this one was made from its snapshot.
    foreign_revision: Option<i64>,
}

fn pem_of(trust: &Trust) -> TrustPem {
    TrustPem {
        roots_pem: certificates_to_pem(&trust.roots),
        nodes_pem: certificates_to_pem(&trust.nodes),
        clients_pem: certificates_to_pem(&trust.clients),
    }
}

fn trust_of(pem: &TrustPem) -> Result<Trust, PkiError> {
    Trust::from_pem(&pem.roots_pem, &pem.nodes_pem, &pem.clients_pem)
}

fn bytes_of(fingerprint: Fingerprint) -> Bytes {
    Bytes::copy_from_slice(&fingerprint.0)
}

/// Reads all of it: from this node's own state, or as the cluster stands now.
///
/// # Errors
/// `Cluster`; `Pki` if what is kept cannot be read.
pub async fn read<C: ControlApi>(control: &C, here: bool) -> Result<Rotation, RotationError> {
    let request = pb::RangeRequest {
        key: PREFIX.into(),
        range_end: PREFIX_END.into(),
        serializable: here,
        ..pb::RangeRequest::default()
    };
    let rows = control.range(system_identity(), request).await?.kvs;
    let mut rotation = Rotation {
        decided: None,
        told: BTreeMap::new(),
        foreign_revision: None,
    };
    for row in rows {
        if let Some(id) = row.key.strip_prefix(NODES.as_bytes()) {
            let id = std::str::from_utf8(id).ok();
            let id = id.and_then(|id| u64::from_str_radix(id, 16).ok());
            if let (Some(id), Ok(told)) = (id, StoredMemberAuthority::decode(row.value)) {
                rotation.told.insert(NodeId(id), told);
            }
        } else if row.key == STATE {
            let stored = StoredAuthority::decode(row.value)
                .map_err(|error| PkiError::malformed("the authority that is decided", error))?;
            if stored.cluster != control.standing().cluster.0 {
                rotation.foreign_revision = Some(row.mod_revision);
                continue;
            }
            rotation.decided = Some(Decided {
                phase: stored.phase(),
                current: trust_of(&stored.current.clone().unwrap_or_default())?,
                other: stored.other.as_ref().map(trust_of).transpose()?,
                revision: row.mod_revision,
            });
        }
    }
    Ok(rotation)
}

impl Rotation {
    /// Members that have not done what the phase asks of them.
    fn waiting<C: ControlApi>(&self, control: &C) -> Vec<String> {
        let members = control.members().into_iter();
        let late = members.filter(|member| !self.is_ready(member.node));
        late.map(|member| match member.name.as_str() {
            "" => member.node.to_string(),
            name => format!("{name} ({})", member.node),
        })
        .collect()
    }

    fn is_ready(&self, node: NodeId) -> bool {
        let Some(decided) = &self.decided else {
            return true;
        };
        let Some(told) = self.told.get(&node) else {
            return false;
        };
        let current = bytes_of(decided.current.fingerprint());
        let other = decided.other.as_ref().map(Trust::fingerprint).map(bytes_of);
        match (decided.phase, other) {
            (Phase::Preparing, Some(next)) => {
                told.trusted.contains(&next) && told.held.contains(&next)
            }
            (Phase::Preparing, None) => false,
            (Phase::Switched, _) => told.shown == current,
            (Phase::Steady, _) => told.shown == current && told.trusted == [current],
        }
    }
}

/// Puts what is decided in place of what was read.
async fn decide<C: ControlApi>(
    control: &C,
    revision: i64,
    phase: Phase,
    current: &Trust,
    other: Option<&Trust>,
) -> Result<(), RotationError> {
    let stored = StoredAuthority {
        cluster: control.standing().cluster.0,
        phase: phase.into(),
        current: Some(pem_of(current)),
        other: other.map(pem_of),
    };
    let stored = stored.encode_to_vec().into();
    let key = Bytes::from_static(STATE.as_bytes());
    if !swap(control, &key, revision, Some(stored)).await? {
        return Err(RotationError::Changed);
    }
    tracing::info!(?phase, root = %current.fingerprint(), "the cluster's authority");
    Ok(())
}

/// Begins a rotation.
///
/// # Errors
/// `UnderWay`, `Changed`, `NoAuthority`, and those of the cluster.
pub async fn rotate<C: ControlApi>(control: &C) -> Result<(), RotationError> {
    let _one = ROTATING.lock().await;
    let keyring = control.keyring().ok_or(RotationError::NoAuthority)?;
    let rotation = read(control, false).await?;
    let (revision, current) = match &rotation.decided {
        None => (rotation.foreign_revision.unwrap_or(0), keyring.trust()),
        Some(decided) if decided.phase == Phase::Steady => {
            (decided.revision, decided.current.clone())
        }
        Some(_) => return Err(RotationError::UnderWay),
    };
    // A node that has not followed the last rotation to its end would certify with the wrong
    // root.
    if keyring.trust() != current {
        return Err(RotationError::Changed);
    }
    let next = keyring.make_next()?;
    decide(control, revision, Phase::Preparing, &current, Some(&next)).await
}

/// Gives a rotation up.
///
/// # Errors
/// `NotUnderWay`, `TooLate`, `Changed`, and those of the cluster.
pub async fn abort<C: ControlApi>(control: &C) -> Result<(), RotationError> {
    let rotation = read(control, false).await?;
    let decided = rotation.decided.ok_or(RotationError::NotUnderWay)?;
    match decided.phase {
        Phase::Steady => Err(RotationError::NotUnderWay),
        Phase::Switched => Err(RotationError::TooLate),
        Phase::Preparing => {
            let (current, other) = (&decided.current, decided.other.as_ref());
            decide(control, decided.revision, Phase::Steady, current, other).await?;
            forget(control, other).await;
            Ok(())
        }
    }
}

/// Ends a rotation: the old authority is trusted by nobody any more, and tokens that name its
/// root are gone.
///
/// # Errors
/// `NotUnderWay`, `NotTrusted`, `NotReady`, `Changed`, and those of the cluster.
pub async fn finish<C: ControlApi>(control: &C, force: bool) -> Result<(), RotationError> {
    let rotation = read(control, false).await?;
    let waiting = rotation.waiting(control).join(", ");
    let decided = rotation.decided.ok_or(RotationError::NotUnderWay)?;
    match decided.phase {
        Phase::Steady => return Err(RotationError::NotUnderWay),
        Phase::Preparing => return Err(RotationError::NotTrusted { waiting }),
        Phase::Switched if !waiting.is_empty() && !force => {
            return Err(RotationError::NotReady { waiting });
        }
        Phase::Switched => {}
    }
    let (current, other) = (&decided.current, decided.other.as_ref());
    decide(control, decided.revision, Phase::Steady, current, other).await?;
    forget(control, other).await;
    let root = decided.current.fingerprint().to_string();
    match tokens::revoke_of_other_roots(control, &root).await {
        Ok(()) => {}
        // They are of no use anyhow: nodes do not show the old root any more.
        Err(error) => tracing::warn!(%error, "join tokens of the old authority are listed still"),
    }
    Ok(())
}

/// Nothing is sealed for an authority that was dropped.
async fn forget<C: ControlApi>(control: &C, dropped: Option<&Trust>) {
    let Some(dropped) = dropped else { return };
    if let Err(error) = vault::forget(control, dropped.fingerprint()).await {
        tracing::warn!(%error, "the keys of the vault are still sealed for the authority that was dropped, too");
    }
}

/// What the leader does about it: decides to switch once every member is ready for it, and
/// tells apart what another cluster has decided.
///
/// # Errors
/// Those of the cluster, and `Changed`.
pub async fn advance<C: ControlApi>(
    control: &C,
    rotation: &Rotation,
    keyring: &Keyring,
) -> Result<(), RotationError> {
    if let Some(revision) = rotation.foreign_revision {
        // A restored or recovered cluster: what its only node certifies with is what counts.
        let root = keyring.standing()?.held.first().copied();
        let root = root.ok_or(RotationError::NoAuthority)?;
        let current = keyring.trust().only(root).ok_or(RotationError::Changed)?;
        return decide(control, revision, Phase::Steady, &current, None).await;
    }
    let Some(decided) = &rotation.decided else {
        return Ok(());
    };
    let Some(next) = decided.other.as_ref() else {
        return Ok(());
    };
    if decided.phase != Phase::Preparing || !rotation.waiting(control).is_empty() {
        return Ok(());
    }
    // Once members turn to the new authority, it alone opens what is sealed.
    vault::seal_for(control, keyring, next.fingerprint()).await?;
    let before = Some(&decided.current);
    decide(control, decided.revision, Phase::Switched, next, before).await
}

/// Tells what a member trusts and shows, if that is news.
///
/// # Errors
/// Those of the cluster.
pub async fn tell<C: ControlApi>(
    control: &C,
    rotation: &Rotation,
    node: NodeId,
    standing: &Standing,
) -> Result<(), RotationError> {
    let told = StoredMemberAuthority {
        trusted: standing.trusted.iter().copied().map(bytes_of).collect(),
        held: standing.held.iter().copied().map(bytes_of).collect(),
        shown: standing.shown.map(bytes_of).unwrap_or_default(),
        expires_ms: standing.expires_ms,
    };
    if rotation.told.get(&node) == Some(&told) {
        return Ok(());
    }
    let put = pb::PutRequest {
        key: format!("{NODES}{node}").into(),
        value: told.encode_to_vec().into(),
        ..pb::PutRequest::default()
    };
    control.propose(system_identity(), Op::Put(put)).await?;
    Ok(())
}

/// Forgets what those have told who are no members any more.
///
/// # Errors
/// Those of the cluster.
pub async fn forget_strangers<C: ControlApi>(
    control: &C,
    rotation: &Rotation,
) -> Result<(), RotationError> {
    let members = control.members();
    let strangers = rotation.told.keys();
    for node in strangers.filter(|id| members.iter().all(|member| member.node != **id)) {
        let delete = pb::DeleteRangeRequest {
            key: format!("{NODES}{node}").into(),
            ..pb::DeleteRangeRequest::default()
        };
        control
            .propose(system_identity(), Op::DeleteRange(delete))
            .await?;
    }
    Ok(())
}

/// Asks the other members, one after the other, for an authority with its keys.
pub async fn fetch<C: ControlApi>(
    control: &C,
    peers: &dyn Peers,
    root: Fingerprint,
) -> Option<String> {
    let own = control.standing().node;
    for member in control.members() {
        if member.node == own {
            continue;
        }
        let request = AuthorityRequest {
            root: bytes_of(root),
        };
        let answer = peers.call(member.node, AUTHORITY, request.encode_to_vec().into());
        let answer = match answer.await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, "a member was not asked for the next authority");
                continue;
            }
        };
        match AuthorityResponse::decode(answer) {
            Ok(answer) if !answer.authority_pem.is_empty() => return Some(answer.authority_pem),
            Ok(_) => {}
            Err(error) => tracing::warn!(node = %member.node, %error, "an answer cannot be read"),
        }
    }
    None
}

/// Answers another member that asks for an authority. Members trust each other with it: each
/// of them was given the one before when it joined.
pub(crate) fn hand_over(keyring: &Keyring, request: &AuthorityRequest) -> AuthorityResponse {
    let root = <[u8; 32]>::try_from(&request.root[..]).ok();
    let pem = root.and_then(|root| keyring.authority_pem(Fingerprint(root)));
    AuthorityResponse {
        authority_pem: pem.map(|pem| pem.to_string()).unwrap_or_default(),
    }
}

/// Where it all stands, for people.
///
/// # Errors
/// Those of the cluster.
pub async fn status<C: ControlApi>(control: &C) -> Result<AuthorityStatusResponse, RotationError> {
    let keyring = control.keyring().ok_or(RotationError::NoAuthority)?;
    let rotation = read(control, false).await?;
    let (phase, current, other) = match &rotation.decided {
        None => (Phase::Steady, keyring.trust(), None),
        Some(decided) if decided.phase == Phase::Steady => {
            (Phase::Steady, decided.current.clone(), None)
        }
        Some(decided) => (
            decided.phase,
            decided.current.clone(),
            decided.other.clone(),
        ),
    };
    let both = match &other {
        Some(other) => current.with(other),
        None => current.clone(),
    };
    let hex =
        |bytes: &Bytes| <[u8; 32]>::try_from(&bytes[..]).map(|it| Fingerprint(it).to_string());
    let members = control.members().into_iter().map(|member| {
        let told = rotation.told.get(&member.node);
        MemberAuthority {
            node: member.node.0,
            ready: rotation.is_ready(member.node),
            shown: told
                .and_then(|told| hex(&told.shown).ok())
                .unwrap_or_default(),
            expires_ms: told.map_or(0, |told| told.expires_ms),
            name: member.name,
        }
    });
    Ok(AuthorityStatusResponse {
        phase: phase.into(),
        current: current.fingerprint().to_string(),
        other: other
            .map(|other| other.fingerprint().to_string())
            .unwrap_or_default(),
        expires_ms: Facts::of(&current.roots[0])?.not_after_ms,
        roots_pem: certificates_to_pem(&both.roots),
        members: members.collect(),
    })
}
