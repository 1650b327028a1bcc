//! Records of the journal, and what an entry carries.

use openraft::{EntryPayload, Membership};

use super::*;
use crate::{
    log::types::{self, BatchBytes, Entry, Vote, log_id},
    proto::{
        authpb,
        internal::{Batch, Both, Part, SessionOpen},
        raft::record::Kind,
    },
};

/// One command of each kind that the first version knew, in order of its number.
pub(super) fn batch() -> Batch {
    let key = Bytes::from_static(b"key");
    let put = pb::PutRequest {
        prev_kv: true,
        ..put("key", "value", 7)
    };
    let delete = pb::DeleteRangeRequest {
        key: key.clone(),
        range_end: Bytes::from_static(b"kez"),
        prev_kv: false,
    };
    let txn = pb::TxnRequest {
        compare: vec![pb::Compare {
            result: pb::compare::CompareResult::Greater.into(),
            target: pb::compare::CompareTarget::Mod.into(),
            key: key.clone(),
            range_end: Bytes::new(),
            target_union: Some(pb::compare::TargetUnion::ModRevision(9)),
        }],
        success: vec![pb::RequestOp {
            request: Some(pb::request_op::Request::RequestPut(put.clone())),
        }],
        failure: vec![pb::RequestOp {
            request: Some(pb::request_op::Request::RequestDeleteRange(delete.clone())),
        }],
    };
    let ops = vec![
        Op::Put(put),
        Op::DeleteRange(delete),
        Op::Txn(txn),
        Op::Compact(pb::CompactionRequest {
            revision: 9,
            physical: false,
        }),
        Op::LeaseGrant(pb::LeaseGrantRequest { ttl: 60, id: 7 }),
        Op::LeaseRevoke(pb::LeaseRevokeRequest { id: 7 }),
        Op::LeaseCheckpoint(pb::LeaseCheckpointRequest {
            checkpoints: vec![pb::LeaseCheckpoint {
                id: 7,
                remaining_ttl: 42,
            }],
        }),
        Op::Alarm(pb::AlarmRequest {
            action: pb::alarm_request::AlarmAction::Activate.into(),
            member_id: 1,
            alarm: pb::AlarmType::Nospace.into(),
        }),
        Op::AuthEnable(pb::AuthEnableRequest {}),
        Op::AuthDisable(pb::AuthDisableRequest {}),
        Op::UserAdd(pb::AuthUserAddRequest {
            name: "alice".into(),
            hashed_password: "$argon2id$hash".into(),
            options: Some(authpb::UserAddOptions { no_password: false }),
            ..Default::default()
        }),
        Op::UserDelete(pb::AuthUserDeleteRequest {
            name: "alice".into(),
        }),
        Op::UserChangePassword(pb::AuthUserChangePasswordRequest {
            name: "alice".into(),
            hashed_password: "$argon2id$hash".into(),
            ..Default::default()
        }),
        Op::UserGrantRole(pb::AuthUserGrantRoleRequest {
            user: "alice".into(),
            role: "reader".into(),
        }),
        Op::UserRevokeRole(pb::AuthUserRevokeRoleRequest {
            name: "alice".into(),
            role: "reader".into(),
        }),
        Op::RoleAdd(pb::AuthRoleAddRequest {
            name: "reader".into(),
        }),
        Op::RoleDelete(pb::AuthRoleDeleteRequest {
            role: "reader".into(),
        }),
        Op::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest {
            name: "reader".into(),
            perm: Some(authpb::Permission {
                perm_type: authpb::permission::Type::Readwrite.into(),
                key: key.clone(),
                range_end: Bytes::from_static(b"kez"),
            }),
        }),
        Op::RoleRevokePermission(pb::AuthRoleRevokePermissionRequest {
            role: "reader".into(),
            key,
            range_end: Bytes::from_static(b"kez"),
        }),
        Op::SessionOpen(SessionOpen {
            name: "alice".into(),
            token_sha256: Bytes::from_static(&[0xa5; 32]),
            auth_revision: 4,
        }),
    ];
    let who = [anonymous(), user(), system()];
    let commands = ops.into_iter().zip(1..).zip(who.into_iter().cycle());
    Batch {
        commands: commands
            .map(|((op, sequence), who)| command(sequence, who, op))
            .collect(),
    }
}

