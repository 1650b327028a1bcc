-- What scripts find around them. This chunk runs once in a new interpreter. It is given what is
-- written in Rust, and gives back the ways in; after it, no script reaches Lua's own tables.
--
-- Tables that scripts share (libraries, globals) are shown to them through empty ones that pass
-- reads on and refuse writes, because they outlive the script.

local native = ...

local error, getmetatable, ipairs, loadstring, pairs, pcall, rawget, rawset, select, setmetatable,
  tonumber, tostring, type, xpcall =
  error, getmetatable, ipairs, loadstring, pairs, pcall, rawget, rawset, select, setmetatable,
  tonumber, tostring, type, xpcall
local byte, find, rep, concat, floor =
  string.byte, string.find, string.rep, table.concat, math.floor
local insert, remove, sort = table.insert, table.remove, table.sort

local READONLY = "Attempt to modify a readonly table"

-- The tables that only show others.
local shut = setmetatable({}, { __mode = "k" })

local function deny()
  error(READONLY, 2)
end

local function refuse_shut(t)
  if shut[t] then
    error(READONLY, 3)
  end
end

-- Shows a table, and the metatable by which it does so. What getmetatable sees of the latter is
-- empty, and can't be written to either.
local function show(real)
  local view, shown = {}, {}
  shut[view], shut[shown] = true, true
  setmetatable(shown, { __newindex = deny, __metatable = shown })
  local meta = { __index = real, __newindex = deny, __metatable = shown }
  return setmetatable(view, meta), meta
end

local function copy(from, names)
  local to = {}
  for name in names:gmatch("%S+") do
    to[name] = from[name]
  end
  return to
end

local function nonexistent(_, name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end

-- A function of Rust that answers `true` and results, or `false` and what is wrong.
local function lift(f)
  local function pass(good, ...)
    if good then
      return ...
    end
    error((...), 3)
  end
  return function(...)
    return pass(f(...))
  end
end

local function lift_all(functions)
  local lifted = {}
  for name, value in pairs(functions) do
    lifted[name] = type(value) == "function" and lift(value) or value
  end
  return lifted
end

-- Runs a command; it is another one for each run of a script. The words come in a table: a
-- function of Rust has room for somewhat fewer than a script may have.
local invoke

local function call(...)
  local value, failed = invoke(select("#", ...), { ... })
  if failed then
    error(value, 0)
  end
  return value
end

-- In parentheses: one value.
local function protected_call(...)
  return (invoke(select("#", ...), { ... }))
end

-- Messages that are known by the whole text, or by its first word.
local function reply_of(field, ...)
  local text = ...
  if select("#", ...) ~= 1 or type(text) ~= "string" then
    return { err = "ERR wrong number or type of arguments" }
  end
  if field == "ok" then
    return { ok = text }
  end
  return { err = native.error_text(text) }
end

local levels = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
  REDIS_VERSION = native.version, REDIS_VERSION_NUM = native.version_number,
}

local redis = {
  call = call,
  pcall = protected_call,
  error_reply = function(...) return reply_of("err", ...) end,
  status_reply = function(...) return reply_of("ok", ...) end,
  sha1hex = lift(native.sha1hex),
  log = lift(native.log),
  setresp = lift(native.setresp),
  acl_check_cmd = lift(native.acl_check_cmd),
  set_repl = lift(native.set_repl),
  replicate_commands = function() return true end,
  breakpoint = function() return false end,
  debug = function() end,
}
for name, value in pairs(levels) do
  redis[name] = value
end

local function random(...)
  local count, drawn = select("#", ...), native.random()
  if count == 0 then
    return drawn
  elseif count > 2 then
    error("wrong number of arguments", 2)
  end
  local low, high = ...
  if count == 1 then
    low, high = 1, low
  end
  low, high = tonumber(low), tonumber(high)
  if not low or not high then
    error("bad argument #" .. count .. " to 'random' (number expected)", 2)
  end
  low, high = floor(low), floor(high)
  if low > high then
    error("bad argument #" .. count .. " to 'random' (interval is empty)", 2)
  end
  return floor(drawn * (high - low + 1)) + low
