//! A connection to the port of Redis clients.

mod reply;

use std::{sync::Arc, time::Duration};

use atoll_kv::face::resp::write_request;
use atoll_world::{
    net::{self, NetError, Stream},
    pki::{self, Identity},
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf},
    time::timeout,
};

pub(crate) use self::reply::Reply;
use self::reply::read_reply;
use super::Options;
use crate::error::CliError;

/// Where Redis clients come in if nobody says otherwise.
const PORT_DEFAULT: u16 = 6379;
const CONNECT_WAIT: Duration = Duration::from_secs(3);
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

/// A connection, logged in.
pub(crate) struct Link {
    address: String,
    reader: BufReader<ReadHalf<Stream>>,
    writer: WriteHalf<Stream>,
    wait: Duration,
}

impl Link {
    /// Connects to the named address, or to the first endpoint's machine, and logs in.
    pub(crate) async fn open(options: &Options, named: Option<&str>) -> Result<Self, CliError> {
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
    pub(crate) async fn ask(&mut self, words: &[Bytes]) -> Result<Reply, CliError> {
        let mut request = BytesMut::new();
        write_request(&mut request, words);
        let mut replies = self.exchange(&request, 1).await?;
        Ok(replies.pop().unwrap_or(Reply::Done))
    }

    /// Sends requests and reads as many answers, both at once, so that neither side waits for
    /// the other with full buffers.
    pub(crate) async fn exchange(
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
                match timeout(wait, read_reply(reader)).await {
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
}
