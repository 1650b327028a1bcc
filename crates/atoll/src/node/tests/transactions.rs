//! Who may begin global transactions, look at them, and end them by hand.

use atoll_control::{
    api::ControlApi as _,
    core::level::FeatureLevel,
    proto::{
        authpb::{Permission, permission::Type},
        etcdserverpb as pb,
    },
};
use atoll_txn::proto::{
    BeginRequest, CommitRequest, EnlistRequest, GetRequest, HotParticipant, HttpParticipant,
    KeysParticipant, ListRequest, Outcome, RedisCommand, ResolveRequest,
    enlist_request::Participant,
};

use super::{
    Lone,
    redis_users::Redis,
    until,
    users::{add_user, issue, refusal},
};
use crate::{
    client::{Client, Retry},
    error::CliError,
};

async fn begin(client: &Client) -> Result<String, CliError> {
    let begun = client.call(Retry::Never, BeginRequest::default(), |at, r| async move {
        at.transactions().begin(r).await
    });
    Ok(begun.await?.id)
}

async fn get(client: &Client, id: &str) -> Result<(), CliError> {
    let request = GetRequest { id: id.to_owned() };
    let got = client.call(Retry::Never, request, |at, r| async move {
        at.transactions().get(r).await
    });
    got.await.map(drop)
}

async fn list(client: &Client) -> Result<usize, CliError> {
    let request = ListRequest::default();
    let listed = client.call(Retry::Never, request, |at, r| async move {
        at.transactions().list(r).await
    });
    Ok(listed.await?.transactions.len())
}

async fn enlist(client: &Client, id: &str, url: &str) -> Result<u32, CliError> {
    let participant = Participant::Http(HttpParticipant {
        url: url.to_owned(),
        ..HttpParticipant::default()
    });
    enlist_any(client, id, participant).await
}

async fn enlist_hot(client: &Client, id: &str, command: &str) -> Result<u32, CliError> {
    let command = RedisCommand {
        words: command.split(' ').map(str::to_owned).collect(),
        ..RedisCommand::default()
    };
    let participant = Participant::Hot(HotParticipant {
        commands: vec![command],
    });
    enlist_any(client, id, participant).await
}

async fn enlist_any(client: &Client, id: &str, participant: Participant) -> Result<u32, CliError> {
    let request = EnlistRequest {
        id: id.to_owned(),
        participant: Some(participant),
    };
    let enlisted = client.call(Retry::Never, request, |at, r| async move {
        at.transactions().enlist(r).await
    });
    Ok(enlisted.await?.branch)
}

/// Has a key take part that is put if it is not there.
async fn enlist_key(client: &Client, id: &str, label: &str, key: &str) -> Result<u32, CliError> {
    let put = pb::PutRequest {
        key: key.to_owned().into(),
        value: "by a transaction".into(),
        ..pb::PutRequest::default()
    };
    let absent = pb::Compare {
        target: pb::compare::CompareTarget::Version.into(),
        key: key.to_owned().into(),
        target_union: Some(pb::compare::TargetUnion::Version(0)),
        ..pb::Compare::default()
    };
    let request = EnlistRequest {
        id: id.to_owned(),
        participant: Some(Participant::Keys(KeysParticipant {
            label: label.to_owned(),
            compare: vec![absent],
            success: vec![pb::RequestOp {
                request: Some(pb::request_op::Request::RequestPut(put)),
            }],
        })),
    };
    let enlisted = client.call(Retry::Never, request, |at, r| async move {
        at.transactions().enlist(r).await
    });
    Ok(enlisted.await?.branch)
}

async fn commit(client: &Client, id: &str) -> Outcome {
    let request = CommitRequest {
        id: id.to_owned(),
        until_ended: true,
    };
    let told = client.call(Retry::Safe, request, |at, r| async move {
        at.transactions().commit(r).await
    });
    told.await.unwrap().outcome()
}

