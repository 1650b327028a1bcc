//! Looks whether a server that was started again serves, and whether everything is there.

use std::{net::SocketAddr, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    super::{
        servers::Running,
        wire::{Answer, Connection, request},
    },
    documents::{key, value},
    writing::Told,
};
use crate::{
    error::{Error, Result},
    workload::Numbers,
};

/// How long a start may take.
const START_WAIT: Duration = Duration::from_secs(3_600);
/// A server that doesn't answer a PING by then is looked at, and asked again.
const PING_WAIT: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(5);
/// How long any other answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// Keys that are read, and keys that are written, before a server counts as serving all: more
/// than it may have partitions.
const PROBES: u64 = 4_096;
/// Requests that go out together.
const PIPELINE: usize = 64;

/// Waits until a server answers PING.
pub(super) async fn pong(running: &mut Running, address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + START_WAIT;
    while Instant::now() < deadline {
        if let Ok(mut connection) = Connection::open(address).await
            && let Ok(Answer::Bytes(text)) = connection.ask_within(&[b"PING"], PING_WAIT).await
            && text == b"PONG"
        {
            return Ok(());
        }
        running.look()?;
        sleep(POLL).await;
    }
    Err(Error::Late("PONG", START_WAIT))
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) right: u64,
    pub(super) missing: u64,
    pub(super) wrong: u64,
}

impl Found {
    fn count(&mut self, answer: &Answer, wanted: &[u8]) {
        match answer {
            Answer::Bytes(text) if text == wanted => self.right += 1,
            Answer::Null => self.missing += 1,
            _ => self.wrong += 1,
        }
    }
}

/// Asks one server.
pub(super) struct Looker {
    connection: Connection,
    value_bytes: usize,
    deadline: Instant,
}

impl Looker {
    pub(super) async fn open(address: SocketAddr, value_bytes: usize) -> Result<Self> {
        Ok(Self {
            connection: Connection::open(address).await?,
            value_bytes,
            deadline: Instant::now() + START_WAIT,
        })
    }

    /// The answers to these requests, which are asked again while one of them is refused: what
    /// has just come up may need a moment.
    async fn insist(&mut self, requests: &[u8], count: usize) -> Result<Vec<Answer>> {
        loop {
            let answers = timeout(ANSWER_WAIT, self.connection.answers(requests, count)).await;
            let answers = answers.map_err(|_| Error::Late("an answer", ANSWER_WAIT))??;
            let refusal = answers.iter().find_map(|answer| match answer {
                Answer::Refused(text) => Some(text.clone()),
                _ => None,
            });
            match refusal {
                None => return Ok(answers),
                Some(text) if Instant::now() > self.deadline => return Err(Error::Answer(text)),
                Some(_) => sleep(POLL).await,
            }
        }
    }

    /// How many keys there are.
    async fn size(&mut self) -> Result<u64> {
        let mut out = Vec::new();
        request(&mut out, &[b"DBSIZE"]);
        match self.insist(&out, 1).await?.pop() {
            Some(Answer::Integer(size)) => Ok(u64::try_from(size).unwrap_or(0)),
            _ => Err(Error::Protocol("DBSIZE answers no number")),
        }
    }

    /// Reads keys.
    async fn read(&mut self, numbers: impl Iterator<Item = u64>) -> Result<Found> {
        let mut found = Found::default();
        let mut numbers = numbers.peekable();
        let (mut out, mut text) = (Vec::new(), Vec::new());
        while numbers.peek().is_some() {
            let some: Vec<u64> = numbers.by_ref().take(PIPELINE).collect();
            out.clear();
            for number in &some {
                request(&mut out, &[b"GET", &key(*number)]);
            }
            for (number, answer) in some.iter().zip(self.insist(&out, some.len()).await?) {
                value(&mut text, *number, self.value_bytes);
                found.count(&answer, &text);
            }
        }
        Ok(found)
    }

    /// One request for each of many probes.
    async fn probe(&mut self, words: impl Fn(&mut Vec<u8>, &[u8])) -> Result<()> {
        let mut out = Vec::new();
        for first in (0..PROBES).step_by(PIPELINE) {
            out.clear();
            for number in first..first + PIPELINE as u64 {
                words(&mut out, format!("probe:{number}").as_bytes());
            }
            self.insist(&out, PIPELINE).await?;
        }
        Ok(())
    }

    /// Returns once keys all over the data can be counted, read and written.
    ///
    /// # Errors
    /// Something is there that was not written.
    pub(super) async fn served(&mut self, told: &Told, seed: u64) -> Result<()> {
        self.size().await?;
        let mut numbers = Numbers(seed);
        let keys = told.keys;
        let found = self
            .read((0..PROBES).map(|_| numbers.next() % keys))
            .await?;
        if found.wrong > 0 {
            return Err(Error::Protocol("a key has another value than was written"));
        }
        self.probe(|out, key| request(out, &[b"SET", key, b"1"]))
            .await
    }

    /// Counts what is not there as it has to be: everything that was written when the server was
    /// killed, every so manieth key of the others, and by their number all of them.
    pub(super) async fn all(&mut self, told: &Told, every: u64) -> Result<Found> {
        self.probe(|out, key| request(out, &[b"DEL", key])).await?;
        let mut all = self.read((0..told.keys).step_by(every as usize)).await?;
        let mut missing = 0;
        let mut expected = told.keys;
        for lane in &told.lanes {
            let wanted = self.read(lane.wanted()).await?;
            let unknown = self.read(lane.unknown()).await?;
            expected += wanted.right + wanted.wrong + unknown.right + unknown.wrong;
            all.right += wanted.right + unknown.right;
            missing += wanted.missing;
            all.wrong += wanted.wrong + unknown.wrong;
        }
        // Of the others, those that were looked at and are missing are among these.
        let uncounted = expected.saturating_sub(self.size().await?);
        all.missing = missing + all.missing.max(uncounted);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_right_missing_or_wrong() {
        let mut found = Found::default();
        found.count(&Answer::Bytes(b"text".to_vec()), b"text");
        found.count(&Answer::Null, b"text");
        found.count(&Answer::Bytes(b"other".to_vec()), b"text");
        found.count(&Answer::Integer(1), b"text");
        let wanted = Found {
            right: 1,
            missing: 1,
            wrong: 2,
        };
        assert_eq!(found, wanted);
    }
}
