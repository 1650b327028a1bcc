//! One connection, and what is done on it.

use std::error::Error;

use atoll_world::net::NetError;
use bytes::BytesMut;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::{
    CancelToken, Row,
    error::SqlState,
    types::{Format, IsNull, ToSql, Type},
};

use super::{
    pool::Link,
    work::{Work, WorkError},
};
use crate::{core::global::Report, driver::global::Unfit, proto};

/// Times of a connection, in milliseconds: less than what an order may take, so that the database
/// gives up before the node does. Where it can (from version 14 on), it looks while it works
/// whether the node is still there.
const SET_UP: &str = "SET lock_timeout = 2000; SET statement_timeout = 4000; \
    SET idle_in_transaction_session_timeout = 10000; \
    SELECT set_config(name, '1000', false) FROM pg_settings \
    WHERE name = 'client_connection_check_interval'";
/// The table of branches.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS atoll_branches \
    (gid text PRIMARY KEY, began_at timestamptz NOT NULL DEFAULT now()); \
    CREATE INDEX IF NOT EXISTS atoll_branches_began_at ON atoll_branches (began_at)";
/// Rows are kept for so long: more than any message can be late, or a database away.
const SWEEP: &str = "DELETE FROM atoll_branches WHERE gid IN (SELECT gid FROM atoll_branches \
    WHERE began_at < now() - interval '30 days' ORDER BY began_at LIMIT 10000)";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Net(#[from] NetError),
    // Its own words tell what the database said, and no values.
    #[error("{}", told(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("its host's name can't be proved by a certificate")]
    Name,
    #[error("databases don't know this order")]
    Order,
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Work(#[from] WorkError),
}

/// What went wrong; the database's details may hold data.
fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// A parameter in its text form: the database makes of it what the statement wants there.
#[derive(Debug)]
struct Text<'a>(Option<&'a str>);

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(ty, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

/// A connection that nobody else uses.
pub(super) struct Session {
    link: Link,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    pub(super) fn new(link: Link, permit: OwnedSemaphorePermit) -> Self {
        let _permit = permit;
        Session { link, _permit }
    }

    pub(super) fn into_link(self) -> Link {
        self.link
    }

    pub(super) fn cancel_token(&self) -> CancelToken {
        self.link.client.cancel_token()
    }

    pub(super) async fn set_up(&self) -> Result<(), SessionError> {
        Ok(self.link.client.batch_execute(SET_UP).await?)
    }

    /// Does the work, and makes sure that it can be committed.
    pub(super) async fn prepare(&mut self, gid: &str, work: &Work) -> Result<Report, SessionError> {
        if self.is_prepared(gid).await? {
            return Ok(Report::Yes);
        }
        if self.has_committed(gid).await? {
            return Ok(Report::Committed);
        }
        self.link.client.batch_execute("BEGIN").await?;
        // If somebody else is preparing it, or it has just been committed, a later look tells.
        let row = "INSERT INTO atoll_branches (gid) VALUES ($1)";
        self.link.client.execute(row, &[&gid]).await?;
        for (number, statement) in (1..).zip(&work.statements) {
            match self.run(statement).await {
                Ok(rows) if statement.rows.is_none_or(|it| it == rows) => {}
                Ok(rows) => {
                    tracing::info!(
                        gid,
                        number,
                        rows,
                        expected = statement.rows,
                        "a statement touched another number of rows than it should: the vote is no"
                    );
                    return Ok(Report::No);
                }
                Err(_) if self.link.allowance.is_spent() => {
                    tracing::info!(
                        gid,
                        number,
                        "a statement's answer is too large: the vote is no"
                    );
                    return Ok(Report::No);
                }
                Err(error) => return refused(gid, number, error),
            }
        }
        let prepared = format!("PREPARE TRANSACTION '{gid}'");
        match self.link.client.batch_execute(&prepared).await {
            Ok(()) => Ok(Report::Yes),
            Err(error) => refused(gid, work.statements.len() + 1, error),
        }
    }

    async fn run(&self, statement: &proto::Statement) -> Result<u64, tokio_postgres::Error> {
        let texts = statement
            .parameters
            .iter()
            .map(|it| Text(it.text.as_deref()));
        let texts: Vec<Text<'_>> = texts.collect();
        let parameters: Vec<&(dyn ToSql + Sync)> =
            texts.iter().map(|it| it as &(dyn ToSql + Sync)).collect();
        self.link.client.execute(&statement.sql, &parameters).await
    }

    pub(super) async fn commit(&mut self, gid: &str) -> Result<Report, SessionError> {
        if self.end("COMMIT PREPARED", gid).await? || self.has_committed(gid).await? {
            return Ok(Report::Committed);
        }
        Ok(Report::Unknown)
    }

    pub(super) async fn abort(&mut self, gid: &str) -> Result<Report, SessionError> {
        if !self.end("ROLLBACK PREPARED", gid).await? && self.has_committed(gid).await? {
            return Ok(Report::Committed);
        }
        Ok(Report::Aborted)
    }

    /// Ends what is prepared; false if nothing of this name is.
    async fn end(&self, how: &str, gid: &str) -> Result<bool, SessionError> {
        match self
            .link
            .client
            .batch_execute(&format!("{how} '{gid}'"))
            .await
        {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn is_prepared(&self, gid: &str) -> Result<bool, SessionError> {
        let look =
            "SELECT 1 FROM pg_prepared_xacts WHERE gid = $1 AND database = current_database()";
        let found = self.link.client.query_opt(look, &[&gid]).await?;
        Ok(found.is_some())
    }

    async fn has_committed(&self, gid: &str) -> Result<bool, SessionError> {
        let look = "SELECT 1 FROM atoll_branches WHERE gid = $1";
        match self.link.client.query_opt(look, &[&gid]).await {
            Ok(row) => Ok(row.is_some()),
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                self.link.client.batch_execute(TABLE).await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Names that begin so and are prepared for longer than so many seconds.
    pub(super) async fn held(
        &mut self,
        prefix: &str,
        seconds: i64,
        max: i64,
    ) -> Result<Vec<String>, SessionError> {
        let look = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() \
             AND starts_with(gid, $1) AND prepared < now() - $2::bigint * interval '1 second' \
             ORDER BY prepared LIMIT $3";
        let rows = self
            .link
            .client
            .query(look, &[&prefix, &seconds, &max])
            .await?;
        let name = |row: &Row| row.try_get(0);
        let names: Result<Vec<String>, _> = rows.iter().map(name).collect();
        Ok(names?)
    }

    /// Deletes rows of what ended long ago.
    pub(super) async fn sweep(&mut self) -> Result<(), SessionError> {
        match self.link.client.batch_execute(SWEEP).await {
            Err(error) if error.code() != Some(&SqlState::UNDEFINED_TABLE) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// What an error comes to while nothing is prepared: a no, if trying again would come to the same.
fn refused(gid: &str, number: usize, error: tokio_postgres::Error) -> Result<Report, SessionError> {
    let Some(said) = error.as_db_error() else {
        return Err(error.into());
    };
    let code = said.code();
    // Connections, resources, operators and the system; locks that others hold; what PostgreSQL
    // itself says to try again.
    let class = code.code().get(..2).unwrap_or_default();
    let is_passing = ["08", "53", "57", "58", "XX"].contains(&class)
        || [
            &SqlState::LOCK_NOT_AVAILABLE,
            &SqlState::T_R_SERIALIZATION_FAILURE,
            &SqlState::T_R_DEADLOCK_DETECTED,
        ]
        .contains(&code);
    if is_passing {
        return Err(error.into());
    }
    // Its words, and the statement, may hold data.
    tracing::info!(
        gid,
        number,
        code = code.code(),
        table = said.table(),
        column = said.column(),
        constraint = said.constraint(),
        "a database refused a statement: the vote is no"
    );
    Ok(Report::No)
}
