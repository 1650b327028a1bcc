//! The whole state of the control plane, and what each command does to it.
//!
//! [`Machine::apply`] is the only way to change it that others can see. A command passes, in
//! this order: has it been applied before; is it about the cluster's own keys; alarms;
//! rights; then the state itself. A command that is refused at any of these has changed
//! nothing but that it was seen.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use atoll_base::id::Revision;

use crate::{
    api::{Applied, Reply},
    core::{
        auth::{Auth, Need},
        effects::{Effects, Fault, Space, Table, Values, Write},
        error::Error,
        guard::{Guard, Who, any_op, space_of},
        keyspace::{Keyspace, KeyspaceMark, Span},
        lease::{Lease, Leases},
        level::{FeatureLevel, LevelRange, needed_by},
        proposers::Proposers,
        range::{RangeCursor, RangePlan},
        restore::RestoreError,
        txn::{self, Path, Stage},
        write::WriteTxn,
    },
    proto::{
        etcdserverpb::{
            AlarmMember, AlarmRequest, AlarmResponse, AlarmType, CompactionRequest,
            CompactionResponse, DeleteRangeRequest, LeaseCheckpointRequest, LeaseGrantRequest,
            LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse, PutRequest, RangeRequest,
            RangeResponse, TxnRequest, TxnResponse, alarm_request::AlarmAction,
            request_op::Request,
        },
        internal::{Batch, Command, Identity, Origin, command::Op},
    },
};

/// How many revisions of the system keyspace can be read back at least. Nobody compacts it by
/// hand; it happens as it is written.
pub const SYSTEM_REVISIONS_KEPT: i64 = 10_000;
/// Every so many revisions the system keyspace is compacted.
const SYSTEM_COMPACT_EVERY: i64 = 1_000;

const ALARM_ROW: &[u8] = b"alarm/";
const USER_COMPACTED_ROW: &[u8] = b"compacted/user";
const SYSTEM_COMPACTED_ROW: &[u8] = b"compacted/system";
pub(crate) const LEVEL_ROW: &[u8] = b"feature_level";

/// The whole state. Deterministic: the same commands in the same order give the same state.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    pub(crate) applied_index: u64,
    pub(crate) user: Keyspace,
    pub(crate) system: Keyspace,
    pub(crate) leases: Leases,
    pub(crate) auth: Auth,
    pub(crate) proposers: Proposers,
    /// Raised alarms: kind, member.
    alarms: BTreeSet<(i32, u64)>,
    pub(crate) level: FeatureLevel,
    /// Every member and the levels it has announced, as of the last change of membership.
    /// Not in the store's tables: the log keeps it, see [`Machine::members_changed`].
    pub(crate) members: BTreeMap<u64, Option<LevelRange>>,
}

/// What a command came to: none if it had been applied before, so nobody waits for it here.
pub type Outcome = Option<Result<Applied, Error>>;

/// How much of the machine's state a flush contains. Taken when the effects so far are handed
/// to the store, given back when they are durable there.
#[derive(Clone, Copy, Debug)]
pub struct FlushMark {
    user: KeyspaceMark,
    system: KeyspaceMark,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::new()
    }
}

/// Applying.
impl Machine {
    /// The state of a fresh cluster.
    pub fn new() -> Machine {
        Machine {
            applied_index: 0,
            user: Keyspace::new(Space::User),
            system: Keyspace::new(Space::System),
            leases: Leases::default(),
            auth: Auth::default(),
            proposers: Proposers::default(),
            alarms: BTreeSet::new(),
            level: FeatureLevel::FIRST,
            members: BTreeMap::new(),
        }
    }

    /// Applies the entry at log `index`; answers each command's outcome, in order.
    ///
    /// # Errors
    /// When the machine must stop; its state is then unusable.
    pub fn apply_batch(
        &mut self,
        index: u64,
        batch: &Batch,
        values: &dyn Values,
        effects: &mut Effects,
    ) -> Result<Vec<Outcome>, Fault> {
        self.applied_index = index;
        let mut outcomes = Vec::with_capacity(batch.commands.len());
        for command in &batch.commands {
            outcomes.push(self.apply_one(command, values, effects)?);
        }
        self.proposers.seal(effects);
        Ok(outcomes)
    }

