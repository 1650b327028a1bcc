//! A connection to the port of Redis clients.

use std::{sync::Arc, time::Duration};

use atoll_kv::face::resp::write_request;
use atoll_world::{
    net::{self, NetError, Stream},
    pki::{self, Identity},
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
        ReadHalf, WriteHalf,
    },
    time::timeout,
};

use crate::{client::Options, error::CliError};

/// Where Redis clients come in if nobody says otherwise.
const PORT_DEFAULT: u16 = 6379;
const CONNECT_WAIT: Duration = Duration::from_secs(3);
/// The longest line of an answer.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// The longest string in an answer; none that we ask for is nearly as long.
const STRING_BYTES_MAX: u64 = 1 << 20;

/// An answer, as far as one must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Neither a number nor a refusal.
    Done,
    Integer(i64),
    Refused(String),
}

/// Where to go, and whether with TLS.
#[derive(Debug, PartialEq, Eq)]
struct Door {
    address: String,
    host: String,
    tls: bool,
}

fn door(endpoint: &str, named: Option<&str>) -> Door {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("http", endpoint));
    let authority = rest.split('/').next().unwrap_or(rest);
    let default = format!("{}:{PORT_DEFAULT}", host(authority));
    let address = named.map_or(default, str::to_owned);
    Door {
        host: host(&address).trim_matches(['[', ']']).to_owned(),
        address,
        tls: scheme == "https",
    }
}

/// Without the port. An IPv6 address stands in brackets.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

pub(super) struct Link {
    address: String,
    reader: BufReader<ReadHalf<Stream>>,
    writer: WriteHalf<Stream>,
    wait: Duration,
}

impl Link {
    /// Connects to the named address, or to the first endpoint's machine, and logs in.
    pub(super) async fn open(options: &Options, named: Option<&str>) -> Result<Self, CliError> {
        let endpoint = options.endpoints.first().map_or("", String::as_str);
        let door = door(endpoint, named);
        let stream = connect(options, &door)
            .await
            .map_err(|error| unreachable(&door.address, &error.to_string()))?;
        let (reader, writer) = tokio::io::split(stream);
        let mut link = Link {
            address: door.address,
            reader: BufReader::new(reader),
            writer,
            wait: options.timeout,
        };
        if let Some(login) = &options.login {
            let password = Bytes::copy_from_slice(login.password.0.as_bytes());
            let user = Bytes::copy_from_slice(login.user.as_bytes());
            link.ask(&[Bytes::from_static(b"AUTH"), user, password])
                .await
                .and_then(|reply| match reply {
                    Reply::Refused(why) => Err(tonic::Status::unauthenticated(why).into()),
                    _ => Ok(()),
                })?;
        }
        Ok(link)
    }

    /// One request and its answer.
    pub(super) async fn ask(&mut self, words: &[Bytes]) -> Result<Reply, CliError> {
        let mut request = BytesMut::new();
        write_request(&mut request, words);
        let mut replies = self.exchange(&request, 1).await?;
        Ok(replies.pop().unwrap_or(Reply::Done))
    }

    /// Sends requests and reads as many answers, both at once, so that neither side waits for
    /// the other with full buffers.
    pub(super) async fn exchange(
        &mut self,
        requests: &[u8],
        count: usize,
    ) -> Result<Vec<Reply>, CliError> {
        let (reader, writer, wait) = (&mut self.reader, &mut self.writer, self.wait);
        let address = &self.address;
        let broken = |why: String| CliError::OutcomeUnknown {
            endpoint: address.clone(),
            why,
        };
        let send = async {
            let sent = async {
                writer.write_all(requests).await?;
                writer.flush().await
            };
            sent.await.map_err(|error| broken(error.to_string()))
        };
        let receive = async {
            let mut replies = Vec::with_capacity(count);
            for _ in 0..count {
                // Each answer has the time that an answer has.
                match timeout(wait, reply(reader)).await {
                    Ok(Ok(reply)) => replies.push(reply),
                    Ok(Err(why)) => return Err(broken(why)),
                    Err(_) => return Err(broken(format!("no answer within {wait:?}"))),
                }
            }
            Ok(replies)
        };
        let (_, replies) = tokio::try_join!(send, receive)?;
        Ok(replies)
    }
}

