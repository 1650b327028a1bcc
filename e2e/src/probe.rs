//! One plain HTTP question, for readiness.

use std::{io, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const ANSWER_BYTES_MAX: u64 = 64 << 10;
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Status code and whole answer of `GET path` on a loopback port.
///
/// # Errors
/// No connection, no answer within two seconds, or no HTTP.
pub async fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    get_at(Ipv4Addr::LOCALHOST, port, path).await
}

/// The same of any host.
///
/// # Errors
/// No connection, no answer within two seconds, or no HTTP.
pub async fn get_at(host: Ipv4Addr, port: u16, path: &str) -> io::Result<(u16, String)> {
    timeout(ANSWER_WAIT, ask(host, port, path)).await?
}

async fn ask(host: Ipv4Addr, port: u16, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect((host, port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let code = answer
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP status line"))?;
    Ok((code, answer))
}