    /// Applies one command.
    ///
    /// # Errors
    /// As [`Machine::apply_batch`].
    pub fn apply(
        &mut self,
        index: u64,
        command: &Command,
        values: &dyn Values,
        effects: &mut Effects,
    ) -> Result<Outcome, Fault> {
        self.applied_index = index;
        let outcome = self.apply_one(command, values, effects)?;
        self.proposers.seal(effects);
        Ok(outcome)
    }

    /// Notes an entry that carries no commands (a leader's first).
    pub fn skip(&mut self, index: u64) {
        self.applied_index = index;
    }

    fn apply_one(
        &mut self,
        command: &Command,
        values: &dyn Values,
        effects: &mut Effects,
    ) -> Result<Outcome, Fault> {
        let Some(op) = &command.op else {
            // Of a level that this version does not serve: to pass over it is to diverge.
            return Err(Fault::UnknownCommand {
                index: self.applied_index,
                level: self.level,
            });
        };
        if let Some(origin) = &command.origin
            && !(self.may_propose(origin) && self.proposers.admit(origin))
        {
            return Ok(None);
        }
        if self.level < needed_by(op) {
            return Ok(Some(Err(Error::NotCapable)));
        }
        let who = Who::from(command.identity.as_ref());
        let done = match op {
            Op::Put(put) => self.put(who, put, values, effects)?,
            Op::DeleteRange(delete) => self.delete(who, delete, values, effects)?,
            Op::Txn(txn) => self.txn(who, txn, values, effects)?,
            Op::Both(both) => self.both(who, both, values, effects)?,
            op => self
                .administer(who, op, effects)
                .map(|reply| (Space::User, reply)),
        };
        Ok(Some(done.map(|(space, reply)| Applied {
            revision: Revision(self.keyspace(space).revision()),
            reply,
        })))
    }

    fn administer(&mut self, who: Who<'_>, op: &Op, effects: &mut Effects) -> Result<Reply, Error> {
        match op {
            Op::Put(_) | Op::DeleteRange(_) | Op::Txn(_) | Op::Both(_) => {
                unreachable!("writes keys")
            }
            Op::Compact(request) => self.compact(who, request, effects),
            Op::LeaseGrant(request) => self.lease_grant(who, request, effects),
            Op::LeaseRevoke(request) => self.lease_revoke(who, request, effects),
            Op::LeaseCheckpoint(request) => self.lease_checkpoint(who, request, effects),
            Op::Alarm(request) => self.alarm(who, request, effects),
            Op::SessionsEnd(request) => {
                if who != Who::System {
                    return Err(Error::PermissionDenied);
                }
                self.auth.sessions_end(request, effects);
                Ok(Reply::Auth)
            }
            Op::RaiseFeatureLevel(request) => self.raise_feature_level(who, request, effects),
            Op::SessionOpen(request) => self
                .auth
                .session_open(request, effects)
                .map(|()| Reply::Auth),
            op => {
                self.guard(who).admin()?;
                self.change_auth(op, effects).map(|()| Reply::Auth)
            }
        }
    }

    fn change_auth(&mut self, op: &Op, effects: &mut Effects) -> Result<(), Error> {
        let made_at = match self.level >= FeatureLevel::KNOWS_WHEN_USERS_WERE_MADE {
            true => self.system.revision(),
            false => 0,
        };
        let auth = &mut self.auth;
        match op {
            Op::AuthEnable(_) => auth.enable(effects),
            Op::AuthDisable(_) => {
                auth.disable(effects);
                Ok(())
            }
            Op::UserAdd(r) => auth.user_add(r, made_at, effects),
            Op::UserDelete(r) => auth.user_delete(&r.name, effects),
            Op::UserChangePassword(r) => auth.user_change_password(r, effects),
            Op::UserGrantRole(r) => auth.user_grant_role(&r.user, &r.role, effects),
            Op::UserRevokeRole(r) => auth.user_revoke_role(&r.name, &r.role, effects),
            Op::RoleAdd(r) => auth.role_add(&r.name, effects),
            Op::RoleDelete(r) => auth.role_delete(&r.role, effects),
            Op::RoleGrantPermission(r) => auth.role_grant_permission(r, effects),
            Op::RoleRevokePermission(r) => auth.role_revoke_permission(r, effects),
            _ => unreachable!("every other operation has its own way"),
        }
    }
}

