//! Writes to both keyspaces at once: something of the cluster's own, and parts that users have
//! asked for, of theirs. All of it is done, or nothing is.
//!
//! This is how a transaction with the outside has users' keys among its participants: the
//! record of its decision is a key of the cluster's own, so decision and write are one entry of
//! the log, and there is nothing to prepare and nothing in doubt (the last resource of two-phase
//! commit: Gray and Reuter, Transaction Processing, 1993).
//!
//! Every compare, of the record and of all parts, looks at the state before the command. Each
//! part needs the rights of whoever has asked for it, as they are when it is done: the cluster
//! lends nobody its own.

use crate::{
    api::{BothReply, Reply},
    core::{
        effects::{Effects, Fault, Space, Values},
        error::Error,
        guard::{Who, space_of},
        level::FeatureLevel,
        machine::{Done, Machine},
        txn::{Path, Stage},
    },
    proto::{
        etcdserverpb::TxnRequest,
        internal::{Both, Identity, Part},
    },
};

/// Why a part is not done; none where keys are not as compared.
type No = Option<Error>;

impl Machine {
    pub(crate) fn both(
        &mut self,
        who: Who<'_>,
        request: &Both,
        values: &dyn Values,
        effects: &mut Effects,
    ) -> Result<Done, Fault> {
        let own = match self.own(who, request) {
            Ok(own) => own,
            Err(error) => return Ok(Err(error)),
        };
        let answer = |reply| Ok(Ok((Space::System, Reply::Both(reply))));
        let own = Path::choose(own, &self.system, values)?;
        if !own.succeeded() {
            return answer(BothReply::Changed);
        }
        if let Err(error) = own.check(&self.system, &self.leases) {
            return Ok(Err(error));
        }
        let mut paths = Vec::with_capacity(request.parts.len());
        for (part, asked) in request.parts.iter().enumerate() {
            match self.path_of(asked, values)? {
                Ok(path) => paths.extend(path),
                Err(error) => return answer(BothReply::Refused { part, error }),
            }
        }
        let mut write = self.begin(Space::System, effects);
        Stage::Write(&mut write).run(&own, values)?;
        write.finish();
        let mut write = self.begin(Space::User, effects);
        for path in &paths {
            Stage::Write(&mut write).run(path, values)?;
        }
        write.finish();
        self.compact_system(Space::System, effects);
        answer(BothReply::Done)
    }

    /// What is to be done in the cluster's own keyspace, and there only.
    fn own<'a>(&self, who: Who<'_>, request: &'a Both) -> Result<&'a TxnRequest, Error> {
        if who != Who::System {
            return Err(Error::PermissionDenied);
        }
        let own = request.system.as_ref().ok_or(Error::EmptyKey)?;
        match self.may_run(who, own)? {
            Space::System => Ok(own),
            Space::User => Err(Error::ReservedKey),
        }
    }

    /// What a part comes to, if it can be done now; none if it asks for nothing.
    fn path_of<'a>(
        &self,
        part: &'a Part,
        values: &dyn Values,
    ) -> Result<Result<Option<Path<'a>>, No>, Fault> {
        let Some(txn) = &part.txn else {
            return Ok(Ok(None));
        };
        if let Err(error) = self.may_do(part, txn) {
            return Ok(Err(Some(error)));
        }
        let path = Path::choose(txn, &self.user, values)?;
        if !path.succeeded() {
            return Ok(Err(None));
        }
        Ok(match path.check(&self.user, &self.leases) {
            Ok(()) => Ok(Some(path)),
            Err(error) => Err(Some(error)),
        })
    }

    /// Whether whoever has asked for it may have it done.
    fn may_do(&self, part: &Part, txn: &TxnRequest) -> Result<(), Error> {
        if space_of(txn)? == Some(Space::System) {
            return Err(Error::ReservedKey);
        }
        let who = match part.user.as_str() {
            "" => Who::Anonymous,
            name => Who::User {
                name,
                auth_revision: self.auth.revision(),
            },
        };
        if self.auth.is_enabled() && !part.user.is_empty() {
            let made_at = self.auth.made_at(&part.user);
            let is_the_same = made_at == Some(part.user_made_at);
            is_the_same.then_some(()).ok_or(Error::PermissionDenied)?;
        }
        self.guard(who).logged_in()?;
        self.may_run(who, txn).map(drop)
    }

    /// What somebody asks to have done as a part of such a write, if that one has the rights now.
    ///
    /// # Errors
    /// `NotCapable` below [`FeatureLevel::WRITES_BOTH_KEYSPACES`], `ReservedKey`, those of
    /// rights, and of the cluster's alarms.
    pub fn part(&self, identity: &Identity, txn: TxnRequest) -> Result<Part, Error> {
        if self.level < FeatureLevel::WRITES_BOTH_KEYSPACES {
            return Err(Error::NotCapable);
        }
        let who = Who::from(identity);
        let user = match who {
            // The cluster has its own half of the command.
            Who::System => return Err(Error::PermissionDenied),
            Who::Anonymous => "",
            Who::User { name, .. } => name,
        };
        // A stale login is refused here, as everywhere; later it is the user that counts.
        self.guard(who).txn(&txn)?;
        let part = Part {
            user: user.to_owned(),
            user_made_at: self.auth.made_at(user).unwrap_or(0),
            txn: None,
        };
        self.may_do(&part, &txn)?;
        Ok(Part {
            txn: Some(txn),
            ..part
        })
    }
}

#[cfg(test)]
#[path = "testing/both.rs"]
mod tests;
