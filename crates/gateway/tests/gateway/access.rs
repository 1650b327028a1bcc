//! The access log.

use std::{io, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use parking_lot::Mutex;

use crate::{
    clients::Client1,
    endpoints::http,
    rig::{Rig, cluster, in_time, web},
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
    /// Those of the requests that count.
    fn text(&self) -> String {
        let all = String::from_utf8(self.0.lock().clone()).unwrap();
        let lines = all.lines().filter(|line| !line.contains("/after"));
        lines.map(|line| format!("{line}\n")).collect()
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
