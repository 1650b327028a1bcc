//! The PROXY protocol, versions 1 and 2: who the client is, told by a load balancer in front,
//! or to a server behind. After HAProxy's specification "The PROXY protocol", sections 2.1 and
//! 2.2. Reading says how many bytes more are needed for certain, so that whoever reads takes
//! none that belong to what follows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::config::ProxyVersion;

/// The longest header of version 1, with its CRLF.
const V1_BYTES_MAX: usize = 107;
/// The shortest: `PROXY UNKNOWN` with its CRLF.
const V1_BYTES_MIN: usize = 15;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The part of version 2 whose length is known.
const V2_FIXED_BYTES: usize = 16;
/// What follows it at most; more than addresses and any extension in use.
const V2_VARIABLE_BYTES_MAX: usize = 4_096;
/// The longest header that is accepted.
pub const HEADER_BYTES_MAX: usize = V2_FIXED_BYTES + V2_VARIABLE_BYTES_MAX;

/// What was read so far comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The header needs at least as many bytes more.
    Needs(usize),
    /// The header is there.
    Header(Header),
}

/// Who speaks with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The client, and where it connected to.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// Where it connected to.
        destination: SocketAddr,
    },
    /// The one in front speaks for itself, or does not know.
    Local,
}

/// It is no header of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a PROXY protocol header")]
pub struct NotAHeader;

/// Reads a header that begins with `bytes`. Nothing behind its end may be shown.
///
/// # Errors
/// It is none.
pub fn parse(bytes: &[u8]) -> Result<Parsed, NotAHeader> {
    let common = bytes.len().min(V2_SIGNATURE.len());
    if bytes[..common] == V2_SIGNATURE[..common] && common > 0 {
        return parse_v2(bytes);
    }
    parse_v1(bytes)
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, NotAHeader> {
    let begins = b"PROXY ";
    let common = bytes.len().min(begins.len());
    if bytes[..common] != begins[..common] {
        return Err(NotAHeader);
    }
    if bytes.len() < V1_BYTES_MIN {
        return Ok(Parsed::Needs(V1_BYTES_MIN - bytes.len()));
    }
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        let is_too_long = bytes.len() >= V1_BYTES_MAX;
        if is_too_long || bytes.contains(&b'\n') {
            return Err(NotAHeader);
        }
        return Ok(Parsed::Needs(1));
    };
    let line = std::str::from_utf8(line).map_err(|_| NotAHeader)?;
    if line.contains(['\r', '\n']) {
        return Err(NotAHeader);
    }
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Parsed::Header(Header::Local));
    }
    let mut word = || words.next().ok_or(NotAHeader);
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (word()?, word()?);
    if words.next().is_some() {
        return Err(NotAHeader);
    }
    let address = |address: &str, port: &str| -> Result<SocketAddr, NotAHeader> {
        let address: IpAddr = match family {
            Some("TCP4") => IpAddr::V4(address.parse().map_err(|_| NotAHeader)?),
            Some("TCP6") => IpAddr::V6(address.parse().map_err(|_| NotAHeader)?),
            _ => return Err(NotAHeader),
        };
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_number).ok_or(NotAHeader)?;
        Ok(SocketAddr::new(address, port))
    };
    Ok(Parsed::Header(Header::Proxied {
        source: address(source, source_port)?,
        destination: address(destination, destination_port)?,
    }))
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, NotAHeader> {
    if bytes.len() < V2_FIXED_BYTES {
        return Ok(Parsed::Needs(V2_FIXED_BYTES - bytes.len()));
    }
    let (version_and_command, family) = (bytes[12], bytes[13]);
    let variable = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if version_and_command >> 4 != 2 || variable > V2_VARIABLE_BYTES_MAX {
        return Err(NotAHeader);
    }
    let total = V2_FIXED_BYTES + variable;
    if bytes.len() < total {
        return Ok(Parsed::Needs(total - bytes.len()));
    }
    if bytes.len() > total {
        return Err(NotAHeader);
    }
    let body = &bytes[V2_FIXED_BYTES..];
    let header = match (version_and_command & 0xf, family) {
        (0, _) => Header::Local,
        (1, 0x11) => {
            let (source, rest) = take::<4>(body)?;
            let (destination, rest) = take::<4>(rest)?;
            proxied(Ipv4Addr::from(source), Ipv4Addr::from(destination), rest)?
        }
        (1, 0x21) => {
            let (source, rest) = take::<16>(body)?;
            let (destination, rest) = take::<16>(rest)?;
            proxied(Ipv6Addr::from(source), Ipv6Addr::from(destination), rest)?
        }
        // Datagrams, sockets of a file system, and what is not specified.
        (1, _) => Header::Local,
        _ => return Err(NotAHeader),
    };
    Ok(Parsed::Header(header))
}

fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), NotAHeader> {
    let (taken, rest) = bytes.split_first_chunk::<N>().ok_or(NotAHeader)?;
    Ok((*taken, rest))
}

fn proxied(
    source: impl Into<IpAddr>,
    destination: impl Into<IpAddr>,
    rest: &[u8],
) -> Result<Header, NotAHeader> {
    let (source_port, rest) = take::<2>(rest)?;
    let (destination_port, _) = take::<2>(rest)?;
    Ok(Header::Proxied {
        source: SocketAddr::new(source.into(), u16::from_be_bytes(source_port)),
        destination: SocketAddr::new(destination.into(), u16::from_be_bytes(destination_port)),
    })
}

/// Writes a header.
pub fn encode(version: ProxyVersion, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (source, destination) = same_family(source, destination);
    match version {
        ProxyVersion::V1 => {
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            let (from_port, to_port) = (source.port(), destination.port());
            format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
        }
        ProxyVersion::V2 => encode_v2(source, destination),
    }
}

/// Both in one family: a header has room for one only.
fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let wide = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), address.port()),
        IpAddr::V6(_) => address,
    };
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (wide(source), wide(destination))
    }
}

fn encode_v2(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut body = Vec::with_capacity(36);
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(ip) => body.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => body.extend_from_slice(&ip.octets()),
        }
    }
    body.extend_from_slice(&source.port().to_be_bytes());
    body.extend_from_slice(&destination.port().to_be_bytes());
    let family = if source.is_ipv4() { 0x11 } else { 0x21 };
    let mut header = V2_SIGNATURE.to_vec();
    header.extend_from_slice(&[0x21, family, 0, body.len() as u8]);
    header.append(&mut body);
    header
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads as a driver does: never more than is needed for certain.
    fn read(bytes: &[u8]) -> Result<(Header, usize), NotAHeader> {
        let mut shown = 0;
        loop {
            match parse(&bytes[..shown])? {
                Parsed::Header(header) => return Ok((header, shown)),
                Parsed::Needs(more) => {
                    assert!(more > 0);
                    shown += more;
                    if shown > bytes.len() {
                        return Err(NotAHeader);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_behind_it(
            source in any::<SocketAddr>(),
            destination in any::<SocketAddr>(),
            is_v1 in any::<bool>(),
        ) {
            let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
            let version = if is_v1 { ProxyVersion::V1 } else { ProxyVersion::V2 };
            let mut bytes = encode(version, source, destination);
            let length = bytes.len();
            bytes.extend_from_slice(b"\r\nGET");
            let (source, destination) = same_family(plain(source), plain(destination));
            let expected = Header::Proxied { source: plain(source), destination: plain(destination) };
            prop_assert_eq!(read(&bytes), Ok((expected, length)));
        }

        #[test]
        fn nothing_makes_it_panic(
            begins in prop::sample::select(vec![&b""[..], b"PROXY ", V2_SIGNATURE]),
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = parse(&[begins, &bytes].concat());
        }
    }

    #[test]
    fn headers_of_others() {
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x03\x03\x00\x00";
        assert_eq!(read(local), Ok((Header::Local, 19)));
        assert_eq!(read(b"PROXY UNKNOWN\r\n"), Ok((Header::Local, 15)));
        let long = b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nx";
        assert_eq!(read(long), Ok((Header::Local, 35)));
        let wrong = [
            "GET / HTTP/1.1\r\n\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 70000\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP9 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n\n\n",
            "\r\n\r\n\0\r\nQUIT\n\x11\x11\x00\x00",
            "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x02\x03\x04",
            "\r\n\r\n\0\r\nQUIT\n\x21\x11\x7f\x7f",
        ];
        for wrong in wrong {
            assert_eq!(read(wrong.as_bytes()), Err(NotAHeader), "{wrong:?}");
        }
        let endless = format!("PROXY TCP4 {}", "1".repeat(200));
        assert_eq!(read(endless.as_bytes()), Err(NotAHeader));
    }
}
