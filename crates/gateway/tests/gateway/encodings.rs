//! Bodies that are compressed are nobody's business but the client's and the endpoint's.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HOST, VARY},
};

use crate::{
    clients::{Client1, body},
    endpoints::http,
    rig::{Rig, cluster, in_time, web},
};

/// "hello" as gzip has it, and something that only says that it is gzip.
const GOOD: &[u8] =
    b"\x1f\x8b\x08\0\0\0\0\0\x02\xff\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0";
const WRONG: &[u8] = b"\x1f\x8b\xff\0\xfe not gzip at all";

#[tokio::test]
async fn compressed_bodies_pass_as_they_are() {
    // Sends back what came, and what it was asked to send.
    let endpoint = http(|request: Request<Incoming>| async move {
        let accepted = request.headers()[ACCEPT_ENCODING].clone();
        let encoding = request.headers()[CONTENT_ENCODING].clone();
        let came = request.into_body().collect().await.unwrap().to_bytes();
        let mut response = Response::new(Full::new(came));
        let headers = response.headers_mut();
        headers.insert(CONTENT_ENCODING, encoding);
        headers.insert(VARY, "accept-encoding".parse().unwrap());
        headers.insert(ETAG, accepted);
        response
    })
    .await;
    let rig = Rig::start(web(cluster(&[endpoint.address])));
    let mut client = Client1::connect(rig.address("web").await).await;
    for bytes in [GOOD, WRONG] {
        let request = Request::post("/")
            .header(HOST, "a")
            .header(ACCEPT_ENCODING, "zstd, gzip;q=0.5")
            .header(CONTENT_ENCODING, "gzip");
        let request = request.body(body(Bytes::from_static(bytes))).unwrap();
        let (head, body) = client.send(request).await.into_parts();
        let told = |name| head.headers[name].to_str().unwrap().to_owned();
        assert_eq!(told(CONTENT_ENCODING), "gzip");
        assert_eq!(told(ETAG), "zstd, gzip;q=0.5");
        assert_eq!(told(VARY), "accept-encoding");
        assert_eq!(told(CONTENT_LENGTH), bytes.len().to_string());
        let body = in_time("a body", body.collect()).await.unwrap();
        assert_eq!(body.to_bytes(), bytes);
    }
}