async fn connect(options: &Options, door: &Door) -> Result<Stream, Box<dyn std::error::Error>> {
    if !door.tls {
        return Ok(net::connect(&door.address, CONNECT_WAIT).await?);
    }
    let ca = options.ca.as_deref().unwrap_or_default();
    let roots = pki::certificates_from_pem("the authority", ca)?;
    let identity = match &options.identity {
        Some((cert, key)) => Some(Identity::from_pem(cert, &key.0)?),
        None => None,
    };
    let config: Arc<_> = pki::tls::client_config(&roots, identity.as_ref(), &[])?;
    let connected: Result<Stream, NetError> =
        net::connect_tls(&door.address, &door.host, config, CONNECT_WAIT).await;
    Ok(connected?)
}

fn unreachable(address: &str, why: &str) -> CliError {
    CliError::Unreachable {
        tried: vec![(address.to_owned(), why.to_owned())],
    }
}

/// Reads one answer; of an array, all that is in it.
async fn reply(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Reply, String> {
    let mut first = None;
    let mut left: u64 = 1;
    while left > 0 {
        left -= 1;
        let mut line = Vec::new();
        let read = (&mut *reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .await;
        read.map_err(|error| error.to_string())?;
        let line = line.strip_suffix(b"\r\n").ok_or("the connection broke")?;
        let (mark, rest) = line.split_first().ok_or("an answer is empty")?;
        let text = String::from_utf8_lossy(rest);
        let number = || {
            text.parse::<i64>()
                .map_err(|_| "a number is none".to_owned())
        };
        let reply = match mark {
            b'+' => Reply::Done,
            b'-' => Reply::Refused(text.into_owned()),
            b':' => Reply::Integer(number()?),
            b'$' => {
                // Less than nothing is a missing one.
                if let Ok(length) = u64::try_from(number()?) {
                    if length > STRING_BYTES_MAX {
                        return Err("an answer is too long".into());
                    }
                    let whole = length + 2;
                    let mut string = Vec::new();
                    let read = (&mut *reader).take(whole).read_to_end(&mut string).await;
                    if read.map_err(|error| error.to_string())? as u64 != whole {
                        return Err("the connection broke".into());
                    }
                }
                Reply::Done
            }
            b'*' => {
                let count = u64::try_from(number()?).unwrap_or(0);
                left = left.checked_add(count).ok_or("an answer is too long")?;
                Reply::Done
            }
            _ => return Err("this is no port of Redis clients".into()),
        };
        first.get_or_insert(reply);
    }
    first.ok_or_else(|| "an answer is empty".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_on_the_endpoints_machine() {
        let door = |endpoint, named| {
            let door = door(endpoint, named);
            (door.address, door.host, door.tls)
        };
        let is = |address: &str, host: &str, tls| (address.to_owned(), host.to_owned(), tls);
        assert_eq!(door("http://a:2379", None), is("a:6379", "a", false));
        assert_eq!(door("https://[::1]:1", None), is("[::1]:6379", "::1", true));
        assert_eq!(door("https://[::1]", None), is("[::1]:6379", "::1", true));
        assert_eq!(door("https://a:1", Some("b:7")), is("b:7", "b", true));
    }

    #[tokio::test]
    async fn answers_of_every_form() {
        let mut bytes =
            &b"+OK\r\n:-3\r\n-ERR no\r\n$3\r\na\r\n\r\n$-1\r\n*2\r\n:1\r\n*1\r\n$1\r\nx\r\n:7\r\n"
                [..];
        let mut found = Vec::new();
        while !bytes.is_empty() {
            found.push(reply(&mut bytes).await.unwrap());
        }
        let refused = Reply::Refused("ERR no".into());
        let done = Reply::Done;
        assert_eq!(
            found,
            [
                done.clone(),
                Reply::Integer(-3),
                refused,
                done.clone(),
                done.clone(),
                done,
                Reply::Integer(7)
            ]
        );
        for wrong in ["", "+OK", ":x\r\n", "$5\r\nabc", "HTTP/1.1 400\r\n", "\r\n"] {
            assert!(reply(&mut wrong.as_bytes()).await.is_err(), "{wrong}");
        }
    }
}
