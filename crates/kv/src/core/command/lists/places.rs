//! Elements by their place or by their value.

use std::ops::Range;

use bytes::Bytes;

use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, Words},
    },
    data::{End, List},
    reply::Reply,
};

/// A place counted from the beginning, or from the end where negative; none if it is outside.
fn place(index: i64, len: usize) -> Option<usize> {
    let place = match usize::try_from(index) {
        Ok(place) => place,
        Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
    };
    (place < len).then_some(place)
}

/// The places from `first` to `last`, both included and counted as [`place`] counts; what is
/// outside is left out.
fn range(first: i64, last: i64, len: usize) -> Range<usize> {
    let clamped = |index: i64| match usize::try_from(index) {
        Ok(place) => Some(place),
        Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    };
    let from = clamped(first).unwrap_or(0);
    let to = clamped(last).map_or(0, |last| last.saturating_add(1).min(len));
    if from < to { from..to } else { 0..0 }
}

pub(super) fn lrange(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (first, last) = (args::integer(&words[2])?, args::integer(&words[3])?);
    let Some(list) = context.get::<List>(&words[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let places = range(first, last, list.len());
    let items = list.iter_from(places.start).take(places.len());
    Ok(Reply::Array(items.map(Reply::bulk).collect()))
}

pub(super) fn lindex(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let Some(list) = context.get::<List>(&words[1])? else {
        return Ok(Reply::Null);
    };
    let place = place(args::integer(&words[2])?, list.len());
    Ok(Reply::optional(place.and_then(|place| list.get(place))))
}

pub(super) fn lset(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, item) = (&words[1], &words[3]);
    let list = context
        .get_mut::<List>(key)?
        .ok_or(CommandError::NoSuchKey)?;
    let place = place(args::integer(&words[2])?, list.len())
        .ok_or(CommandError::Other("ERR index out of range"))?;
    list.set(place, item);
    context.changed(key, EventClass::List, "lset");
    Ok(Reply::OK)
}

pub(super) fn linsert(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, pivot, item) = (&words[1], &words[3], &words[4]);
    let after = match () {
        () if args::is(&words[2], "BEFORE") => 0,
        () if args::is(&words[2], "AFTER") => 1,
        () => return Err(CommandError::Syntax),
    };
    let Some(list) = context.get_mut::<List>(key)? else {
        return Ok(Reply::Integer(0));
    };
    let Some(place) = list.iter().position(|other| other == pivot) else {
        return Ok(Reply::Integer(-1));
    };
    list.insert(place + after, item);
    let len = list.len();
    context.changed(key, EventClass::List, "linsert");
    Ok(Reply::count(len))
}

pub(super) fn lrem(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let (key, item) = (&words[1], &words[3]);
    let count = from_an_end(&words[2])?;
    let end = if count < 0 { End::Right } else { End::Left };
    let count = match usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) {
        0 => usize::MAX,
        count => count,
    };
    let Some(list) = context.get_mut::<List>(key)? else {
        return Ok(Reply::Integer(0));
    };
    let removed = list.remove_equal(item, count, end);
    if removed > 0 {
        context.changed(key, EventClass::List, "lrem");
        context.remove_if_spent::<List>(key);
    }
    Ok(Reply::count(removed))
}

