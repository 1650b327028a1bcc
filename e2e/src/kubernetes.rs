//! A client of the Kubernetes API, as `atoll kubeconfig` lets one in. It is for tests and
//! measurements, and panics at the first thing that is not as it should be.
#![allow(clippy::unwrap_used, reason = "who measures or tests stops there")]

mod grpc;
mod session;

use std::{collections::BTreeMap, time::Duration};

use atoll_world::{
    net,
    pki::{Identity, certificates_from_pem, tls},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
pub use hyper::Method;
use hyper::{Request, client::conn::http1, http::response::Parts};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, sleep},
};

use crate::{
    command::data_dir,
    node::{Node, run},
};

pub use self::session::{Row, Rows, Session};

/// How often something that is waited for is looked at again.
const POLL: Duration = Duration::from_millis(20);
/// How long a connection may take to come about.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// What an answer says.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// What its headers warn of.
    pub warnings: Vec<String>,
}

impl Answer {
    fn of(head: &Parts, body: &[u8]) -> Answer {
        let warnings = head.headers.get_all("warning").iter();
        Answer {
            status: head.status.as_u16(),
            body: String::from_utf8_lossy(body).into_owned(),
            warnings: warnings
                .map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned())
                .collect(),
        }
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// What counts of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its uid.
    pub uid: String,
    /// The node it is on.
    pub node: String,
    /// How often its first container was started again.
    pub restarts: u64,
    /// It says that it is ready.
    pub is_ready: bool,
    /// It is being deleted.
    pub is_going: bool,
}

/// A client of one node.
#[derive(Clone)]
pub struct Api {
    address: String,
    roots: String,
    identity: Option<Identity>,
}

impl Api {
    /// As root, by the certificate that the node's folder gives.
    pub fn of(node: &Node) -> Api {
        let mut command = node.server().command();
        command
            .arg("kubeconfig")
            .arg("--dir")
            .arg(data_dir(node.layout()));
        let config: Value = serde_json::from_str(&run(&mut command).unwrap()).unwrap();
        let data = |of: &Value, field: &str| {
            let bytes = STANDARD.decode(of[field].as_str().unwrap()).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let (cluster, user) = (
            &config["clusters"][0]["cluster"],
            &config["users"][0]["user"],
        );
        let server = cluster["server"].as_str().unwrap();
        let chain = data(user, "client-certificate-data");
        let key = data(user, "client-key-data");
        Api {
            address: server.strip_prefix("https://").unwrap().to_owned(),
            roots: data(cluster, "certificate-authority-data"),
            identity: Some(Identity::from_pem(&chain, &key).unwrap()),
        }
    }

    /// The same, but nobody.
    pub fn without_credential(self) -> Api {
        Api {
            identity: None,
            ..self
        }
    }

    /// Reads.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask(Method::GET, path, "", None).await.unwrap()
    }

    /// Makes.
    pub async fn post(&mut self, path: &str, object: &Value) -> Answer {
        let asked = self.ask(Method::POST, path, "application/json", Some(object));
        asked.await.unwrap()
    }

    /// Patches, as RFC 7396 has it.
    pub async fn merge(&mut self, path: &str, patch: &Value) -> Answer {
        let kind = "application/merge-patch+json";
        self.ask(Method::PATCH, path, kind, Some(patch))
            .await
            .unwrap()
    }

    /// Applies on the server's side.
    pub async fn apply(&mut self, path: &str, object: &Value) -> Answer {
        let kind = "application/apply-patch+yaml";
        let path = format!("{path}?fieldManager=tests");
        let asked = self.ask(Method::PATCH, &path, kind, Some(object));
        asked.await.unwrap()
    }

    /// Deletes as the options say.
    pub async fn delete_as(&mut self, path: &str, options: &Value) -> Answer {
        let asked = self.ask(Method::DELETE, path, "application/json", Some(options));
        asked.await.unwrap()
    }

    /// Deletes; dependents go after it.
    pub async fn delete(&mut self, path: &str) -> Answer {
        let wanted = json!({"propagationPolicy": "Background"});
        let asked = self.ask(Method::DELETE, path, "application/json", Some(&wanted));
        asked.await.unwrap()
    }

