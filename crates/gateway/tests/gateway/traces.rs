//! W3C trace context on its way through.

use atoll_gateway::core::config::Protocol;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};

use crate::{
    clients::{Client1, body, whole},
    endpoints::http,
    rig::{Rig, cluster, web},
};

#[tokio::test]
async fn every_request_is_part_of_a_trace() {
    let endpoint = http(|request: Request<Incoming>| async move {
        let said = |name| {
            let mut values = request.headers().get_all(name).iter();
            let value = values.next().map_or("-", |it| it.to_str().unwrap());
            assert!(values.next().is_none());
            value.to_owned()
        };
        let text = format!("{} {}", said("traceparent"), said("tracestate"));
        Response::new(Full::new(Bytes::from(text)))
    })
    .await;
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for percent in [100, 0] {
        let mut config = web(cluster(&[endpoint.address]));
        config.listeners[0].protocol = Protocol::Http {
            trusts_forwarded: false,
            traces_percent: percent,
        };
        let rig = Rig::start(config);
        let mut client = Client1::connect(rig.address("web").await).await;
        let mut ask = async |parent: Option<&str>| {
            let mut request = Request::get("/")
                .header("host", "a")
                .header("tracestate", "x=1");
            if let Some(parent) = parent {
                request = request.header("traceparent", parent);
            }
            whole(client.send(request.body(body("")).unwrap()).await)
                .await
                .text
        };
        assert_eq!(ask(Some(good)).await, format!("{good} x=1"));
        let flags = if percent == 100 { "-01 -" } else { "-00 -" };
        let (first, second) = (ask(None).await, ask(Some("00-1-2-01")).await);
        for made in [&first, &second] {
            assert!(made.starts_with("00-") && made.ends_with(flags), "{made}");
            assert_eq!(made.len(), good.len() + 2);
        }
        assert_ne!(first, second);
    }
}