pub(crate) type Done = Result<(Space, Reply), Error>;

/// Writing keys.
impl Machine {
    fn put(
        &mut self,
        who: Who<'_>,
        request: &PutRequest,
        values: &dyn Values,
        effects: &mut Effects,
    ) -> Result<Done, Fault> {
        let space = Space::of(&request.key);
        if let Err(error) = self.may_put(who, space, request) {
            return Ok(Err(error));
        }
        let mut write = self.begin(space, effects);
        let mut response = txn::put(&mut write, request, values)?;
        write.finish();
        self.compact_system(space, effects);
        response.header = None;
        Ok(Ok((space, Reply::Put(response))))
    }

    fn may_put(&self, who: Who<'_>, space: Space, request: &PutRequest) -> Result<(), Error> {
        let guard = self.guard(who);
        if request.key.is_empty() {
            return Err(Error::EmptyKey);
        }
        guard.write_to(space)?;
        guard.use_lease(request.lease)?;
        self.not_corrupt(who)?;
        self.has_space(who)?;
        guard.put(request)?;
        txn::check_put(request, self.keyspace(space), &self.leases)
    }

    fn delete(
        &mut self,
        who: Who<'_>,
        request: &DeleteRangeRequest,
        values: &dyn Values,
        effects: &mut Effects,
    ) -> Result<Done, Fault> {
        let space = Space::of(&request.key);
        let guard = self.guard(who);
        let allowed = guard
            .write_to(space)
            .and_then(|()| self.not_corrupt(who))
            .and_then(|()| guard.delete(request));
        if let Err(error) = allowed {
            return Ok(Err(error));
        }
        let mut write = self.begin(space, effects);
        let mut response = txn::delete(&mut write, request, values)?;
        write.finish();
        self.compact_system(space, effects);
        response.header = None;
        Ok(Ok((space, Reply::DeleteRange(response))))
    }

    fn txn(
        &mut self,
        who: Who<'_>,
        request: &TxnRequest,
        values: &dyn Values,
        effects: &mut Effects,
    ) -> Result<Done, Fault> {
        let space = match self.may_run(who, request) {
            Ok(space) => space,
            Err(error) => return Ok(Err(error)),
        };
        let path = Path::choose(request, self.keyspace(space), values)?;
        if let Err(error) = path.check(self.keyspace(space), &self.leases) {
            return Ok(Err(error));
        }
        let mut write = self.begin(space, effects);
        let response = Stage::Write(&mut write).run(&path, values)?;
        write.finish();
        self.compact_system(space, effects);
        Ok(Ok((space, Reply::Txn(response))))
    }

    pub(crate) fn may_run(&self, who: Who<'_>, request: &TxnRequest) -> Result<Space, Error> {
        let guard = self.guard(who);
        let puts = any_op(request, &|op| matches!(op, Request::RequestPut(_)));
        let deletes = any_op(request, &|op| matches!(op, Request::RequestDeleteRange(_)));
        let no_key = |op: &Request| matches!(op, Request::RequestPut(put) if put.key.is_empty());
        if any_op(request, &no_key) {
            return Err(Error::EmptyKey);
        }
        let space = space_of(request)?.unwrap_or(Space::User);
        if puts || deletes {
            guard.write_to(space)?;
        }
        guard.use_leases_of(request)?;
        self.not_corrupt(who)?;
        if puts {
            self.has_space(who)?;
        }
        guard.txn(request)?;
        Ok(space)
    }

    pub(crate) fn begin<'a>(&'a mut self, space: Space, effects: &'a mut Effects) -> WriteTxn<'a> {
        let keyspace = match space {
            Space::User => &mut self.user,
            Space::System => &mut self.system,
        };
        WriteTxn::begin(keyspace, &mut self.leases, effects)
    }