    /// Runs a program in a pod, by a WebSocket (RFC 6455) as kubectl does; what it prints, and how
    /// it ended.
    pub async fn exec(&self, pod: &str, argv: &[&str]) -> (String, Value) {
        let mut query = form_urlencoded::Serializer::new("stdout=true".to_owned());
        argv.iter().for_each(|word| {
            query.append_pair("command", word);
        });
        let path = format!(
            "/api/v1/namespaces/default/pods/{pod}/exec?{}",
            query.finish()
        );
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.stream().await.unwrap()))
            .await
            .unwrap();
        tokio::spawn(connection.with_upgrades());
        let request = Request::get(path)
            .header("host", &self.address)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "v5.channel.k8s.io")
            .body(Full::new(Bytes::new()))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 101);
        let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        let mut printed = Vec::new();
        loop {
            let head = stream.read_u16().await.unwrap();
            let length = match head & 0x7f {
                126 => u64::from(stream.read_u16().await.unwrap()),
                127 => stream.read_u64().await.unwrap(),
                length => u64::from(length),
            };
            let mut message = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut message).await.unwrap();
            match (head >> 8 & 0xf, message.split_first()) {
                (2, Some((1, text))) => printed.extend_from_slice(text),
                (2, Some((3, status))) => {
                    let status = serde_json::from_slice(status).unwrap();
                    return (String::from_utf8(printed).unwrap(), status);
                }
                (8, _) => panic!("it ended before the program was told to have ended"),
                _ => {}
            }
        }
    }

    async fn stream(&self) -> Result<net::Stream, String> {
        let roots = certificates_from_pem("the roots", &self.roots).unwrap();
        let config = tls::client_config(&roots, self.identity.as_ref(), &[b"http/1.1"]).unwrap();
        let connected = net::connect_tls(&self.address, "127.0.0.1", config, CONNECT_WAIT).await;
        connected.map_err(|error| error.to_string())
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(method, path, content_type, body.into()).await
    }

    /// Sends any bytes as the body of a request.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Answer, String> {
        let (stream, address) = (self.stream().await?, &self.address);
        let told = |error: hyper::Error| error.to_string();
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(told)?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", address)
            .header("content-type", content_type)
            .body(Full::new(body))
            .unwrap();
        let answer = sender.send_request(request).await.map_err(told)?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(told)?.to_bytes();
        connection.abort();
        Ok(Answer::of(&head, &body))
    }

    /// Waits until an object is as wanted.
    pub async fn until(
        &mut self,
        path: &str,
        wait: Duration,
        is_so: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + wait;
        loop {
            // A node may be on its way back.
            let answer = self.ask(Method::GET, path, "", None).await;
            if let Ok(answer) = &answer
                && is_so(&answer.json())
            {
                return answer.json();
            }
            assert!(Instant::now() < deadline, "{path}: {answer:?}");
            sleep(POLL).await;
        }
    }

    /// Waits until the pods of an app are as wanted; them, by name.
    pub async fn pods_until(
        &mut self,
        app: &str,
        wait: Duration,
        is_so: impl Fn(&BTreeMap<String, Pod>) -> bool,
    ) -> BTreeMap<String, Pod> {
        let path = format!("/api/v1/namespaces/default/pods?labelSelector=app%3D{app}");
        let list = self
            .until(&path, wait, |list| {
                list["items"].is_array() && is_so(&pods(list))
            })
            .await;
        pods(&list)
    }

    /// Waits until a pod has written what is wanted; what it has written.
    pub async fn log_until(
        &mut self,
        pod: &str,
        wait: Duration,
        is_so: impl Fn(&str) -> bool,
    ) -> String {
        let path = format!("/api/v1/namespaces/default/pods/{pod}/log");
        let deadline = Instant::now() + wait;
        loop {
            let answer = self.get(&path).await;
            if answer.status == 200 && is_so(&answer.body) {
                return answer.body;
            }
            assert!(Instant::now() < deadline, "{pod}: {answer:?}");
            sleep(POLL).await;
        }
    }

    /// Waits until the Node of a node of the cluster is there; its name.
    pub async fn node_of(&mut self, id: &str, wait: Duration) -> String {
        let path = format!("/api/v1/nodes?labelSelector=atoll.dev%2Fnode-id%3D{id}");
        let name = |list: &Value| {
            list["items"][0]["metadata"]["name"]
                .as_str()
                .map(str::to_owned)
        };
        let list = self.until(&path, wait, |list| name(list).is_some()).await;
        name(&list).unwrap()
    }
}

fn pods(list: &Value) -> BTreeMap<String, Pod> {
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let pod = |item: &Value| {
        let (meta, status) = (&item["metadata"], &item["status"]);
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let is_ready = |it: &Value| it["type"] == "Ready" && it["status"] == "True";
        let restarts = status["containerStatuses"][0]["restartCount"].as_u64();
        let pod = Pod {
            uid: meta["uid"].as_str().unwrap_or_default().to_owned(),
            node: item["spec"]["nodeName"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            restarts: restarts.unwrap_or(0),
            is_ready: conditions.iter().any(is_ready),
            is_going: !meta["deletionTimestamp"].is_null(),
        };
        (meta["name"].as_str().unwrap_or_default().to_owned(), pod)
    };
    items.iter().map(pod).collect()
}
