//! GEOSEARCH and its older relatives.

use bytes::Bytes;

use super::places::{coordinates, distance, place, unit_m};
use crate::core::{
    command::{
        CommandError, Context, EventClass, Executed,
        args::{self, Words},
    },
    data::SortedSet,
    geo::{Place, Shape, cells},
    reply::Reply,
};

/// What a command's name says.
#[derive(Clone, Copy, PartialEq)]
enum Name {
    Search,
    SearchStore,
    Radius,
    RadiusReading,
    ByMember,
    ByMemberReading,
}

impl Name {
    fn searches(self) -> bool {
        matches!(self, Name::Search | Name::SearchStore)
    }

    /// Whether STORE and STOREDIST name a key.
    fn may_store(self) -> bool {
        matches!(self, Name::Radius | Name::ByMember)
    }
}

pub(super) fn geosearch(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    run(context, words, Name::Search)
}

pub(super) fn geosearchstore(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    run(context, words, Name::SearchStore)
}

pub(super) fn georadius(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    run(context, words, Name::Radius)
}

pub(super) fn georadius_ro(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    run(context, words, Name::RadiusReading)
}

pub(super) fn georadiusbymember(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    run(context, words, Name::ByMember)
}

pub(super) fn georadiusbymember_ro(context: &mut Context<'_>, words: &[Bytes]) -> Executed {
    run(context, words, Name::ByMemberReading)
}

/// From near to far, or back.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Near,
    Far,
}

/// Where the search begins.
#[derive(Clone, Copy)]
enum Centre {
    At(Place),
    /// A member of a sorted set that is not there; nothing will be found.
    Nowhere,
}

/// What is asked for.
#[derive(Default)]
struct Query<'a> {
    centre: Option<Centre>,
    shape: Option<Shape>,
    /// What distances are given in.
    unit_m: f64,
    with_distance: bool,
    with_score: bool,
    with_place: bool,
    order: Option<Order>,
    count: Option<usize>,
    /// Any that are found first will do.
    any: bool,
    store: Option<&'a Bytes>,
    store_distance: bool,
}

/// A member that was found.
struct Found<'a> {
    member: &'a [u8],
    score: f64,
    place: Place,
    distance_m: f64,
}

/// The place of a member; the sorted set may be missing, its member may not.
fn centre(set: Option<&SortedSet>, member: &[u8]) -> Result<Centre, CommandError> {
    let Some(set) = set else {
        return Ok(Centre::Nowhere);
    };
    match set.score(member) {
        Some(score) => Ok(Centre::At(Place::of_score(score))),
        None => Err(CommandError::Other(
            "ERR could not decode requested zset member",
        )),
    }
}

/// A length, with its refusal.
fn length(argument: &[u8], refusal: &'static str) -> Result<f64, CommandError> {
    args::float(argument).map_err(|_| CommandError::Other(refusal))
}

impl<'a> Query<'a> {
    fn parse(
        name: Name,
        words: &'a [Bytes],
        set: Option<&SortedSet>,
    ) -> Result<Self, CommandError> {
        let mut query = Query {
            unit_m: 1.0,
            ..Query::default()
        };
        let options = match name {
            Name::Search => 2,
            Name::SearchStore => {
                query.store = Some(&words[1]);
                3
            }
            Name::Radius | Name::RadiusReading => {
                query.centre = Some(Centre::At(place(&words[2], &words[3])?));
                query.read_circle(&words[4], &words[5])?;
                6
            }
            Name::ByMember | Name::ByMemberReading => {
                query.centre = Some(centre(set, &words[2])?);
                // As in Redis, nobody looks at the radius where there is nothing to be found.
                if set.is_some() {
                    query.read_circle(&words[3], &words[4])?;
                }
                5
            }
        };
        let mut options = Words::from(words, options);
        while let Some(option) = options.next() {
            query.read(name, option, &mut options, set)?;
        }
        query.check(name, &words[0])?;
        Ok(query)
    }

    /// Reads one option.
    fn read(
        &mut self,
        name: Name,
        option: &[u8],
        rest: &mut Words<'a>,
        set: Option<&SortedSet>,
    ) -> Result<(), CommandError> {
        let left = rest.left();
        match () {
            () if args::is(option, "WITHDIST") => self.with_distance = true,
            () if args::is(option, "WITHHASH") => self.with_score = true,
            () if args::is(option, "WITHCOORD") => self.with_place = true,
            () if args::is(option, "ANY") => self.any = true,
            () if args::is(option, "ASC") => self.order = Some(Order::Near),
            () if args::is(option, "DESC") => self.order = Some(Order::Far),
            () if args::is(option, "COUNT") && left >= 1 => {
                let count = rest.expect_integer()?;
                let refusal = CommandError::Other("ERR COUNT must be > 0");
                let count = usize::try_from(count).ok().filter(|count| *count > 0);
                self.count = Some(count.ok_or(refusal)?);
            }
            () if name.may_store() && left >= 1 && args::is(option, "STORE") => {
                self.store = rest.next();
                self.store_distance = false;
            }
            () if name.may_store() && left >= 1 && args::is(option, "STOREDIST") => {
                self.store = rest.next();
                self.store_distance = true;
            }
            () if name == Name::SearchStore && args::is(option, "STOREDIST") => {
                self.store_distance = true;
            }
            () if name.searches() => return self.read_search(option, rest, set),
            () => return Err(CommandError::Syntax),
        }
        Ok(())
    }

