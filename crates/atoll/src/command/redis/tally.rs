//! What became of the keys of a file.

use serde::Serialize;

use crate::output::View;

/// So many failures are told one by one.
const FAILURES_TOLD_MAX: usize = 100;

/// How many keys, and what happened to them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    /// The file.
    pub(super) file: String,
    /// The version of the Redis that wrote it, if the file says so.
    pub(super) redis_version: Option<String>,
    /// Keys that were written.
    pub(super) imported: u64,
    /// Keys whose time is over.
    pub(super) expired: u64,
    /// Keys that were there already, and were left as they are.
    pub(super) present: u64,
    /// Keys that could not be written.
    pub(super) failed: u64,
    /// Libraries of functions that were passed over.
    pub(super) functions_skipped: u64,
    /// Data of modules beside the keys that were passed over.
    pub(super) module_data_skipped: u64,
    /// The first of those that failed.
    pub(super) failures: Vec<Failure>,
}

/// A key that could not be written.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    /// The number of its database.
    pub(super) database: u64,
    /// Its name; bytes that are no text are replaced.
    pub(super) key: String,
    /// Why.
    pub(super) why: String,
}

impl Tally {
    pub(super) fn fail(&mut self, database: u64, key: &[u8], why: impl Into<String>) {
        self.failed += 1;
        if self.failures.len() < FAILURES_TOLD_MAX {
            self.failures.push(Failure {
                database,
                key: String::from_utf8_lossy(key).into_owned(),
                why: why.into(),
            });
        }
    }
}

impl View for Tally {
    fn text(&self) -> String {
        let mut lines = vec![format!(
            "{}: {} keys imported, {} skipped as expired, {} already there, {} failed",
            self.file, self.imported, self.expired, self.present, self.failed
        )];
        for it in &self.failures {
            lines.push(format!(
                "  {} (database {}): {}",
                it.key, it.database, it.why
            ));
        }
        let told = self.failures.len() as u64;
        if self.failed > told {
            lines.push(format!("  and {} more", self.failed - told));
        }
        if self.functions_skipped > 0 {
            lines.push(format!(
                "libraries of functions skipped: {}; FUNCTION LOAD loads them",
                self.functions_skipped
            ));
        }
        if self.module_data_skipped > 0 {
            lines.push(format!(
                "modules whose data were skipped: {}; there are no modules here",
                self.module_data_skipped
            ));
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_told_with_a_limit() {
        let mut tally = Tally {
            file: "f".into(),
            imported: 3,
            ..Tally::default()
        };
        for number in 0..102 {
            tally.fail(1, format!("k{number}").as_bytes(), "why");
        }
        let text = tally.text();
        assert!(text.starts_with(
            "f: 3 keys imported, 0 skipped as expired, 0 already there, 102 failed\n  \
             k0 (database 1): why\n"
        ));
        assert!(text.ends_with("  k99 (database 1): why\n  and 2 more"));
    }
}
