//! The Maintenance service.

use atoll_base::id::{NodeId, Revision};
use bytes::Bytes;
use tonic::{Request, Response, Status};

use super::{
    Face,
    caller::{Caller, header},
    generate::{Answers, Out, generate},
    methods, reply,
    status::{ETCD_CLUSTER_VERSION, ETCD_VERSION},
};
use crate::{
    api::{ControlApi, SnapshotStream, Standing},
    core::error::Error,
    proto::{
        etcdserverpb::{
            self as pb, AlarmType, alarm_request::AlarmAction, downgrade_request::DowngradeAction,
            maintenance_server::Maintenance,
        },
        internal::command::Op,
    },
};

impl<C: ControlApi> Face<C> {
    async fn on_alarm(
        &self,
        caller: Caller<'_>,
        request: pb::AlarmRequest,
    ) -> Result<pb::AlarmResponse, Status> {
        let standing = self.enter(caller, false)?;
        if request.action == AlarmAction::Get as i32 {
            self.logged_in(caller, &standing)?;
            // Reading needs no entry in the log, only a node that is up to date.
            self.control.barrier().await?;
            let mut alarms = self.control.status().alarms;
            if request.alarm != AlarmType::None as i32 {
                alarms.retain(|alarm| alarm.alarm == request.alarm);
            }
            return Ok(pb::AlarmResponse {
                header: header(&standing, 0),
                alarms,
            });
        }
        let identity = self.admin(caller, &standing)?;
        let applied = self.control.propose(identity, Op::Alarm(request)).await?;
        let mut response = reply!(applied.reply, Alarm);
        response.header = header(&standing, applied.revision.0);
        Ok(response)
    }

    async fn on_status(
        &self,
        caller: Caller<'_>,
        _request: pb::StatusRequest,
    ) -> Result<pb::StatusResponse, Status> {
        let standing = self.enter(caller, true)?;
        self.logged_in(caller, &standing)?;
        let status = self.control.status();
        let mut errors = Vec::new();
        if status.leader.is_none() {
            errors.push(Error::NoLeader.text().to_owned());
        }
        errors.extend(status.alarms.iter().map(alarm_text));
        Ok(pb::StatusResponse {
            header: header(&standing, 0),
            version: ETCD_VERSION.to_owned(),
            db_size: signed(status.store_bytes),
            leader: status.leader.map_or(0, |leader| leader.0),
            raft_index: status.committed_index,
            raft_term: status.term,
            raft_applied_index: status.applied_index,
            errors,
            db_size_in_use: signed(status.store_bytes_in_use),
            is_learner: status.learner,
            storage_version: ETCD_VERSION.to_owned(),
            db_size_quota: signed(status.quota_bytes),
            downgrade_info: Some(pb::DowngradeInfo::default()),
            atoll_feature_level: status.feature_level.0,
            atoll_feature_level_max: status.feature_level_max,
            atoll_figures: (self.figures)(),
        })
    }

    /// As in etcd it is answered when the space is back; others are served meanwhile.
    async fn on_defragment(
        &self,
        caller: Caller<'_>,
        _request: pb::DefragmentRequest,
    ) -> Result<pb::DefragmentResponse, Status> {
        let standing = self.enter(caller, false)?;
        self.admin(caller, &standing)?;
        self.control.defragment().await?;
        Ok(pb::DefragmentResponse { header: None })
    }

    async fn on_hash(
        &self,
        caller: Caller<'_>,
        _request: pb::HashRequest,
    ) -> Result<pb::HashResponse, Status> {
        let standing = self.enter(caller, false)?;
        self.admin(caller, &standing)?;
        let hashed = self.control.hash_kv(Revision(0)).await?;
        Ok(pb::HashResponse {
            header: header(&standing, hashed.hash_revision.0),
            hash: hashed.hash,
        })
    }

    async fn on_hash_kv(
        &self,
        caller: Caller<'_>,
        request: pb::HashKvRequest,
    ) -> Result<pb::HashKvResponse, Status> {
        let standing = self.enter(caller, false)?;
        self.admin(caller, &standing)?;
        let hashed = self.control.hash_kv(Revision(request.revision)).await?;
        // The newest revision, which may have moved while we hashed.
        let standing = Standing {
            revision: self.control.standing().revision,
            ..standing
        };
        Ok(pb::HashKvResponse {
            header: header(&standing, 0),
            hash: hashed.hash,
            compact_revision: hashed.compact_revision.0,
            hash_revision: hashed.hash_revision.0,
        })
    }