    /// Reads what only GEOSEARCH has: one centre and one shape.
    fn read_search(
        &mut self,
        option: &[u8],
        rest: &mut Words<'a>,
        set: Option<&SortedSet>,
    ) -> Result<(), CommandError> {
        let left = rest.left();
        match () {
            () if args::is(option, "FROMMEMBER") && left >= 1 && self.centre.is_none() => {
                self.centre = Some(centre(set, rest.expect()?)?);
            }
            () if args::is(option, "FROMLONLAT") && left >= 2 && self.centre.is_none() => {
                self.centre = Some(Centre::At(place(rest.expect()?, rest.expect()?)?));
            }
            () if args::is(option, "BYRADIUS") && left >= 2 && self.shape.is_none() => {
                self.read_circle(rest.expect()?, rest.expect()?)?;
            }
            () if args::is(option, "BYBOX") && left >= 3 && self.shape.is_none() => {
                self.read_box(rest.expect()?, rest.expect()?, rest.expect()?)?;
            }
            () => return Err(CommandError::Syntax),
        }
        Ok(())
    }

    fn read_circle(&mut self, radius: &[u8], unit: &[u8]) -> Result<(), CommandError> {
        let radius = length(radius, "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(CommandError::Other("ERR radius cannot be negative"));
        }
        self.unit_m = unit_m(unit)?;
        self.shape = Some(Shape::Circle {
            radius_m: radius * self.unit_m,
        });
        Ok(())
    }

    fn read_box(&mut self, width: &[u8], height: &[u8], unit: &[u8]) -> Result<(), CommandError> {
        let width = length(width, "ERR need numeric width")?;
        let height = length(height, "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(CommandError::Other(
                "ERR height or width cannot be negative",
            ));
        }
        self.unit_m = unit_m(unit)?;
        self.shape = Some(Shape::Box {
            width_m: width * self.unit_m,
            height_m: height * self.unit_m,
        });
        Ok(())
    }

    /// What does not go together.
    fn check(&self, name: Name, called: &[u8]) -> Result<(), CommandError> {
        let shows = self.with_distance || self.with_score || self.with_place;
        if self.store.is_some() && shows {
            return Err(CommandError::Other(match name {
                Name::SearchStore => {
                    "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
                }
                _ => {
                    "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
                }
            }));
        }
        let exactly_one = |of: &str| {
            let called = String::from_utf8_lossy(called);
            CommandError::Text(format!(
                "ERR exactly one of {of} can be specified for {called}"
            ))
        };
        if name.searches() && self.centre.is_none() {
            return Err(exactly_one("FROMMEMBER or FROMLONLAT"));
        }
        if name.searches() && self.shape.is_none() {
            return Err(exactly_one("BYRADIUS and BYBOX"));
        }
        if self.any && self.count.is_none() {
            return Err(CommandError::Other(
                "ERR the ANY argument requires COUNT argument",
            ));
        }
        Ok(())
    }

    /// The members inside the shape, in the order asked for, at most so many as asked for.
    fn find<'s>(&self, set: &'s SortedSet) -> Vec<Found<'s>> {
        let (Some(Centre::At(centre)), Some(shape)) = (self.centre, self.shape) else {
            return Vec::new();
        };
        let inside = cells(shape, centre)
            .into_iter()
            .flat_map(|cell| {
                let scores = cell.scores();
                let start = set.count_by_score(|score| score < scores.start);
                let end = set.count_by_score(|score| score < scores.end);
                set.range(start..end.max(start))
            })
            .filter_map(|(member, score)| {
                let place = Place::of_score(score);
                let distance_m = shape.distance_m(centre, place)?;
                Some(Found {
                    member,
                    score,
                    place,
                    distance_m,
                })
            });
        let count = self.count.unwrap_or(usize::MAX);
        let mut found: Vec<Found<'_>> = if self.any {
            inside.take(count).collect()
        } else {
            inside.collect()
        };
        // The first so many make sense only with an order.
        let order = self
            .order
            .or((self.count.is_some() && !self.any).then_some(Order::Near));
        if let Some(order) = order {
            found.sort_by(|one, other| {
                let near = one.distance_m.total_cmp(&other.distance_m);
                match order {
                    Order::Near => near,
                    Order::Far => near.reverse(),
                }
            });
        }
        found.truncate(count);
        found
    }

    fn show(&self, found: &Found<'_>) -> Reply {
        let mut shown = vec![Reply::bulk(found.member)];
        if self.with_distance {
            shown.push(distance(found.distance_m / self.unit_m));
        }
        if self.with_score {
            // The lowest 52 bits, which a place's score is.
            shown.push(Reply::Integer(found.score as i64));
        }
        if self.with_place {
            shown.push(coordinates(found.place));
        }
        match shown.len() {
            1 => shown.swap_remove(0),
            _ => Reply::Array(shown),
        }
    }
}

fn run(context: &mut Context<'_>, words: &[Bytes], name: Name) -> Executed {
    let key = match name {
        Name::SearchStore => &words[2],
        _ => &words[1],
    };
    let set = context.get::<SortedSet>(key)?;
    let query = Query::parse(name, words, set)?;
    let found = set.map(|set| query.find(set)).unwrap_or_default();
    let Some(destination) = query.store else {
        let shown = found.iter().map(|found| query.show(found));
        return Ok(Reply::Array(shown.collect()));
    };
    let mut result = SortedSet::default();
    for found in &found {
        let score = if query.store_distance {
            found.distance_m / query.unit_m
        } else {
            found.score
        };
        result.insert(found.member, score);
    }
    let event = match name {
        Name::SearchStore => "geosearchstore",
        _ => "georadiusstore",
    };
    let members = result.len();
    context.store(destination, result, EventClass::SortedSet, event);
    Ok(Reply::count(members))
}
