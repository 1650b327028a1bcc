//! Who may do what to which keys, asked when a command is applied and when something is read.
//!
//! Two independent rules: keys under `/atoll/` are written by the system identity alone,
//! whatever the users' rights; and while authentication is on, users need rights on keys.

use crate::{
    core::{
        auth::{Auth, Need},
        effects::Space,
        error::Error,
        lease::Leases,
    },
    proto::{
        etcdserverpb::{
            DeleteRangeRequest, PutRequest, RequestOp, TxnRequest, request_op::Request,
        },
        internal::{Identity, identity},
    },
};

/// On whose behalf something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who<'a> {
    System,
    Anonymous,
    User { name: &'a str, auth_revision: u64 },
}

impl<'a> From<&'a Identity> for Who<'a> {
    fn from(identity: &'a Identity) -> Who<'a> {
        match &identity.who {
            Some(identity::Who::System(_)) => Who::System,
            Some(identity::Who::User(user)) => Who::User {
                name: &user.name,
                auth_revision: user.auth_revision,
            },
            Some(identity::Who::Anonymous(_)) | None => Who::Anonymous,
        }
    }
}

impl<'a> From<Option<&'a Identity>> for Who<'a> {
    fn from(identity: Option<&'a Identity>) -> Who<'a> {
        identity.map_or(Who::Anonymous, Who::from)
    }
}

/// The state that the rules look at.
#[derive(Clone, Copy)]
pub(crate) struct Guard<'a> {
    pub(crate) auth: &'a Auth,
    pub(crate) leases: &'a Leases,
    pub(crate) who: Who<'a>,
}

impl Guard<'_> {
    /// Refuses everybody but the system identity to write to the system keyspace.
    pub(crate) fn write_to(&self, space: Space) -> Result<(), Error> {
        if space == Space::System && self.who != Who::System {
            return Err(Error::ReservedKey);
        }
        Ok(())
    }

    /// Who hangs a key on a lease lets the lease's end delete it, and who revokes a lease
    /// deletes its keys: neither with leases that hold the cluster's own keys.
    pub(crate) fn use_lease(&self, lease: i64) -> Result<(), Error> {
        let holds_reserved = || {
            self.leases
                .get(lease)
                .is_some_and(|lease| lease.holds_keys_of(Space::System))
        };
        if self.who != Who::System && holds_reserved() {
            return Err(Error::ReservedKey);
        }
        Ok(())
    }

    /// Every lease that a transaction's puts name may be used.
    pub(crate) fn use_leases_of(&self, txn: &TxnRequest) -> Result<(), Error> {
        txn.success
            .iter()
            .chain(&txn.failure)
            .try_for_each(|op| match &op.request {
                Some(Request::RequestPut(put)) => self.use_lease(put.lease),
                Some(Request::RequestTxn(nested)) => self.use_leases_of(nested),
                _ => Ok(()),
            })
    }

    pub(crate) fn admin(&self) -> Result<(), Error> {
        self.auth.permit_admin(self.who)
    }

    /// While authentication is on, somebody must be logged in.
    pub(crate) fn logged_in(&self) -> Result<(), Error> {
        if self.auth.is_enabled() && self.who == Who::Anonymous {
            return Err(Error::UserEmpty);
        }
        Ok(())
    }

    pub(crate) fn range(&self, key: &[u8], range_end: &[u8]) -> Result<(), Error> {
        self.auth.permit(self.who, Need::Read, key, range_end)
    }

    pub(crate) fn put(&self, put: &PutRequest) -> Result<(), Error> {
        self.auth.permit(self.who, Need::Write, &put.key, &[])?;
        self.write_lease_keys(put.lease)?;
        if put.prev_kv {
            self.range(&put.key, &[])?;
        }
        Ok(())
    }

    pub(crate) fn delete(&self, delete: &DeleteRangeRequest) -> Result<(), Error> {
        self.auth
            .permit(self.who, Need::Write, &delete.key, &delete.range_end)?;
        if delete.prev_kv {
            self.range(&delete.key, &delete.range_end)?;
        }
        Ok(())
    }

    pub(crate) fn txn(&self, txn: &TxnRequest) -> Result<(), Error> {
        if !self.auth.is_enabled() {
            return Ok(());
        }
        for compare in &txn.compare {
            self.range(&compare.key, &compare.range_end)?;
        }
        txn.success
            .iter()
            .chain(&txn.failure)
            .try_for_each(|op| self.op(op))
    }

    fn op(&self, op: &RequestOp) -> Result<(), Error> {
        match &op.request {
            Some(Request::RequestRange(range)) => self.range(&range.key, &range.range_end),
            Some(Request::RequestPut(put)) => self.put(put),
            Some(Request::RequestDeleteRange(delete)) => {
                if delete.prev_kv {
                    self.range(&delete.key, &delete.range_end)?;
                }
                self.auth
                    .permit(self.who, Need::Write, &delete.key, &delete.range_end)
            }
            Some(Request::RequestTxn(nested)) => self.txn(nested),
            None => Ok(()),
        }
    }

    /// Who uses a lease must be allowed to write every key that hangs on it, since the
    /// lease's end deletes them all.
    pub(crate) fn write_lease_keys(&self, lease: i64) -> Result<(), Error> {
        self.lease_keys(lease, Need::Write)
    }

    pub(crate) fn lease_keys(&self, lease: i64, need: Need) -> Result<(), Error> {
        let Some(lease) = self.leases.get(lease) else {
            return Ok(());
        };
        if self.admin().is_ok() {
            return Ok(());
        }
        lease
            .keys
            .iter()
            .try_for_each(|key| self.auth.permit(self.who, need, key, &[]))
    }
}

/// The keyspace that all of a transaction addresses; none if it names no key at all.
///
/// # Errors
/// `ReservedKey` if it mixes both.
pub(crate) fn space_of(txn: &TxnRequest) -> Result<Option<Space>, Error> {
    let mut space = None;
    let mut meet = |found: Option<Space>| match (space, found) {
        (Some(have), Some(found)) if have != found => Err(Error::ReservedKey),
        (None, found) => {
            space = found;
            Ok(())
        }
        _ => Ok(()),
    };
    for compare in &txn.compare {
        meet(Some(Space::of(&compare.key)))?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        meet(match &op.request {
            Some(Request::RequestRange(range)) => Some(Space::of(&range.key)),
            Some(Request::RequestPut(put)) => Some(Space::of(&put.key)),
            Some(Request::RequestDeleteRange(delete)) => Some(Space::of(&delete.key)),
            Some(Request::RequestTxn(nested)) => space_of(nested)?,
            None => None,
        })?;
    }
    Ok(space)
}

/// Whether some branch of the transaction, however deep, has an operation that `holds`.
pub(crate) fn any_op(txn: &TxnRequest, holds: &dyn Fn(&Request) -> bool) -> bool {
    txn.success
        .iter()
        .chain(&txn.failure)
        .any(|op| match &op.request {
            Some(Request::RequestTxn(nested)) => any_op(nested, holds),
            Some(request) => holds(request),
            None => false,
        })
}
