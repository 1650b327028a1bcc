//! The access log.

use std::{io, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use parking_lot::Mutex;

use crate::{
    clients::Client1,
    endpoints::http,
    rig::{Rig, cluster, until, web},
};

/// Where lines go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

#[tokio::test]
async fn every_request_has_its_line() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("off,atoll_gateway::access=info")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let endpoint =
        http(|_: Request<Incoming>| async { Response::new(Full::new(Bytes::from("hello"))) }).await;
    let mut config = web(cluster(&[endpoint.address]));
    config.routes[0].path = atoll_gateway::core::config::PathMatch::Prefix("/a".to_owned());
    let rig = Rig::start(config);
    let mut client = Client1::connect(rig.address("web").await).await;
    client.get("/a/b?secret=1").await;
    client.get("/nowhere").await;
    until("the lines", || lines.text().lines().count() == 2).await;
    let text = lines.text();
    let expected = [
        "method=GET path=\"/a/b\" version=HTTP/1.1 status=200",
        "method=GET path=\"/nowhere\" version=HTTP/1.1 status=404",
    ];
    for (line, expected) in text.lines().zip(expected) {
        assert!(line.contains(expected), "{line}");
        assert!(
            line.contains("client=127.0.0.1:") && !line.contains("secret"),
            "{line}"
        );
    }
    let endpoint = format!("endpoint={} attempts=1 answer_bytes=5", endpoint.address);
    assert!(text.contains(&endpoint), "{text}");
}
