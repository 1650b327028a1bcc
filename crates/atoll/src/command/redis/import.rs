//! `atoll redis import`: each value goes over as RESTORE takes it, many requests at once.

use std::time::{SystemTime, UNIX_EPOCH};

use atoll_kv::{
    core::rdb::{self, Event, Key, elements},
    face::resp::write_request,
};
use bytes::{Bytes, BytesMut};

use super::{
    ImportArgs,
    large::{Commands, ELEMENT_BYTES_MAX},
    source::Source,
    tally::Tally,
};
use crate::{
    cli::Global,
    client::{
        Options,
        redis::{Link, Reply},
    },
    error::CliError,
    output::Progress,
};

/// A value up to this size goes over at once: a request has six MiB at most.
const VALUE_BYTES_MAX: usize = ELEMENT_BYTES_MAX;
/// So many requests go out before their answers are read.
const REQUESTS_MAX: usize = 256;
/// And so many bytes.
const BATCH_BYTES: usize = 1 << 20;

pub(super) async fn run(args: ImportArgs, global: &Global) -> Result<(), CliError> {
    let options = Options::from_global(global)?;
    let mut source = Source::open(&args.file)?;
    let link = Link::open(&options, args.redis.as_deref()).await?;
    let mut import = Import::new(link, args.replace);
    import.tally.file = args.file.display().to_string();
    let read = read(&mut source, &mut import).await;
    // What was read is imported, and told, also where the file turns out to be damaged. Where
    // the connection broke there is nobody to ask.
    if !matches!(read, Err(CliError::OutcomeUnknown { .. })) {
        import.send().await?;
    }
    global.output.show(&import.tally)?;
    read?;
    match import.tally.failed {
        0 => Ok(()),
        _ => Err(CliError::Exit(1)),
    }
}

async fn read(source: &mut Source, import: &mut Import) -> Result<(), CliError> {
    let mut progress = Progress::new();
    let read = async {
        loop {
            match source.next()? {
                Some(Event::End) => return Ok(()),
                Some(event) => import.take(event).await?,
                None => source.fill()?,
            }
            let (done, all) = source.progress();
            progress.show(done, all);
        }
    };
    let read = read.await;
    progress.end();
    read
}

/// A value that is being read.
enum Value {
    /// Nobody wants it: its time is over, or it was refused before.
    Passed,
    /// It may yet go over at once.
    Whole(Whole),
    /// It goes over piece by piece.
    Large(Large),
}

struct Whole {
    key: Key,
    kind: u8,
    body: Vec<u8>,
    /// Where the elements in it begin and end.
    elements: Vec<(u32, u32)>,
}

struct Large {
    key: Key,
    kind: u8,
    /// What stood between the elements.
    before: Vec<u8>,
    commands: Commands,
    refused: Option<String>,
}

struct Import {
    link: Link,
    replace: bool,
    tally: Tally,
    /// The database that the connection is in.
    database: u64,
    /// Why it could not go there.
    database_refused: Option<String>,
    batch: BytesMut,
    /// The keys whose RESTORE is in the batch.
    waiting: Vec<Vec<u8>>,
    value: Value,
}

impl Import {
    fn new(link: Link, replace: bool) -> Self {
        Import {
            link,
            replace,
            tally: Tally::default(),
            database: 0,
            database_refused: None,
            batch: BytesMut::new(),
            waiting: Vec::new(),
            value: Value::Passed,
        }
    }

