//! Rows of every table of the store, and the cluster's own objects among them.

use openraft::Membership;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    core::{
        effects::{Effects, Space, Table, ValueError, Values, revision_key},
        machine::Machine,
    },
    driver::{housekeeping, tokens::JoinToken},
    log::types::{self, StoredMembership, log_id},
    proto::{authpb, cluster::StoredToken, internal::SessionOpen, mvccpb::KeyValue},
};

/// A join token, as a person carries it.
pub(super) const TOKEN: &str = "atoll1.00c10918f70f50e1.QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB.\
    a9f1e0d2c3b4a5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e";

/// Rows as a store has them.
#[derive(Default)]
pub(super) struct Rows(BTreeMap<(&'static str, Bytes), Bytes>);

impl Values for Rows {
    fn get(&self, space: Space, main: i64, sub: u32) -> Result<Option<Bytes>, ValueError> {
        Ok(self
            .0
            .get(&(space.table().name(), revision_key(main, sub)))
            .cloned())
    }
}

impl Rows {
    pub(super) fn to_proto(&self) -> raft::BackupRows {
        let rows = self.0.iter().map(|((table, key), value)| raft::Row {
            table: (*table).into(),
            key: key.clone(),
            value: value.clone(),
        });
        raft::BackupRows {
            rows: rows.collect(),
        }
    }

    fn of(rows: raft::BackupRows) -> Rows {
        let named = |row: raft::Row| {
            let table = Table::ALL
                .into_iter()
                .find(|table| table.name() == row.table);
            ((table.expect("a table of ours").name(), row.key), row.value)
        };
        Rows(rows.rows.into_iter().map(named).collect())
    }

    fn restore(&self) -> Machine {
        Machine::restore(12, |table| {
            let rows = self
                .0
                .iter()
                .filter(move |((of, _), _)| *of == table.name());
            rows.map(|((_, key), value)| Ok((key.clone(), value.clone())))
        })
        .expect("rows that this version wrote")
    }
}

fn stored_token() -> StoredToken {
    let secret = TOKEN.split('.').nth(2).expect("a token has four parts");
    StoredToken {
        secret_sha256: Bytes::copy_from_slice(&Sha256::digest(secret)),
        uses_left: 2,
        expires_ms: 1_800_000_000_000,
        fingerprint: TOKEN
            .split('.')
            .nth(3)
            .expect("a token has four parts")
            .to_owned(),
    }
}

/// Commands that leave a row in every table.
pub(super) fn commands() -> Vec<Command> {
    let deleted = pb::DeleteRangeRequest {
        key: Bytes::from_static(b"b"),
        ..Default::default()
    };
    let both = ["b", "c"].map(|key| pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(put(key, "2", 0))),
    });
    let user = |name: &str| pb::AuthUserAddRequest {
        name: name.into(),
        hashed_password: "$argon2id$hash".into(),
        ..Default::default()
    };
    let grant = |user: &str, role: &str| pb::AuthUserGrantRoleRequest {
        user: user.into(),
        role: role.into(),
    };
    let members = Membership::new(vec![[1, 2].into()], nodes()).expect("every voter is described");
    let mut commands = vec![
        Op::LeaseGrant(pb::LeaseGrantRequest { ttl: 60, id: 7 }),
        Op::Put(put("a", "1", 7)),
        Op::Txn(pb::TxnRequest {
            success: both.into(),
            ..Default::default()
        }),
        Op::DeleteRange(deleted),
        Op::Compact(pb::CompactionRequest {
            revision: 2,
            physical: false,
        }),
        Op::UserAdd(user("root")),
        Op::UserAdd(user("alice")),
        Op::RoleAdd(pb::AuthRoleAddRequest {
            name: "root".into(),
        }),
        Op::RoleAdd(pb::AuthRoleAddRequest {
            name: "reader".into(),
        }),
        Op::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest {
            name: "reader".into(),
            perm: Some(authpb::Permission {
                perm_type: authpb::permission::Type::Read.into(),
                key: Bytes::from_static(b"a"),
                range_end: Bytes::from_static(b"b"),
            }),
        }),
        Op::UserGrantRole(grant("root", "root")),
        Op::UserGrantRole(grant("alice", "reader")),
        Op::LeaseCheckpoint(pb::LeaseCheckpointRequest {
            checkpoints: vec![pb::LeaseCheckpoint {
                id: 7,
                remaining_ttl: 42,
            }],
        }),
        Op::Put(put(
            "/atoll/tokens/00c10918f70f50e1",
            stored_token().encode_to_vec(),
            0,
        )),
        Op::AuthEnable(pb::AuthEnableRequest {}),
        Op::Alarm(pb::AlarmRequest {
            action: pb::alarm_request::AlarmAction::Activate.into(),
            member_id: 1,
            alarm: pb::AlarmType::Nospace.into(),
        }),
    ];
    let published = housekeeping::rows_of(&members).into_iter();
    commands.extend(published.map(|(key, value)| {
        Op::Put(pb::PutRequest {
            key,
            value,
            ..Default::default()
        })
    }));
    commands
        .into_iter()
        .zip(1..)
        .map(|(op, sequence)| command(sequence, system(), op))
        .collect()
}

