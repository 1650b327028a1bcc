//! Adding places and asking for them.

use bytes::Bytes;

use crate::core::{
    command::{
        CommandError, Context, Executed, args,
        sorted_sets::{Rules, add},
    },
    data::SortedSet,
    geo::{Place, distance_m},
    reply::Reply,
};

/// A place from two words.
pub(super) fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, CommandError> {
    let (longitude, latitude) = (args::float(longitude)?, args::float(latitude)?);
    Place::new(longitude, latitude).ok_or_else(|| {
        CommandError::Text(format!(
            "ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        ))
    })
}

/// How many metres a unit is.
pub(super) fn unit_m(argument: &[u8]) -> Result<f64, CommandError> {
    match () {
        () if args::is(argument, "M") => Ok(1.0),
        () if args::is(argument, "KM") => Ok(1_000.0),
        () if args::is(argument, "FT") => Ok(0.3048),
        () if args::is(argument, "MI") => Ok(1_609.34),
        () => Err(CommandError::Other(
            "ERR unsupported unit provided. please use M, KM, FT, MI",
        )),
    }
}

/// A distance as Redis writes it: four digits after the point, whatever the protocol.
pub(super) fn distance(distance: f64) -> Reply {
    const DIGITS: f64 = 10_000.0;
    // Half of the Earth in feet has twelve digits with these.
    let scaled = (distance * DIGITS).round_ties_even();
    Reply::bulk(format!("{:.4}", scaled / DIGITS))
}

/// A place as an array of two.
pub(super) fn coordinates(place: Place) -> Reply {
    Reply::Array(vec![
        Reply::Double(place.longitude),
        Reply::Double(place.latitude),
    ])
}

pub(super) fn geoadd(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let mut rules = Rules::default();
    let mut count_updated = false;
    let mut from = 2;
    while let Some(option) = words.get(from) {
        match () {
            () if args::is(option, "NX") => rules.only_new = true,
            () if args::is(option, "XX") => rules.only_old = true,
            () if args::is(option, "CH") => count_updated = true,
            () => break,
        }
        from += 1;
    }
    let members = &words[from..];
    if members.is_empty() || !members.len().is_multiple_of(3) || (rules.only_new && rules.only_old)
    {
        return Err(CommandError::Syntax);
    }
    let members = members
        .chunks_exact(3)
        .map(|member| Ok((place(&member[0], &member[1])?.score(), &member[2])))
        .collect::<Result<Vec<_>, CommandError>>()?;
    let outcome = add(context, &words[1], &members, rules)?;
    let updated = if count_updated { outcome.updated } else { 0 };
    Ok(Reply::count(outcome.added + updated))
}

pub(super) fn geopos(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    each(context, words, Reply::NullArray, coordinates)
}

pub(super) fn geohash(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    each(context, words, Reply::Null, |place| {
        Reply::bulk(place.geohash())
    })
}

/// An answer for each member's place.
fn each(
    context: &mut Context<'_>,
    words: &[Bytes],
    missing: Reply,
    show: fn(Place) -> Reply,
) -> Executed {
    let set = context.get::<SortedSet>(&words[1])?;
    let members = words[2..].iter().map(|member| {
        let score = set.and_then(|set| set.score(member));
        score.map_or(missing.clone(), |score| show(Place::of_score(score)))
    });
    Ok(Reply::Array(members.collect()))
}

pub(super) fn geodist(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    let unit_m = match &words[4..] {
        [] => 1.0,
        [unit] => unit_m(unit)?,
        _ => return Err(CommandError::Syntax),
    };
    let set = context.get::<SortedSet>(&words[1])?;
    let place = |member: &[u8]| Some(Place::of_score(set?.score(member)?));
    Ok(match (place(&words[2]), place(&words[3])) {
        (Some(from), Some(to)) => distance(distance_m(from, to) / unit_m),
        _ => Reply::Null,
    })
}
