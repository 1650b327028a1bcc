//! Users that log in by certificate.

use std::time::Duration;

use atoll_control::proto::{
    authpb::{Permission, permission::Type},
    cluster::{IssueCertificateRequest, IssueCertificateResponse},
    etcdserverpb as pb,
};
use atoll_world::{
    net,
    pki::{Authority, Identity, node_dns_name, tls},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Lone, WAIT, key_request, long_ago, put, until};
use crate::{
    client::{Client, Retry},
    error::CliError,
};

const HOUR: Duration = Duration::from_secs(3600);
const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

pub(super) async fn issue(
    client: &Client,
    user: &str,
    life_s: u64,
) -> Result<(Identity, IssueCertificateResponse), CliError> {
    let key = key_request();
    let request = IssueCertificateRequest {
        user: user.to_owned(),
        csr_pem: key.csr_pem().to_owned(),
        life_s,
    };
    let answer = client
        .call(Retry::Safe, request, |node, r| async move {
            node.certificates().issue(r).await
        })
        .await?;
    Ok((key.certified(&answer.certificate_pem).unwrap(), answer))
}

/// Adds a user without a password who may write keys that begin with `a`.
pub(super) async fn add_user(root: &Client, name: &str) {
    macro_rules! ask {
        ($method:ident, $request:expr) => {
            root.call(Retry::Never, $request, |node, r| async move {
                node.auth().$method(r).await
            })
            .await
            .unwrap()
        };
    }
    let options = Some(atoll_control::proto::authpb::UserAddOptions { no_password: true });
    ask!(
        user_add,
        pb::AuthUserAddRequest {
            name: name.to_owned(),
            options,
            ..Default::default()
        }
    );
    let role = || name.to_owned();
    ask!(role_add, pb::AuthRoleAddRequest { name: role() });
    let permission = Permission {
        perm_type: Type::Readwrite.into(),
        key: "a".into(),
        range_end: "b".into(),
    };
    ask!(
        role_grant_permission,
        pb::AuthRoleGrantPermissionRequest {
            name: role(),
            perm: Some(permission),
        }
    );
    ask!(
        user_grant_role,
        pb::AuthUserGrantRoleRequest {
            user: name.to_owned(),
            role: role(),
        }
    );
}

async fn delete_user(root: &Client, name: &str) {
    let request = pb::AuthUserDeleteRequest {
        name: name.to_owned(),
    };
    root.call(Retry::Never, request, |node, r| async move {
        node.auth().user_delete(r).await
    })
    .await
    .unwrap();
}

pub(super) fn refusal<T>(result: Result<T, CliError>) -> String {
    match result {
        Err(CliError::Refused { status }) => status.message().to_owned(),
        Err(error) => panic!("it was to be refused by the cluster: {error}"),
        Ok(_) => panic!("it was to be refused"),
    }
}

#[tokio::test]
async fn a_certificate_is_a_login_as_long_as_its_user_is_there() {
    let lone = Lone::start(&[]).await;
    let root = lone.root();
    add_user(&root, "ann").await;
    let (ann, answer) = issue(&root, "ann", 0).await.unwrap();
    let facts = ann.facts().unwrap();
    assert_eq!(facts.common_name, "ann");
    assert_eq!(facts.not_after_ms, answer.expires_ms);
    let left_ms = answer.expires_ms - atoll_world::clock::wall_ms();
    assert!((YEAR_MS - 60_000..=YEAR_MS).contains(&left_ms), "{left_ms}");
    assert_eq!(
        answer.roots_pem,
        atoll_world::pki::certificates_to_pem(&lone.trust().roots)
    );

    let as_ann = lone.client(None, Some(&ann));
    put(&as_ann, "a").await.unwrap();
    assert!(refusal(put(&as_ann, "c").await).contains("permission denied"));
    assert!(refusal(put(&lone.client(None, None), "a").await).contains("user name is empty"));

    // She may have another one for herself, and for nobody else.
    issue(&as_ann, "ann", 60).await.unwrap();
    for other in ["root", "nobody"] {
        let refused = refusal(issue(&as_ann, other, 60).await);
        assert!(refused.contains("permission denied"), "{refused}");
    }
    let nobody = refusal(issue(&lone.client(None, None), "ann", 60).await);
    assert!(nobody.contains("user name is empty"), "{nobody}");

    delete_user(&root, "ann").await;
    for refused in [
        refusal(put(&as_ann, "a").await),
        refusal(put(&lone.client(None, Some(&ann)), "a").await),
        refusal(issue(&as_ann, "ann", 60).await),
    ] {
        assert!(refused.contains("permission denied"), "{refused}");
    }
    lone.life.stop().await;
}

