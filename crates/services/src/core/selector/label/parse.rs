//! The grammar of a query's label selector: requirements with commas between, each a key, or `!`
//! and a key, or a key, an operator and a value, or a key, `in` or `notin` and a list of values.

use std::collections::BTreeSet;

use super::{super::super::names, Operator, Requirement};

const OPERATORS: [&str; 11] = ["(", ")", ",", "!=", "!", "==", "=", ">", "<", "in", "notin"];

/// A piece of the text; the last is empty and stands for its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Symbol(&'a str),
    Word(&'a str),
    Unknown(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> String {
        match self {
            Token::Symbol(text) | Token::Word(text) => text.to_owned(),
            Token::Unknown(text) => format!("error expected: keyword found '{text}'"),
            Token::End => String::new(),
        }
    }

    /// As a key or a value, which `in` and `notin` may be.
    fn word(self) -> Option<&'a str> {
        match self {
            Token::Word(text) | Token::Symbol(text @ ("in" | "notin")) => Some(text),
            _ => None,
        }
    }
}

fn is_symbol(byte: u8) -> bool {
    matches!(byte, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// What is left to read; copying it looks ahead.
#[derive(Clone, Copy)]
struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    fn peek(mut self) -> Token<'a> {
        self.next()
    }

    fn next(&mut self) -> Token<'a> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = self.rest.bytes().next() else {
            return Token::End;
        };
        if is_symbol(first) {
            let starts = |symbol: &&&str| self.rest.starts_with(**symbol);
            return match OPERATORS.iter().find(starts) {
                Some(symbol) => Token::Symbol(self.take(symbol.len())),
                None => Token::Unknown(self.take(1)),
            };
        }
        let is_end = |byte: u8| is_symbol(byte) || is_space(byte);
        let end = self
            .rest
            .bytes()
            .position(is_end)
            .unwrap_or(self.rest.len());
        match self.take(end) {
            word @ ("in" | "notin") => Token::Symbol(word),
            word => Token::Word(word),
        }
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }
}

/// Reads the requirements of a text.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut lexer = Lexer { rest: text };
    let mut requirements = Vec::new();
    loop {
        let next = lexer.peek();
        if next == Token::End {
            return Ok(requirements);
        }
        if next.word().is_none() && next != Token::Symbol("!") {
            let found = next.text();
            return Err(format!(
                "found '{found}', expected: !, identifier, or 'end of string'"
            ));
        }
        let read = requirement(&mut lexer);
        requirements.push(read.map_err(|why| format!("unable to parse requirement: {why}"))?);
        match lexer.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => {}
            other => {
                let found = other.text();
                return Err(format!("found '{found}', expected: ',' or 'end of string'"));
            }
        }
        let after = lexer.peek();
        if after.word().is_none() && after != Token::Symbol("!") {
            return Err(format!(
                "found '{}', expected: identifier after ','",
                after.text()
            ));
        }
    }
}

fn requirement(lexer: &mut Lexer<'_>) -> Result<Requirement, String> {
    let is_negated = lexer.peek() == Token::Symbol("!");
    if is_negated {
        lexer.next();
    }
    let token = lexer.next();
    let key = token
        .word()
        .ok_or_else(|| format!("found '{}', expected: identifier", token.text()))?;
    let wrong = names::qualified_name(key);
    if !wrong.is_empty() {
        return Err(format!(
            "<nil>: Invalid value: {key:?}: {}",
            wrong.join("; ")
        ));
    }
    if is_negated {
        return Requirement::new(key, Operator::DoesNotExist, []);
    }
    if matches!(lexer.peek(), Token::End | Token::Symbol(",")) {
        return Requirement::new(key, Operator::Exists, []);
    }
    let token = lexer.next();
    let operator = match token {
        Token::Symbol("in") => Operator::In,
        Token::Symbol("notin") => Operator::NotIn,
        Token::Symbol("=" | "==") => Operator::Equals,
        Token::Symbol("!=") => Operator::NotEquals,
        Token::Symbol(">") => Operator::GreaterThan,
        Token::Symbol("<") => Operator::LessThan,
        _ => {
            let found = token.text();
            return Err(format!(
                "found '{found}', expected: in, notin, =, ==, !=, gt, lt"
            ));
        }
    };
    let values = match operator {
        Operator::In | Operator::NotIn => list(lexer)?,
        _ => [value(lexer)?].into(),
    };
    Requirement::new(key, operator, values)
}

/// The one value behind `=`; none there is an empty one.
fn value(lexer: &mut Lexer<'_>) -> Result<String, String> {
    if matches!(lexer.peek(), Token::End | Token::Symbol(",")) {
        return Ok(String::new());
    }
    let token = lexer.next();
    let word = token.word();
    word.map(str::to_owned)
        .ok_or_else(|| format!("found '{}', expected: identifier", token.text()))
}

/// `(a,b)`. A place between commas with nothing in it holds the empty value.
fn list(lexer: &mut Lexer<'_>) -> Result<BTreeSet<String>, String> {
    let token = lexer.next();
    if token != Token::Symbol("(") {
        return Err(format!("found '{}' expected: '('", token.text()));
    }
    let mut values = BTreeSet::new();
    let next = lexer.peek();
    if next.word().is_none() && !matches!(next, Token::Symbol("," | ")")) {
        return Err(format!(
            "found '{}', expected: ',', ')' or identifier",
            next.text()
        ));
    }
    loop {
        let word = lexer.peek().word();
        values.insert(word.unwrap_or_default().to_owned());
        if word.is_some() {
            lexer.next();
        }
        match lexer.next() {
            Token::Symbol(")") => return Ok(values),
            Token::Symbol(",") => {}
            other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
        }
    }
}