/// What came with feature level 3.
pub(super) fn both() -> Batch {
    let op = |request| pb::RequestOp {
        request: Some(request),
    };
    let compare = |key: &'static str, revision| pb::Compare {
        result: pb::compare::CompareResult::Equal.into(),
        target: pb::compare::CompareTarget::Mod.into(),
        key: Bytes::from_static(key.as_bytes()),
        range_end: Bytes::new(),
        target_union: Some(pb::compare::TargetUnion::ModRevision(revision)),
    };
    let record = "/atoll/txn/record";
    let delete = pb::DeleteRangeRequest {
        key: Bytes::from_static(b"old"),
        ..pb::DeleteRangeRequest::default()
    };
    let op = Op::Both(Both {
        system: Some(pb::TxnRequest {
            compare: vec![compare(record, 0)],
            success: vec![op(pb::request_op::Request::RequestPut(put(
                record, "decided", 0,
            )))],
            failure: Vec::new(),
        }),
        parts: vec![Part {
            user: "alice".into(),
            user_made_at: 12,
            txn: Some(pb::TxnRequest {
                compare: vec![compare("key", 0)],
                success: vec![
                    op(pb::request_op::Request::RequestPut(put("key", "value", 0))),
                    op(pb::request_op::Request::RequestDeleteRange(delete)),
                ],
                failure: Vec::new(),
            }),
        }],
    });
    Batch {
        commands: vec![command(1, system(), op)],
    }
}

/// A record of each kind, and an entry of each kind.
pub(super) fn records() -> Vec<Kind> {
    let joint = vec![[1].into(), [1, 2].into()];
    let joint = Membership::new(joint, nodes()).expect("every voter is described");
    let entry = |index, payload| types::entry_to_proto(&Entry::new(log_id(5, index), payload));
    use openraft::entry::RaftEntry as _;
    vec![
        Kind::Vote(types::vote_to_proto(&Vote::new(5, 1))),
        Kind::Vote(types::vote_to_proto(&Vote::new_committed(5, 1))),
        Kind::Entry(entry(10, EntryPayload::Blank)),
        Kind::Entry(entry(11, EntryPayload::Membership(joint))),
        Kind::Entry(entry(
            12,
            EntryPayload::Normal(BatchBytes(batch().encode_to_vec().into())),
        )),
        Kind::TruncatedAfter(types::log_id_to_proto(&log_id(5, 11))),
        Kind::TruncatedAfter(raft::LogId::default()),
        Kind::Purged(types::log_id_to_proto(&log_id(5, 10))),
    ]
}

#[test]
fn every_record_is_written_and_read_the_same() {
    let mut written = BytesMut::new();
    for kind in records() {
        let record = types::encode_record(kind);
        prost::encoding::encode_varint(record.len() as u64, &mut written);
        written.extend_from_slice(&record);
    }
    let mut rest = golden("log-records-1.bin", &written);
    let mut read = Vec::new();
    while !rest.is_empty() {
        let length = prost::decode_length_delimiter(&mut rest).expect("a length");
        read.push(types::decode_record(rest.split_to(length)).expect("a record"));
    }
    assert_eq!(read, records());
    for kind in read {
        match kind {
            Kind::Vote(vote) => {
                let read = types::vote_from_proto(Some(vote)).expect("sound");
                assert_eq!(types::vote_to_proto(&read), vote);
            }
            Kind::Entry(entry) => {
                let read = types::entry_from_proto(entry.clone()).expect("sound");
                assert_eq!(types::entry_to_proto(&read), entry);
                if let EntryPayload::Normal(bytes) = read.payload {
                    assert_eq!(Batch::decode(bytes.0).expect("a batch"), batch());
                }
            }
            Kind::TruncatedAfter(_) | Kind::Purged(_) => {}
        }
    }
}

#[test]
fn commands_of_level_3_are_written_and_read_the_same() {
    let stored = golden("log-commands-3.bin", &both().encode_to_vec());
    assert_eq!(Batch::decode(stored).expect("a batch"), both());
}

#[test]
fn a_newer_record_is_refused_by_both_numbers() {
    let newer = raft::Record {
        kind: records().pop(),
        version: 2,
    };
    let error = types::decode_record(newer.encode_to_vec().into()).expect_err("it is newer");
    assert_refuses_2_for_1(&error);
}
