//! Connections that stay open: for many requests one after the other, and for a watch.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::AbortHandle;

use super::{Answer, Api};

/// A connection for one request after the other.
pub struct Session {
    sender: http1::SendRequest<Full<Bytes>>,
    address: String,
    connection: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Api {
    /// Opens a connection with the same credential.
    pub async fn session(&self) -> Session {
        let stream = TokioIo::new(self.stream().await.unwrap());
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        Session {
            sender,
            address: self.address.clone(),
            connection: tokio::spawn(connection).abort_handle(),
        }
    }
}

impl Session {
    /// Reads.
    pub async fn get(&mut self, path: &str) -> Answer {
        whole(self.ask(Method::GET, path, "", Bytes::new()).await).await
    }

    /// Makes what is written as JSON.
    pub async fn post(&mut self, path: &str, object: String) -> Answer {
        whole(self.ask(Method::POST, path, "", object.into()).await).await
    }

    /// Watches, as rows of tables without the objects.
    pub async fn watch_rows(mut self, path: &str) -> Rows {
        let path = format!("{path}?watch=true&includeObject=None");
        let kind = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let answer = self.ask(Method::GET, &path, kind, Bytes::new()).await;
        assert_eq!(answer.status(), 200, "{path}");
        Rows {
            body: answer.into_body(),
            read: BytesMut::new(),
            columns: Vec::new(),
            _session: self,
        }
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        accept: &str,
        body: Bytes,
    ) -> Response<Incoming> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", "application/json");
        if !accept.is_empty() {
            request = request.header("accept", accept);
        }
        let request = request.body(Full::new(body)).unwrap();
        self.sender.ready().await.unwrap();
        self.sender.send_request(request).await.unwrap()
    }
}

async fn whole(answer: Response<Incoming>) -> Answer {
    let (head, body) = answer.into_parts();
    Answer::of(&head, &body.collect().await.unwrap().to_bytes())
}

/// Rows of a table, as they change.
pub struct Rows {
    body: Incoming,
    read: BytesMut,
    columns: Vec<String>,
    _session: Session,
}

impl Rows {
    /// What comes next: the event's type, and the row.
    pub async fn next(&mut self) -> (String, Row<'_>) {
        let mut event: Value = serde_json::from_slice(&self.line().await).unwrap();
        let object = &mut event["object"];
        assert_eq!(object["kind"], "Table", "{object}");
        if let Some(columns) = object["columnDefinitions"].as_array() {
            let name = |it: &Value| it["name"].as_str().unwrap_or_default().to_owned();
            self.columns = columns.iter().map(name).collect();
        }
        let cells = object["rows"][0]["cells"].take();
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        let columns = &self.columns;
        (kind, Row { columns, cells })
    }

    async fn line(&mut self) -> Bytes {
        let mut looked = 0;
        loop {
            if let Some(end) = self.read[looked..].iter().position(|byte| *byte == b'\n') {
                return self.read.split_to(looked + end + 1).freeze();
            }
            looked = self.read.len();
            let frame = self.body.frame().await.expect("the watch goes on").unwrap();
            if let Ok(data) = frame.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}

/// One row.
pub struct Row<'a> {
    columns: &'a [String],
    cells: Value,
}

impl Row<'_> {
    /// The text in a column.
    pub fn text(&self, column: &str) -> &str {
        let place = self.columns.iter().position(|it| it == column);
        let cell = place.map(|place| &self.cells[place]);
        cell.and_then(Value::as_str).unwrap_or_default()
    }
}
