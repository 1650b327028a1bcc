//! What the sandbox is given that is written in Rust.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use mlua::{Function, Lua, MultiValue, Table, Value};

use super::{
    End, Watch,
    arguments::{Fault, Given, bytes, expect_number},
    digest, hex,
    libraries::{bits, json, msgpack, structs},
    limits::{FUNCTIONS_MAX, LOGGED_BYTES_MAX, VALUES_MAX},
};
use crate::core::{acl::Caller, chance, command};

/// The Redis that scripts find themselves in.
const VERSION: &str = "7.4.0";
const VERSION_NUMBER: u32 = 0x0007_0400;

/// What belongs to the run that is on.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) ended: Cell<Option<End>>,
    pub(super) watch: RefCell<Option<Arc<dyn Watch>>>,
    pub(super) caller: RefCell<Option<Caller>>,
    pub(super) random: Cell<u64>,
    pub(super) resp3: Cell<bool>,
    pub(super) json: Cell<json::Settings>,
}

impl Shared {
    /// As a script finds it.
    pub(super) fn begin(&self, seed: u64, watch: Option<Arc<dyn Watch>>, caller: Option<Caller>) {
        self.caller.replace(caller);
        self.ended.set(None);
        self.watch.replace(watch);
        self.random.set(seed);
        self.resp3.set(false);
        self.json.set(json::Settings::default());
    }
}

/// A function that answers `true` and what it gives, or `false` and what is wrong: errors of
/// Rust would be no strings to scripts that catch them.
pub(super) fn function(
    lua: &Lua,
    f: impl Fn(&Lua, MultiValue) -> Given + 'static,
) -> mlua::Result<Function> {
    lua.create_function(move |lua, args: MultiValue| match f(lua, args) {
        Ok(values) if values.len() > VALUES_MAX => {
            let text = format!("at most {VALUES_MAX} values can be returned at once");
            refusal(lua, &text)
        }
        Ok(mut values) => {
            values.push_front(Value::Boolean(true));
            Ok(values)
        }
        Err(Fault::Text(text)) => refusal(lua, &text),
        Err(Fault::Lua(error)) => Err(error),
    })
}

fn refusal(lua: &Lua, text: &str) -> mlua::Result<MultiValue> {
    let text = Value::String(lua.create_string(text)?);
    Ok(MultiValue::from_vec(vec![Value::Boolean(false), text]))
}

/// One value.
pub(super) fn given(value: Value) -> Given {
    Ok(MultiValue::from_vec(vec![value]))
}

fn string(lua: &Lua, bytes: impl AsRef<[u8]>) -> Given {
    given(Value::String(lua.create_string(bytes)?))
}

/// Everything.
pub(super) fn table(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    native.raw_set("version", VERSION)?;
    native.raw_set("version_number", VERSION_NUMBER)?;
    native.raw_set("functions_max", FUNCTIONS_MAX)?;
    native.raw_set("sha1hex", function(lua, sha1hex)?)?;
    native.raw_set("log", function(lua, |_, args| log(&args))?)?;
    native.raw_set("set_repl", function(lua, |_, args| set_repl(&args))?)?;
    let of = shared.clone();
    native.raw_set(
        "acl_check_cmd",
        function(lua, move |_, args| acl(of.caller.borrow().as_ref(), &args))?,
    )?;
    native.raw_set("error_text", lua.create_function(error_text)?)?;
    native.raw_set("where", lua.create_function(|lua, ()| place(lua))?)?;
    native.raw_set(
        "used",
        lua.create_function(|lua, ()| Ok(lua.used_memory()))?,
    )?;
    let of = shared.clone();
    native.raw_set(
        "setresp",
        function(lua, move |_, args| {
            if args.len() != 1 {
                return Err("redis.setresp() requires one argument.".into());
            }
            match args.front().and_then(super::arguments::number) {
                Some(2.0) => of.resp3.set(false),
                Some(3.0) => of.resp3.set(true),
                _ => return Err("RESP version must be 2 or 3.".into()),
            }
            Ok(MultiValue::new())
        })?,
    )?;
    let of = shared.clone();
    native.raw_set(
        "random",
        lua.create_function(move |_, ()| {
            /// As many as a number of Lua can tell apart.
            const BITS: u32 = 53;
            let mut state = of.random.get();
            let drawn = chance::next(&mut state) >> (u64::BITS - BITS);
            of.random.set(state);
            Ok(drawn as f64 / (1_u64 << BITS) as f64)
        })?,
    )?;
    let of = shared.clone();
    native.raw_set(
        "randomseed",
        function(lua, move |_, args| {
            let seed = expect_number(&args, 0, "randomseed")?;
            of.random.set(seed.to_bits());
            Ok(MultiValue::new())
        })?,
    )?;
    let of = shared.clone();
    native.raw_set(
        "clock",
        lua.create_function(move |_, ()| {
            Ok(of.watch.borrow().as_ref().map_or(0.0, |it| it.seconds()))
        })?,
    )?;
    native.raw_set("bit", bits::table(lua)?)?;
    native.raw_set("cjson", json::table(lua, shared)?)?;
    native.raw_set("cmsgpack", msgpack::table(lua)?)?;
    native.raw_set("struct", structs::table(lua)?)?;
    Ok(native)
}

