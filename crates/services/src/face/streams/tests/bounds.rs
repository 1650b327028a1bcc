use tokio_tungstenite::tungstenite::Message;

use super::*;

/// Neither direction waits for the other, and neither keeps more than it should.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_not_read_from() {
    const MANY_BYTES: usize = 8 * 1024 * 1024;
    let second = Duration::from_secs(1);
    let (here, there) = duplex(BETWEEN_BYTES);
    let (ends, mut other) = ends();
    let (protocol, patience) = (spdy(), Patience::default());
    let serving = exec(there, &protocol, ALL, ends, &patience);
    let (mut reading, mut writing) = tokio::io::split(here);
    let talking = async {
        let mut client = Client::default();
        writing.write_all(&opened(&mut client)).await.unwrap();
        // Nobody takes the input.
        let mut written_bytes = 0;
        let piece = data(3, &[b'i'; 8184], false);
        while let Ok(written) = clock::timeout(second, writing.write(&piece)).await {
            // A piece that was cut is finished, so that frames stay whole.
            let rest = &piece[written.unwrap()..];
            if clock::timeout(second, writing.write_all(rest))
                .await
                .is_err()
            {
                break;
            }
            written_bytes += piece.len();
        }
        assert!(written_bytes < 128 * 1024, "{written_bytes}");
        // Nobody reads the output.
        let mut said_bytes = 0;
        while let Ok(sent) = clock::timeout(second, other.said.send(stdout(8192))).await {
            sent.unwrap();
            said_bytes += 8192;
        }
        assert!(said_bytes < 256 * 1024, "{said_bytes}");
        // The client reads, while still nobody takes its input.
        let mut left = vec![0; 8192];
        let saying = async {
            while said_bytes < MANY_BYTES {
                other.said.send(stdout(8192)).await.unwrap();
                said_bytes += 8192;
            }
        };
        let mut read_bytes = 0;
        let hearing = async {
            while read_bytes < MANY_BYTES {
                read_bytes += reading.read(&mut left).await.unwrap();
            }
        };
        tokio::join!(saying, hearing);
        // Now somebody takes it.
        let mut heard_bytes = 0;
        while heard_bytes < written_bytes / piece.len() * 8184 {
            match other.heard.recv().await {
                Some(ToContainer::Stdin(bytes)) => heard_bytes += bytes.len(),
                other => panic!("{other:?}"),
            }
        }
        drop((reading, writing));
    };
    let (served, ()) = tokio::join!(serving, talking);
    served.unwrap();
}

/// A client that makes us answer and does not read the answers is not read, either.
#[tokio::test(start_paused = true)]
async fn answers_are_not_heaped_up() {
    let (mut here, there) = duplex(BETWEEN_BYTES);
    let (ends, _other) = ends();
    let (protocol, patience) = (spdy(), Patience::default());
    let serving = exec(there, &protocol, ALL, ends, &patience);
    let client = async {
        let ping = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1].repeat(1024);
        let mut written_bytes = 0;
        let second = Duration::from_secs(1);
        while clock::timeout(second, here.write_all(&ping)).await.is_ok() {
            written_bytes += ping.len();
        }
        assert!(written_bytes < 256 * 1024, "{written_bytes}");
        drop(here);
    };
    tokio::join!(serving, client).0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn signs_of_life_are_given() {
    let (ends, _other) = ends();
    let (here, there) = duplex(BETWEEN_BYTES);
    let (protocol, patience) = (channels(), Patience::default());
    let serving = exec(there, &protocol, ALL, ends, &patience);
    let client = async {
        let mut socket = socket(here).await;
        let connected = socket.next().await.unwrap().unwrap();
        assert_eq!(connected, message(b"\x01"));
        let life = socket.next().await.unwrap().unwrap();
        assert_eq!(life, Message::Pong(Bytes::new()));
        // And wanted ones are answered.
        let ping = Message::Ping(Bytes::from_static(b"?"));
        socket.send(ping).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::Pong(Bytes::from_static(b"?")));
    };
    let (served, ()) = tokio::join!(serving, client);
    served.unwrap();

    let (ends, _other) = super::ends();
    let (mut here, there) = duplex(BETWEEN_BYTES);
    let protocol = spdy();
    let serving = exec(there, &protocol, ALL, ends, &patience);
    let client = async {
        let mut client = Client::default();
        here.write_all(&opened(&mut client)).await.unwrap();
        assert_eq!(read(&mut client, &mut here).await.len(), 4);
        clock::sleep(patience.ping).await;
        assert_eq!(read(&mut client, &mut here).await, [Sent::Ping(2)]);
        drop(here);
    };
    let (served, ()) = tokio::join!(serving, client);
    served.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_without_end() {
    // Nobody says anything.
    let (ends, _other) = ends();
    let (here, there) = duplex(BETWEEN_BYTES);
    let (protocol, patience) = (channels(), Patience::default());
    let serving = exec(there, &protocol, ALL, ends, &patience);
    let client = async {
        let mut socket = socket(here).await;
        let mut last = None;
        while let Some(Ok(next)) = socket.next().await {
            if !matches!(next, Message::Pong(_)) {
                last = Some(next);
            }
        }
        last
    };
    let (served, last) = tokio::join!(serving, client);
    assert!(matches!(served, Err(StreamError::Idle(_))), "{served:?}");
    assert!(matches!(last, Some(Message::Close(_))), "{last:?}");

    // The client does not open its streams.
    let (ends, _other) = super::ends();
    let (here, there) = duplex(BETWEEN_BYTES);
    let protocol = spdy();
    let served = exec(there, &protocol, ALL, ends, &patience).await;
    assert!(matches!(served, Err(StreamError::NotOpened)), "{served:?}");
    drop(here);

    // The client does not read the end.
    let (ends, other) = super::ends();
    let (here, there) = duplex(64);
    let protocol = channels();
    let serving = exec(there, &protocol, ALL, ends, &patience);
    let process = async {
        other.said.send(stdout(1024)).await.unwrap();
        other
            .said
            .send(FromContainer::Ended(exited(0)))
            .await
            .unwrap();
    };
    let began = clock::now();
    let (served, ()) = tokio::join!(serving, process);
    served.unwrap();
    assert!(clock::now() - began >= patience.finish);
    drop(here);
}
