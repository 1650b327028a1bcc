//! Clients of HTTP/2 that ask for more than they could take. What they cost is counted: requests
//! that reach the endpoint, and those that are open at one time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use atoll_gateway::core::config::ListenerLimits;
use atoll_world::net::Stream;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming};
use tokio::{io::AsyncWriteExt, sync::Semaphore};

use crate::{
    clients::{body, connect, connect_http2},
    endpoints::{Served, http},
    frames::{
        END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GET, GOAWAY, HEADERS, REFUSED_STREAM,
        RST_STREAM, begin, frame, get, next, reset,
    },
    rig::{Rig, cluster, in_time, until, web},
};

/// What an endpoint has to do.
#[derive(Debug, Default)]
struct Work {
    came: AtomicUsize,
    open: AtomicUsize,
}

impl Work {
    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// A request at the endpoint.
struct Open(Arc<Work>);

impl Open {
    fn count(work: &Arc<Work>) -> Self {
        work.came.fetch_add(1, Ordering::SeqCst);
        work.open.fetch_add(1, Ordering::SeqCst);
        Open(work.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One that answers as many requests as there are permits.
async fn patient(work: &Arc<Work>, permits: &Arc<Semaphore>) -> Served {
    let (work, permits) = (work.clone(), permits.clone());
    http(move |_: Request<Incoming>| {
        let (open, permits) = (Open::count(&work), permits.clone());
        async move {
            permits.acquire().await.unwrap().forget();
            drop(open);
            Response::new(Full::new(Bytes::from("ok")))
        }
    })
    .await
}

fn rig(endpoint: &Served, limits: ListenerLimits) -> Rig {
    let mut config = web(cluster(&[endpoint.address]));
    config.listeners[0].limits = limits;
    Rig::start(config)
}

/// Frames until there is one that counts, or the connection's end.
async fn until_frame(stream: &mut Stream, mut counts: impl FnMut(&Frame) -> bool) -> Option<Frame> {
    loop {
        let frame = next(stream).await?;
        if counts(&frame) {
            return Some(frame);
        }
    }
}

async fn others_are_served(rig: &Rig) {
    let mut client = connect_http2(rig.address("web").await).await;
    let request = Request::get("http://a/").body(body("")).unwrap();
    let answer = in_time("an answer", client.send_request(request)).await;
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
}

const STREAMS_MAX: u32 = 8;

fn few_streams() -> ListenerLimits {
    ListenerLimits {
        streams_max: STREAMS_MAX,
        resets_max: 10,
        ..ListenerLimits::default()
    }
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_one_by_one() {
    const ASKED: u32 = 60;
    let (work, permits) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let endpoint = patient(&work, &permits).await;
    let rig = rig(&endpoint, few_streams());
    let mut stream = connect(rig.address("web").await).await;
    let asked = (0..ASKED).map(get).collect::<Vec<_>>().concat();
    stream.write_all(&[begin(), asked].concat()).await.unwrap();
    for _ in STREAMS_MAX..ASKED {
        let refused = until_frame(&mut stream, |it| it.kind == RST_STREAM).await;
        assert_eq!(refused.unwrap().payload, REFUSED_STREAM);
    }
    until("the others", || work.open() == STREAMS_MAX as usize).await;
    permits.add_permits(STREAMS_MAX as usize);
    for _ in 0..STREAMS_MAX {
        let answer = until_frame(&mut stream, |it| it.kind == HEADERS).await;
        // `:status: 200` is field 8 of HPACK's table.
        assert_eq!(answer.unwrap().payload[0], 0x88);
    }
    assert_eq!(work.came(), STREAMS_MAX as usize);
}

#[tokio::test]
async fn who_asks_for_too_many_streams_again_and_again_is_cut_off() {
    let (work, permits) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let endpoint = patient(&work, &permits).await;
    let rig = rig(&endpoint, few_streams());
    let mut stream = connect(rig.address("web").await).await;
    let asked = (0..2_000).map(get).collect::<Vec<_>>().concat();
    let _ = stream.write_all(&[begin(), asked].concat()).await;
    if let Some(end) = until_frame(&mut stream, |it| it.kind == GOAWAY).await {
        assert_eq!(end.payload[4..8], ENHANCE_YOUR_CALM);
    }
    until("the end", || rig.stats().connections_open.open() == 0).await;
    until("no work", || work.open() == 0).await;
    assert!(work.came() <= STREAMS_MAX as usize, "{}", work.came());
}

/// CVE-2023-44487, one by one: each request is at the endpoint before it is reset. It costs one
/// request there, as any other, and there are never more than one connection may have open.
/// (All at once they end the connection: `limits::rapid_resets_end_the_connection`.)
#[tokio::test]
async fn slower_resets_cost_a_request_each_and_no_more() {
    const ASKED: u32 = 300;
    let (work, permits) = (Arc::default(), Arc::new(Semaphore::new(0)));
    let endpoint = patient(&work, &permits).await;
    let rig = rig(&endpoint, few_streams());
    let mut stream = connect(rig.address("web").await).await;
    stream.write_all(&begin()).await.unwrap();
    for number in 0..ASKED {
        stream.write_all(&get(number)).await.unwrap();
        until("the request", || work.came() > number as usize).await;
        let open = rig.stats().requests_open.open();
        assert!(open <= STREAMS_MAX, "{open} open at {number}");
        stream.write_all(&reset(number)).await.unwrap();
    }
    until("no work", || {
        work.open() == 0 && rig.stats().requests_open.open() == 0
    })
    .await;
    // No request was tried again.
    assert_eq!(work.came(), ASKED as usize);
    permits.add_permits(1);
    others_are_served(&rig).await;
}

/// A field that is kept once and then named by one byte, ten thousand times: 40 MB of fields
/// in a frame of 14 kB.
#[tokio::test]
async fn small_heads_of_large_fields_are_refused() {
    const NAMED: usize = 10_000;
    let (work, permits) = (Arc::default(), Arc::new(Semaphore::new(1)));
    let endpoint = patient(&work, &permits).await;
    let limits = ListenerLimits {
        head_bytes_max: 8_192,
        ..few_streams()
    };
    let rig = rig(&endpoint, limits);
    // RFC 7541 section 6.2.1: the name `x`, and a value of 4,000 letters (127 and 3,873 more).
    let kept = [b"\x40\x01x\x7f\xa1\x1e".to_vec(), vec![b'y'; 4_000]].concat();
    let fields = [GET.to_vec(), kept, vec![0xbe; NAMED]].concat();
    for _ in 0..20 {
        let mut stream = connect(rig.address("web").await).await;
        let bomb = frame(HEADERS, END_STREAM | END_HEADERS, 1, &fields);
        stream.write_all(&[begin(), bomb].concat()).await.unwrap();
        let is_end = |it: &Frame| [HEADERS, RST_STREAM, GOAWAY].contains(&it.kind);
        let Some(answer) = until_frame(&mut stream, is_end).await else {
            continue;
        };
        // A status that is not in HPACK's table: 08, its length, its letters.
        let status = (answer.kind == HEADERS).then(|| answer.payload[..5].to_vec());
        assert!(
            status.as_ref().is_none_or(|it| it == b"\x48\x03431"),
            "{answer:?}"
        );
    }
    assert_eq!(work.came(), 0);
    others_are_served(&rig).await;
}
