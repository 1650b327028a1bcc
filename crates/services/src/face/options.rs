//! What stands behind the question mark.

use crate::core::{
    kinds::Kind,
    lifecycle::Propagation,
    selector::{FieldSelector, LabelSelector},
    status::Failure,
};

/// The options of a request, each at most once; unknown ones are ignored, as Kubernetes does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options(Vec<(String, String)>);

/// What is done about fields that the schema does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped, and the client is told.
    Warn,
    /// The request is refused.
    Strict,
}

impl Options {
    /// Reads a query.
    pub(crate) fn parse(query: Option<&str>) -> Options {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Options(pairs.into_owned().collect())
    }

    /// A text; none if it is not there or empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name)?;
        Some(found.1.as_str()).filter(|text| !text.is_empty())
    }

    /// A flag.
    ///
    /// # Errors
    /// It is neither true nor false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Failure> {
        match self.text(name) {
            None | Some("false" | "0" | "f" | "F" | "False" | "FALSE") => Ok(false),
            Some("true" | "1" | "t" | "T" | "True" | "TRUE") => Ok(true),
            Some(other) => Err(Failure::bad_request(format!(
                "{name} is true or false, not {other:?}"
            ))),
        }
    }

    /// A whole number, not negative.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Failure::bad_request(format!("{name} is a whole number, not {text:?}"))
            })
        };
        self.text(name).map(parse).transpose()
    }

    /// Whether nothing is to be written.
    ///
    /// # Errors
    /// Something else is asked for.
    pub(crate) fn is_dry_run(&self) -> Result<bool, Failure> {
        match self.text("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(Failure::bad_request(format!(
                "Invalid value: {other:?}: dryRun is All or nothing"
            ))),
        }
    }

    /// What is done about unknown fields.
    ///
    /// # Errors
    /// It is none of the three.
    pub(crate) fn field_validation(&self) -> Result<FieldValidation, Failure> {
        match self.text("fieldValidation") {
            Some("Ignore") => Ok(FieldValidation::Ignore),
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => Err(Failure::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }

    /// Which objects, by their labels.
    ///
    /// # Errors
    /// It can't be read.
    pub(crate) fn labels(&self) -> Result<LabelSelector, Failure> {
        LabelSelector::parse(self.text("labelSelector").unwrap_or_default())
    }

    /// Which objects, by their fields.
    ///
    /// # Errors
    /// It can't be read, or the kind has no such field to select by.
    pub(crate) fn fields(&self, kind: &'static Kind) -> Result<FieldSelector, Failure> {
        FieldSelector::parse(kind, self.text("fieldSelector").unwrap_or_default())
    }

    /// A revision; 0 is any.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn revision(&self) -> Result<Option<i64>, Failure> {
        let parse = |text: &str| {
            let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
            number.ok_or_else(|| {
                Failure::bad_request(format!(
                    "resourceVersion: Invalid value: {text:?}: it is given by the server"
                ))
            })
        };
        self.text("resourceVersion").map(parse).transpose()
    }

    /// What becomes of dependents.
    ///
    /// # Errors
    /// It is none of the three.
    pub(crate) fn propagation(&self) -> Result<Option<Propagation>, Failure> {
        self.text("propagationPolicy").map(propagation).transpose()
    }
}

/// What becomes of dependents, by its name.
///
/// # Errors
/// It is none of the three.
pub(crate) fn propagation(name: &str) -> Result<Propagation, Failure> {
    match name {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        other => Err(Failure::bad_request(format!(
            "propagationPolicy: Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = Options::parse(Some("watch=1&limit=500&x=a%20b&dryRun=All&empty="));
        assert_eq!(options.flag("watch"), Ok(true));
        assert_eq!(options.number("limit"), Ok(Some(500)));
        assert_eq!(options.text("x"), Some("a b"));
        assert_eq!(options.text("empty"), None);
        assert_eq!(options.is_dry_run(), Ok(true));
        for (query, wrong) in [("limit=-1", "limit"), ("limit=x", "limit")] {
            assert!(Options::parse(Some(query)).number(wrong).is_err());
        }
        assert!(Options::parse(Some("dryRun=x")).is_dry_run().is_err());
        assert!(
            Options::parse(Some("fieldValidation=x"))
                .field_validation()
                .is_err()
        );
        assert!(
            Options::parse(Some("resourceVersion=x"))
                .revision()
                .is_err()
        );
    }
}