    /// Only the leader hands its own place over; clients look for it, as with etcd.
    async fn on_move_leader(
        &self,
        caller: Caller<'_>,
        request: pb::MoveLeaderRequest,
    ) -> Result<pb::MoveLeaderResponse, Status> {
        let standing = self.enter(caller, false)?;
        self.admin(caller, &standing)?;
        if standing.leader != Some(standing.node) {
            return Err(Error::NotLeader.into());
        }
        let target = NodeId(request.target_id);
        let can_lead = |member: &crate::api::Member| member.node == target && !member.learner;
        if !self.control.members().iter().any(can_lead) {
            return Err(Error::BadLeaderTransferee.into());
        }
        self.control.move_leader(target).await?;
        Ok(pb::MoveLeaderResponse { header: None })
    }

    /// There is no older version of etcd's storage that this store could become, so no target
    /// is valid and no job is ever in flight. It is said with etcd's own errors.
    async fn on_downgrade(
        &self,
        caller: Caller<'_>,
        request: pb::DowngradeRequest,
    ) -> Result<pb::DowngradeResponse, Status> {
        let standing = self.enter(caller, false)?;
        self.admin(caller, &standing)?;
        let error = match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate | DowngradeAction::Enable) => {
                match is_version(&request.version) {
                    true => Error::InvalidDowngradeTargetVersion,
                    false => Error::WrongDowngradeVersionFormat,
                }
            }
            Ok(DowngradeAction::Cancel) => Error::NoInflightDowngrade,
            Err(_) => return Err(Status::unknown("etcdserver: unknown method")),
        };
        Err(error.into())
    }
}

/// Whether a text is a version of one to three numbers, perhaps with a `v` before it.
fn is_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut numbers = 0;
    text.split('.').all(|part| {
        numbers += 1;
        numbers <= 3 && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// An alarm as protobuf's text format prints it, which is how etcd lists it among a member's
/// errors.
fn alarm_text(alarm: &pb::AlarmMember) -> String {
    let kind = AlarmType::try_from(alarm.alarm).map_or("UNKNOWN", |kind| kind.as_str_name());
    format!("memberID:{} alarm:{kind}", alarm.member_id)
}

/// Sends a snapshot in pieces that every client accepts.
async fn send_snapshot(
    mut snapshot: SnapshotStream,
    standing: Standing,
    piece_bytes_max: usize,
    out: Out<pb::SnapshotResponse>,
) -> Result<(), Status> {
    let mut remaining_bytes = snapshot.estimated_bytes;
    while let Some(chunk) = snapshot.chunks.recv().await {
        let mut chunk: Bytes = chunk?;
        if chunk.is_empty() {
            return Ok(());
        }
        while !chunk.is_empty() {
            let blob = chunk.split_to(chunk.len().min(piece_bytes_max));
            remaining_bytes = remaining_bytes.saturating_sub(blob.len() as u64);
            out.send(pb::SnapshotResponse {
                header: header(&standing, 0),
                remaining_bytes,
                blob,
                version: ETCD_CLUSTER_VERSION.to_owned(),
            })
            .await;
        }
    }
    Err(Status::data_loss(
        "atoll: the snapshot ended early; take it again",
    ))
}

#[tonic::async_trait]
impl<C: ControlApi> Maintenance for Face<C> {
    type SnapshotStream = Answers<pb::SnapshotResponse>;

    methods! {
        alarm: pb::AlarmRequest => pb::AlarmResponse, on_alarm;
        status: pb::StatusRequest => pb::StatusResponse, on_status;
        defragment: pb::DefragmentRequest => pb::DefragmentResponse, on_defragment;
        hash: pb::HashRequest => pb::HashResponse, on_hash;
        hash_kv: pb::HashKvRequest => pb::HashKvResponse, on_hash_kv;
        move_leader: pb::MoveLeaderRequest => pb::MoveLeaderResponse, on_move_leader;
        downgrade: pb::DowngradeRequest => pb::DowngradeResponse, on_downgrade;
    }

    async fn snapshot(
        &self,
        request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let (metadata, extensions, _) = request.into_parts();
        let caller = Caller::new(metadata.as_ref(), &extensions);
        // A learner's copy is as good as any.
        let standing = self.enter(caller, true)?;
        self.admin(caller, &standing)?;
        let snapshot = self.control.snapshot().await?;
        let piece_bytes_max = self.limits.snapshot_chunk_bytes_max;
        let required = caller.requires_leader();
        let leadership = self.leadership.clone();
        Ok(Response::new(generate(move |out| async move {
            let work = send_snapshot(snapshot, standing, piece_bytes_max, out);
            leadership.hold(required, work).await
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_up_to_three_numbers() {
        for good in ["3.6", "3.6.0", "v3.6", "3"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", "3.", "a.b", "3.6.0.1", "3.6-x"] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
