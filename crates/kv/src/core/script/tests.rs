//! Scripts as Redis's documentation has them, what the sandbox keeps from them, and how they end.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::core::{
    command::{Context, Effects, Moment, find},
    data::Keyspace,
};

/// Runs commands on a keyspace of its own.
#[derive(Default)]
struct Alone {
    keyspace: Keyspace,
    calls: u64,
}

impl Host for Alone {
    fn call(&mut self, words: Vec<Bytes>) -> Reply {
        self.calls += 1;
        let Some(command) = find(&words) else {
            return Reply::Error("ERR Unknown Redis command called from script".into());
        };
        let moment = Moment {
            now_ms: 0,
            seed: self.calls,
            version: self.calls,
            reading: false,
        };
        let mut effects = Effects::default();
        let mut context = Context::new(&mut self.keyspace, 0, moment, &mut effects);
        command
            .run(&mut context, &words)
            .unwrap_or_else(|error| Reply::Error(error.to_string().into()))
    }
}

fn eval_with(host: &mut Alone, code: &str, keys: &[&str], arguments: &[&str]) -> Ran {
    let words = |words: &[&str]| -> Vec<Bytes> {
        words
            .iter()
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect()
    };
    let job = Job {
        code: &Bytes::copy_from_slice(code.as_bytes()),
        function: None,
        keys: &words(keys),
        arguments: &words(arguments),
        seed: 1,
        watch: None,
        caller: None,
    };
    run(host, &job)
}

fn eval(code: &str) -> Reply {
    match eval_with(&mut Alone::default(), code, &[], &[]) {
        Ran::Answered(reply) => reply,
        ended => panic!("{code}: {ended:?}"),
    }
}

