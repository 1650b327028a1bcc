//! Saying when fields end (Redis 7.4: "HEXPIRE").

use bytes::Bytes;

use crate::core::{
    command::{CommandError, Context, EventClass, Executed, args},
    data::{Hash, Milliseconds},
    reply::Reply,
};

/// The last moment at which a field can end; Redis keeps 46 bits.
const EXPIRES_AT_MS_MAX: Milliseconds = (1 << 46) - 1;

pub(super) const NO_FIELD: Reply = Reply::Integer(-2);
const NOT_MET: Reply = Reply::Integer(0);
pub(super) const DONE: Reply = Reply::Integer(1);
const REMOVED: Reply = Reply::Integer(2);

/// Seconds or milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) ms: u64,
}

pub(super) const SECONDS: Unit = Unit { ms: 1_000 };
pub(super) const MILLISECONDS: Unit = Unit { ms: 1 };

pub(super) fn hexpire(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let now_ms = context.now_ms();
    expire(context, words, SECONDS, now_ms, "hexpire")
}

pub(super) fn hpexpire(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let now_ms = context.now_ms();
    expire(context, words, MILLISECONDS, now_ms, "hpexpire")
}

pub(super) fn hexpireat(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    expire(context, words, SECONDS, 0, "hexpireat")
}

pub(super) fn hpexpireat(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    expire(context, words, MILLISECONDS, 0, "hpexpireat")
}

/// For which fields an end is set.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    /// NX: for those without.
    WithoutExpiry,
    /// XX: for those with one.
    WithExpiry,
    /// GT: where it is later. Never is later than all.
    Later,
    /// LT: where it is earlier.
    Earlier,
}

impl Condition {
    fn of(word: &[u8]) -> Option<Self> {
        match () {
            () if args::is(word, "NX") => Some(Condition::WithoutExpiry),
            () if args::is(word, "XX") => Some(Condition::WithExpiry),
            () if args::is(word, "GT") => Some(Condition::Later),
            () if args::is(word, "LT") => Some(Condition::Earlier),
            () => None,
        }
    }

    fn is_met(self, before: Option<Milliseconds>, at_ms: Milliseconds) -> bool {
        match self {
            Condition::Always => true,
            Condition::WithoutExpiry => before.is_none(),
            Condition::WithExpiry => before.is_some(),
            Condition::Later => before.is_some_and(|before| at_ms > before),
            Condition::Earlier => before.is_none_or(|before| at_ms < before),
        }
    }
}

fn expire(
    context: &mut Context<'_>,
    words: &[Bytes],
    unit: Unit,
    since_ms: Milliseconds,
    name: &'static str,
) -> Executed {
    let key = &words[1];
    context.get::<Hash>(key)?;
    let at_ms = moment(&words[2], unit, since_ms, name)?;
    let condition = Condition::of(&words[3]);
    let place = if condition.is_some() { 4 } else { 3 };
    let fields = fields(
        words,
        place,
        "ERR Parameter `numFields` should be greater than 0",
    )?;
    let condition = condition.unwrap_or(Condition::Always);
    let now_ms = context.now_ms();
    let Some(hash) = context.get_mut::<Hash>(key)? else {
        return Ok(Reply::Array(vec![NO_FIELD; fields.len()]));
    };
    // A time that is over takes the field out at once.
    let over = at_ms <= now_ms;
    let mut met = false;
    let replies = fields.iter().map(|field| {
        if hash.get(field, now_ms).is_none() {
            return NO_FIELD;
        }
        if !condition.is_met(hash.expires_at(field), at_ms) {
            return NOT_MET;
        }
        met = true;
        if over {
            hash.remove(field);
            REMOVED
        } else {
            hash.expire_at(field, Some(at_ms));
            DONE
        }
    });
    let replies = replies.collect();
    if met {
        let event = if over { "hdel" } else { "hexpire" };
        context.changed(key, EventClass::Hash, event);
        context.remove_if_spent::<Hash>(key);
    }
    Ok(Reply::Array(replies))
}

fn moment(
    word: &[u8],
    unit: Unit,
    since_ms: Milliseconds,
    name: &'static str,
) -> Result<Milliseconds, CommandError> {
    let number = u64::try_from(args::integer(word)?)
        .map_err(|_| CommandError::Other("ERR invalid expire time, must be >= 0"))?;
    number
        .checked_mul(unit.ms)
        .and_then(|ms| ms.checked_add(since_ms))
        .filter(|at_ms| *at_ms <= EXPIRES_AT_MS_MAX)
        .ok_or(CommandError::ExpireTime(name))
}

