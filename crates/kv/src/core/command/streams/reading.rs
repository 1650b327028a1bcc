//! XREAD.

use bytes::Bytes;

use super::{call::Call, entry, ids};
use crate::core::{
    command::{Command, CommandError, Context, Executed},
    data::{Stream, StreamId},
    reply::Reply,
};

/// The words of an XREAD that is to wait, with each `$` replaced by what it means now: the last
/// id of that stream, 0-0 if there is none. None where there is nothing to replace.
///
/// Who lets XREAD wait must call this at the moment when it was first run and found nothing, and
/// run the words that it gives from then on. A `$` that is kept would mean, at each new try, "after
/// what has just come", and nothing would ever be found. `+` and `>` stay as they are.
pub fn fix_last_ids(
    context: &mut Context<'_>,
    command: &Command,
    words: &[Bytes],
) -> Option<Vec<Bytes>> {
    if command.name != "xread" {
        return None;
    }
    let call = Call::of(command.name, words).ok()?;
    if call.ids.iter().all(|id| id != "$") {
        return None;
    }
    let first_id = call.first_key + call.keys.len();
    let mut fixed = words.to_vec();
    for (at, (key, id)) in call.keys.iter().zip(call.ids).enumerate() {
        if id == "$" {
            let stream = context.get::<Stream>(key).ok().flatten();
            let last = stream.map_or(StreamId::MIN, Stream::last_id);
            fixed[first_id + at] = Bytes::from(last.to_string());
        }
    }
    Some(fixed)
}

pub(super) fn xread(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let call = Call::of("xread", words)?;
    let mut after = Vec::with_capacity(call.ids.len());
    for (key, word) in call.keys.iter().zip(call.ids) {
        let stream = context.get::<Stream>(key)?;
        let last = stream.map_or(StreamId::MIN, Stream::last_id);
        after.push(match word.as_ref() {
            b"$" => last,
            // The last entry itself, of those that are there; the first to come, if none is.
            b"+" => {
                let entry = stream.map_or(StreamId::MIN, Stream::last_entry_id);
                entry.previous().unwrap_or(last)
            }
            b">" => {
                return Err(CommandError::Other(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP \
                     <group> <consumer> option.",
                ));
            }
            word => ids::strict(word, 0)?,
        });
    }
    let mut found = Vec::new();
    for (key, after) in call.keys.iter().zip(after) {
        let Some(stream) = context.get::<Stream>(key)? else {
            continue;
        };
        let Some(from) = after.next() else {
            continue;
        };
        let entries = stream.range(from, StreamId::MAX).take(call.count);
        let entries: Vec<Reply> = entries.map(|(id, fields)| entry(id, fields)).collect();
        if !entries.is_empty() {
            found.push((Reply::bulk(key), Reply::Array(entries)));
        }
    }
    Ok(call.answer(context, found))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::fix_last_ids;
    use crate::core::{
        command::{Context, Effects, Moment, find, testing::story},
        data::Keyspace,
    };

    #[test]
    fn streams_are_read() {
        story(
            r#"
            > XADD a 1 f 1
            "1-0"
            > XADD a 2 f 2
            "2-0"
            > XADD b 1 g 1
            "1-0"
            > XREAD STREAMS a b 1 0
            1# "a" => 1) 1) "2-0"
                  2) 1) "f"
                     2) "2"
            2# "b" => 1) 1) "1-0"
                  2) 1) "g"
                     2) "1"
            > XREAD COUNT 1 STREAMS a none 0 0
            1# "a" => 1) 1) "1-0"
                  2) 1) "f"
                     2) "1"
            > XREAD STREAMS a +
            1# "a" => 1) 1) "2-0"
                  2) 1) "f"
                     2) "2"
            > XREAD STREAMS none +
            (nil)
            > XADD c 1 f 1
            "1-0"
            > XADD c 2 f 2
            "2-0"
            > XDEL c 2
            (integer) 1
            > XREAD STREAMS c +
            1# "c" => 1) 1) "1-0"
                  2) 1) "f"
                     2) "1"
            > XDEL c 1
            (integer) 1
            > XREAD STREAMS c +
            (nil)
            > XREAD BLOCK 0 STREAMS c +
            (blocks)
            (nil)
            > XREAD STREAMS a $
            (nil)
            > XREAD BLOCK 0 STREAMS a b $ $
            (blocks)
            (nil)
            > XREAD BLOCK 5 COUNT 0 STREAMS a b 1-0 $
            1# "a" => 1) 1) "2-0"
                  2) 1) "f"
                     2) "2"
            > XREAD BLOCK x STREAMS a 0
            (error) ERR timeout is not an integer or out of range
            > XREAD BLOCK -1 STREAMS a 0
            (error) ERR timeout is negative
            > XREAD COUNT 1 STREAMS a
            (error) ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.
            > XREAD STREAMS a >
            (error) ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.
            > XREAD GROUP g c STREAMS a 0
            (error) ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.
            > XREAD NOACK STREAMS a 0
            (error) ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.
            > XREAD COUNT 1 BLOCK 1
            (error) ERR syntax error
            > XREAD FOO STREAMS a 0
            (error) ERR syntax error
            > XREAD STREAMS a x
            (error) ERR Invalid stream ID specified as stream command argument
            "#,
        );
    }

    #[test]
    fn last_ids_are_fixed() {
        let words = |call: &str| -> Vec<Bytes> {
            let words = call.split(' ');
            words.map(|word| Bytes::from(word.to_owned())).collect()
        };
        let mut keyspace = Keyspace::default();
        let mut effects = Effects::default();
        let moment = Moment {
            now_ms: 5,
            seed: 1,
            version: 1,
            reading: false,
        };
        let mut context = Context::new(&mut keyspace, 0, moment, &mut effects);
        let add = words("XADD a 7-1 f v");
        find(&add)
            .expect("a command")
            .run(&mut context, &add)
            .expect("it is added");
        let mut fix = |call: &str| {
            let call = words(call);
            fix_last_ids(&mut context, find(&call).expect("a command"), &call)
        };
        assert_eq!(
            fix("XREAD BLOCK 0 STREAMS a b $ $"),
            Some(words("XREAD BLOCK 0 STREAMS a b 7-1 0-0"))
        );
        assert_eq!(
            fix("XREAD BLOCK 0 STREAMS $ a + $"),
            Some(words("XREAD BLOCK 0 STREAMS $ a + 7-1"))
        );
        assert_eq!(fix("XREAD BLOCK 0 STREAMS a 0"), None);
        assert_eq!(fix("BLPOP $ 0"), None);
    }
}
