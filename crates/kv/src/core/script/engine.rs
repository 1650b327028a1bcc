//! Interpreters, and how they are run.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use bytes::Bytes;
use indexmap::IndexMap;
use mlua::{Function as LuaFunction, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};

use super::{
    Digest, Flag, Function, Host, Job, Library, Ran, Watch,
    arguments::{Fault, bytes},
    convert, digest, hex,
    limits::{
        COMPILED_MAX, LIBRARY_BYTES_MAX, LOADED_MAX, LOOK_EVERY, MEMORY_BYTES_KEPT,
        MEMORY_BYTES_MAX, SCRIPT_BYTES_MAX,
    },
    native::{self, Shared},
    shebang,
};
use crate::core::reply::Reply;

const PRELUDE: &str = include_str!("prelude.lua");

type Kept<V> = IndexMap<Digest, V, foldhash::fast::RandomState>;

/// A loaded library: its functions by their names in lower case, and what is told of them.
type Loaded = (Vec<(Vec<u8>, LuaFunction)>, Vec<Function>);

/// An interpreter with what it has compiled.
struct Engine {
    lua: Lua,
    shared: Rc<Shared>,
    run: LuaFunction,
    run_function: LuaFunction,
    load: LuaFunction,
    library_environment: Table,
    scripts: Kept<LuaFunction>,
    libraries: Kept<Rc<Loaded>>,
}

thread_local! {
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
}

/// Works with this thread's interpreter, which is made where there is none, and given up where
/// it is not to be used again.
fn with<T>(work: impl FnOnce(&mut Engine) -> (T, Use)) -> Result<T, Fault> {
    // Taken out: what runs inside finds none here, and would make one of its own.
    let kept = ENGINE.with(|engine| engine.borrow_mut().take());
    let mut engine = match kept {
        Some(engine) => engine,
        None => Engine::new()?,
    };
    let (result, used) = work(&mut engine);
    engine.shared.begin(0, None, None);
    if used == Use::Again && engine.tidy() {
        ENGINE.with(|kept| *kept.borrow_mut() = Some(engine));
    }
    Ok(result)
}

/// Whether an interpreter can be used again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Again,
    NoMore,
}

/// Runs a script.
pub fn run(host: &mut dyn Host, job: &Job<'_>) -> Ran {
    let ran = with(|engine| {
        let ran = engine.run(host, job);
        let used = match &ran {
            Ran::Answered(_) => Use::Again,
            Ran::Ended(_) => Use::NoMore,
        };
        (ran, used)
    });
    ran.unwrap_or_else(|fault| Ran::Ended(failure(&fault)))
}

/// Looks whether a script can be run.
///
/// # Errors
/// The error's whole text.
pub fn check(code: &Bytes) -> Result<(), String> {
    shebang::script_flags(code)?;
    let checked = with(|engine| (engine.script(code).map(drop), Use::Again));
    checked.flatten().map_err(|fault| text(&fault))
}

/// Reads a library: runs its text, which registers its functions.
///
/// # Errors
/// The error's whole text.
pub fn load_library(code: &Bytes, watch: Option<Arc<dyn Watch>>) -> Result<Library, String> {
    let name = shebang::library_name(code)?;
    let loaded = with(|engine| {
        engine.shared.begin(0, watch, None);
        let loaded = engine.library(code);
        let used = match engine.shared.ended.get() {
            None => Use::Again,
            Some(_) => Use::NoMore,
        };
        (loaded, used)
    });
    let loaded = loaded.flatten().map_err(|fault| text(&fault))?;
    Ok(Library {
        name,
        code: code.clone(),
        functions: loaded.1.clone(),
    })
}

fn text(fault: &Fault) -> String {
    match fault {
        Fault::Text(text) => text.clone(),
        Fault::Lua(mlua::Error::MemoryError(_)) => {
            format!("ERR Error running script: it needs more than {MEMORY_BYTES_MAX} bytes")
        }
        Fault::Lua(error) => format!("ERR Error running script: {error}"),
    }
}

fn failure(fault: &Fault) -> Reply {
    Reply::Error(Bytes::from(text(fault)))
}

