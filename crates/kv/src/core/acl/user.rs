//! The rules of one user.

use bytes::Bytes;

use super::{RuleError, Selector};

/// So many bytes the rules of a user may have in their canonical form.
pub const RULES_BYTES_MAX: usize = 64 * 1024;

/// What a user may do, and whether somebody may log in by that name. At first nobody may, and
/// nothing is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    is_on: bool,
    needs_no_password: bool,
    /// `sanitize-payload`, or its opposite. What RESTORE is given is always checked here.
    sanitizes: bool,
    root: Selector,
    selectors: Vec<Selector>,
}

/// What rules say of passwords, which are not kept here.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordChange {
    /// This is the password.
    Set(Bytes),
    /// This one is not to be it any longer.
    Remove(Bytes),
    /// There is none any longer.
    Clear,
}

impl std::fmt::Debug for PasswordChange {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PasswordChange::Set(_) => "Set",
            PasswordChange::Remove(_) => "Remove",
            PasswordChange::Clear => "Clear",
        })
    }
}

impl Default for User {
    fn default() -> Self {
        User {
            is_on: false,
            needs_no_password: false,
            sanitizes: true,
            root: Selector::default(),
            selectors: Vec::new(),
        }
    }
}

/// Whether users can be called so.
///
/// # Errors
/// The reply.
pub fn check_name(name: &[u8]) -> Result<&str, &'static str> {
    if !super::patterns::is_word(name) {
        return Err("ERR Usernames can't contain spaces or null characters");
    }
    match std::str::from_utf8(name) {
        Ok("") => Err("ERR Usernames can't be empty"),
        Ok(name) => Ok(name),
        Err(_) => Err("ERR Usernames have to be UTF-8"),
    }
}

impl User {
    /// One who may do everything and has to log in.
    pub fn everything() -> User {
        User {
            is_on: true,
            root: Selector::everything(),
            ..User::default()
        }
    }

    /// One who may do nothing but log in.
    pub fn nothing() -> User {
        User {
            is_on: true,
            ..User::default()
        }
    }

    /// The same, whom any password is good for.
    #[must_use]
    pub fn without_password(self) -> User {
        User {
            needs_no_password: true,
            ..self
        }
    }

    /// Whether somebody may log in by that name.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether any password is good.
    pub fn needs_no_password(&self) -> bool {
        self.needs_no_password
    }

    /// Whether everything is allowed, now and in later releases.
    pub fn allows_everything(&self) -> bool {
        self.all_selectors().any(Selector::allows_everything)
    }

    /// The rights that are given outside of parentheses.
    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// Those in parentheses, in their order.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    pub(super) fn all_selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Changes the rules as some words say, or not at all, and tells what these say of
    /// passwords, in their order.
    ///
    /// # Errors
    /// The word that is wrong, and why.
    pub fn apply(&mut self, words: &[Bytes]) -> Result<Vec<PasswordChange>, (Bytes, RuleError)> {
        let mut next = self.clone();
        let mut changes = Vec::new();
        for word in joined(words)? {
            let change = next.apply_one(&word, Selector::apply);
            changes.extend(change.map_err(|error| (word.clone(), error))?);
            if next.text().len() > RULES_BYTES_MAX {
                return Err((word, RuleError::TooLong));
            }
        }
        *self = next;
        Ok(changes)
    }

    /// Reads rules in their canonical form. Rules about commands that this release does not
    /// know are kept: it has nothing that they could be about.
    ///
    /// # Errors
    /// The word that is wrong, and why.
    pub fn parse(text: &[u8]) -> Result<User, (Bytes, RuleError)> {
        let words = text.split(|byte| *byte == b' ');
        let words: Vec<Bytes> = words
            .filter(|word| !word.is_empty())
            .map(Bytes::copy_from_slice)
            .collect();
        let mut user = User::default();
        for word in joined(&words)? {
            match user.apply_one(&word, apply_known) {
                Ok(None) => {}
                // Passwords are kept elsewhere.
                Ok(Some(_)) => return Err((word, RuleError::Syntax)),
                Err(error) => return Err((word, error)),
            }
        }
        Ok(user)
    }

    fn apply_one(
        &mut self,
        word: &[u8],
        apply: impl Fn(&mut Selector, &[u8]) -> Result<(), RuleError>,
    ) -> Result<Option<PasswordChange>, RuleError> {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        match word {
            _ if is("on") => self.is_on = true,
            _ if is("off") => self.is_on = false,
            _ if is("nopass") => self.needs_no_password = true,
            _ if is("skip-sanitize-payload") => self.sanitizes = false,
            _ if is("sanitize-payload") => self.sanitizes = true,
            _ if is("clearselectors") => self.selectors.clear(),
            _ if is("resetpass") => {
                self.needs_no_password = false;
                return Ok(Some(PasswordChange::Clear));
            }
            _ if is("reset") => {
                *self = User::default();
                return Ok(Some(PasswordChange::Clear));
            }
            [b'>', password @ ..] => {
                self.needs_no_password = false;
                let password = Bytes::copy_from_slice(password);
                return Ok(Some(PasswordChange::Set(password)));
            }
            [b'<', password @ ..] => {
                let password = Bytes::copy_from_slice(password);
                return Ok(Some(PasswordChange::Remove(password)));
            }
            [b'#' | b'!', ..] => return Err(RuleError::PasswordHash),
            [b'(', ..] => self.selectors.push(Selector::parse(word, apply)?),
            _ => apply(&mut self.root, word)?,
        }
        Ok(None)
    }

    /// The rules in their canonical form, as ACL LIST tells them.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for flag in self.flags() {
            text.extend_from_slice(flag.as_bytes());
            text.push(b' ');
        }
        self.root.write(&mut text);
        for selector in &self.selectors {
            text.extend_from_slice(b" (");
            selector.write(&mut text);
            text.push(b')');
        }
        text
    }

    /// As ACL GETUSER tells them.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let flags = [
            ("on", self.is_on),
            ("off", !self.is_on),
            ("nopass", self.needs_no_password),
            ("skip-sanitize-payload", !self.sanitizes),
            ("sanitize-payload", self.sanitizes),
        ];
        flags
            .into_iter()
            .filter_map(|(name, set)| set.then_some(name))
    }
}

/// What [`Selector::apply`] does, but a command that is not known here is kept in mind.
fn apply_known(selector: &mut Selector, rule: &[u8]) -> Result<(), RuleError> {
    match (selector.apply(rule), rule) {
        (Err(RuleError::Unknown), [sign, name @ ..])
            if !name.is_empty() && super::patterns::is_word(name) =>
        {
            let name = name.to_ascii_lowercase();
            selector.commands.note(*sign == b'+', name);
            Ok(())
        }
        (applied, _) => applied,
    }
}

/// Words, those between parentheses together.
fn joined(words: &[Bytes]) -> Result<Vec<Bytes>, (Bytes, RuleError)> {
    let mut joined = Vec::with_capacity(words.len());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut whole = word.to_vec();
        while whole.first() == Some(&b'(') && !whole.ends_with(b")") {
            let Some(next) = words.next() else {
                return Err((word.clone(), RuleError::Parenthesis));
            };
            whole.push(b' ');
            whole.extend_from_slice(next);
        }
        joined.push(whole.into());
    }
    Ok(joined)
}