fn sha1hex(lua: &Lua, args: MultiValue) -> Given {
    if args.len() != 1 {
        return Err("wrong number of arguments".into());
    }
    let bytes = args.front().and_then(bytes).unwrap_or_default();
    string(lua, hex(&digest(&bytes)))
}

/// Writes to the node's log.
fn log(args: &MultiValue) -> Given {
    if args.len() < 2 {
        return Err("redis.log() requires two arguments or more.".into());
    }
    let Some(Value::Integer(level)) = args.front() else {
        return Err("First argument must be a number (log level).".into());
    };
    let words: Vec<Bytes> = args.iter().skip(1).filter_map(bytes).collect();
    let mut text = words.join(&b' ');
    text.truncate(LOGGED_BYTES_MAX);
    let text = String::from_utf8_lossy(&text);
    match level {
        0 | 1 => tracing::debug!(%text, "a script says"),
        2 => tracing::info!(%text, "a script says"),
        3 => tracing::warn!(%text, "a script says"),
        _ => return Err("Invalid log level.".into()),
    }
    Ok(MultiValue::new())
}

/// What a script does is always kept by all replicas: only half of it would be kept nowhere.
fn set_repl(args: &MultiValue) -> Given {
    if args.len() != 1 {
        return Err("redis.set_repl() requires one argument.".into());
    }
    match args.front().and_then(super::arguments::number) {
        Some(0.0 | 1.0 | 2.0 | 3.0) => Ok(MultiValue::new()),
        _ => Err(
            "Invalid replication flags. Please use REPL_AOF, REPL_REPLICA, REPL_ALL or \
                  REPL_NONE."
                .into(),
        ),
    }
}

/// Whether whoever has the script run may call this.
fn acl(caller: Option<&Caller>, args: &MultiValue) -> Given {
    if args.is_empty() {
        return Err(
            "Please specify at least one argument for this redis.acl_check_cmd() call".into(),
        );
    }
    let words: Vec<Bytes> = args.iter().map_while(bytes).collect();
    let command = command::find(&words).filter(|_| words.len() == args.len());
    let command = command.ok_or("ERR Invalid command passed to redis.acl_check_cmd()")?;
    let is_allowed = caller.is_none_or(|caller| {
        command.takes(words.len()) && caller.rules.check(command, &words).is_ok()
    });
    given(Value::Boolean(is_allowed))
}

/// An error's text has a code before it.
fn error_text(lua: &Lua, text: mlua::LuaString) -> mlua::Result<mlua::LuaString> {
    let bytes = text.as_bytes();
    let trimmed = bytes.strip_prefix(b"-").unwrap_or(&bytes).trim_ascii_end();
    if trimmed.contains(&b' ') {
        return lua.create_string(trimmed);
    }
    let whole = [b"ERR ", trimmed].concat();
    lua.create_string(whole.trim_ascii_end())
}

/// Source and line of the innermost place in a script.
fn place(lua: &Lua) -> mlua::Result<(Option<String>, Option<usize>)> {
    /// Frames that are looked at.
    const DEPTH_MAX: usize = 16;
    for level in 1..DEPTH_MAX {
        let found = lua.inspect_stack(level, |debug| {
            let source = debug.source().source.map(|source| source.into_owned());
            (source, debug.current_line())
        });
        match found {
            Some((Some(source), Some(line))) if source.starts_with("@user_") => {
                return Ok((Some(source), Some(line)));
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok((None, None))
}