    async fn take(&mut self, event: Event<'_>) -> Result<(), CliError> {
        match event {
            Event::Auxiliary { name, value } if *name == *b"redis-ver" => {
                let version = String::from_utf8_lossy(&value).into_owned();
                self.tally.redis_version = Some(version);
            }
            Event::Function(_) => self.tally.functions_skipped += 1,
            Event::Module => self.tally.module_data_skipped += 1,
            Event::Key(key) => self.value = self.begin(key).await?,
            Event::Between(bytes) => match &mut self.value {
                Value::Passed => {}
                Value::Whole(whole) => whole.body.extend_from_slice(bytes),
                Value::Large(large) => large.before.extend_from_slice(bytes),
            },
            Event::Element(bytes) => self.element(bytes).await?,
            Event::ValueEnd => match std::mem::replace(&mut self.value, Value::Passed) {
                Value::Passed => {}
                Value::Whole(whole) => self.restore(whole).await?,
                Value::Large(large) => self.finish(large).await?,
            },
            Event::Passed | Event::Auxiliary { .. } | Event::End => {}
        }
        Ok(())
    }

    async fn begin(&mut self, key: Key) -> Result<Value, CliError> {
        if rdb::is_over(key.expires_at_ms, now_ms()) {
            self.tally.expired += 1;
            return Ok(Value::Passed);
        }
        let Some(kind) = key.kind else {
            let why = "the value of a module, and there are no modules here";
            self.tally.fail(key.database, &key.name, why);
            return Ok(Value::Passed);
        };
        if key.database != self.database {
            self.send().await?;
            let reply = self
                .ask(&["SELECT", &key.database.to_string()], &[])
                .await?;
            self.database = key.database;
            self.database_refused = refusal(reply);
        }
        if let Some(why) = &self.database_refused {
            self.tally.fail(key.database, &key.name, why.clone());
            return Ok(Value::Passed);
        }
        Ok(Value::Whole(Whole {
            key,
            kind,
            body: Vec::new(),
            elements: Vec::new(),
        }))
    }

    async fn element(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        match &mut self.value {
            Value::Passed => Ok(()),
            Value::Whole(whole) if whole.body.len() + bytes.len() <= VALUE_BYTES_MAX => {
                let begin = offset(whole.body.len());
                whole.body.extend_from_slice(bytes);
                whole.elements.push((begin, offset(whole.body.len())));
                Ok(())
            }
            Value::Whole(_) => {
                if let Value::Whole(whole) = std::mem::replace(&mut self.value, Value::Passed) {
                    self.value = self.enlarge(whole).await?;
                }
                self.large_element(bytes).await
            }
            Value::Large(_) => self.large_element(bytes).await,
        }
    }

