//! Passwords: from the terminal without echo, from a file, or from a variable; printed nowhere.
#![allow(clippy::disallowed_methods)] // The command line is the edge: it talks to its terminal.

use std::{
    env, fmt, fs,
    io::{self, BufRead as _, Read as _, Write as _},
    path::Path,
};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::CliError;

/// The longest password we read.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// A password. Not printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A password from a file (`-`: standard input), else from a variable, else asked for.
///
/// `twice`: a new password is asked for twice, since nobody sees what they type.
///
/// # Errors
/// None of the three is there, or the two that were typed differ.
pub(crate) fn obtain(
    file: Option<&Path>,
    variable: &str,
    prompt: &str,
    twice: bool,
) -> Result<Secret, CliError> {
    if let Some(path) = file {
        return from_file(path);
    }
    if let Ok(password) = env::var(variable) {
        return Ok(Secret(password));
    }
    let first = ask(prompt, variable)?;
    if twice && ask("Again: ", variable)? != first {
        return Err(CliError::usage(
            "the two passwords differ",
            "type the same one twice",
        ));
    }
    Ok(first)
}

fn from_file(path: &Path) -> Result<Secret, CliError> {
    let failed = |error| CliError::file("read", path, error);
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(PASSWORD_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
    } else {
        let file = fs::File::open(path).map_err(failed)?;
        file.take(PASSWORD_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
    }
    Ok(Secret(first_line(&text).to_owned()))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

fn ask(prompt: &str, variable: &str) -> Result<Secret, CliError> {
    let terminal = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty");
    let Ok(mut terminal) = terminal else {
        return Err(CliError::usage(
            "a password is needed, and there is no terminal to ask at",
            format!("set {variable}, or name a file that holds it (see --help)"),
        ));
    };
    let failed = |error: io::Error| CliError::file("ask at", "/dev/tty", error);
    let before = tcgetattr(&terminal).map_err(|error| failed(error.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(|error| failed(error.into()))?;
    let mut line = String::new();
    let read = write!(terminal, "{prompt}").and_then(|()| {
        io::BufReader::new(&terminal)
            .take(PASSWORD_BYTES_MAX)
            .read_line(&mut line)
    });
    // Back to how it was before anything else, whatever came of the reading.
    let restored = tcsetattr(&terminal, OptionalActions::Now, &before);
    read.map_err(failed)?;
    restored.map_err(|error| failed(error.into()))?;
    Ok(Secret(first_line(&line).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_counts_without_its_line_break_and_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "open sesame \nsecond line\n").unwrap();
        let secret = obtain(Some(&path), "ATOLL_PASSWORD_NOT_SET", "", true).unwrap();
        assert_eq!(secret.0, "open sesame ");
        assert!(!format!("{secret:?}").contains("sesame"));
        let missing = obtain(Some(&folder.path().join("none")), "X", "", false).unwrap_err();
        assert_eq!(missing.exit_code(), 1);
    }
}