async fn is_there(root: &Client, key: &str) -> bool {
    let request = pb::RangeRequest {
        key: key.to_owned().into(),
        ..pb::RangeRequest::default()
    };
    let read = root.call(Retry::Safe, request, |at, r| async move {
        at.kv().range(r).await
    });
    read.await.unwrap().count == 1
}

async fn resolve(client: &Client, id: &str) -> Result<(), CliError> {
    let request = ResolveRequest {
        id: id.to_owned(),
        outcome: Outcome::Aborted.into(),
        ..ResolveRequest::default()
    };
    let resolved = client.call(Retry::Never, request, |at, r| async move {
        at.transactions().resolve(r).await
    });
    resolved.await.map(drop)
}

async fn grant(root: &Client, role: &str, may: Type) {
    let request = pb::AuthRoleGrantPermissionRequest {
        name: role.to_owned(),
        perm: Some(Permission {
            perm_type: may.into(),
            key: "/atoll/txn/".into(),
            range_end: "/atoll/txn0".into(),
        }),
    };
    root.call(Retry::Never, request, |at, r| async move {
        at.auth().role_grant_permission(r).await
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn it_takes_a_right_to_begin_another_to_look_and_root_to_resolve() {
    let lone = Lone::start(&[("txn.http_hosts", "services.example:8080")]).await;
    let root = lone.root();
    let id = begin(&root).await.unwrap();
    for name in ["ann", "bob", "eve"] {
        add_user(&root, name).await;
    }
    grant(&root, "ann", Type::Readwrite).await;
    grant(&root, "bob", Type::Read).await;
    let as_user = async |name: &str| {
        let (identity, _) = issue(&root, name, 0).await.unwrap();
        lone.client(None, Some(&identity))
    };
    let (ann, bob, eve) = (
        as_user("ann").await,
        as_user("bob").await,
        as_user("eve").await,
    );

    let own = begin(&ann).await.unwrap();
    assert_eq!(
        enlist(&ann, &own, "http://services.example:8080/a")
            .await
            .unwrap(),
        0
    );
    get(&bob, &own).await.unwrap();
    assert_eq!(list(&bob).await.unwrap(), 2);
    // Not listed: clients come from elsewhere, and what listens for this machine is not theirs.
    for url in [
        "http://127.0.0.1:1/",
        "http://services.example/a",
        "http://localhost:8080/",
    ] {
        let refused = refusal(enlist(&ann, &own, url).await);
        assert!(refused.contains("txn.http_hosts"), "{refused}");
    }
    for refused in [
        refusal(begin(&bob).await),
        refusal(enlist(&bob, &id, "http://services.example:8080/a").await),
        refusal(begin(&eve).await),
        refusal(get(&eve, &id).await),
        refusal(list(&eve).await),
        refusal(resolve(&ann, &own).await),
    ] {
        assert!(refused.contains("permission denied"), "{refused}");
    }
    let nobody = lone.client(None, None);
    for refused in [refusal(begin(&nobody).await), refusal(list(&nobody).await)] {
        assert!(refused.contains("user name is empty"), "{refused}");
    }
    resolve(&root, &own).await.unwrap();
    let shown = root.call(Retry::Never, GetRequest { id: own }, |at, r| async move {
        at.transactions().get(r).await
    });
    let shown = shown.await.unwrap();
    assert_eq!(shown.audit[0].by, "root");
    lone.life.stop().await;
}

#[tokio::test]
async fn keys_take_part_with_the_rights_of_whoever_enlists_them_and_as_long_as_these_last() {
    let lone = Lone::start(&[]).await;
    let root = lone.root();
    add_user(&root, "ann").await;
    grant(&root, "ann", Type::Readwrite).await;
    let (identity, _) = issue(&root, "ann", 0).await.unwrap();
    let ann = lone.client(None, Some(&identity));

    let id = begin(&ann).await.unwrap();
    until("the cluster's level has risen", async || {
        let enlisted = enlist_key(&ann, &id, "", "a1").await;
        match enlisted {
            Err(error) if error.to_string().contains("feature level") => None,
            enlisted => Some(enlisted.unwrap()),
        }
    })
    .await;
    let denied = refusal(enlist_key(&ann, &id, "more", "b1").await);
    assert!(denied.contains("permission denied"), "{denied}");
    for client in [&ann, &root] {
        let reserved = refusal(enlist_key(client, &id, "more", "/atoll/txn/x").await);
        assert!(reserved.contains("by the cluster itself"), "{reserved}");
    }
    // Another one's rights are not lent by what is in the transaction already.
    assert_eq!(enlist_key(&root, &id, "more", "b1").await.unwrap(), 1);
    assert_eq!(commit(&ann, &id).await, Outcome::Committed);
    assert!(is_there(&root, "a1").await && is_there(&root, "b1").await);

    // Who has lost a right meanwhile does nothing with it.
    let id = begin(&ann).await.unwrap();
    enlist_key(&ann, &id, "", "a2").await.unwrap();
    enlist_key(&root, &id, "more", "b2").await.unwrap();
    let revoke = pb::AuthUserRevokeRoleRequest {
        name: "ann".to_owned(),
        role: "ann".to_owned(),
    };
    root.call(Retry::Never, revoke, |at, r| async move {
        at.auth().user_revoke_role(r).await
    })
    .await
    .unwrap();
    assert_eq!(commit(&root, &id).await, Outcome::Aborted);
    assert!(!is_there(&root, "a2").await && !is_there(&root, "b2").await);
    lone.life.stop().await;
}

#[tokio::test]
async fn who_enlists_commands_must_have_the_right_to_run_them() {
    let lone = Lone::start(&[]).await;
    let root = lone.root();
    for name in ["ann", "bob"] {
        add_user(&root, name).await;
    }
    grant(&root, "ann", Type::Readwrite).await;
    let mut redis = Redis::log_in(&lone, "root", &lone.password).await;
    // Neither of the two rights is enough.
    for name in ["ann", "bob"] {
        let rules = format!("ACL SETUSER {name} on ~mine:* +incr");
        redis.ask(&rules, "+OK").await;
    }
    let control = &lone.node().control;
    until("the cluster is at the level", async || {
        (control.status().feature_level >= FeatureLevel::HOLDS_BRANCHES).then_some(())
    })
    .await;
    let as_user = async |name: &str| {
        let (identity, _) = issue(&root, name, 0).await.unwrap();
        lone.client(None, Some(&identity))
    };
    let (ann, bob) = (as_user("ann").await, as_user("bob").await);
    let id = begin(&ann).await.unwrap();
    for (client, command, why) in [
        (&ann, "INCR yours:1", "No permissions to access a key"),
        (
            &ann,
            "DECR mine:1",
            "no permissions to run the 'decr' command",
        ),
        (&bob, "INCR mine:1", "permission denied"),
        (&ann, "EVAL x 1 mine:1", "runs a script"),
    ] {
        let refused = refusal(enlist_hot(client, &id, command).await);
        assert!(refused.contains(why), "{command}: {refused}");
    }
    // Under its name as a service's, it is the same participant, and as well guarded.
    let disguised = refusal(enlist(&ann, &id, "atoll:hot").await);
    assert!(disguised.contains("no command is given"), "{disguised}");
    assert_eq!(enlist_hot(&ann, &id, "INCR mine:1").await.unwrap(), 0);
    lone.life.stop().await;
}

#[tokio::test]
async fn hot_data_takes_no_part_before_every_node_knows_how() {
    let lone = Lone::start(&[("control.feature_level_max", "2")]).await;
    let root = lone.root();
    let id = begin(&root).await.unwrap();
    let refused = refusal(enlist_hot(&root, &id, "INCR a").await);
    assert!(refused.contains("from feature level 3 on"), "{refused}");
    lone.life.stop().await;
}