    /// A corrupt member must not spread what it has; the cluster's own decisions go on.
    fn not_corrupt(&self, who: Who<'_>) -> Result<(), Error> {
        if who != Who::System && self.is_raised(AlarmType::Corrupt) {
            return Err(Error::Corrupt);
        }
        Ok(())
    }

    /// Users may not add anything while the store is full; the cluster's own decisions go on.
    fn has_space(&self, who: Who<'_>) -> Result<(), Error> {
        if who != Who::System && self.is_raised(AlarmType::Nospace) {
            return Err(Error::NoSpace);
        }
        Ok(())
    }
}

/// Compaction, leases, alarms.
impl Machine {
    fn compact(
        &mut self,
        who: Who<'_>,
        request: &CompactionRequest,
        effects: &mut Effects,
    ) -> Result<Reply, Error> {
        self.guard(who).admin()?;
        self.not_corrupt(who)?;
        self.compact_space(Space::User, request.revision, effects)?;
        Ok(Reply::Compact(CompactionResponse { header: None }))
    }

    fn compact_space(
        &mut self,
        space: Space,
        revision: i64,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        self.keyspace_mut(space).compact(revision)?;
        effects.writes.push(Machine::compacted_row(space, revision));
        effects.compacted.push((space, revision));
        Ok(())
    }

    /// The row that says that a keyspace is compacted up to a revision.
    pub(crate) fn compacted_row(space: Space, revision: i64) -> Write {
        let row = match space {
            Space::User => USER_COMPACTED_ROW,
            Space::System => SYSTEM_COMPACTED_ROW,
        };
        Write {
            table: Table::Meta,
            key: Bytes::from_static(row),
            value: Some(revision.to_be_bytes().to_vec().into()),
        }
    }

    pub(crate) fn compact_system(&mut self, space: Space, effects: &mut Effects) {
        let revision = self.system.revision() - SYSTEM_REVISIONS_KEPT;
        let due = revision >= self.system.compacted().max(0) + SYSTEM_COMPACT_EVERY;
        if space == Space::System && due {
            self.compact_space(Space::System, revision, effects)
                .expect("the revision lies between the last compaction and now");
        }
    }

    fn lease_grant(
        &mut self,
        who: Who<'_>,
        request: &LeaseGrantRequest,
        effects: &mut Effects,
    ) -> Result<Reply, Error> {
        self.not_corrupt(who)?;
        self.has_space(who)?;
        self.guard(who).logged_in()?;
        let ttl_s = self.leases.grant(request.id, request.ttl, effects)?;
        Ok(Reply::LeaseGrant(LeaseGrantResponse {
            header: None,
            id: request.id,
            ttl: ttl_s,
            error: String::new(),
        }))
    }

    /// Deletes the lease's keys, in order, in one revision of each keyspace that has some.
    fn lease_revoke(
        &mut self,
        who: Who<'_>,
        request: &LeaseRevokeRequest,
        effects: &mut Effects,
    ) -> Result<Reply, Error> {
        let id = request.id;
        let guard = self.guard(who);
        guard.use_lease(id)?;
        self.not_corrupt(who)?;
        guard.logged_in()?;
        guard.write_lease_keys(id)?;
        let lease = self.leases.get(id).ok_or(Error::LeaseNotFound)?;
        let keys: Vec<Bytes> = lease
            .keys
            .iter()
            .map(|key| Bytes::copy_from_slice(key))
            .collect();
        for space in [Space::User, Space::System] {
            let mut write = self.begin(space, effects);
            for key in keys.iter().filter(|key| Space::of(key) == space) {
                write.delete(&Span::One(key.clone()));
            }
            write.finish();
            self.compact_system(space, effects);
        }
        self.leases.remove(id, effects);
        Ok(Reply::LeaseRevoke(LeaseRevokeResponse { header: None }))
    }

    fn lease_checkpoint(
        &mut self,
        who: Who<'_>,
        request: &LeaseCheckpointRequest,
        effects: &mut Effects,
    ) -> Result<Reply, Error> {
        // Only the leader's own clockwork knows what is left.
        if who != Who::System {
            return Err(Error::PermissionDenied);
        }
        for checkpoint in &request.checkpoints {
            self.leases
                .checkpoint(checkpoint.id, checkpoint.remaining_ttl, effects);
        }
        Ok(Reply::LeaseCheckpoint)
    }

