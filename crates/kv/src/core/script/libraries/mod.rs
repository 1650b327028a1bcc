//! The libraries that scripts find beside Lua's own. Whatever bytes they are given, they answer
//! or say what is wrong, within bounds of depth and size.

pub(super) mod bits;
pub(super) mod json;
pub(super) mod json_read;
pub(super) mod msgpack;
pub(super) mod msgpack_read;
pub(super) mod structs;

use mlua::{Table, Value};

/// The number of places of a table whose keys are 1, 2, 3 and so on, as far as they are; none if
/// it has another key. With it, how many places are filled.
fn places(table: &Table) -> mlua::Result<Option<(usize, usize)>> {
    let (mut last, mut filled) = (0, 0);
    for pair in table.pairs::<Value, Value>() {
        let (Value::Integer(place), _) = pair? else {
            return Ok(None);
        };
        match usize::try_from(place) {
            Ok(place) if place > 0 => last = last.max(place),
            _ => return Ok(None),
        }
        filled += 1;
    }
    Ok(Some((last, filled)))
}
