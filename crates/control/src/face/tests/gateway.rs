use serde_json::{Value, json};

use super::Node;

/// Posts JSON on a connection of its own.
async fn post(node: &Node, path: &str, body: &str) -> (u16, Value) {
    let (status, text) = super::pages::request(node, "POST", path, &[], body).await;
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

#[tokio::test]
async fn keys_go_in_and_come_out_as_json() {
    let node = Node::new();
    let (status, answer) = post(&node, "/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#).await;
    assert_eq!(status, 200);
    assert_eq!(
        answer,
        json!({"header": {"cluster_id": "193", "member_id": "14", "revision": "2", "raft_term": "7"}})
    );
    let (status, answer) = post(
        &node,
        "/v3/kv/range",
        r#"{"key":"Zm9v","range_end":"AA=="}"#,
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(
        answer["kvs"],
        json!([{"key": "Zm9v", "create_revision": "2", "mod_revision": "2", "version": "1", "value": "YmFy"}])
    );
    assert_eq!(answer["count"], "1");
    assert_eq!(answer.get("more"), None);
    let txn = r#"{"compare":[{"target":"CREATE","key":"Zm9v","createRevision":"2"}],
        "success":[{"requestPut":{"key":"Zm9v","value":"YQ=="}}]}"#;
    let (status, answer) = post(&node, "/v3/kv/txn", txn).await;
    assert_eq!((status, &answer["succeeded"]), (200, &json!(true)));
    assert_eq!(
        answer["responses"][0]["response_put"]["header"]["revision"],
        "3"
    );
    let (status, answer) = post(&node, "/v3/lease/grant", r#"{"TTL":"9","ID":5}"#).await;
    assert_eq!(
        (status, &answer["ID"], &answer["TTL"]),
        (200, &json!("5"), &json!("9"))
    );
    // Nothing stands for an empty message.
    let (status, answer) = post(&node, "/v3/maintenance/status", "").await;
    assert_eq!((status, &answer["version"]), (200, &json!("3.7.0")));
    assert_eq!(answer["dbSize"], "4096");
}

#[tokio::test]
async fn errors_come_as_json_with_the_status_that_fits() {
    let node = Node::new();
    let (status, answer) = post(&node, "/v3/kv/put", "{}").await;
    assert_eq!(status, 400);
    let text = "etcdserver: key is not provided";
    assert_eq!(answer, json!({"error": text, "code": 3, "message": text}));
    let (status, answer) = post(&node, "/v3/lease/revoke", r#"{"ID":"8"}"#).await;
    assert_eq!((status, &answer["code"]), (404, &json!(5)));
    for bad in [
        r#"{"key":"a","nonsense":1}"#,
        r#"{"key":"not base64!"}"#,
        r#"{"key":"#,
        r#"{"key":"YQ=="}{"key":"YQ=="}"#,
        "[]",
    ] {
        let (status, answer) = post(&node, "/v3/kv/put", bad).await;
        assert_eq!((status, &answer["code"]), (400, &json!(3)), "{bad}");
    }
    let (status, answer) = post(&node, "/v3/kv/nothing", "{}").await;
    assert_eq!((status, &answer["code"]), (404, &json!(5)));
    let (status, _) = super::pages::request(&node, "GET", "/v3/kv/put", &[], "").await;
    assert_eq!(status, 405);
    let huge = format!(r#"{{"key":"YQ==","value":"{}"}}"#, "A".repeat(5 << 20));
    let (status, answer) = post(&node, "/v3/kv/put", &huge).await;
    assert_eq!(status, 400);
    assert_eq!(answer["message"], "etcdserver: request is too large");
}

#[tokio::test]
async fn a_token_goes_in_the_authorization_header() {
    let node = Node::new();
    node.fake.state.lock().auth = true;
    let body = r#"{"key":"YQ=="}"#;
    let (status, answer) = post(&node, "/v3/kv/put", body).await;
    assert_eq!(status, 400);
    assert_eq!(answer["message"], "etcdserver: user name is empty");
    let send = async |token| {
        let headers = [("authorization", token)];
        super::pages::request(&node, "POST", "/v3/kv/put", &headers, body)
            .await
            .0
    };
    assert_eq!(send("token-of-alice").await, 200);
    assert_eq!(send("nonsense").await, 401);
}

#[tokio::test]
async fn streams_are_lines_of_results() {
    let node = Node::new();
    let body = r#"{"ID":"7"}{"ID":"8"}"#;
    let (status, text) =
        super::pages::request(&node, "POST", "/v3/lease/keepalive", &[], body).await;
    assert_eq!(status, 200);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["result"]["ID"], "8");
    node.fake.state.lock().learner = true;
    let (status, answer) = post(&node, "/v3/lease/keepalive", body).await;
    assert_eq!((status, &answer["code"]), (400, &json!(9)));
}

#[tokio::test]
async fn locks_and_elections_are_served_too() {
    let node = Node::new();
    let (status, answer) = post(&node, "/v3/lock/lock", r#"{"name":"bA=="}"#).await;
    assert_eq!(status, 200);
    let key = answer["key"].as_str().unwrap().to_owned();
    let (status, _) = post(&node, "/v3/lock/unlock", &json!({"key": key}).to_string()).await;
    assert_eq!(status, 200);
    let (status, answer) = post(&node, "/v3/election/leader", r#"{"name":"bA=="}"#).await;
    assert_eq!(
        (status, &answer["message"]),
        (500, &json!("election: no leader"))
    );
}
