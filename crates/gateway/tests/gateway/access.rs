//! The access log.

use std::{io, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use parking_lot::Mutex;

use atoll_gateway::core::sources::Sources;
use tracing::subscriber::DefaultGuard;

use crate::{
    clients::{Client1, ask_raw},
    endpoints::{Served, http},
    rig::{Rig, cluster, in_time, web},
};

/// Where lines go.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

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
    /// Those of the requests that count.
    pub(crate) fn text(&self) -> String {
        let all = String::from_utf8(self.0.lock().clone()).unwrap();
        let lines = all.lines().filter(|line| !line.contains("/after"));
        lines.map(|line| format!("{line}\n")).collect()
    }
}

/// Where lines go from now on, as long as the guard is there.
pub(crate) fn hear(filter: &str) -> (Lines, DefaultGuard) {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

async fn hello() -> Served {
    http(|_: Request<Incoming>| async { Response::new(Full::new(Bytes::from("hello"))) }).await
}

#[tokio::test]
async fn the_client_is_who_the_proxy_says() {
    let (lines, _here) = hear("off,atoll_gateway::access=info");
    let endpoint = hello().await;
    let mut config = web(cluster(&[endpoint.address]));
    config.listeners[0].proxies = Some(Sources::default());
    let rig = Rig::start(config);
    let address = rig.address("web").await;
    in_time("the line", async {
        while lines.text().is_empty() {
            tracing::callsite::rebuild_interest_cache();
            let head = "PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\nGET / HTTP/1.0\r\n\r\n";
            assert!(ask_raw(address, head).await.contains("hello"));
        }
    })
    .await;
    let text = lines.text();
    assert!(text.contains(" client=192.0.2.1:1111 "), "{text}");
}

#[tokio::test]
async fn every_request_has_its_line() {
    let (lines, _here) = hear("off,atoll_gateway::access=info");
    let endpoint = hello().await;
    let mut config = web(cluster(&[endpoint.address]));
    config.routes[0].path = atoll_gateway::core::config::PathMatch::Prefix("/a".to_owned());
    let rig = Rig::start(config);
    let mut client = Client1::connect(rig.address("web").await).await;
    in_time("the lines", async {
        while lines.text().lines().count() != 2 {
            // Other tests may come by the place where lines are written for the first time just
            // now, and find that nobody listens.
            tracing::callsite::rebuild_interest_cache();
            lines.0.lock().clear();
            // The last one is asked when the others have ended.
            for path in ["/a/b?secret=1", "/nowhere", "/after"] {
                client.get(path).await;
            }
        }
    })
    .await;
    let text = lines.text();
    let expected = [
        "method=GET path=\"/a/b\" version=HTTP/1.1 status=200",
        "method=GET path=\"/nowhere\" version=HTTP/1.1 status=404",
    ];
    for (line, expected) in text.lines().zip(expected) {
        assert!(
            line.contains(expected) && line.contains(" trace="),
            "{line}"
        );
        assert!(
            line.contains("client=127.0.0.1:") && !line.contains("secret"),
            "{line}"
        );
    }
    let endpoint = format!("endpoint={} attempts=1 answer_bytes=5", endpoint.address);
    assert!(text.contains(&endpoint), "{text}");
}
