//! What peers send each other: a frame with each message of each service.

use atoll_world::peers::{
    Service,
    frame::{Frame, Kind, parse},
};
use openraft::Membership;

use super::*;
use crate::{
    driver::services,
    log::{
        network,
        types::{self, StoredMembership, Vote, log_id},
    },
};

fn frame(kind: Kind, service: Service, message: &impl Message) -> Frame {
    Frame {
        kind,
        id: 7,
        service,
        payload: message.encode_to_vec().into(),
    }
}

/// A call and its answers.
fn call<Q: Message, A: Message>(service: Service, request: &Q, answers: &[A]) -> Vec<Frame> {
    let answers = answers
        .iter()
        .map(|answer| frame(Kind::Response, service, answer));
    std::iter::once(frame(Kind::Request, service, request))
        .chain(answers)
        .collect()
}

/// Every service's messages, in order of its number.
pub(super) fn conversation() -> Vec<Frame> {
    let vote = types::vote_to_proto(&Vote::new_committed(5, 1));
    let at = |index| types::log_id_to_proto(&log_id(5, index));
    let append = raft::AppendRequest {
        vote: Some(vote),
        previous: Some(at(10)),
        entries: vec![raft::Entry {
            id: Some(at(11)),
            payload: Some(raft::entry::Payload::Batch(Bytes::from_static(b"batch"))),
        }],
        committed: Some(at(9)),
    };
    let heartbeat = raft::AppendRequest {
        entries: Vec::new(),
        ..append.clone()
    };
    let answers = {
        use raft::append_response::Result::{Conflict, HigherVote, Matched};
        [Matched(at(11)), Conflict(at(10)), HigherVote(vote)].map(|result| raft::AppendResponse {
            result: Some(result),
        })
    };
    let ask = raft::VoteRequest {
        vote: Some(types::vote_to_proto(&Vote::new(6, 2))),
        last: Some(at(11)),
        leadership_transfer: true,
    };
    let granted = raft::VoteResponse {
        vote: ask.vote,
        granted: true,
        last: Some(at(11)),
    };
    let members = Membership::new(vec![[1, 2].into()], nodes()).expect("every voter is described");
    let members = StoredMembership::new(Some(log_id(5, 3)), members);
    let chunk = raft::SnapshotChunk {
        transfer: 0x5eed,
        sequence: 1,
        rows: vec![raft::Row {
            table: "meta".into(),
            key: Bytes::from_static(b"compacted/user"),
            value: Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 2]),
        }],
        end: Some(raft::SnapshotEnd {
            vote: Some(vote),
            meta: Some(types::applied_to_proto(Some(&log_id(5, 9)), &members)),
        }),
    };
    let ack = raft::SnapshotAck {
        accepted: true,
        vote: Some(vote),
    };
    let transfer = raft::TransferLeaderRequest {
        from: Some(vote),
        to: 2,
        last: Some(at(11)),
    };
    let proposal = raft::ProposeRequest {
        commands: vec![
            command(1, user(), Op::Put(put("a", "1", 0)))
                .encode_to_vec()
                .into(),
        ],
    };
    let index = raft::ReadIndexResponse {
        confirmed: true,
        index: 11,
    };
    let lease = raft::LeaseRequest {
        lease: 7,
        renew: true,
    };
    let left = raft::LeaseResponse {
        result: raft::lease_response::Result::Found.into(),
        granted_ttl_seconds: 60,
        left_ms: 59_000,
    };
    let described = nodes().into_values().next();
    let changes = {
        use raft::member_request::Change::{AddLearner, Promote, Remove, TransferTo, Update};
        [
            AddLearner(raft::AddLearner {
                id: 3,
                node: described.clone(),
            }),
            Promote(3),
            Remove(3),
            Update(raft::UpdateNode {
                id: 3,
                node: described,
            }),
            TransferTo(2),
        ]
        .map(|change| raft::MemberRequest {
            change: Some(change),
        })
    };
    let refused = raft::MemberResponse {
        result: raft::member_response::Result::Refused.into(),
        reason: "etcdserver: member not found".into(),
    };
    let mut frames = [
        call(network::APPEND, &append, &answers),
        call(network::HEARTBEAT, &heartbeat, &answers[..1]),
        call(network::VOTE, &ask, &[granted]),
        call(network::PRE_VOTE, &ask, &[granted]),
        call(network::SNAPSHOT, &chunk, &[ack]),
        call(
            network::TRANSFER,
            &transfer,
            &[raft::TransferLeaderResponse { accepted: true }],
        ),
        call(
            services::PROPOSE,
            &proposal,
            &[raft::ProposeResponse { accepted: true }],
        ),
        call(services::READ_INDEX, &raft::ReadIndexRequest {}, &[index]),
        call(services::LEASE, &lease, &[left]),
    ]
    .concat();
    for change in &changes {
        frames.extend(call(
            services::MEMBER,
            change,
            std::slice::from_ref(&refused),
        ));
    }
    frames
}

#[test]
fn every_message_is_written_and_read_the_same() {
    let mut written = BytesMut::new();
    for frame in conversation() {
        frame.encode(&mut written);
    }
    let mut rest = golden("peer-messages-1.bin", &written);
    let mut read = Vec::new();
    while let Some((frame, bytes)) = parse(&rest).expect("frames of this version") {
        read.push(frame);
        rest = rest.split_off(bytes);
    }
    assert_eq!(read, conversation());
    for frame in read {
        crate::fuzzing::peer_message(&[&[frame.service.0], &frame.payload[..]].concat());
    }
}
