//! Bounds of what a script can use.

/// Memory of one interpreter, in bytes.
pub(super) const MEMORY_BYTES_MAX: usize = 256 << 20;
/// An interpreter that holds more than this after a run is given up.
pub(super) const MEMORY_BYTES_KEPT: usize = 32 << 20;
/// Instructions between two looks at the watch.
pub(super) const LOOK_EVERY: u32 = 1_000;
/// Replies inside replies that a script returns, at the most.
pub(super) const REPLY_DEPTH_MAX: usize = 30;
/// Replies in what a script returns, at the most.
pub(super) const REPLY_ITEMS_MAX: usize = 1 << 20;
/// Bytes of strings in what a script returns, at the most.
pub(super) const REPLY_BYTES_MAX: usize = 4 << 20;
/// Values that one call of a Rust function takes or gives; Lua's own stack has room for 8,000.
pub(super) const VALUES_MAX: usize = 7_990;
/// Scripts that an interpreter keeps compiled.
pub(super) const COMPILED_MAX: usize = 512;
/// Libraries that an interpreter keeps loaded.
pub(super) const LOADED_MAX: usize = 64;
/// Functions of one library.
pub(super) const FUNCTIONS_MAX: usize = 1_000;
/// The longest script, in bytes: it goes through the log's way, with its keys and arguments.
pub const SCRIPT_BYTES_MAX: usize = 1 << 20;
/// The longest library, in bytes.
pub const LIBRARY_BYTES_MAX: usize = 1 << 20;
/// Of a message for the node's log, in bytes.
pub(super) const LOGGED_BYTES_MAX: usize = 1_024;
