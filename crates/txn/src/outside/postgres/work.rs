//! What a database is to do: statements of SQL, each with its parameters and the number of rows
//! that it must touch.
//!
//! A statement must not end the transaction that it is a part of, so only those are taken that
//! read and write data. Each is sent by itself, with its parameters beside it.

use prost::Message as _;

use crate::proto;

/// So many statements one participant may have.
const STATEMENTS_MAX: usize = 64;
/// So many parameters one statement may have.
const PARAMETERS_MAX: usize = 1_000;
/// What a statement may begin with.
const BEGINNINGS: [&str; 9] = [
    "insert", "update", "delete", "select", "with", "merge", "values", "call", "lock",
];

/// What can't be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// Damaged, or of a newer version.
    #[error("what it is to do can't be read: {0}")]
    Unreadable(#[from] prost::DecodeError),
    /// There is nothing to do.
    #[error("no statement is given")]
    Nothing,
    /// Too many.
    #[error("{found} {what}, of which there may be {max}")]
    TooMany {
        /// What.
        what: &'static str,
        /// So many.
        found: usize,
        /// So many may be.
        max: usize,
    },
    /// A statement that is none of data.
    #[error(
        "statement {number} must begin with one of INSERT, UPDATE, DELETE, SELECT, WITH, MERGE, VALUES, CALL and LOCK"
    )]
    Statement {
        /// Counted from 1.
        number: usize,
    },
    /// A null byte, which PostgreSQL's protocol has no place for.
    #[error("statement {number} has a null byte in it")]
    Null {
        /// Counted from 1.
        number: usize,
    },
}

/// Statements that were checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// In the order in which they are run.
    pub statements: Vec<proto::Statement>,
}

impl Work {
    /// Checks them.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub fn new(statements: Vec<proto::Statement>) -> Result<Work, WorkError> {
        let too_many = |what, found, max| WorkError::TooMany { what, found, max };
        if statements.is_empty() {
            return Err(WorkError::Nothing);
        }
        if statements.len() > STATEMENTS_MAX {
            return Err(too_many("statements", statements.len(), STATEMENTS_MAX));
        }
        for (number, statement) in (1..).zip(&statements) {
            if !is_of_data(&statement.sql) {
                return Err(WorkError::Statement { number });
            }
            let parameters = statement
                .parameters
                .iter()
                .filter_map(|it| it.text.as_ref());
            if parameters
                .chain([&statement.sql])
                .any(|it| it.contains('\0'))
            {
                return Err(WorkError::Null { number });
            }
            let found = statement.parameters.len();
            if found > PARAMETERS_MAX {
                return Err(too_many("parameters", found, PARAMETERS_MAX));
            }
        }
        Ok(Work { statements })
    }

    /// As the log keeps it.
    pub fn encode(self) -> bytes::Bytes {
        let statements = self.statements;
        proto::PostgresWork { statements }.encode_to_vec().into()
    }

    /// Out of that.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub fn decode(bytes: &[u8]) -> Result<Work, WorkError> {
        Work::new(proto::PostgresWork::decode(bytes)?.statements)
    }
}

/// Whether a statement's first word says that it reads or writes data. Comments before it are
/// not looked through.
fn is_of_data(sql: &str) -> bool {
    let sql = sql.trim_start();
    let end = sql.find(|it: char| !it.is_ascii_alphabetic());
    let word = &sql[..end.unwrap_or(sql.len())];
    BEGINNINGS.iter().any(|it| it.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use atoll_world::golden::golden;

    use super::*;

    fn statement(sql: &str) -> proto::Statement {
        proto::Statement {
            sql: sql.to_owned(),
            ..proto::Statement::default()
        }
    }

    #[test]
    fn work_comes_back_as_it_was_written() {
        let statement = proto::Statement {
            parameters: vec![
                proto::Parameter { text: None },
                proto::Parameter {
                    text: Some("7".to_owned()),
                },
            ],
            rows: Some(1),
            ..statement("UPDATE a SET b = $1 WHERE c = $2")
        };
        let work = Work::new(vec![statement]).expect("of data");
        let stored = golden("txn-postgres-work-1.bin", &work.clone().encode());
        assert_eq!(Work::decode(&stored), Ok(work));
    }

    #[test]
    fn only_statements_of_data_are_taken() {
        for right in [
            " update a set b = 1",
            "WITH x AS (SELECT 1) SELECT * FROM x",
            "select(1)",
        ] {
            assert!(Work::new(vec![statement(right)]).is_ok(), "{right}");
        }
        for wrong in [
            "COMMIT",
            "commit;",
            "END",
            "ABORT",
            "ROLLBACK PREPARED 'x'",
            "PREPARE TRANSACTION 'x'",
            "BEGIN",
            "SAVEPOINT a",
            "SET ROLE postgres",
            "/* */ COMMIT",
            "-- x\nCOMMIT",
            "DO $$ BEGIN COMMIT; END $$",
            "selects 1",
            "",
        ] {
            assert!(Work::new(vec![statement(wrong)]).is_err(), "{wrong}");
        }
        assert_eq!(Work::new(Vec::new()), Err(WorkError::Nothing));
        assert!(Work::new(vec![statement("select 1"); STATEMENTS_MAX + 1]).is_err());
        assert!(Work::new(vec![statement("select '\0'")]).is_err());
        assert!(Work::decode(b"\xff").is_err());
    }
}
