use prost::Message as _;

use super::{Node, fails, fake};
use crate::{
    core::error::Error,
    face::Limits,
    proto::etcdserverpb::{
        self as pb, kv_client::KvClient, maintenance_client::MaintenanceClient, request_op,
        response_op,
    },
};

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..Default::default()
    }
}

fn all() -> pb::RangeRequest {
    pb::RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_put_is_read_back_under_a_full_header() {
    let node = Node::new();
    let mut kv = KvClient::new(node.channel().await);
    let header = kv
        .put(put("a", "1"))
        .await
        .unwrap()
        .into_inner()
        .header
        .unwrap();
    assert_eq!(header.cluster_id, fake::CLUSTER);
    assert_eq!(header.member_id, fake::NODE);
    assert_eq!(header.raft_term, fake::TERM);
    assert_eq!(header.revision, 2);
    let read = kv.range(all()).await.unwrap().into_inner();
    assert_eq!(read.header.unwrap(), header);
    assert_eq!((read.count, read.kvs.len(), read.more), (1, 1, false));
    assert_eq!(&read.kvs[0].value[..], b"1");
    let deleted = kv
        .delete_range(pb::DeleteRangeRequest {
            key: "a".into(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!((deleted.deleted, deleted.header.unwrap().revision), (1, 3));
}

#[tokio::test]
async fn answers_inside_a_transaction_carry_its_revision() {
    let node = Node::new();
    let mut kv = KvClient::new(node.channel().await);
    let request = pb::TxnRequest {
        success: vec![pb::RequestOp {
            request: Some(request_op::Request::RequestPut(put("a", "1"))),
        }],
        ..Default::default()
    };
    let response = kv.txn(request).await.unwrap().into_inner();
    assert!(response.succeeded);
    assert_eq!(response.header.unwrap().revision, 2);
    let Some(response_op::Response::ResponsePut(inner)) = &response.responses[0].response else {
        panic!("a put is answered as a put");
    };
    let inner = inner.header.as_ref().unwrap();
    assert_eq!((inner.revision, inner.cluster_id), (2, 0));
}

#[tokio::test]
async fn errors_keep_code_and_text_on_both_ways_through() {
    let node = Node::new();
    let mut kv = KvClient::new(node.channel().await);
    fails(kv.put(put("", "x")).await, Error::EmptyKey);
    fails(kv.range(pb::RangeRequest::default()).await, Error::EmptyKey);
    let future = pb::RangeRequest {
        revision: 99,
        ..all()
    };
    fails(kv.range(future.clone()).await, Error::FutureRev);
    // A stream fails in its trailers.
    let mut stream = kv.range_stream(future).await.unwrap().into_inner();
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.message(), Error::FutureRev.text());
    let leased = pb::PutRequest {
        lease: 5,
        ..put("a", "")
    };
    fails(kv.put(leased).await, Error::LeaseNotFound);
}

#[tokio::test]
async fn what_is_too_large_is_refused_read_or_unread() {
    let node = Node::new();
    let mut kv = KvClient::new(node.channel().await);
    let limits = Limits::default();
    let value = |bytes: usize| pb::PutRequest {
        key: "k".into(),
        value: vec![0; bytes].into(),
        ..Default::default()
    };
    fails(
        kv.put(value(limits.request_bytes_max)).await,
        Error::RequestTooLarge,
    );
    let bytes_max = limits.request_bytes_max + limits.grpc_overhead_bytes;
    let request = value(bytes_max);
    let text = format!(
        "grpc: received message larger than max ({} vs. {bytes_max})",
        request.encoded_len()
    );
    let status = kv.put(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert_eq!(status.message(), text);
    // The general way says the same.
    let mut lock = crate::proto::v3lockpb::lock_client::LockClient::new(node.channel().await);
    let request = crate::proto::v3lockpb::UnlockRequest {
        key: vec![0; bytes_max].into(),
    };
    let text = format!(
        "grpc: received message larger than max ({} vs. {bytes_max})",
        request.encoded_len()
    );
    let status = lock.unlock(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert_eq!(status.message(), text);
    // The connection is still good.
    kv.put(put("a", "1")).await.unwrap();
}

#[tokio::test]
async fn a_streamed_range_comes_in_chunks_of_one_revision() {
    let node = Node::new();
    let mut kv = KvClient::new(node.channel().await);
    for i in 0..35 {
        kv.put(put(&format!("k{i:02}"), "v")).await.unwrap();
    }
    let request = pb::RangeRequest { limit: 33, ..all() };
    let mut stream = kv.range_stream(request).await.unwrap().into_inner();
    let mut chunks = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        chunks.push(chunk.range_response.unwrap());
    }
    let sizes: Vec<usize> = chunks.iter().map(|chunk| chunk.kvs.len()).collect();
    assert_eq!(sizes, [10, 20, 3]);
    let last = chunks.pop().unwrap();
    assert_eq!((last.more, last.count), (true, 35));
    assert_eq!(last.header.unwrap().revision, 36);
    assert!(
        chunks
            .iter()
            .all(|c| c.header.is_none() && c.count == 0 && !c.more)
    );
    let sorted = pb::RangeRequest {
        sort_order: 2,
        ..all()
    };
    let status = kv.range_stream(sorted).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn learners_answer_stale_reads_and_their_status_only() {
    let node = Node::new();
    node.fake.state.lock().learner = true;
    let channel = node.channel().await;
    let mut kv = KvClient::new(channel.clone());
    // Refused even before the request is looked at.
    fails(kv.put(put("", "")).await, Error::NotSupportedForLearner);
    fails(kv.range(all()).await, Error::NotSupportedForLearner);
    let stale = pb::RangeRequest {
        serializable: true,
        ..all()
    };
    kv.range(stale.clone()).await.unwrap();
    fails(kv.range_stream(stale).await, Error::NotSupportedForLearner);
    let mut maintenance = MaintenanceClient::new(channel);
    let status = maintenance.status(pb::StatusRequest {}).await.unwrap();
    assert!(status.into_inner().is_learner);
    fails(
        maintenance.hash(pb::HashRequest {}).await,
        Error::NotSupportedForLearner,
    );
}

#[tokio::test]
async fn who_requires_a_leader_is_told_that_there_is_none() {
    let node = Node::new();
    node.fake.state.lock().leader = None;
    let mut kv = KvClient::new(node.channel().await);
    let mut request = tonic::Request::new(put("a", "1"));
    request
        .metadata_mut()
        .insert("hasleader", "true".parse().unwrap());
    fails(kv.put(request).await, Error::NoLeader);
    kv.put(put("a", "1")).await.unwrap();
}

#[tokio::test]
async fn maintenance_speaks_as_etcd_does() {
    let node = Node::new();
    node.fake.state.lock().alarms = vec![pb::AlarmMember {
        member_id: 5,
        alarm: pb::AlarmType::Nospace as i32,
    }];
    let mut maintenance = MaintenanceClient::new(node.channel().await);
    let status = maintenance
        .status(pb::StatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(status.errors, ["memberID:5 alarm:NOSPACE"]);
    let request = pb::DefragmentRequest {};
    maintenance.defragment(request).await.unwrap();
    assert_eq!(node.fake.state.lock().defragmented, 1);
    assert_eq!(
        (status.version.as_str(), status.leader),
        ("3.7.0", fake::NODE)
    );
    let alarms = maintenance
        .alarm(pb::AlarmRequest::default())
        .await
        .unwrap();
    assert_eq!(alarms.into_inner().alarms.len(), 1);
    let mut downgrade = async |action, version: &str| {
        let version = version.to_owned();
        maintenance
            .downgrade(pb::DowngradeRequest { action, version })
            .await
    };
    fails(downgrade(0, "x").await, Error::WrongDowngradeVersionFormat);
    fails(
        downgrade(1, "3.6").await,
        Error::InvalidDowngradeTargetVersion,
    );
    fails(downgrade(2, "").await, Error::NoInflightDowngrade);
    let target_id = 77;
    fails(
        maintenance
            .move_leader(pb::MoveLeaderRequest { target_id })
            .await,
        Error::BadLeaderTransferee,
    );
    node.fake.state.lock().leader = Some(atoll_base::id::NodeId(1));
    fails(
        maintenance
            .move_leader(pb::MoveLeaderRequest { target_id })
            .await,
        Error::NotLeader,
    );
    let mut snapshot = maintenance
        .snapshot(pb::SnapshotRequest {})
        .await
        .unwrap()
        .into_inner();
    let mut left = Vec::new();
    let mut bytes = 0;
    while let Some(piece) = snapshot.message().await.unwrap() {
        bytes += piece.blob.len();
        left.push(piece.remaining_bytes);
    }
    assert_eq!(bytes, (300 << 10) + 32);
    assert_eq!(left, [(44 << 10) + 32, 32, 0]);
}

#[tokio::test]
async fn unknown_services_and_methods_are_unimplemented() {
    let node = Node::new();
    let mut grpc = tonic::client::Grpc::new(node.channel().await);
    for path in ["/no.Such/Thing", "/etcdserverpb.KV/Nothing"] {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<pb::PutRequest, pb::PutResponse>::default();
        let status = grpc
            .unary(
                tonic::Request::new(put("a", "")),
                path.parse().unwrap(),
                codec,
            )
            .await
            .unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unimplemented, "{path}");
    }
}