fn error(code: &str) -> String {
    match eval(code) {
        Reply::Error(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{code}: {other:?}"),
    }
}

/// Strings that a script returns, one after the other.
fn shown(code: &str) -> String {
    let Reply::Bulk(text) = eval(code) else {
        panic!("{code}: {:?}", eval(code));
    };
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn values_become_replies() {
    let bulk = |text: &str| Reply::bulk(text);
    for (code, reply) in [
        ("return 'hello'", bulk("hello")),
        ("return 100.5", Reply::Integer(100)),
        ("return -3.9", Reply::Integer(-3)),
        ("return true", Reply::Integer(1)),
        ("return false", Reply::Null),
        ("return nil", Reply::Null),
        ("return _G", Reply::Array(vec![])),
        ("return {ok='fine'}", Reply::Simple("fine".into())),
        ("return {err='ERR no'}", Reply::Error("ERR no".into())),
        (
            "return redis.error_reply('MY_CODE text')",
            Reply::Error("MY_CODE text".into()),
        ),
        (
            "return redis.error_reply('text')",
            Reply::Error("ERR text".into()),
        ),
        ("return redis.status_reply('S')", Reply::Simple("S".into())),
        (
            "return {1, 2, 'three', {4}, nil, 5}",
            Reply::Array(vec![
                Reply::Integer(1),
                Reply::Integer(2),
                bulk("three"),
                Reply::Array(vec![Reply::Integer(4)]),
            ]),
        ),
        ("redis.setresp(3) return true", Reply::Boolean(true)),
        ("redis.setresp(3) return false", Reply::Boolean(false)),
        ("return {double=1.5}", Reply::Double(1.5)),
        (
            "return {map={a=1}}",
            Reply::Map(vec![(bulk("a"), Reply::Integer(1))]),
        ),
        ("return {set={a=true}}", Reply::Set(vec![bulk("a")])),
        (
            "return {big_number='12\\r\\n3'}",
            Reply::BigNumber("12  3".into()),
        ),
        (
            "return {verbatim_string={string='x', format='txt'}}",
            Reply::Verbatim("x".into()),
        ),
        (
            "local a = {} setmetatable(a, {__index=function() foo() end}) return a",
            Reply::Array(vec![]),
        ),
    ] {
        assert_eq!(eval(code), reply, "{code}");
    }
    assert_eq!(
        error("local a = {} a[1] = a return a"),
        "ERR reached lua stack limit"
    );
    assert!(error("local a = {} for i = 1, 2000000 do a[i] = 1 end return a").contains("parts"));
}

#[test]
fn replies_become_values() {
    let code = "
        redis.call('rpush', 'l', 'a', 'b')
        redis.call('hset', 'h', 'f', 'v')
        redis.call('zadd', 'z', 1.5, 'm')
        local said = {}
        local function say(value) said[#said + 1] = type(value) .. ':' .. tostring(value) end
        say(redis.call('get', 'none'))
        say(redis.call('set', 'k', 0.1).ok)
        say(redis.call('get', 'k'))
        say(redis.call('incr', 'n'))
        say(#redis.call('lrange', 'l', 0, -1))
        say(redis.call('hgetall', 'h')[2])
        say(redis.call('zscore', 'z', 'm'))
        say(redis.pcall('incr', 'l').err)
        redis.setresp(3)
        say(redis.call('get', 'none'))
        say(redis.call('hgetall', 'h').map.f)
        say(redis.call('zscore', 'z', 'm').double)
        say(redis.call('smembers', 'none').set)
        return table.concat(said, ' ', 1, 11)";
    assert_eq!(
        shown(code),
        "boolean:false string:OK string:0.10000000000000001 number:1 number:2 string:v string:1.5 \
         string:WRONGTYPE Operation against a key holding the wrong kind of value nil:nil \
         string:v number:1.5"
    );
}

#[test]
fn keys_and_arguments_are_given() {
    let mut host = Alone::default();
    let code = "return {KEYS[1], KEYS[2], ARGV[1], #ARGV}";
    assert_eq!(
        eval_with(&mut host, code, &["a", "b"], &["c", "d"]),
        Ran::Answered(Reply::Array(vec![
            Reply::bulk("a"),
            Reply::bulk("b"),
            Reply::bulk("c"),
            Reply::Integer(2),
        ]))
    );
    // As many as Redis itself can be handed by unpack.
    let code =
        "local a = {} for i = 1, 7999 do a[i] = 1 end return redis.call('lpush', 'l', unpack(a))";
    assert_eq!(
        eval_with(&mut host, code, &[], &[]),
        Ran::Answered(Reply::Integer(7999))
    );
}

/// From Redis's documentation of INCR: a rate limiter.
#[test]
fn a_rate_limiter_limits() {
    let code = "
        local current = redis.call('INCR', KEYS[1])
        if current == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
        if current > tonumber(ARGV[1]) then return 0 end
        return 1";
    let mut host = Alone::default();
    let mut ask = || eval_with(&mut host, code, &["rate"], &["2", "60"]);
    assert_eq!(ask(), Ran::Answered(Reply::Integer(1)));
    assert_eq!(ask(), Ran::Answered(Reply::Integer(1)));
    assert_eq!(ask(), Ran::Answered(Reply::Integer(0)));
}

/// In the manner of job queues: a job is moved and its state packed, in one script.
#[test]
fn a_job_queue_moves_jobs() {
    let code = "
        local wait, active, prefix = KEYS[1], KEYS[2], KEYS[3]
        local id = redis.call('RPOPLPUSH', wait, active)
        if not id then return {} end
        local key = prefix .. id
        redis.call('HSET', key, 'processedOn', ARGV[1])
        redis.call('HINCRBY', key, 'attemptsMade', 1)
        local options = cmsgpack.unpack(ARGV[2])
        if options.lock then redis.call('SET', key .. ':lock', options.lock, 'PX', 30000) end
        return {redis.call('HGETALL', key), id}";
    let mut host = Alone::default();
    eval_with(
        &mut host,
        "redis.call('LPUSH', 'w', 'j1') redis.call('SET', 'o', cmsgpack.pack({lock='t'}))",
        &[],
        &[],
    );
    let code = code.replace("ARGV[2]", "redis.call('GET', 'o')");
    let Ran::Answered(Reply::Array(parts)) = eval_with(&mut host, &code, &["w", "a", "p:"], &["5"])
    else {
        panic!("no array");
    };
    assert_eq!(parts[1], Reply::bulk("j1"));
    assert_eq!(
        eval_with(&mut host, "return redis.call('GET', 'p:j1:lock')", &[], &[]),
        Ran::Answered(Reply::bulk("t"))
    );
}

#[test]
fn errors_say_where() {
    for (code, text) in [
        (
            "return foo",
            "ERR user_script:1: Script attempted to access nonexistent global variable 'foo'",
        ),
        (
            "a = 10",
            "ERR user_script:1: Attempt to modify a readonly table",
        ),
        (
            "local x = redis.call('nosuch')",
            "ERR Unknown Redis command called from script",
        ),
        (
            "local x = redis.call()",
            "ERR Please specify at least one argument for this redis.call() call",
        ),
        (
            "local x = redis.call('ping', {})",
            "ERR Lua redis lib command arguments must be strings or integers",
        ),
        ("error('boom')", "ERR user_script:1: boom"),
        ("error({err='MINE x'})", "MINE x"),
        ("error({})", "ERR unknown error"),
        (
            "redis.sha1hex()",
            "ERR user_script:1: wrong number of arguments",
        ),
        (
            "local x = redis.acl_check_cmd('nosuch')",
            "ERR user_script:1: ERR Invalid command passed to redis.acl_check_cmd()",
        ),
        (
            "redis.set_repl(99)",
            "ERR user_script:1: Invalid replication flags. Please use \
            REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        ),
        (
            "return loadstring(string.dump(function() return 1 end))()",
            "ERR user_script:1: attempt to call a nil value",
        ),
        (
            "cjson.decode('{')",
            "ERR user_script:1: Expected object key string but found T_END at \
            character 2",
        ),
    ] {
        let name = hex(&digest(code.as_bytes()));
        assert_eq!(
            error(code),
            format!("{text} script: {name}, on @user_script:1."),
            "{code}"
        );
    }
    assert!(error("\n\nerror('x')").ends_with("on @user_script:3."));
    // Where it was called by the last thing that a script did, nobody knows the place any more.
    assert!(error("return redis.call('nosuch')").starts_with("ERR Unknown Redis command"));
    let compiling = error("return (");
    assert!(
        compiling.starts_with("ERR Error compiling script (new function): user_script:1:"),
        "{compiling}"
    );
}

#[test]
fn functions_may_give_many_values() {
    let table = "local t = {} for i = 1, 1000 do t[i] = i end ";
    for (code, given) in [
        ("return tostring(select('#', pcall(unpack, t)))", "1001"),
        (
            "return tostring(select('#', xpcall(function() return unpack(t) end, error)))",
            "1001",
        ),
        ("return tostring((unpack(t))), unpack(t)", "1"),
        (
            "local c = coroutine.create(function() return unpack(t) end) \
             return tostring(select('#', coroutine.resume(c)))",
            "1001",
        ),
    ] {
        assert_eq!(shown(&format!("{table}{code}")), given, "{code}");
    }
}

#[test]
fn errors_are_caught_as_in_lua() {
    assert_eq!(
        shown("local ok, e = pcall(function() return foo end) return tostring(ok) .. e"),
        "falseuser_script:1: Script attempted to access nonexistent global variable 'foo'"
    );
    assert_eq!(
        shown("local ok, e = pcall(redis.call, 'nosuch') return e.err"),
        "ERR Unknown Redis command called from script"
    );
    assert_eq!(
        shown("local ok, e = pcall(cjson.encode, function() end) return e"),
        "Cannot serialise function: type not supported"
    );
}

#[test]
fn what_scripts_share_can_not_be_changed() {
    for code in [
        "setmetatable(_G, {})",
        "getmetatable(_G).__index = {}",
        "redis = 1",
        "_G = {}",
        "_G.x = 1",
        "rawset(_G, 'x', 1)",
        "rawset(redis, 'x', 1)",
        "table.insert(_G, 1)",
        "table.remove(redis)",
        "redis.call = 1",
        "cjson.encode = 1",
        "cmsgpack.pack = 1",
        "bit.lshift = 1",
        "math.floor = 1",
        "string.rep = 1",
        "getmetatable('').__index = 1",
        "getmetatable(getmetatable('')).__newindex = 1",
        "setmetatable(getmetatable(redis), {})",
        "coroutine.wrap = 1",
        "KEYS = {}",
        "loadstring('x = 1')()",
        "load(function() if not ARGV[1] then ARGV[1] = 1 return 'x = 1' end end)()",
    ] {
        let text = error(code);
        assert!(
            text.contains("Attempt to modify a readonly table"),
            "{code}: {text}"
        );
    }
    for name in [
        "print", "dofile", "loadfile", "require", "module", "io", "debug", "package", "getfenv",
        "setfenv", "newproxy", "gcinfo",
    ] {
        let text = error(&format!("return {name}"));
        assert!(
            text.contains("nonexistent global variable"),
            "{name}: {text}"
        );
    }
    assert!(error("os.execute('x')").contains("attempt to call field 'execute'"));
    assert_eq!(eval("return type(os.clock())"), Reply::bulk("number"));
    // Nothing is left of one run in the next.
    eval("ARGV[1] = 'left'");
    assert_eq!(eval("return {KEYS[1], ARGV[1]}"), Reply::Array(vec![]));
}

#[test]
fn chance_follows_from_the_seed() {
    let code =
        "return tostring(math.random()) .. ' ' .. math.random(10) .. ' ' .. math.random(5, 6)";
    assert_eq!(shown(code), shown(code));
    let seeded = |seed: u32| shown(&format!("math.randomseed('{seed}') {code}"));
    assert_eq!(seeded(10), seeded(10));
    assert_ne!(seeded(10), seeded(20));
    assert!(error("math.random(0)").contains("interval is empty"));
}

#[test]
fn libraries_do_what_theirs_do() {
    for (code, text) in [
        (
            "return table.concat(cjson.decode('[0.0, -5e3, -1, 0.3e-3, 1023.2, 0e10]'), ' ')",
            "0 -5000 -1 0.0003 1023.2 0",
        ),
        (
            "return cjson.encode({1, 2, {a='/\\n'}})",
            r#"[1,2,{"a":"\/\n"}]"#,
        ),
        ("return cjson.encode({})", "{}"),
        ("return cjson.encode({[1]=1,[3]=3})", "[1,null,3]"),
        (
            "return cjson.encode(cjson.decode('[null, true]'))",
            "[null,true]",
        ),
        (
            "return cjson.decode('\"\\\\u00e9\\\\ud83d\\\\ude00\"')",
            "é😀",
        ),
        (
            "return tostring(cjson.decode('{\"a\":null}').a == cjson.null)",
            "true",
        ),
        (
            "return redis.sha1hex('Pizza & Mandolino')",
            "74822d82031af7493c20eefa13bd07ec4fada82f",
        ),
        (
            "return redis.sha1hex('')",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        ),
        (
            "return bit.tohex(-1) .. bit.tohex(255, -4) .. bit.bswap(1) .. ' ' .. bit.bnot(0) .. ' ' \
             .. bit.lshift(1, 31) .. ' ' .. bit.rshift(-1, 28) .. ' ' .. bit.arshift(-16, 2) .. ' ' \
             .. bit.rol(0x12345678, 12) .. ' ' .. bit.band(7, 3, 2)",
            "ffffffff00FF16777216 -1 -2147483648 15 -4 1164411171 2",
        ),
        (
            "return struct.pack('>HBs', 258, 3, 'x'):byte(1, -1) .. ''",
            "1",
        ),
        (
            "local a, b, c, at = struct.unpack('<i2>I4s', '\\255\\255\\0\\0\\1\\0hi\\0') \
             return table.concat({a, b, c, at}, ' ')",
            "-1 256 hi 10",
        ),
        (
            "return table.concat({struct.unpack('Bc0', struct.pack('Bc0', 2, 'ab'))}, ' ')",
            "ab 4",
        ),
        ("return tostring(struct.size('!4 b i4 d'))", "16"),
    ] {
        assert_eq!(shown(code), text, "{code}");
    }
    let hexadecimal =
        "local h = '' for i = 1, #p do h = h .. string.format('%02x', p:byte(i)) end return h";
    for (value, packed) in [
        ("0.1", "cb3fb999999999999a"),
        ("1.5", "ca3fc00000"),
        ("-1099511627776", "d3ffffff0000000000"),
        ("200", "cc c8"),
        ("-33", "d0df"),
        ("'a'", "a161"),
        ("{1,2}", "920102"),
        ("{a=true}", "81a161c3"),
        ("nil", "c0"),
    ] {
        let code = format!("local p = cmsgpack.pack({value}) {hexadecimal}");
        assert_eq!(shown(&code), packed.replace(' ', ""), "{value}");
    }
    assert_eq!(
        shown(&format!(
            "local a = {{}} local b = {{x=a}} a.x = b local p = cmsgpack.pack(a) {hexadecimal}"
        )),
        format!("{}c0", "81a178".repeat(16))
    );
}

#[test]
fn messages_come_back() {
    let code = "
        local many = {}
        for i = 1, 70000 do many[i] = i end
        local text = string.rep('x', 70000)
        local packed = cmsgpack.pack(many, text, -5, 2^40, {a={b={1}}}, false)
        local a, b, c, d, e, f = cmsgpack.unpack(packed)
        assert(#a == 70000 and a[70000] == 70000 and b == text and c == -5 and d == 2^40)
        assert(e.a.b[1] == 1 and f == false)
        local at, first = cmsgpack.unpack_limit(packed, 1, 0)
        local last, second, third = cmsgpack.unpack_limit(packed, 2, at)
        assert(second == text and third == -5)
        assert(cmsgpack.unpack_one(cmsgpack.pack(1), 0) == -1)
        return 'good'";
    assert_eq!(shown(code), "good");
}

#[test]
fn settings_of_json_end_with_the_script() {
    assert_eq!(
        shown("cjson.encode_max_depth(1) local ok, e = pcall(cjson.encode, {{1}}) return e"),
        "Cannot serialise, excessive depth (2)"
    );
    assert_eq!(shown("return cjson.encode({{1}})"), "[[1]]");
    assert_eq!(
        shown("local ok, e = pcall(cjson.encode, {0/0}) return e"),
        "Cannot serialise number: must not be NaN or Inf"
    );
    assert_eq!(
        shown("local ok, e = pcall(cjson.encode, {[1]=1,[1000]=2}) return e"),
        "Cannot serialise table: excessively sparse array"
    );
    let deep = format!(
        "local ok, e = pcall(cjson.decode, '{}') return e",
        "[".repeat(1001)
    );
    assert_eq!(shown(&deep), "Found too many nested data structures (1001)");
}

/// Ends a script after it was asked so often.
#[derive(Debug)]
struct After(AtomicU64, End);

impl Watch for After {
    fn ends(&self) -> Option<End> {
        let left = self.0.fetch_sub(1, Ordering::Relaxed);
        (left <= 1).then_some(self.1)
    }
}

fn ends(code: &str) -> Ran {
    let job = Job {
        code: &Bytes::copy_from_slice(code.as_bytes()),
        function: None,
        keys: &[],
        arguments: &[],
        seed: 0,
        watch: Some(Arc::new(After(AtomicU64::new(50), End::Killed))),
        caller: None,
    };
    run(&mut Alone::default(), &job)
}

#[test]
fn nothing_keeps_a_script_from_being_ended() {
    for code in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local f = function() while 1 do redis.call('ping') end end while 1 do pcall(f) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "while true do pcall(coroutine.wrap(function() pcall(function() while true do end end) end)) end",
        "local t = setmetatable({}, {__index=function() while true do end end}) return t.x",
        "table.sort({1,2,3}, function() while true do end end)",
        "string.gsub('aaa', 'a', function() while true do pcall(error) end end)",
    ] {
        let Ran::Ended(Reply::Error(text)) = ends(code) else {
            panic!("{code} was not ended");
        };
        assert!(text.starts_with(b"ERR Error running script: Script killed by user"));
        // The next one finds everything in order.
        assert_eq!(eval("return 1"), Reply::Integer(1));
    }
    assert_eq!(
        ends("for i = 1, 1000 do end return 1"),
        Ran::Answered(Reply::Integer(1))
    );
}

#[test]
fn memory_has_an_end() {
    for code in [
        "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1e5) .. i end",
        "return string.rep('x', 1e9)",
        "local s = 'x' while true do s = s .. s end",
    ] {
        let ran = eval_with(&mut Alone::default(), code, &[], &[]);
        let (Ran::Answered(Reply::Error(text)) | Ran::Ended(Reply::Error(text))) = ran else {
            panic!("{code} found room");
        };
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("memory") || text.contains("bytes"), "{text}");
        assert_eq!(eval("return 1"), Reply::Integer(1));
    }
    assert_eq!(
        eval("return #string.rep('', 2000000000)"),
        Reply::Integer(0)
    );
    assert!(error("local function f() return 1 + f() end return f()").contains("stack overflow"));
}

fn library(code: &str) -> Result<Library, String> {
    load_library(&Bytes::copy_from_slice(code.as_bytes()), None)
}

#[test]
fn libraries_are_loaded_and_run() {
    let code = "#!lua name=lib
        local function add(a) return a + 1 end
        redis.register_function('f1', function(keys, args) return add(1) end)
        redis.register_function{
            function_name='F2', callback=function(keys, args) return {keys[1], args[1], redis.call('ping').ok} end,
            description='d', flags={'no-writes', 'allow-stale'}}
        redis.register_function('f3', function() redis.register_function('x', function() end) end)
        local lib = redis
        redis.register_function('f4', function() lib.register_function('x', function() end) end)
        redis.register_function('f5', function() lib.math = math end)";
    let loaded = library(code).unwrap();
    assert_eq!(loaded.name, "lib");
    let second = &loaded.functions[1];
    assert_eq!(second.name, "F2");
    assert_eq!(second.description, Some("d".into()));
    assert_eq!(second.flags, [Flag::NoWrites, Flag::AllowStale]);
    let call = |name: &str| {
        let job = Job {
            code: &loaded.code,
            function: Some(name.as_bytes()),
            keys: &["k".into()],
            arguments: &["a".into()],
            seed: 0,
            watch: None,
            caller: None,
        };
        match run(&mut Alone::default(), &job) {
            Ran::Answered(reply) => reply,
            ended => panic!("{ended:?}"),
        }
    };
    assert_eq!(call("F1"), Reply::Integer(2));
    assert_eq!(
        call("f2"),
        Reply::Array(vec![
            Reply::bulk("k"),
            Reply::bulk("a"),
            Reply::bulk("PONG")
        ])
    );
    for (name, part) in [
        (
            "f3",
            "attempt to call field 'register_function' (a nil value) script: f3, on @user_function:",
        ),
        ("f4", "can only be called on FUNCTION LOAD command"),
        ("f5", "Attempt to modify a readonly table"),
    ] {
        let Reply::Error(text) = call(name) else {
            panic!("{name}");
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(call("f9"), Reply::Error("ERR Function not found".into()));
}

#[test]
fn libraries_that_are_none_are_refused() {
    let f = "function() end";
    for (body, part) in [
        ("return 1".to_owned(), "No functions registered"),
        ("bad script".to_owned(), "Error compiling function"),
        (
            "return math.random()".to_owned(),
            "nonexistent global variable 'math'",
        ),
        (
            "return redis.call('ping')".to_owned(),
            "nonexistent global variable 'call'",
        ),
        (
            "redis.math.random()".to_owned(),
            "nonexistent global variable 'math'",
        ),
        (
            "local m = getmetatable(_G)".to_owned(),
            "nonexistent global variable 'getmetatable'",
        ),
        ("a = 1".to_owned(), "Attempt to modify a readonly table"),
        (
            "redis.register_function()".to_owned(),
            "wrong number of arguments to redis.register_function",
        ),
        (
            format!("redis.register_function('f', {f}, {{}}, 'd', 'e')"),
            "wrong number of arguments",
        ),
        (
            "redis.register_function('f')".to_owned(),
            "single argument is only applicable to Lua table",
        ),
        (
            format!("redis.register_function(nil, {f})"),
            "first argument to redis.register_function must be a string",
        ),
        (
            "redis.register_function('f', 'x')".to_owned(),
            "second argument to redis.register_function must be a function",
        ),
        (
            format!("redis.register_function('a\\0b', {f})"),
            "can only contain letters",
        ),
        (
            format!("redis.register_function('', {f})"),
            "at least one character long",
        ),
        (
            format!("redis.register_function('f', {f}) redis.register_function('F', {f})"),
            "Function already exists in the library",
        ),
        (
            format!("redis.register_function{{function_name=1, callback={f}}}"),
            "function_name argument given to redis.register_function must be a string",
        ),
        (
            "redis.register_function{function_name='f', callback='x'}".to_owned(),
            "callback argument given to redis.register_function must be a function",
        ),
        (
            format!("redis.register_function{{function_name='f', callback={f}, description={f}}}"),
            "description argument given",
        ),
        (
            format!("redis.register_function{{function_name='f', callback={f}, x=1}}"),
            "unknown argument given to redis.register_function",
        ),
        (
            format!("redis.register_function{{callback={f}}}"),
            "must get a function name argument",
        ),
        (
            "redis.register_function{function_name='f'}".to_owned(),
            "must get a callback argument",
        ),
        (
            format!("redis.register_function{{function_name='f', callback={f}, flags='x'}}"),
            "must be a table representing function flags",
        ),
        (
            format!("redis.register_function{{function_name='f', callback={f}, flags={{'x'}}}}"),
            "unknown flag given",
        ),
    ] {
        let refusal = library(&format!("#!lua name=lib\n{body}")).unwrap_err();
        assert!(
            refusal.starts_with("ERR ") && refusal.contains(part),
            "{body}: {refusal}"
        );
    }
    let endless = Bytes::from_static(b"#!lua name=lib\nlocal a = 1 while 1 do a = a + 1 end");
    let watch = Arc::new(After(AtomicU64::new(5), End::TimedOut));
    assert_eq!(
        load_library(&endless, Some(watch)),
        Err("ERR FUNCTION LOAD timeout".to_owned())
    );
}

#[test]
fn names_of_scripts() {
    let name = "fd758d1589d044dd850a6f05d52f2eefd27f033f";
    let digest = digest(b"return redis.call('get',KEYS[1])");
    assert_eq!(hex(&digest), name);
    assert_eq!(parse_hex(name.to_uppercase().as_bytes()), Some(digest));
    assert_eq!(parse_hex(b"NotValidShaSUM"), None);
    assert_eq!(parse_hex(&[b'+'; 40]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever bytes a script has unpacked, it gets values or an error that it can catch.
    #[test]
    fn noise_is_unpacked_or_refused(noise in proptest::collection::vec(any::<u8>(), 0..60)) {
        let arguments = [Bytes::from(noise)];
        for code in [
            "return select(2, pcall(cmsgpack.unpack, ARGV[1]))",
            "return select(2, pcall(cjson.decode, ARGV[1]))",
            "return select(2, pcall(struct.unpack, ARGV[1], ARGV[1]))",
            "return select(2, pcall(struct.pack, ARGV[1], 1, 'x', -1))",
        ] {
            let code = Bytes::from_static(code.as_bytes());
            let job = Job {
                code: &code, function: None, keys: &[], arguments: &arguments, seed: 0, watch: None, caller: None,
            };
            let ran = run(&mut Alone::default(), &job);
            prop_assert!(matches!(ran, Ran::Answered(_)), "{:?}", ran);
        }
    }

    /// What is packed comes back.
    #[test]
    fn packed_values_come_back(number: f64, integer: i32, text in "\\PC{0,40}") {
        prop_assume!(!number.is_nan());
        let code = "
            local n, i, t = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
            local a, b, c = cmsgpack.unpack(cmsgpack.pack(n, i, {t, {[t]=n}}))
            assert(a == n and b == i and c[1] == t and c[2][t] == n)
            local d = cjson.decode(cjson.encode({i, t, {k=t}}))
            assert(d[1] == i and d[2] == t and d[3].k == t)
            local e, f, g = struct.unpack('>di4s', struct.pack('>di4s', n, i, (t:gsub('%z', ''))))
            assert(e == n and f == i)
            return 'good'";
        let ran = eval_with(
            &mut Alone::default(), code, &[],
            &[&format!("{number:e}"), &integer.to_string(), &text],
        );
        prop_assert_eq!(ran, Ran::Answered(Reply::bulk("good")));
    }
}