/// The machine after those commands, and the rows that it had written.
pub(super) fn state() -> (Machine, Rows) {
    let (mut machine, mut rows) = (Machine::new(), Rows::default());
    let mut commands = commands();
    let mut apply = |machine: &mut Machine, command: &Command| {
        let mut effects = Effects::default();
        let outcome = machine.apply(12, command, &rows, &mut effects);
        outcome
            .expect("the rows are there")
            .expect("new")
            .expect("allowed");
        let mark = machine.flush_mark();
        for write in effects.writes {
            let row = (write.table.name(), write.key);
            match write.value {
                Some(value) => rows.0.insert(row, value),
                None => rows.0.remove(&row),
            };
        }
        machine.flushed(mark);
    };
    for command in &commands {
        apply(&mut machine, command);
    }
    let login = Op::SessionOpen(SessionOpen {
        name: "alice".into(),
        token_sha256: Bytes::from_static(&[0xa5; 32]),
        auth_revision: machine.auth().revision(),
    });
    commands.push(command(commands.len() as u64 + 1, system(), login));
    apply(&mut machine, &commands[commands.len() - 1]);
    (machine, rows)
}

#[test]
fn every_table_is_written_and_read_the_same() {
    let (machine, rows) = state();
    let stored = golden("state-rows-1.bin", &rows.to_proto().encode_to_vec());
    let stored = raft::BackupRows::decode(stored).expect("rows");
    for table in Table::ALL {
        let has_it = stored.rows.iter().any(|row| row.table == table.name());
        assert!(has_it, "{} has a row", table.name());
    }
    let rows = Rows::of(stored);
    let restored = rows.restore();
    assert_eq!(restored, machine);

    // What that means, spelled out once more.
    let user = restored.keyspace(Space::User);
    assert_eq!(
        (user.revision(), user.compacted(), user.live_keys()),
        (4, 2, 2)
    );
    let all = pb::RangeRequest {
        key: Bytes::from_static(b"a"),
        range_end: Bytes::from_static(b"\0"),
        ..Default::default()
    };
    let found = restored
        .range(&system(), &all, &rows)
        .expect("readable")
        .expect("allowed");
    let kv = |key: &'static str, value: &'static str, revision, lease| KeyValue {
        key: key.into(),
        value: value.into(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease,
    };
    assert_eq!(found.kvs, [kv("a", "1", 2, 7), kv("c", "2", 3, 0)]);
    let lease = restored.leases().get(7).expect("it was granted");
    assert_eq!((lease.ttl_s, lease.remaining_s), (60, 42));
    let auth = restored.auth();
    assert!(auth.is_enabled());
    assert!(
        auth.identify_digest(&[0xa5; 32]).is_some() && auth.identify_digest(&[0; 32]).is_none()
    );
    assert_eq!(restored.alarms(pb::AlarmType::None).len(), 1);
}

#[test]
fn the_clusters_own_objects_are_as_documented() {
    let (machine, rows) = state();
    let read = |key: &str| {
        let one = pb::RangeRequest {
            key: Bytes::copy_from_slice(key.as_bytes()),
            ..Default::default()
        };
        let found = machine
            .range(&system(), &one, &rows)
            .expect("readable")
            .expect("allowed");
        found.kvs.into_iter().next().expect("it is there").value
    };
    let token = golden("join-token-1.txt", format!("{TOKEN}\n").as_bytes());
    let token = std::str::from_utf8(&token).expect("text");
    let token = JoinToken::parse(token).expect("a token");
    assert_eq!(token.reveal(), TOKEN);
    assert_eq!(token.fingerprint.len(), 64);
    let stored = read(&format!("/atoll/tokens/{}", token.id));
    assert_eq!(
        StoredToken::decode(stored).expect("a token"),
        stored_token()
    );

    let node: serde_json::Value =
        serde_json::from_slice(&read("/atoll/nodes/c10918f70f50e155")).expect("JSON");
    let expected = serde_json::json!({
        "id": "c10918f70f50e155",
        "name": "three",
        "peer_urls": ["https://10.0.0.1:2400"],
        "client_urls": ["http://10.0.0.1:2399"],
        "feature_level_min": 1,
        "feature_level_max": 2,
        "voter": false,
    });
    assert_eq!(node, expected);
}

#[test]
fn the_row_that_says_up_to_where_is_written_and_read_the_same() {
    let members = Membership::new(vec![[1, 2].into()], nodes()).expect("every voter is described");
    let members = StoredMembership::new(Some(log_id(5, 11)), members);
    let applied = types::applied_to_proto(Some(&log_id(5, 12)), &members);
    let stored = golden("state-applied-1.bin", &applied.encode_to_vec());
    let stored = raft::Applied::decode(stored).expect("the row");
    assert_eq!(stored, applied);
    let meta = types::applied_from_proto(stored).expect("sound");
    assert_eq!(meta.last_log_id, Some(log_id(5, 12)));
    assert_eq!(meta.last_membership, members);
}

#[test]
fn a_newer_state_is_refused_by_both_numbers() {
    let newer = raft::Applied {
        version: 2,
        ..Default::default()
    };
    let error = types::applied_from_proto(newer).expect_err("it is newer");
    assert_refuses_2_for_1(&error);
}
