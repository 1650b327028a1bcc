//! The first line of a script or library: `#!lua name=… flags=…`.

use bytes::Bytes;

/// What a script says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// It changes nothing.
    NoWrites,
    /// It may run where there is no memory left.
    AllowOom,
    /// It may run on old data.
    AllowStale,
    /// It does not want to run in a cluster.
    NoCluster,
    /// It may touch keys of several slots.
    AllowCrossSlotKeys,
}

impl Flag {
    /// All flags.
    pub const ALL: [Flag; 5] = [
        Flag::NoWrites,
        Flag::AllowOom,
        Flag::AllowStale,
        Flag::NoCluster,
        Flag::AllowCrossSlotKeys,
    ];

    /// As scripts write it.
    pub fn name(self) -> &'static str {
        match self {
            Flag::NoWrites => "no-writes",
            Flag::AllowOom => "allow-oom",
            Flag::AllowStale => "allow-stale",
            Flag::NoCluster => "no-cluster",
            Flag::AllowCrossSlotKeys => "allow-cross-slot-keys",
        }
    }

    /// The flag of this name.
    pub fn named(name: &[u8]) -> Option<Flag> {
        let is_named = |flag: &Flag| flag.name().as_bytes() == name;
        Flag::ALL.into_iter().find(is_named)
    }
}

/// What the first line of a script says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shebang {
    /// Whether there is one.
    pub is_there: bool,
    /// What it says.
    pub flags: Vec<Flag>,
}

impl Shebang {
    /// Whether the script says that it changes nothing.
    pub fn only_reads(&self) -> bool {
        self.flags.contains(&Flag::NoWrites)
    }
}

/// The words of the first line, if it is one of these, without the mark.
fn first_line(code: &[u8]) -> Option<&[u8]> {
    let rest = code.strip_prefix(b"#!")?;
    let end = rest.iter().position(|byte| *byte == b'\n');
    Some(&rest[..end.unwrap_or(rest.len())])
}

/// What is to be compiled: lines keep their numbers.
pub(super) fn body(code: &[u8]) -> &[u8] {
    match first_line(code) {
        Some(line) => &code[2 + line.len()..],
        None => code,
    }
}

/// Words between blanks; parts in double quotes lose these.
fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quoted = false;
    for byte in line {
        match byte {
            b'"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            b' ' | b'\t' | b'\r' if !quoted => words.extend(word.take()),
            byte => word.get_or_insert_default().push(*byte),
        }
    }
    words.extend(word);
    (!quoted).then_some(words)
}

fn text(bytes: &[u8]) -> String {
    /// Of what is wrong so much is told back.
    const ECHOED_BYTES_MAX: usize = 128;
    String::from_utf8_lossy(&bytes[..bytes.len().min(ECHOED_BYTES_MAX)]).into_owned()
}

/// What a script's first line says.
///
/// # Errors
/// The error's whole text, where it says what nobody knows.
pub fn script_flags(code: &[u8]) -> Result<Shebang, String> {
    let Some(line) = first_line(code) else {
        return Ok(Shebang::default());
    };
    let words = words(line).ok_or("ERR Invalid engine in script shebang")?;
    let mut words = words.into_iter();
    // A blank before the engine's name is no name.
    let engine = words.next().filter(|_| !line.starts_with(b" "));
    let engine = engine.unwrap_or_default();
    if engine != b"lua" {
        return Err(format!(
            "ERR Unexpected engine in script shebang: {}",
            text(&engine)
        ));
    }
    let mut flags = Vec::new();
    for word in words {
        let Some(listed) = word.strip_prefix(b"flags=") else {
            return Err(format!("ERR Unknown lua shebang option: {}", text(&word)));
        };
        for name in listed.split(|byte| *byte == b',') {
            match Flag::named(name) {
                Some(flag) => flags.push(flag),
                None if name.is_empty() => {}
                None => {
                    return Err(format!(
                        "ERR Unexpected flag in script shebang: {}",
                        text(name)
                    ));
                }
            }
        }
    }
    Ok(Shebang {
        is_there: true,
        flags,
    })
}

/// The name that a library's first line gives it.
///
/// # Errors
/// The error's whole text, where it gives none.
pub fn library_name(code: &[u8]) -> Result<Bytes, String> {
    let line = first_line(code).ok_or("ERR Missing library metadata")?;
    let words = words(line).ok_or("ERR Invalid library metadata")?;
    let mut words = words.into_iter().peekable();
    let engine = words.next_if(|word| !line.starts_with(b" ") && !word.contains(&b'='));
    let engine = engine.unwrap_or_default();
    let mut name = None;
    for word in words {
        let Some(given) = word.strip_prefix(b"name=") else {
            return Err(format!("ERR Invalid metadata value given: {}", text(&word)));
        };
        if name.is_some() {
            return Err(
                "ERR Invalid metadata value, name argument was given multiple times".to_owned(),
            );
        }
        name = Some(Bytes::copy_from_slice(given));
    }
    let name = name.ok_or("ERR Library name was not given")?;
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if name.is_empty() || !name.iter().all(is_allowed) {
        return Err(
            "ERR Library names can only contain letters, numbers, or underscores(_) and must be \
             at least one character long"
                .to_owned(),
        );
    }
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(format!("ERR Engine '{}' not found", text(&engine)));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags() {
        let flags = |code: &str| script_flags(code.as_bytes());
        assert_eq!(flags("return 1"), Ok(Shebang::default()));
        let read = flags("#!lua flags=no-writes,allow-oom\nreturn 1").unwrap();
        assert!(read.only_reads() && read.is_there);
        assert_eq!(flags("#!lua flags=\n1").unwrap().flags, []);
        for (code, refusal) in [
            (
                "#!not-lua\n",
                "ERR Unexpected engine in script shebang: not-lua",
            ),
            (
                "#!lua badger=data\n",
                "ERR Unknown lua shebang option: badger=data",
            ),
            (
                "#!lua flags=allow-oom,what?\n",
                "ERR Unexpected flag in script shebang: what?",
            ),
        ] {
            assert_eq!(flags(code), Err(refusal.to_owned()));
        }
    }

    #[test]
    fn names() {
        let name = |code: &str| library_name(code.as_bytes());
        assert_eq!(name("#!LUA name=a_1\nx"), Ok("a_1".into()));
        assert_eq!(name("#!lua name=\"foo\""), Ok("foo".into()));
        for (code, refusal) in [
            ("x", "ERR Missing library metadata"),
            ("#!lua\n", "ERR Library name was not given"),
            ("#! name=test\n", "ERR Engine '' not found"),
            (
                "#!lua name=a name=b",
                "ERR Invalid metadata value, name argument was given multiple times",
            ),
            (
                "#!lua name=a foo=bar",
                "ERR Invalid metadata value given: foo=bar",
            ),
            ("#!bad name=a", "ERR Engine 'bad' not found"),
        ] {
            assert_eq!(name(code), Err(refusal.to_owned()), "{code}");
        }
        assert!(
            name("#!lua name=a\0b")
                .unwrap_err()
                .starts_with("ERR Library names")
        );
    }

    #[test]
    fn lines_keep_their_numbers() {
        assert_eq!(body(b"#!lua\nreturn 1"), b"\nreturn 1");
        assert_eq!(body(b"#!lua"), b"");
        assert_eq!(body(b"return"), b"return");
    }
}
