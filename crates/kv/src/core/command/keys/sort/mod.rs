//! SORT: elements of a list or a set in an order, maybe by what other keys hold.

use bytes::Bytes;

use self::{lookup::Pattern, order::Order};
use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, Words},
    },
    reply::Reply,
};

mod lookup;
mod order;
mod sources;

/// What a call asks for.
#[derive(Default)]
struct Request<'a> {
    by: Option<Pattern<'a>>,
    /// A pattern of BY without a star has the same weight for all, which asks for the order that
    /// the elements have; no later BY takes that back.
    as_they_are: bool,
    descending: bool,
    alphabetic: bool,
    /// The first one's place and how many; a negative number means all.
    limit: Option<(i64, i64)>,
    /// What is told of each element; itself, if nothing.
    told: Vec<Pattern<'a>>,
    store: Option<&'a Bytes>,
}

impl<'a> Request<'a> {
    fn read(words: &'a [Bytes], may_store: bool) -> Result<Self, CommandError> {
        let mut request = Request::default();
        let mut options = Words::from(words, 2);
        while let Some(option) = options.next() {
            match () {
                () if args::is(option, "ASC") => request.descending = false,
                () if args::is(option, "DESC") => request.descending = true,
                () if args::is(option, "ALPHA") => request.alphabetic = true,
                () if args::is(option, "LIMIT") => {
                    // A word too few is a syntax error, whatever the other is.
                    if options.left() < 2 {
                        return Err(CommandError::Syntax);
                    }
                    request.limit = Some((options.expect_integer()?, options.expect_integer()?));
                }
                () if args::is(option, "BY") => {
                    let pattern = options.expect()?;
                    request.as_they_are |= !pattern.contains(&b'*');
                    request.by = Some(Pattern::read(pattern));
                }
                () if args::is(option, "GET") => {
                    request.told.push(Pattern::read(options.expect()?));
                }
                () if args::is(option, "STORE") && may_store => {
                    request.store = Some(options.expect()?);
                }
                () => return Err(CommandError::Syntax),
            }
        }
        Ok(request)
    }

    /// The part of so many elements that LIMIT leaves.
    fn part(&self, elements: usize) -> std::ops::Range<usize> {
        let (start, count) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(start).unwrap_or(0).min(elements);
        let end = match usize::try_from(count) {
            Ok(count) => start.saturating_add(count).min(elements),
            Err(_) => elements,
        };
        start..end
    }

    /// How the elements are ordered. A set's have no order that a list could keep, so they are
    /// sorted nevertheless where the result is stored, or told to a script.
    fn order(&self, have_order: bool, is_of_script: bool) -> Order<'_> {
        if !self.as_they_are {
            let by = self.by.as_ref();
            if self.alphabetic {
                Order::Alphabetic(by)
            } else {
                Order::Numeric(by)
            }
        } else if have_order || (self.store.is_none() && !is_of_script) {
            Order::AsTheyAre { have_order }
        } else {
            Order::Alphabetic(None)
        }
    }
}

pub(super) fn sort(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let request = Request::read(words, true)?;
    let found = find(context, &words[1], &request)?;
    let Some(to) = request.store else {
        return Ok(told(found));
    };
    let count = found.len();
    // Where nothing was found, a list holds an empty string.
    let list = sources::list(found.into_iter().map(Option::unwrap_or_default));
    context.store(to, list, EventClass::List, "sortstore");
    Ok(Reply::count(count))
}

pub(super) fn sort_ro(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let request = Request::read(words, false)?;
    Ok(told(find(context, &words[1], &request)?))
}

fn told(found: Vec<Option<Bytes>>) -> Reply {
    let replies = found
        .into_iter()
        .map(|found| found.map_or(Reply::Null, Reply::Bulk));
    Reply::Array(replies.collect())
}

/// What is told of the elements that are asked for, in order.
fn find(
    context: &mut Context<'_>,
    key: &[u8],
    request: &Request<'_>,
) -> Result<Vec<Option<Bytes>>, CommandError> {
    let source = match context.value(key) {
        None => sources::Source::default(),
        Some(value) => sources::elements(value).ok_or(CommandError::WrongType)?,
    };
    let part = request.part(source.elements.len());
    let order = request.order(source.have_order, context.is_of_script());
    let mut elements = order.arrange(context, source.elements, request.descending)?;
    elements.truncate(part.end);
    let elements = elements.into_iter().skip(part.start);
    if request.told.is_empty() {
        return Ok(elements.map(Some).collect());
    }
    let mut found = Vec::with_capacity(part.len() * request.told.len());
    for element in elements {
        for pattern in &request.told {
            found.push(pattern.find(context, &element));
        }
    }
    Ok(found)
}

/// The places of the keys that SORT names: the first, and the last of those to store at. Those
/// that patterns name are not known before the elements are.
pub(super) fn keys(words: &[Bytes]) -> Vec<usize> {
    let mut store = None;
    let mut place = 2;
    while let Some(option) = words.get(place) {
        place += match () {
            () if args::is(option, "LIMIT") => 3,
            () if args::is(option, "BY") || args::is(option, "GET") => 2,
            () if args::is(option, "STORE") => {
                store = Some(place + 1)
                    .filter(|place| *place < words.len())
                    .or(store);
                2
            }
            () => 1,
        };
    }
    let key = (words.len() > 1).then_some(1);
    key.into_iter().chain(store).collect()
}

#[cfg(test)]
mod tests;