    async fn restore(&mut self, whole: Whole) -> Result<(), CliError> {
        let ends_ms = whole.key.expires_at_ms.unwrap_or(0).to_string();
        let mut words = vec![
            Bytes::from_static(b"RESTORE"),
            Bytes::copy_from_slice(&whole.key.name),
            Bytes::from(ends_ms),
            Bytes::from(rdb::payload(whole.kind, &whole.body)),
            Bytes::from_static(b"ABSTTL"),
        ];
        if self.replace {
            words.push(Bytes::from_static(b"REPLACE"));
        }
        write_request(&mut self.batch, &words);
        self.waiting.push(whole.key.name);
        if self.waiting.len() >= REQUESTS_MAX || self.batch.len() >= BATCH_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    /// Sends what waits, and notes what became of it.
    async fn send(&mut self) -> Result<(), CliError> {
        let keys = std::mem::take(&mut self.waiting);
        let batch = self.batch.split();
        let replies = self.link.exchange(&batch, keys.len()).await?;
        for (key, reply) in keys.iter().zip(replies) {
            match refusal(reply) {
                None => self.tally.imported += 1,
                Some(why) if why.starts_with("BUSYKEY") => self.tally.present += 1,
                Some(why) => self.tally.fail(self.database, key, why),
            }
        }
        Ok(())
    }

    /// A value has turned out to be too large. What is there already decides, as it does with
    /// RESTORE.
    async fn enlarge(&mut self, whole: Whole) -> Result<Value, CliError> {
        let Whole {
            key,
            kind,
            body,
            elements: places,
        } = whole;
        self.send().await?;
        if !rdb::has_elements(kind) {
            let why = "a stream that is larger than a request may be";
            self.tally.fail(key.database, &key.name, why);
            return Ok(Value::Passed);
        }
        let name = Bytes::copy_from_slice(&key.name);
        if self.replace {
            let reply = self.ask(&["DEL"], &[name]).await?;
            if let Some(why) = refusal(reply) {
                self.tally.fail(key.database, &key.name, why);
                return Ok(Value::Passed);
            }
        } else {
            match self.ask(&["EXISTS"], &[name]).await? {
                Reply::Integer(0) => {}
                Reply::Refused(why) => {
                    self.tally.fail(key.database, &key.name, why);
                    return Ok(Value::Passed);
                }
                _ => {
                    self.tally.present += 1;
                    return Ok(Value::Passed);
                }
            }
        }
        let first = places.first().map_or(body.len(), |place| place.0 as usize);
        self.value = Value::Large(Large {
            commands: Commands::new(&key.name),
            key,
            kind,
            before: body[..first].to_vec(),
            refused: None,
        });
        for (begin, end) in places {
            self.large_element(&body[begin as usize..end as usize])
                .await?;
        }
        Ok(std::mem::replace(&mut self.value, Value::Passed))
    }

    async fn large_element(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let Value::Large(large) = &mut self.value else {
            return Ok(());
        };
        if large.refused.is_some() {
            return Ok(());
        }
        match elements(large.kind, &large.before, bytes) {
            Ok(found) => {
                for element in found.unwrap_or_default() {
                    if !large.commands.add(element) {
                        let why = "an element is larger than a request may be";
                        large.refused = Some(why.to_owned());
                        return Ok(());
                    }
                }
            }
            Err(error) => large.refused = Some(error.to_string()),
        }
        let commands = large.commands.take();
        let refused = self.write(&commands).await?;
        if let (Value::Large(large), Some(why)) = (&mut self.value, refused) {
            large.refused = Some(why);
        }
        Ok(())
    }

    async fn finish(&mut self, large: Large) -> Result<(), CliError> {
        let Large {
            key,
            commands,
            mut refused,
            ..
        } = large;
        let name = Bytes::copy_from_slice(&key.name);
        if refused.is_none() {
            let mut rest = commands.finish();
            if let Some(at_ms) = key.expires_at_ms {
                let at_ms = Bytes::from(at_ms.to_string());
                rest.push(vec![Bytes::from_static(b"PEXPIREAT"), name.clone(), at_ms]);
            }
            refused = self.write(&rest).await?;
        }
        match refused {
            None => self.tally.imported += 1,
            Some(why) => {
                // Half a value is none.
                let left = match refusal(self.ask(&["DEL"], &[name]).await?) {
                    None => "",
                    Some(_) => "; a part of it is left and could not be removed",
                };
                let why = format!("{why}{left}");
                self.tally.fail(key.database, &key.name, why);
            }
        }
        Ok(())
    }

    /// Sends commands of a large value, one batch after the other; the first refusal ends it.
    async fn write(&mut self, commands: &[Vec<Bytes>]) -> Result<Option<String>, CliError> {
        let mut left = commands;
        while !left.is_empty() {
            let mut batch = BytesMut::new();
            let mut count = 0;
            while batch.len() < BATCH_BYTES && count < left.len() {
                write_request(&mut batch, &left[count]);
                count += 1;
            }
            left = &left[count..];
            let replies = self.link.exchange(&batch, count).await?;
            if let Some(why) = replies.into_iter().find_map(refusal) {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    async fn ask(&mut self, words: &[&str], more: &[Bytes]) -> Result<Reply, CliError> {
        let mut all: Vec<Bytes> = Vec::new();
        all.extend(
            words
                .iter()
                .map(|word| Bytes::copy_from_slice(word.as_bytes())),
        );
        all.extend_from_slice(more);
        self.link.ask(&all).await
    }
}

/// A value that goes over at once is no longer than this can tell.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn refusal(reply: Reply) -> Option<String> {
    match reply {
        Reply::Refused(why) => Some(why),
        _ => None,
    }
}

#[allow(clippy::disallowed_methods)] // The command line is the edge.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