/// A number whose sign says from which end to count; Redis takes all but the lowest.
fn from_an_end(word: &[u8]) -> Result<i64, CommandError> {
    let number = args::integer(word)?;
    if number == i64::MIN {
        return Err(CommandError::Text(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    Ok(number)
}

pub(super) fn ltrim(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let key = &words[1];
    let (first, last) = (args::integer(&words[2])?, args::integer(&words[3])?);
    let Some(list) = context.get_mut::<List>(key)? else {
        return Ok(Reply::OK);
    };
    let kept = range(first, last, list.len());
    list.remove(kept.end..list.len());
    list.remove(0..kept.start);
    context.changed(key, EventClass::List, "ltrim");
    context.remove_if_spent::<List>(key);
    Ok(Reply::OK)
}

/// What LPOS looks for.
struct Search {
    /// From which end.
    end: End,
    /// So many matches are passed over.
    passed: usize,
    /// So many places are wanted, as an array; only the first one, if none.
    count: Option<usize>,
    /// So many elements are compared.
    compared_max: usize,
}

impl Search {
    fn of(words: &[Bytes]) -> Result<Self, CommandError> {
        let (mut rank, mut count, mut compared) = (1, None, 0);
        let mut options = Words::from(words, 3);
        while let Some(option) = options.next() {
            let value = options.expect()?;
            if args::is(option, "RANK") {
                rank = from_an_end(value)?;
                if rank == 0 {
                    return Err(CommandError::Other(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    ));
                }
            } else if args::is(option, "COUNT") {
                count = Some(args::at_least(value, 0, "ERR COUNT can't be negative")?);
            } else if args::is(option, "MAXLEN") {
                compared = args::at_least(value, 0, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        let unlimited = |number: usize| if number == 0 { usize::MAX } else { number };
        let rank_size = usize::try_from(rank.unsigned_abs()).unwrap_or(usize::MAX);
        Ok(Search {
            end: if rank < 0 { End::Right } else { End::Left },
            passed: rank_size - 1,
            count: count.map(unlimited),
            compared_max: unlimited(compared),
        })
    }

    fn run<'a>(&self, items: impl Iterator<Item = &'a [u8]>, item: &[u8]) -> Vec<usize> {
        items
            .take(self.compared_max)
            .enumerate()
            .filter(|(_, other)| *other == item)
            .map(|(at, _)| at)
            .skip(self.passed)
            .take(self.count.unwrap_or(1))
            .collect()
    }
}

pub(super) fn lpos(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let search = Search::of(words)?;
    let item = &words[2];
    let found = match context.get::<List>(&words[1])? {
        None => Vec::new(),
        Some(list) => match search.end {
            End::Left => search.run(list.iter(), item),
            End::Right => {
                let found = search.run(list.iter().rev(), item);
                found.into_iter().map(|at| list.len() - 1 - at).collect()
            }
        },
    };
    let mut places = found.into_iter().map(Reply::count);
    Ok(match search.count {
        Some(_) => Reply::Array(places.collect()),
        None => places.next().unwrap_or(Reply::Null),
    })
}

#[cfg(test)]
mod tests {
    use crate::core::command::testing::story;

    #[test]
    fn by_place() {
        story(
            r#"
            > RPUSH l a b c d
            (integer) 4
            > LRANGE l 1 2
            1) "b"
            2) "c"
            > LRANGE l -100 -3
            1) "a"
            2) "b"
            > LRANGE l 2 100
            1) "c"
            2) "d"
            > LRANGE l 3 1
            (empty array)
            > LRANGE l 0 -5
            (empty array)
            > LRANGE l 9 10
            (empty array)
            > LRANGE l -9223372036854775808 9223372036854775807
            1) "a"
            2) "b"
            3) "c"
            4) "d"
            > LRANGE none 0 -1
            (empty array)
            > LRANGE l x 1
            (error) ERR value is not an integer or out of range
            > LINDEX l 0
            "a"
            > LINDEX l -1
            "d"
            > LINDEX l 4
            (nil)
            > LINDEX l -5
            (nil)
            > LINDEX l x
            (error) ERR value is not an integer or out of range
            > LINDEX none x
            (nil)
            > LSET l -1 e
            OK
            ! lset l
            > LSET l 4 e
            (error) ERR index out of range
            > LSET none 0 e
            (error) ERR no such key
            > LTRIM l 1 -2
            OK
            ! ltrim l
            > LRANGE l 0 -1
            1) "b"
            2) "c"
            > LTRIM l 5 9
            OK
            ! ltrim l, del l
            > LTRIM l 0 1
            OK
            "#,
        );
    }

    #[test]
    fn by_value() {
        story(
            r#"
            > RPUSH l a b a c a
            (integer) 5
            > LINSERT l BEFORE c x
            (integer) 6
            ! linsert l
            > LINSERT l after c y
            (integer) 7
            > LINSERT l AFTER none y
            (integer) -1
            > LINSERT none AFTER a y
            (integer) 0
            > LINSERT l NEAR a y
            (error) ERR syntax error
            > LRANGE l 0 -1
            1) "a"
            2) "b"
            3) "a"
            4) "x"
            5) "c"
            6) "y"
            7) "a"
            > LREM l -2 a
            (integer) 2
            ! lrem l
            > LINDEX l 0
            "a"
            > LREM l 0 none
            (integer) 0
            > LREM l 1 a
            (integer) 1
            > RPUSH l b
            (integer) 5
            > LREM l 0 b
            (integer) 2
            > LREM l x b
            (error) ERR value is not an integer or out of range
            > LTRIM l 0 0
            OK
            > LREM l 5 x
            (integer) 1
            ! lrem l, del l
            > LREM l 0 x
            (integer) 0
            "#,
        );
    }

    #[test]
    fn places_of_values() {
        story(
            r#"
            > RPUSH l a b c 1 2 3 c c
            (integer) 8
            > LPOS l c
            (integer) 2
            > LPOS l c RANK 2
            (integer) 6
            > LPOS l c RANK -1
            (integer) 7
            > LPOS l c COUNT 2
            1) (integer) 2
            2) (integer) 6
            > LPOS l c COUNT 0 RANK -2
            1) (integer) 6
            2) (integer) 2
            > LPOS l c MAXLEN 2
            (nil)
            > LPOS l c MAXLEN 2 COUNT 0
            (empty array)
            > LPOS l c RANK -1 MAXLEN 1 COUNT 0
            1) (integer) 7
            > LPOS l c RANK 4
            (nil)
            > LPOS none c
            (nil)
            > LPOS none c COUNT 1
            (empty array)
            > LPOS l c RANK 0
            (error) ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
            > LPOS l c RANK -9223372036854775808
            (error) ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
            > LPOS l c COUNT -1
            (error) ERR COUNT can't be negative
            > LPOS l c MAXLEN -1
            (error) ERR MAXLEN can't be negative
            > LPOS l c RANK
            (error) ERR syntax error
            > LPOS l c FOO 1
            (error) ERR syntax error
            "#,
        );
    }
}
