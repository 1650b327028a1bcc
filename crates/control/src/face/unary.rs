//! One gRPC message in, one out, with as little in between as possible.
//!
//! The general path boxes the body, the decoder and the answer, and takes 8 KiB twice for a
//! request of a few hundred bytes. The handful of calls that make up nearly all traffic go
//! through here instead: the message is decoded where the connection left it, and the answer
//! is written once, into a buffer of its exact size.

use std::pin::{Pin, pin};

use axum::http::{HeaderValue, Response, header::CONTENT_TYPE};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use prost::Message;
use tonic::Status;

use super::body::FaceBody;

/// Before each message: one byte says whether it is compressed, four how long it is.
pub(crate) const PREFIX_BYTES: usize = 5;

/// Longest answer, in bytes: what Go's gRPC sends and takes at most.
const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

/// Room for a request before more of it has come, in bytes. What a client merely announces
/// takes no memory.
const ANNOUNCED_BYTES_MAX: usize = 64 << 10;

/// A message with its prefix.
///
/// # Errors
/// If it is longer than any client would take.
pub(crate) fn frame(message: &impl Message) -> Result<Bytes, Status> {
    let bytes = message.encoded_len();
    let prefix = u32::try_from(bytes)
        .ok()
        .filter(|_| bytes <= ANSWER_BYTES_MAX);
    let Some(prefix) = prefix else {
        return Err(Status::resource_exhausted(format!(
            "grpc: trying to send message larger than max ({bytes} vs. {ANSWER_BYTES_MAX})"
        )));
    };
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + bytes);
    framed.put_u8(0);
    framed.put_u32(prefix);
    message
        .encode(&mut framed)
        .expect("the buffer has room for the length that the message told");
    Ok(framed.freeze())
}

/// The refusal of a message that is too long, as Go's gRPC words it.
pub(crate) fn too_large(bytes: usize, bytes_max: usize) -> Status {
    Status::resource_exhausted(format!(
        "grpc: received message larger than max ({bytes} vs. {bytes_max})"
    ))
}

/// The length that a prefix tells, if it may be read.
pub(crate) fn message_bytes(prefix: &[u8], bytes_max: usize) -> Result<usize, Status> {
    let [compressed, a, b, c, d, ..] = *prefix else {
        unreachable!("a prefix has five bytes");
    };
    match compressed {
        0 => {}
        1 => {
            return Err(Status::unimplemented(
                "grpc: compressed messages are not accepted here",
            ));
        }
        other => {
            return Err(Status::internal(format!(
                "grpc: a message begins with {other}, neither 0 (plain) nor 1 (compressed)"
            )));
        }
    }
    let bytes = u32::from_be_bytes([a, b, c, d]) as usize;
    if bytes > bytes_max {
        return Err(too_large(bytes, bytes_max));
    }
    Ok(bytes)
}

/// The next piece of a body. `None` at its end.
async fn next_data<B>(body: &mut Pin<&mut B>) -> Result<Option<Bytes>, Status>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => {
                return Err(Status::cancelled(format!("the request broke off: {error}")));
            }
        }
    }
}

/// Reads a body that holds exactly one message.
async fn read_message<B>(body: B, bytes_max: usize) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let mut body = pin!(body);
    let broken_off = || Status::internal("grpc: the request ended within its message");
    let mut data = next_data(&mut body).await?.ok_or_else(broken_off)?;
    while data.len() < PREFIX_BYTES {
        let more = next_data(&mut body).await?.ok_or_else(broken_off)?;
        data = Bytes::from([&data[..], &more[..]].concat());
    }
    let bytes = message_bytes(&data, bytes_max)?;
    data.advance(PREFIX_BYTES);
    if data.len() < bytes {
        let mut gathered = BytesMut::with_capacity(bytes.min(ANNOUNCED_BYTES_MAX));
        gathered.put(data);
        while gathered.len() < bytes {
            let more = next_data(&mut body).await?.ok_or_else(broken_off)?;
            gathered.put(more);
        }
        data = gathered.freeze();
    }
    // To its end, or the connection would have to tell the client that nobody listens.
    let mut left_over = data.len() - bytes;
    while left_over == 0 && !body.is_end_stream() {
        match next_data(&mut body).await? {
            Some(more) => left_over += more.len(),
            None => break,
        }
    }
    if left_over > 0 {
        return Err(Status::internal(
            "grpc: more than one message in a unary request",
        ));
    }
    Ok(data)
}

/// Reads one message, has it answered, and writes the answer.
pub(crate) async fn unary<B, Q, A, F>(
    body: B,
    bytes_max: usize,
    answer: impl FnOnce(Q) -> F,
) -> Response<FaceBody>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
    Q: Message + Default,
    A: Message,
    F: Future<Output = Result<A, Status>>,
{
    let answered = async {
        let message = read_message(body, bytes_max).await?;
        let request = Q::decode(message).map_err(|error| {
            Status::internal(format!("grpc: error unmarshalling request: {error}"))
        })?;
        frame(&answer(request).await?)
    };
    match answered.await {
        Ok(framed) => {
            let mut response = Response::new(FaceBody::message(framed));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response
        }
        Err(status) => status.into_http(),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use proptest::prelude::*;

    use super::*;

    /// Reads a body that comes in pieces of these sizes, then in one.
    fn read(bytes: &[u8], pieces: &[usize], bytes_max: usize) -> Result<Bytes, Status> {
        let mut rest = Bytes::copy_from_slice(bytes);
        let mut frames = Vec::new();
        for &piece in pieces {
            frames.push(rest.split_to(piece.min(rest.len())));
        }
        frames.push(rest);
        let frames = frames
            .into_iter()
            .map(|data| Ok::<_, Status>(Frame::data(data)));
        let body = StreamBody::new(stream::iter(frames));
        let read = read_message(body, bytes_max).now_or_never();
        read.expect("everything is there")
    }

    fn framed(bytes: usize) -> Vec<u8> {
        let mut framed = vec![0];
        framed.extend((bytes as u32).to_be_bytes());
        framed.extend((0..bytes).map(|i| i as u8));
        framed
    }

    proptest! {
        #[test]
        fn a_message_is_the_same_however_it_is_cut(
            bytes in 0usize..300,
            pieces in prop::collection::vec(0usize..40, 0..20),
        ) {
            let framed = framed(bytes);
            prop_assert_eq!(&read(&framed, &pieces, 300).unwrap()[..], &framed[PREFIX_BYTES..]);
        }

        #[test]
        fn anything_else_is_an_error_and_no_more(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            pieces in prop::collection::vec(0usize..10, 0..5),
        ) {
            let whole = bytes.len() >= PREFIX_BYTES
                && bytes[0] == 0
                && bytes[1..PREFIX_BYTES] == ((bytes.len() - PREFIX_BYTES) as u32).to_be_bytes();
            prop_assert_eq!(read(&bytes, &pieces, 100).is_ok(), whole);
        }
    }

    #[test]
    fn every_way_to_be_wrong_has_its_code() {
        let code = |bytes: &[u8]| read(bytes, &[], 10).unwrap_err().code();
        assert_eq!(code(&framed(11)), tonic::Code::ResourceExhausted);
        assert_eq!(code(&[1, 0, 0, 0, 0]), tonic::Code::Unimplemented);
        assert_eq!(code(&[2, 0, 0, 0, 0]), tonic::Code::Internal);
        assert_eq!(code(&[]), tonic::Code::Internal);
        assert_eq!(code(&framed(10)[..12]), tonic::Code::Internal);
        assert_eq!(
            code(&[framed(1), framed(1)].concat()),
            tonic::Code::Internal
        );
    }
}