#[tokio::test]
async fn what_cannot_be_certified_is_told() {
    let lone = Lone::start(&[("security.user_certificate_life_s", "3600")]).await;
    let root = lone.root();
    let too_long = refusal(issue(&root, "root", 3601).await);
    assert!(too_long.contains("at most 3600 s"), "{too_long}");
    let (certificate, _) = issue(&root, "root", 0).await.unwrap();
    let facts = certificate.facts().unwrap();
    let left_ms = facts.not_after_ms - atoll_world::clock::wall_ms();
    assert!(left_ms <= 3_600_000, "{left_ms}");
    let unknown = refusal(issue(&root, "nobody", 0).await);
    assert!(unknown.contains("user name not found"), "{unknown}");
    let request = IssueCertificateRequest {
        user: "root".into(),
        csr_pem: "nonsense".into(),
        life_s: 0,
    };
    let nonsense = root
        .call(Retry::Safe, request, |node, r| async move {
            node.certificates().issue(r).await
        })
        .await;
    let nonsense = refusal(nonsense);
    assert!(nonsense.contains("a certificate request"), "{nonsense}");
    lone.life.stop().await;
}

#[tokio::test]
async fn where_certificates_are_required_nobody_comes_in_without() {
    let lone = Lone::start(&[("security.require_client_cert", "true")]).await;
    let authority = lone.authority();
    let good = authority.issue_client("root", HOUR).unwrap();
    put(&lone.client(None, Some(&good)), "a").await.unwrap();
    // A password is asked for on top of it only if the client logs in with one.
    put(&lone.client(Some("root"), Some(&good)), "a")
        .await
        .unwrap();

    let elsewhere = Authority::create().unwrap();
    let shown = [
        ("none", None),
        (
            "of another authority",
            Some(elsewhere.issue_client("root", HOUR).unwrap()),
        ),
        (
            "that has expired",
            Some(long_ago(|| authority.issue_client("root", HOUR)).unwrap()),
        ),
        (
            "of a node",
            Some(
                authority
                    .issue_node(lone.node().record.node, &[], HOUR)
                    .unwrap(),
            ),
        ),
    ];
    for (what, identity) in &shown {
        let refused = put(&lone.client(None, identity.as_ref()), "a").await;
        assert!(
            matches!(refused, Err(CliError::Unreachable { .. })),
            "a certificate {what}: {refused:?}"
        );
        let refused = put(&lone.client(Some("root"), identity.as_ref()), "a").await;
        assert!(
            matches!(refused, Err(CliError::Unreachable { .. })),
            "a certificate {what}, with a password: {refused:?}"
        );
    }
    lone.life.stop().await;
}

#[tokio::test]
async fn a_user_is_no_peer() {
    let lone = Lone::start(&[]).await;
    let authority = lone.authority();
    let name = node_dns_name(lone.node().record.node);
    let links = |identity: Identity| {
        let config = tls::peer_client_config(&identity, &lone.trust()).unwrap();
        let (address, name) = (lone.node().peer_address.clone(), name.clone());
        async move {
            let mut stream = net::connect_tls(&address, &name, config, WAIT).await?;
            // TLS 1.3 tells a caller that it was refused with the first bytes of an answer.
            let mut byte = [0];
            stream
                .read_exact(&mut byte)
                .await
                .map_err(|source| net::NetError::Socket {
                    address: address.clone(),
                    source,
                })
        }
    };
    let user = authority.issue_client("root", HOUR).unwrap();
    let refused = links(user).await.unwrap_err().to_string();
    assert!(
        refused.contains("certificate") || refused.contains("alert"),
        "{refused}"
    );
    let old = long_ago(|| authority.issue_node(lone.node().record.node, &[], HOUR)).unwrap();
    let refused = links(old).await.unwrap_err().to_string();
    assert!(refused.contains("CertificateExpired"), "{refused}");
    lone.life.stop().await;
}

/// A connection to the Redis port.
async fn redis(lone: &Lone) -> net::Stream {
    let config = tls::client_config(&lone.trust().roots, None, &[]).unwrap();
    let address = lone.node().redis_address.to_string();
    let connect = || net::connect_tls(&address, "localhost", config.clone(), WAIT);
    until("the Redis port is open", async || connect().await.ok()).await
}

/// Sends a line to the Redis port, and reads one.
async fn line(stream: &mut net::Stream, request: &str) -> String {
    let request = format!("{request}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn the_redis_port_lets_in_whoever_may_do_everything() {
    let lone = Lone::start(&[]).await;
    add_user(&lone.root(), "ann").await;
    let mut stream = redis(&lone).await;
    for request in ["GET a", "SET a 1", "CONFIG GET *"] {
        let refused = line(&mut stream, request).await;
        assert_eq!(refused, "-NOAUTH Authentication required.", "{request}");
    }
    let password = &lone.password;
    for login in [
        "AUTH root nonsense".to_owned(),
        format!("AUTH {password}"),
        format!("AUTH nobody {password}"),
        // She logs in by certificate only, and may not do everything.
        "AUTH ann x".to_owned(),
    ] {
        let refused = line(&mut stream, &login).await;
        assert!(refused.starts_with("-WRONGPASS "), "{refused}");
        let refused = line(&mut stream, "GET a").await;
        assert!(refused.starts_with("-NOAUTH "), "{refused}");
    }
    assert_eq!(
        line(&mut stream, &format!("AUTH root {password}")).await,
        "+OK"
    );
    assert_eq!(line(&mut stream, "SET a 1").await, "+OK");
    assert_eq!(line(&mut stream, "STRLEN a").await, ":1");
    lone.life.stop().await;
}
