//! How long nobody is waited for, in virtual time.

use atoll_world::task;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// More than ten heads, and more than bodies of a test have.
const MANY: usize = 1_000;

fn guarded() -> (DuplexStream, Guarded<DuplexStream>, Arc<Gate>) {
    let (ours, theirs) = duplex(65_536);
    let gate = Arc::new(Gate::default());
    let limits = ListenerLimits::default();
    let guarded = Guarded::new(theirs, gate.clone(), &limits, Arc::default(), false);
    (ours, guarded, gate)
}

/// Sends this part every so many seconds for as long as it is taken.
fn trickle(mut client: DuplexStream, begin: &'static [u8], part: &'static [u8], every_s: u64) {
    drop(task::spawn(async move {
        client.write_all(begin).await.unwrap();
        for _ in 0..MANY {
            clock::sleep(Duration::from_secs(every_s)).await;
            if client.write_all(part).await.is_err() {
                return;
            }
        }
        // It stays connected, and says nothing more.
        std::future::pending::<()>().await;
    }));
}

/// How it ends, and after how many seconds.
async fn end(mut guarded: Guarded<DuplexStream>) -> (io::Result<usize>, u64) {
    let began = clock::now();
    let mut rest = Vec::new();
    let ended = guarded.read_to_end(&mut rest).await;
    (ended, began.elapsed().as_secs())
}

fn is_late(ended: &io::Result<usize>) -> bool {
    ended
        .as_ref()
        .is_err_and(|it| it.kind() == io::ErrorKind::TimedOut)
}

#[tokio::test(start_paused = true)]
async fn a_head_has_to_be_whole_in_time_however_it_trickles() {
    for (begin, part) in [
        (&b""[..], &b""[..]),
        (b"GET / HTTP/1.1\r\n", b""),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n"),
        (b"", b"\r\n"),
        (b"PRI * HTTP/2.0\r\n", b""),
        // The second one of a connection.
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nG", b"E"),
    ] {
        let (client, guarded, _gate) = guarded();
        trickle(client, begin, part, 1);
        let (ended, after_s) = end(guarded).await;
        assert!(is_late(&ended), "{begin:?} {part:?}: {ended:?}");
        assert_eq!(after_s, 10, "{begin:?} {part:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_slow_and_not_silent() {
    let (client, guarded, _gate) = guarded();
    trickle(client, HEAD, b"x", 59);
    let (ended, after_s) = end(guarded).await;
    assert!(is_late(&ended), "{ended:?}");
    let last_s = 59 * MANY as u64;
    // Whoever has moved in one minute has the next one.
    assert!((last_s + 60..=last_s + 120).contains(&after_s), "{after_s}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_ends_unless_one_is_being_answered() {
    let (client, idle, _gate) = guarded();
    trickle(client, GET, b"", 1);
    let (ended, after_s) = end(idle).await;
    assert_eq!((ended.unwrap(), after_s), (GET.len(), 75));

    let (client, busy, gate) = guarded();
    trickle(client, GET, b"", 1);
    let answering = gate.enter();
    drop(task::spawn(async move {
        clock::sleep(Duration::from_secs(1_000)).await;
        drop(answering);
    }));
    let (ended, after_s) = end(busy).await;
    assert_eq!(ended.unwrap(), GET.len());
    assert!((1_000..=1_075).contains(&after_s), "{after_s}");
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_not_sent_to_for_long() {
    let (_client, mut guarded, _gate) = guarded();
    let began = clock::now();
    let error = guarded.write_all(&[b'x'; 100_000]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed().as_secs(), 60);
}