end

local maths = copy(math, [[abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge
  ldexp log log10 max min mod modf pi pow rad sin sinh sqrt tan tanh]])
maths.random = random
maths.randomseed = lift(native.randomseed)

local strings = copy(string, [[byte char dump find format gmatch gsub len lower match reverse sub
  upper]])
-- Lua's own one counts to the number that it is given even where there is nothing to repeat.
strings.rep = function(text, count)
  if text == "" then
    return ""
  end
  return rep(text, count)
end

local tables = copy(table, "concat foreach foreachi getn maxn")
tables.insert = function(t, ...)
  refuse_shut(t)
  return insert(t, ...)
end
tables.remove = function(t, ...)
  refuse_shut(t)
  return remove(t, ...)
end
tables.sort = function(t, ...)
  refuse_shut(t)
  return sort(t, ...)
end

-- Chunks that were compiled before could do anything.
local function load_text(text, ...)
  if type(text) == "string" and byte(text, 1) == 27 then
    return nil, "attempt to load a compiled chunk"
  end
  return loadstring(text, ...)
end

local globals = copy(_G, [[_VERSION assert error getmetatable ipairs next pairs pcall rawequal
  rawget select tonumber tostring type unpack]])
globals.setmetatable = function(t, meta)
  refuse_shut(t)
  return setmetatable(t, meta)
end
globals.rawset = function(t, key, value)
  refuse_shut(t)
  return rawset(t, key, value)
end
-- Lua's own one calls the handler where the error is raised, which may be where nothing could
-- end it any more.
globals.xpcall = function(f, handler)
  local function pass(good, ...)
    if good then
      return good, ...
    end
    return false, handler((...))
  end
  return pass(pcall(f))
end
globals.collectgarbage = function(what)
  if what == "count" then
    return native.used() / 1024
  end
  return 0