    fn alarm(
        &mut self,
        who: Who<'_>,
        request: &AlarmRequest,
        effects: &mut Effects,
    ) -> Result<Reply, Error> {
        let alarm = (request.alarm, request.member_id);
        let alarms = match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => self.alarms(request.alarm()),
            Ok(AlarmAction::Activate) if request.alarm() != AlarmType::None => {
                self.guard(who).admin()?;
                if self.alarms.insert(alarm) {
                    effects.put(Table::Meta, alarm_row(alarm), Bytes::new());
                    effects.alarms_changed = true;
                }
                vec![alarm_member(alarm)]
            }
            Ok(AlarmAction::Deactivate) => {
                self.guard(who).admin()?;
                let was_raised = self.alarms.remove(&alarm);
                if was_raised {
                    effects.delete(Table::Meta, alarm_row(alarm));
                    effects.alarms_changed = true;
                }
                was_raised
                    .then(|| alarm_member(alarm))
                    .into_iter()
                    .collect()
            }
            Ok(AlarmAction::Activate) | Err(_) => Vec::new(),
        };
        Ok(Reply::Alarm(AlarmResponse {
            header: None,
            alarms,
        }))
    }

    fn is_raised(&self, kind: AlarmType) -> bool {
        let kind = i32::from(kind);
        self.alarms
            .range((kind, 0)..=(kind, u64::MAX))
            .next()
            .is_some()
    }

    pub(crate) fn restore_meta(&mut self, key: &[u8], value: &[u8]) -> Result<(), RestoreError> {
        let garbled = || RestoreError::garbled(Table::Meta, key);
        if let Some(alarm) = key.strip_prefix(ALARM_ROW) {
            let (kind, member) = alarm.split_first_chunk::<4>().ok_or_else(garbled)?;
            let member = member.try_into().map_err(|_| garbled())?;
            self.alarms
                .insert((i32::from_be_bytes(*kind), u64::from_be_bytes(member)));
            return Ok(());
        }
        if key == LEVEL_ROW {
            let level = value.try_into().map_err(|_| garbled())?;
            self.level = FeatureLevel(u32::from_be_bytes(level));
            return Ok(());
        }
        let keyspace = match key {
            USER_COMPACTED_ROW => &mut self.user,
            SYSTEM_COMPACTED_ROW => &mut self.system,
            _ => return Err(garbled()),
        };
        keyspace.compacted = i64::from_be_bytes(value.try_into().map_err(|_| garbled())?);
        Ok(())
    }
}

/// Reading.
impl Machine {
    /// The log index of the last entry applied.
    pub fn applied_index(&self) -> u64 {
        self.applied_index
    }

    /// One of the keyspaces.
    pub fn keyspace(&self, space: Space) -> &Keyspace {
        match space {
            Space::User => &self.user,
            Space::System => &self.system,
        }
    }

    /// One of the keyspaces, to reclaim space in ([`Keyspace::reclaim`]).
    pub fn keyspace_mut(&mut self, space: Space) -> &mut Keyspace {
        match space {
            Space::User => &mut self.user,
            Space::System => &mut self.system,
        }
    }

    /// Whether a proposal has been applied, or was given up by its proposer.
    pub fn has_applied(&self, origin: &Origin) -> bool {
        self.proposers.has_seen(origin)
    }

    /// Where the cluster stands.
    pub fn feature_level(&self) -> FeatureLevel {
        self.level
    }

    /// Users, roles, logins.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Every lease.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Raised alarms of a kind (`None`: of every kind), in order of kind and member.
    pub fn alarms(&self, kind: AlarmType) -> Vec<AlarmMember> {
        let wanted = |alarm: &&(i32, u64)| kind == AlarmType::None || alarm.0 == i32::from(kind);
        self.alarms
            .iter()
            .filter(wanted)
            .map(|alarm| alarm_member(*alarm))
            .collect()
    }

