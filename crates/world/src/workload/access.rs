//! What a program can reach in the file system, kept by Landlock (landlock(7)).
//!
//! Landlock only allows: a rule opens a directory and all below it. So where something below a
//! directory is denied, its other entries are opened one by one, as they are at the start; the
//! directory itself can't be listed then. Links are passed over, since what they lead to has an
//! entry of its own. What the running kernel doesn't know is left out, and told.

use std::{
    fs,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::{spec::LandlockSpec, state::Force};

/// The newest interface whose rules are used here (Linux 6.12).
const NEWEST: ABI = ABI::V6;
/// No more directories and files are opened.
const RULES_MAX: usize = 8192;
/// Devices that any program may use.
const DEVICES: [&str; 9] = [
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/shm",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
];

/// Prepares the rules. They are to be put in force in the program's own process.
///
/// # Errors
/// Why they can't be.
pub(super) fn prepare(
    spec: &LandlockSpec,
    notes: &mut Vec<String>,
) -> Result<RulesetCreated, String> {
    let real = |paths: &[PathBuf]| -> Vec<PathBuf> {
        let real = paths.iter().filter_map(|path| fs::canonicalize(path).ok());
        real.collect()
    };
    let denied = real(&spec.denied);
    let mut rules = Rules::new(notes)?;
    for path in opened(Path::new("/"), &denied) {
        rules.allow(&path, AccessFs::from_read(NEWEST))?;
    }
    for path in real(&spec.readable) {
        for path in opened(&path, &denied) {
            rules.allow(&path, AccessFs::from_read(NEWEST))?;
        }
    }
    let devices = DEVICES.iter().map(PathBuf::from).collect::<Vec<_>>();
    let is_denied = |path: &PathBuf| denied.iter().any(|denied| path.starts_with(denied));
    let mut foreign = real(&spec.foreign);
    foreign.retain(|path| !is_denied(path));
    let writable = real(&spec.writable).into_iter().chain(foreign);
    for path in writable.chain(real(&devices)) {
        for path in opened(&path, &denied) {
            rules.allow(&path, AccessFs::from_all(NEWEST))?;
        }
    }
    Ok(rules.ruleset)
}

/// Puts the rules in force for the calling thread and its children.
pub(super) fn restrict(rules: RulesetCreated) -> Force {
    match rules.restrict_self().map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => Force::Full,
        Ok(RulesetStatus::PartiallyEnforced) => Force::Partly,
        Ok(RulesetStatus::NotEnforced) | Err(_) => Force::None,
    }
}

/// A directory, or if something below it is denied, what is not, piece by piece.
fn opened(path: &Path, denied: &[PathBuf]) -> Vec<PathBuf> {
    let below: Vec<PathBuf> = denied
        .iter()
        .filter(|denied| denied.starts_with(path) && *denied != path)
        .cloned()
        .collect();
    if below.is_empty() {
        return vec![path.to_path_buf()];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
        .map(|entry| entry.path())
        .filter(|path| !below.contains(path))
        .flat_map(|path| opened(&path, &below))
        .collect()
}

struct Rules<'a> {
    ruleset: RulesetCreated,
    count: usize,
    notes: &'a mut Vec<String>,
}

impl<'a> Rules<'a> {
    fn new(notes: &'a mut Vec<String>) -> Result<Self, String> {
        let created = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))
            // What runs inside can't send signals to what runs outside.
            .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
            .and_then(Ruleset::create);
        Ok(Rules {
            ruleset: created.map_err(|error| error.to_string())?,
            count: 0,
            notes,
        })
    }

    fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) -> Result<(), String> {
        if self.count == RULES_MAX {
            let note = format!("only {RULES_MAX} paths beside what is denied can be reached");
            self.notes.push(note);
        }
        self.count += 1;
        // One that is gone meanwhile needs no rule.
        let Some(opened) = PathFd::new(path).ok().filter(|_| self.count <= RULES_MAX) else {
            return Ok(());
        };
        let is_dir = fs::metadata(path).is_ok_and(|metadata| metadata.is_dir());
        let access = if is_dir {
            access
        } else {
            access & AccessFs::from_file(NEWEST)
        };
        let added = (&mut self.ruleset).add_rule(PathBeneath::new(opened, access));
        added.map(drop).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beside_the_denied_is_opened_piece_by_piece() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in ["a/data/x", "a/other", "b"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("a"), root.join("link")).unwrap();
        let denied = [root.join("a/data")];
        let mut found = opened(root, &denied);
        found.sort();
        assert_eq!(found, [root.join("a/other"), root.join("b")]);
        assert_eq!(opened(&root.join("b"), &denied), [root.join("b")]);
        let inside = root.join("a/data/x");
        assert_eq!(opened(&inside, &denied), [inside]);
    }
}