end
globals.loadstring = load_text
globals.load = function(pieces, ...)
  local all = {}
  for piece in pieces do
    if piece == "" then
      break
    end
    all[#all + 1] = piece
  end
  return load_text(concat(all), ...)
end
globals.redis = show(redis)
globals.math = show(maths)
globals.string = show(strings)
globals.table = show(tables)
globals.coroutine = show(copy(coroutine, "create resume running status wrap yield"))
globals.os = show({ clock = native.clock })
globals.bit = show(lift_all(native.bit))
globals.cjson = show(lift_all(native.cjson))
globals.cmsgpack = show(lift_all(native.cmsgpack))
globals.struct = show(lift_all(native.struct))
setmetatable(globals, { __index = nonexistent })

local environment = show(globals)
globals._G = environment

-- Strings have a metatable of their own, which all of them share.
local of_strings = getmetatable("")
of_strings.__index = strings
of_strings.__metatable = getmetatable((show({})))

-- Libraries see little while they are loaded, and everything when their functions run.
local loading
local NAMES = "Library names can only contain letters, numbers, or underscores(_) and must be at " ..
  "least one character long"
local FLAGS = {
  ["no-writes"] = true, ["allow-oom"] = true, ["allow-stale"] = true, ["no-cluster"] = true,
  ["allow-cross-slot-keys"] = true,
}

local function named_arguments(given)
  local name, callback, description, flags
  for key, value in pairs(given) do
    if key == "function_name" then
      if type(value) ~= "string" then
        error("function_name argument given to redis.register_function must be a string", 4)
      end
      name = value
    elseif key == "description" then
      if type(value) ~= "string" then
        error("description argument given to redis.register_function must be a string", 4)
      end
      description = value
    elseif key == "callback" then
      if type(value) ~= "function" then
        error("callback argument given to redis.register_function must be a function", 4)
      end
      callback = value
    elseif key == "flags" then
      if type(value) ~= "table" then
        error("flags argument to redis.register_function must be a table representing " ..
          "function flags", 4)
      end
      flags = value
    else
      error("unknown argument given to redis.register_function", 4)
    end
  end
  if not name then
    error("redis.register_function must get a function name argument", 4)
  elseif not callback then
    error("redis.register_function must get a callback argument", 4)
  end
  return name, callback, description, flags
end

local function read_arguments(...)
  local count, name, callback = select("#", ...), ...
  if count < 1 or count > 2 then
    error("wrong number of arguments to redis.register_function", 3)
  elseif count == 1 then
    if type(name) ~= "table" then
      error("calling redis.register_function with a single argument is only applicable to " ..
        "Lua table (representing named arguments).", 3)
    end
    local named, called, description, flags = named_arguments(name)
    return named, called, description, flags
  elseif type(name) ~= "string" then
    error("first argument to redis.register_function must be a string", 3)
  elseif type(callback) ~= "function" then
    error("second argument to redis.register_function must be a function", 3)
  end
  return name, callback
end

local function register_function(...)
  if not loading then
    error("redis.register_function can only be called on FUNCTION LOAD command", 2)
  end
  local name, callback, description, flags = read_arguments(...)
  if not find(name, "^[%w_]+$") or find(name, "%z") then
    error(NAMES, 2)
  end
  local known = {}
  for _, flag in ipairs(flags or {}) do
    if type(flag) ~= "string" or not FLAGS[flag] then
      error("unknown flag given", 2)
    end
    known[#known + 1] = flag
  end
  if #loading >= native.functions_max then
    error("a library has at most " .. native.functions_max .. " functions", 2)
  end
  local lower = name:lower()
  for _, other in ipairs(loading) do
    if other.name:lower() == lower then
      error("Function already exists in the library", 2)
    end
  end
  loading[#loading + 1] = {
    name = name, callback = callback, description = description, flags = known,
  }
end

local load_redis = copy(redis, [[log LOG_DEBUG LOG_VERBOSE LOG_NOTICE LOG_WARNING REDIS_VERSION
  REDIS_VERSION_NUM]])
load_redis.register_function = register_function
setmetatable(load_redis, { __index = nonexistent })
local load_globals = setmetatable({ redis = show(load_redis) }, { __index = nonexistent })
local library_environment, library_meta = show(globals)

-- Where in a script an error was raised, with what of it is told.
local function explain(raised)
  local source, line = native.where()
  if type(raised) == "table" then
    local text = rawget(raised, "err")
    if type(text) ~= "string" then
      text = "ERR unknown error"
    end
    return {
      err = text,
      source = rawget(raised, "source") or source,
      line = rawget(raised, "line") or line,
    }
  elseif type(raised) == "string" or type(raised) == "number" then
    return { err = "ERR " .. raised, source = source, line = line }
  elseif type(raised) == "userdata" then
    -- The interpreter's own: it found no room.
    return { err = "ERR " .. tostring(raised), source = source, line = line }
  end
  return { err = "ERR unknown error", source = source, line = line }
end

return {
  environment = environment,
  library_environment = library_environment,
  -- Runs a script.
  run = function(script, keys, arguments, command)
    invoke = command
    globals.KEYS, globals.ARGV = keys, arguments
    local good, value = xpcall(script, explain)
    globals.KEYS, globals.ARGV = nil, nil
    return good, value
  end,
  -- Runs a function of a library.
  run_function = function(callback, keys, arguments, command)
    invoke = command
    return xpcall(function()
      return callback(keys, arguments)
    end, explain)
  end,
  -- Runs a library's text, which registers its functions.
  load = function(library)
    loading = {}
    library_meta.__index = load_globals
    local good, raised = pcall(library)
    library_meta.__index = globals
    local functions = loading
    loading = nil
    if not good then
      return false, type(raised) == "table" and rawget(raised, "err") or raised
    end
    return true, functions
  end,
}