    /// Prepares a range read in steps, after checking that the identity may read it. Pin
    /// [`RangePlan::revision`] of [`RangePlan::space`] until it is finished.
    ///
    /// # Errors
    /// Of rights, `FutureRev` and `Compacted`.
    pub fn plan_range(
        &self,
        identity: &Identity,
        request: &RangeRequest,
    ) -> Result<RangePlan, Error> {
        self.guard(identity.into())
            .range(&request.key, &request.range_end)?;
        self.keyspace(Space::of(&request.key)).plan_range(request)
    }

    /// Collects up to `keys_max` further keys; true once there are no more.
    pub fn collect_range(
        &self,
        plan: &RangePlan,
        cursor: &mut RangeCursor,
        keys_max: usize,
    ) -> bool {
        self.keyspace(plan.space())
            .collect_range(plan, cursor, keys_max)
    }

    /// A whole range read in one go, with rights checked.
    ///
    /// # Errors
    /// Outer: the node must stop. Inner: of rights, `FutureRev` and `Compacted`.
    pub fn range(
        &self,
        identity: &Identity,
        request: &RangeRequest,
        values: &dyn Values,
    ) -> Result<Result<RangeResponse, Error>, Fault> {
        if let Err(error) = self
            .guard(identity.into())
            .range(&request.key, &request.range_end)
        {
            return Ok(Err(error));
        }
        self.keyspace(Space::of(&request.key))
            .range(request, values)
    }

    /// A transaction for which [`crate::core::check::is_read_only`] holds. The header carries
    /// the revision.
    ///
    /// # Errors
    /// Outer: the node must stop. Inner: of rights, `FutureRev` and `Compacted`.
    pub fn read_txn(
        &self,
        identity: &Identity,
        request: &TxnRequest,
        values: &dyn Values,
    ) -> Result<Result<TxnResponse, Error>, Fault> {
        let allowed = self
            .guard(identity.into())
            .txn(request)
            .and_then(|()| space_of(request));
        let keyspace = match allowed {
            Ok(space) => self.keyspace(space.unwrap_or(Space::User)),
            Err(error) => return Ok(Err(error)),
        };
        let path = Path::choose(request, keyspace, values)?;
        if let Err(error) = path.check(keyspace, &self.leases) {
            return Ok(Err(error));
        }
        let mut response = Stage::Read(keyspace).run(&path, values)?;
        response.header = Some(crate::proto::etcdserverpb::ResponseHeader {
            revision: keyspace.revision(),
            ..Default::default()
        });
        Ok(Ok(response))
    }

    /// A lease, for one who may see (`Need::Read`) or keep (`Need::Write`) all its keys.
    ///
    /// # Errors
    /// `LeaseNotFound`, and of rights.
    pub fn lease(&self, identity: &Identity, id: i64, need: Need) -> Result<&Lease, Error> {
        let guard = self.guard(identity.into());
        guard.logged_in()?;
        guard.lease_keys(id, need)?;
        self.leases.get(id).ok_or(Error::LeaseNotFound)
    }

    pub(crate) fn guard<'a>(&'a self, who: Who<'a>) -> Guard<'a> {
        Guard {
            auth: &self.auth,
            leases: &self.leases,
            who,
        }
    }
}

/// Flushing.
impl Machine {
    /// Where the machine stands now: take it together with the effects that are handed to the
    /// store.
    pub fn flush_mark(&self) -> FlushMark {
        FlushMark {
            user: self.user.mark(),
            system: self.system.mark(),
        }
    }

    /// The store durably holds everything up to the mark: values are read from there now, and
    /// what was compacted by then may be reclaimed.
    pub fn flushed(&mut self, mark: FlushMark) {
        self.user.flushed(mark.user);
        self.system.flushed(mark.system);
    }
}

fn alarm_row((kind, member): (i32, u64)) -> Vec<u8> {
    [ALARM_ROW, &kind.to_be_bytes(), &member.to_be_bytes()].concat()
}

fn alarm_member((kind, member): (i32, u64)) -> AlarmMember {
    AlarmMember {
        member_id: member,
        alarm: kind,
    }
}