impl Engine {
    fn new() -> Result<Self, Fault> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        let shared = Rc::<Shared>::default();
        let native = native::table(&lua, &shared)?;
        let prelude = lua.load(PRELUDE).set_name("=sandbox");
        let ways: Table = prelude.call(native)?;
        let environment: Table = ways.raw_get("environment")?;
        let run = ways.raw_get("run")?;
        let run_function = ways.raw_get("run_function")?;
        let load = ways.raw_get("load")?;
        let library_environment = ways.raw_get("library_environment")?;
        // What scripts compile at run time finds the same around it.
        lua.set_globals(environment)?;
        let of = shared.clone();
        let every = |count| HookTriggers::new().every_nth_instruction(count);
        lua.set_global_hook(every(LOOK_EVERY), move |lua, _| {
            if of.ended.get().is_none() {
                of.ended
                    .set(of.watch.borrow().as_ref().and_then(|watch| watch.ends()));
            }
            let Some(end) = of.ended.get() else {
                return Ok(VmState::Continue);
            };
            // A script that catches this is told again at its next instruction, and so leaves
            // whatever catches it.
            lua.set_hook(every(1), move |_, _| Err(mlua::Error::runtime(end)))?;
            Err(mlua::Error::runtime(end))
        })?;
        lua.set_memory_limit(MEMORY_BYTES_MAX)?;
        Ok(Engine {
            lua,
            shared,
            run,
            run_function,
            load,
            library_environment,
            scripts: Kept::default(),
            libraries: Kept::default(),
        })
    }

    /// Makes room after a run; false where there is none to be had.
    fn tidy(&self) -> bool {
        if self.lua.used_memory() > MEMORY_BYTES_KEPT && self.lua.gc_collect().is_err() {
            return false;
        }
        self.lua.used_memory() <= MEMORY_BYTES_KEPT
    }

    /// The script, compiled.
    fn script(&mut self, code: &Bytes) -> Result<LuaFunction, Fault> {
        let digest = digest(code);
        if let Some(script) = self.scripts.get(&digest) {
            return Ok(script.clone());
        }
        if code.len() > SCRIPT_BYTES_MAX {
            return Err(format!("ERR a script has at most {SCRIPT_BYTES_MAX} bytes").into());
        }
        let compiled = self.compile(code, "@user_script").map_err(|error| {
            let problem = explain(&error);
            format!("ERR Error compiling script (new function): {problem}")
        })?;
        keep(&mut self.scripts, COMPILED_MAX, digest, compiled.clone());
        Ok(compiled)
    }

    fn compile(&self, code: &Bytes, name: &str) -> mlua::Result<LuaFunction> {
        let chunk = self.lua.load(shebang::body(code)).set_name(name);
        chunk.set_mode(mlua::chunk::ChunkMode::Text).into_function()
    }

    /// The library, loaded.
    fn library(&mut self, code: &Bytes) -> Result<Rc<Loaded>, Fault> {
        let digest = digest(code);
        if let Some(loaded) = self.libraries.get(&digest) {
            return Ok(loaded.clone());
        }
        if code.len() > LIBRARY_BYTES_MAX {
            return Err(format!("ERR a library has at most {LIBRARY_BYTES_MAX} bytes").into());
        }
        let compiled = self
            .compile(code, "@user_function")
            .map_err(|error| format!("ERR Error compiling function: {}", explain(&error)))?;
        compiled.set_environment(self.library_environment.clone())?;
        let (good, given): (bool, Value) = match self.load.call(compiled) {
            Ok(loaded) => loaded,
            Err(_) if self.shared.ended.get().is_some() => {
                return Err("ERR FUNCTION LOAD timeout".into());
            }
            Err(error) => return Err(error.into()),
        };
        if self.shared.ended.get().is_some() {
            return Err("ERR FUNCTION LOAD timeout".into());
        }
        let functions = match (good, given) {
            (true, Value::Table(functions)) => functions,
            (_, raised) => {
                let problem = bytes(&raised).unwrap_or_default();
                let problem = String::from_utf8_lossy(&problem).into_owned();
                return Err(format!("ERR Error registering functions: {problem}").into());
            }
        };
        let mut loaded = Loaded::default();
        for registered in functions.sequence_values::<Table>() {
            let registered = registered?;
            let name: mlua::LuaString = registered.raw_get("name")?;
            let name = Bytes::copy_from_slice(&name.as_bytes());
            let description = bytes(&registered.raw_get::<Value>("description")?);
            let flags: Vec<mlua::LuaString> = registered.raw_get("flags")?;
            let flags = flags
                .iter()
                .filter_map(|flag| Flag::named(&flag.as_bytes()));
            let callback = registered.raw_get("callback")?;
            loaded.0.push((name.to_ascii_lowercase(), callback));
            loaded.1.push(Function {
                description,
                flags: flags.collect(),
                name,
            });
        }
        if loaded.0.is_empty() {
            return Err("ERR No functions registered".into());
        }
        let loaded = Rc::new(loaded);
        keep(&mut self.libraries, LOADED_MAX, digest, loaded.clone());
        Ok(loaded)
    }

    fn run(&mut self, host: &mut dyn Host, job: &Job<'_>) -> Ran {
        self.shared
            .begin(job.seed, job.watch.clone(), job.caller.cloned());
        let ran = self.try_run(host, job);
        if let Some(end) = self.shared.ended.get() {
            return Ran::Ended(Reply::Error(Bytes::from(end.to_string())));
        }
        match ran {
            Ok(reply) => Ran::Answered(reply),
            Err(fault @ Fault::Text(_)) => Ran::Answered(failure(&fault)),
            Err(fault) => Ran::Ended(failure(&fault)),
        }
    }

    fn try_run(&mut self, host: &mut dyn Host, job: &Job<'_>) -> Result<Reply, Fault> {
        let (way, script) = match job.function {
            None => (self.run.clone(), self.script(job.code)?),
            Some(name) => {
                let name = name.to_ascii_lowercase();
                let library = self.library(job.code)?;
                let found = library.0.iter().find(|(known, _)| *known == name);
                let (_, callback) = found.ok_or("ERR Function not found")?;
                (self.run_function.clone(), callback.clone())
            }
        };
        let keys = self.strings(job.keys)?;
        let arguments = self.strings(job.arguments)?;
        let shared = self.shared.clone();
        let (good, value): (bool, Value) = self.lua.scope(|scope| {
            let command = scope.create_function_mut(|lua, (count, args): (usize, Table)| {
                let reply = match words(count, &args)? {
                    Ok(words) => host.call(words),
                    Err(text) => Reply::Error(Bytes::from_static(text.as_bytes())),
                };
                let failed = matches!(reply, Reply::Error(_));
                let value = convert::to_lua(lua, &reply, shared.resp3.get())?;
                Ok((value, failed))
            })?;
            way.call((script, keys, arguments, command))
        })?;
        if good {
            return convert::to_reply(&value, self.shared.resp3.get());
        }
        Ok(Reply::Error(self.raised(job, &value)?))
    }

    fn strings(&self, words: &[Bytes]) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(words.len(), 0)?;
        for (place, word) in words.iter().enumerate() {
            table.raw_set(place + 1, self.lua.create_string(word)?)?;
        }
        Ok(table)
    }

    /// The text of an error that nobody in the script caught, and where it was.
    fn raised(&self, job: &Job<'_>, value: &Value) -> mlua::Result<Bytes> {
        let Value::Table(raised) = value else {
            // Where there is no memory left, nobody could say more about it.
            let text = bytes(value).unwrap_or_default();
            return Ok([b"ERR ", &text[..]].concat().into());
        };
        let field = |name| {
            let field = raised.raw_get::<Value>(name)?;
            Ok::<_, mlua::Error>(bytes(&field))
        };
        let mut text = field("err")?.unwrap_or_default().to_vec();
        if text.first() == Some(&b'-') {
            text.remove(0);
        }
        text.extend_from_slice(b" script: ");
        match job.function {
            Some(name) => text.extend_from_slice(name),
            None => text.extend_from_slice(hex(&digest(job.code)).as_bytes()),
        }
        if let (Some(source), Some(line)) = (field("source")?, field("line")?) {
            text.extend_from_slice(b", on ");
            text.extend_from_slice(&source);
            text.push(b':');
            text.extend_from_slice(&line);
        }
        text.push(b'.');
        Ok(text.into())
    }
}

/// What a script calls.
fn words(count: usize, args: &Table) -> mlua::Result<Result<Vec<Bytes>, &'static str>> {
    if count == 0 {
        let refusal = "ERR Please specify at least one argument for this redis.call() call";
        return Ok(Err(refusal));
    }
    let mut words = Vec::with_capacity(count);
    for place in 1..=count {
        match bytes(&args.raw_get(place)?) {
            Some(word) => words.push(word),
            None => {
                let refusal = "ERR Lua redis lib command arguments must be strings or integers";
                return Ok(Err(refusal));
            }
        }
    }
    Ok(Ok(words))
}

/// Keeps a compiled thing; where there are too many, the oldest goes.
fn keep<V>(kept: &mut Kept<V>, count_max: usize, digest: Digest, value: V) {
    if kept.len() >= count_max {
        kept.swap_remove_index(0);
    }
    kept.insert(digest, value);
}

/// What the compiler says.
fn explain(error: &mlua::Error) -> String {
    match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}