/// `FIELDS numfields field…`, from this place to the end.
pub(super) fn fields<'a>(
    words: &'a [Bytes],
    place: usize,
    not_a_count: &'static str,
) -> Result<&'a [Bytes], CommandError> {
    let missing = "ERR Mandatory argument FIELDS is missing or not at the right position";
    if !words
        .get(place)
        .is_some_and(|word| args::is(word, "FIELDS"))
    {
        return Err(CommandError::Other(missing));
    }
    let count = words.get(place + 1).map_or(&b""[..], |word| word);
    let count = args::at_least(count, 1, not_a_count)?;
    let fields = words.get(place + 2..).unwrap_or_default();
    if count != fields.len() {
        return Err(CommandError::Other(
            "ERR The `numfields` parameter must match the number of arguments",
        ));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn fields_end() {
        story(
            r#"
            > HSET h a 1 b 2 c 3
            (integer) 3
            > HEXPIRE h 10 FIELDS 3 a x b
            1) (integer) 1
            2) (integer) -2
            3) (integer) 1
            ! hexpire h
            > HTTL h FIELDS 3 a c x
            1) (integer) 10
            2) (integer) -1
            3) (integer) -2
            > HPEXPIRETIME h FIELDS 1 a
            1) (integer) 1700000010000
            > HEXPIRETIME h FIELDS 1 a
            1) (integer) 1700000010
            > HPERSIST h FIELDS 3 a c x
            1) (integer) 1
            2) (integer) -1
            3) (integer) -2
            ! hpersist h
            > HTTL h FIELDS 1 a
            1) (integer) -1
            @ 10000
            > HGET h b
            "2"
            > HPTTL h FIELDS 1 b
            1) (integer) 0
            @ 10001
            > HGET h b
            (nil)
            > HLEN h
            (integer) 2
            > HKEYS h
            1) "a"
            2) "c"
            > HTTL h FIELDS 1 b
            1) (integer) -2
            > HSET h b 4
            (integer) 1
            ! hexpired h, hset h
            > HTTL h FIELDS 1 b
            1) (integer) -1
            > HTTL none FIELDS 2 a b
            1) (integer) -2
            2) (integer) -2
            > HPERSIST none FIELDS 1 a
            1) (integer) -2
            > HEXPIRE none 5 FIELDS 1 a
            1) (integer) -2
            "#,
        );
    }

    #[test]
    fn a_hash_goes_with_its_last_field() {
        story(
            r#"
            > HSET h a 1 b 2
            (integer) 2
            > HPEXPIRE h 5 FIELDS 2 a b
            1) (integer) 1
            2) (integer) 1
            @ 6
            > HLEN h
            (integer) 0
            > HRANDFIELD h
            (nil)
            > HDEL h a
            (integer) 0
            ! hexpired h, del h
            > HSET h a 1
            (integer) 1
            ! new h, hset h
            > HEXPIREAT h 1 FIELDS 1 a
            1) (integer) 2
            ! hdel h, del h
            > HSET h a 1 b 2
            (integer) 2
            > HPEXPIRE h 0 FIELDS 2 a x
            1) (integer) 2
            2) (integer) -2
            ! hdel h
            > HGETALL h
            1# "b" => "2"
            "#,
        );
    }

    #[test]
    fn conditions() {
        story(
            r#"
            > HSET h a 1 b 2
            (integer) 2
            > HPEXPIRE h 1000 XX FIELDS 1 a
            1) (integer) 0
            > HPEXPIRE h 1000 GT FIELDS 1 a
            1) (integer) 0
            > HPEXPIRE h 1000 NX FIELDS 1 a
            1) (integer) 1
            > HPEXPIRE h 1000 NX FIELDS 2 a b
            1) (integer) 0
            2) (integer) 1
            > HPEXPIRE h 1000 gt FIELDS 1 a
            1) (integer) 0
            > HPEXPIRE h 1001 GT FIELDS 1 a
            1) (integer) 1
            > HPEXPIRE h 1000 LT FIELDS 2 a b
            1) (integer) 1
            2) (integer) 0
            > HPERSIST h FIELDS 1 a
            1) (integer) 1
            > HPEXPIRE h 2000 LT FIELDS 1 a
            1) (integer) 1
            > HSET h a 2
            (integer) 0
            > HPTTL h FIELDS 2 a b
            1) (integer) -1
            2) (integer) 1000
            "#,
        );
    }

    #[test]
    fn refusals() {
        story(
            r#"
            > HSET h a 1
            (integer) 1
            > HEXPIRE h x FIELDS 1 a
            (error) ERR value is not an integer or out of range
            > HEXPIRE h -1 FIELDS 1 a
            (error) ERR invalid expire time, must be >= 0
            > HPEXPIRE h 70368744177664 FIELDS 1 a
            (error) ERR invalid expire time in 'hpexpire' command
            > HEXPIREAT h 9223372036854775807 FIELDS 1 a
            (error) ERR invalid expire time in 'hexpireat' command
            > HPEXPIREAT h 70368744177663 FIELDS 1 a
            1) (integer) 1
            > HEXPIRE h 1 FIELD 1 a
            (error) ERR Mandatory argument FIELDS is missing or not at the right position
            > HEXPIRE h 1 NX 1 a b
            (error) ERR Mandatory argument FIELDS is missing or not at the right position
            > HEXPIRE h 1 NX FIELDS 1
            (error) ERR The `numfields` parameter must match the number of arguments
            > HEXPIRE h 1 FIELDS 0 a
            (error) ERR Parameter `numFields` should be greater than 0
            > HEXPIRE h 1 FIELDS 2 a
            (error) ERR The `numfields` parameter must match the number of arguments
            > HEXPIRE h 1 FIELDS 1 a b
            (error) ERR The `numfields` parameter must match the number of arguments
            > HTTL h FIELDS x a
            (error) ERR Number of fields must be a positive integer
            > HTTL h FIELD 1 a
            (error) ERR Mandatory argument FIELDS is missing or not at the right position
            > HPERSIST h FIELDS 2 a
            (error) ERR The `numfields` parameter must match the number of arguments
            > HTTL h FIELDS 1
            (error) ERR wrong number of arguments for 'httl' command
            "#,
        );
    }
}
