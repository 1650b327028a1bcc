//! How a process ended, as a Status: clients read the exit code out of it.

use serde_json::{Value, json};

use crate::core::status::Failure;

/// The process ended with this code; who was killed by a signal has 128 and its number.
pub fn exited(code: u8) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    let message = "command terminated with non-zero exit code";
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("{message}: command terminated with exit code {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

/// It is not known how it ended, or it could not begin.
pub fn failed(why: &str) -> Value {
    let why = format!("error executing command in container: {why}");
    let mut status = Failure::internal(format!("Internal error occurred: {why}")).to_json();
    status["details"] = json!({"causes": [{"message": why}]});
    status
}

/// As older protocols say it: nothing if it went well.
pub(super) fn text(status: &Value) -> Option<&str> {
    match status["status"].as_str() {
        Some("Success") => None,
        _ => Some(status["message"].as_str().unwrap_or("unknown error")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_find_the_exit_code() {
        assert_eq!(text(&exited(0)), None);
        let ended = exited(137);
        let cause = &ended["details"]["causes"][0];
        assert_eq!(cause["reason"], "ExitCode");
        assert_eq!(cause["message"], "137");
        assert_eq!(
            text(&ended),
            Some(
                "command terminated with non-zero exit code: command terminated with exit code 137"
            )
        );
        let failed = failed("no such file");
        assert_eq!(failed["reason"], "InternalError");
        assert_eq!(
            text(&failed),
            Some("Internal error occurred: error executing command in container: no such file")
        );
    }
}
