//! Who may have a node drained, and when that is refused.

use atoll_control::{
    api::ControlApi as _,
    proto::cluster::{BeginDrainRequest, DrainsResponse, EndDrainRequest},
};

use super::{
    Lone,
    users::{add_user, issue, refusal},
};
use crate::{
    client::{Client, Retry},
    error::CliError,
};

async fn begin(client: &Client, node: u64) -> Result<DrainsResponse, CliError> {
    let request = BeginDrainRequest { node };
    client
        .call(Retry::Never, request, |at, r| async move {
            at.drains().begin(r).await
        })
        .await
}

async fn end(client: &Client, node: u64) -> Result<DrainsResponse, CliError> {
    let request = EndDrainRequest { node };
    client
        .call(Retry::Never, request, |at, r| async move {
            at.drains().end(r).await
        })
        .await
}

#[tokio::test]
async fn only_root_has_nodes_drained_and_never_the_last_one() {
    let lone = Lone::start(&[]).await;
    let root = lone.root();
    let id = lone.node().control.status().node.0;
    add_user(&root, "ann").await;
    let (ann, _) = issue(&root, "ann", 0).await.unwrap();
    let as_ann = lone.client(None, Some(&ann));
    for refused in [
        refusal(begin(&as_ann, id).await),
        refusal(end(&as_ann, id).await),
    ] {
        assert!(refused.contains("permission denied"), "{refused}");
    }
    let nobody = lone.client(None, None);
    for refused in [
        refusal(begin(&nobody, id).await),
        refusal(end(&nobody, id).await),
    ] {
        assert!(refused.contains("user name is empty"), "{refused}");
    }
    let last = refusal(begin(&root, id).await);
    assert!(last.contains("atoll node undrain"), "{last}");
    let unknown = refusal(begin(&root, id + 1).await);
    assert!(unknown.contains("is no member"), "{unknown}");
    // What is so already is no mistake.
    assert_eq!(end(&root, id).await.unwrap().nodes, Vec::<u64>::new());
    lone.life.stop().await;
}
