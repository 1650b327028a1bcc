//! Which cells a search has to look at: one around the centre and those of its eight neighbours
//! that the shape reaches, as large as they have to be and no larger than need be.

use std::ops::Range;

use super::{
    LATITUDE, LONGITUDE, Place, STEPS_MAX, Shape,
    distance::{EARTH_RADIUS_M, degrees, radians},
    join, part,
};

/// Half of the equator on the web's square map, in metres.
const HALF_EQUATOR_M: f64 = 20_037_726.37;
/// Beyond these latitudes cells are so narrow that a search begins with larger ones.
const NARROW_DEGREES: [f64; 2] = [66.0, 80.0];

/// A cell of the map, after some halvings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    steps: u32,
    west_to_east: u32,
    south_to_north: u32,
}

impl Cell {
    fn around(place: Place, steps: u32) -> Self {
        Cell {
            steps,
            west_to_east: part(place.longitude, LONGITUDE, steps),
            south_to_north: part(place.latitude, LATITUDE, steps),
        }
    }

    /// The scores of the cell's places; the end is not among them.
    pub fn scores(self) -> Range<f64> {
        let bits = join(self.west_to_east, self.south_to_north);
        let below = 2 * (STEPS_MAX - self.steps);
        (bits << below) as f64..((bits + 1) << below) as f64
    }

    /// The cell so many to the east and north. The map is round in both directions here; what
    /// comes in from the other side in the north is looked at in vain, and only there.
    fn neighbour(self, east: i32, north: i32) -> Self {
        let mask = (1_u32 << self.steps) - 1;
        Cell {
            steps: self.steps,
            west_to_east: self.west_to_east.wrapping_add_signed(east) & mask,
            south_to_north: self.south_to_north.wrapping_add_signed(north) & mask,
        }
    }

    fn longitudes(self) -> (f64, f64) {
        edges(self.west_to_east, LONGITUDE, self.steps)
    }

    fn latitudes(self) -> (f64, f64) {
        edges(self.south_to_north, LATITUDE, self.steps)
    }
}

fn edges(index: u32, (min, max): (f64, f64), steps: u32) -> (f64, f64) {
    let width = (max - min) / f64::from(1_u32 << steps);
    let low = min + f64::from(index) * width;
    (low, low + width)
}

/// How far a shape reaches, in degrees.
struct Reach {
    longitudes: (f64, f64),
    latitudes: (f64, f64),
}

impl Reach {
    fn of(shape: Shape, centre: Place) -> Self {
        let (half_width_m, half_height_m) = match shape {
            Shape::Circle { radius_m } => (radius_m, radius_m),
            Shape::Box { width_m, height_m } => (width_m / 2.0, height_m / 2.0),
        };
        let up = degrees(half_height_m / EARTH_RADIUS_M);
        // Meridians are closest together at the end that is nearer to a pole.
        let narrowest = libm::cos(radians((centre.latitude.abs() + up).min(90.0)));
        let half_sine =
            libm::sin((half_width_m / EARTH_RADIUS_M / 2.0).min(std::f64::consts::FRAC_PI_2));
        let east = if half_sine >= narrowest {
            // All around a pole.
            180.0
        } else {
            degrees(2.0 * libm::asin(half_sine / narrowest))
        };
        Reach {
            longitudes: (centre.longitude - east, centre.longitude + east),
            latitudes: (centre.latitude - up, centre.latitude + up),
        }
    }

    /// Whether a cell and its neighbours hold all of it.
    fn is_within(&self, cell: Cell) -> bool {
        let ((west, east), (south, north)) = (cell.longitudes(), cell.latitudes());
        let (width, height) = (east - west, north - south);
        let holds = |reach: (f64, f64), low: f64, high: f64| reach.0 >= low && reach.1 <= high;
        // There is nothing beyond the ends of the map in the north and the south.
        let latitudes = (
            self.latitudes.0.max(LATITUDE.0),
            self.latitudes.1.min(LATITUDE.1),
        );
        holds(self.longitudes, west - width, east + width)
            && holds(latitudes, south - height, north + height)
    }
}

/// The cells to look at, each once, in the order of Redis: the middle, north, south, east, west,
/// and the corners. At two halvings, all there are.
pub fn cells(shape: Shape, centre: Place) -> Vec<Cell> {
    let reach = Reach::of(shape, centre);
    let mut steps = first_guess(shape, centre);
    let mut middle = Cell::around(centre, steps);
    while steps > 1 && !reach.is_within(middle) {
        steps -= 1;
        middle = Cell::around(centre, steps);
    }
    // Directions that the shape does not reach; large cells meet their neighbours all around.
    let ((west, east), (south, north)) = (middle.longitudes(), middle.latitudes());
    let reached = |towards_east: i32, towards_north: i32| {
        steps == 1
            || !((towards_north < 0 && south < reach.latitudes.0)
                || (towards_north > 0 && north > reach.latitudes.1)
                || (towards_east < 0 && west < reach.longitudes.0)
                || (towards_east > 0 && east > reach.longitudes.1))
    };
    let mut cells = vec![middle];
    for (towards_east, towards_north) in [
        (0, 1),
        (0, -1),
        (1, 0),
        (-1, 0),
        (1, 1),
        (-1, 1),
        (1, -1),
        (-1, -1),
    ] {
        let cell = middle.neighbour(towards_east, towards_north);
        if reached(towards_east, towards_north) && !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    cells
}

/// So many halvings leave cells about as large as the shape. It is Redis's guess, so that
/// results without an order come in the same one.
fn first_guess(shape: Shape, centre: Place) -> u32 {
    let radius_m = match shape {
        Shape::Circle { radius_m } => radius_m,
        Shape::Box { width_m, height_m } => (width_m / 2.0).hypot(height_m / 2.0),
    };
    let mut steps = 1;
    let mut reach_m = radius_m;
    while reach_m < HALF_EQUATOR_M && steps < STEPS_MAX + 2 {
        reach_m *= 2.0;
        steps += 1;
    }
    let narrow = NARROW_DEGREES.map(|degrees| u32::from(centre.latitude.abs() > degrees));
    let less = 2 + narrow.iter().sum::<u32>();
    // A shape of no size has the smallest cells, wherever it is.
    if radius_m == 0.0 {
        return STEPS_MAX;
    }
    steps.saturating_sub(less).clamp(1, STEPS_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Place> {
        let latitude = prop_oneof![4 => -60.0..60.0, 1 => 60.0..85.05, 1 => -85.05..-60.0];
        let longitude = prop_oneof![4 => -180.0..180.0, 1 => 178.0..180.0, 1 => -180.0..-178.0];
        (longitude, latitude).prop_map(|(longitude, latitude): (f64, f64)| {
            // As a member of a sorted set has it.
            Place::of_score(Place::new(longitude, latitude).unwrap().score())
        })
    }

    fn shape() -> impl Strategy<Value = Shape> {
        let size = || (0.0..7.6_f64).prop_map(|exponent| 10.0_f64.powf(exponent));
        prop_oneof![
            size().prop_map(|radius_m| Shape::Circle { radius_m }),
            (size(), size()).prop_map(|(width_m, height_m)| Shape::Box { width_m, height_m }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// What is inside of the shape is in one of the cells, and in one only.
        #[test]
        fn nothing_is_missed(
            shape in shape(),
            centre in place(),
            others in proptest::collection::vec((place(), -1.0..1.0, -1.0..1.0), 1..20),
            size in 0.0..7.0_f64,
        ) {
            let cells = cells(shape, centre);
            for (far, east, north) in others {
                // Near places, too, at the scale of the shape.
                let scale = 10.0_f64.powf(size) / 111_000.0;
                let longitude: f64 = centre.longitude + east * scale;
                let latitude: f64 = centre.latitude + north * scale;
                let near = Place::new(
                    (longitude + 540.0).rem_euclid(360.0) - 180.0,
                    latitude.clamp(-85.05, 85.05),
                );
                for place in near.into_iter().chain([far]) {
                    if shape.distance_m(centre, place).is_some() {
                        let score = place.score();
                        let holding = cells.iter().filter(|cell| cell.scores().contains(&score));
                        prop_assert_eq!(holding.count(), 1, "{:?} of {:?}", place, &cells);
                    }
                }
            }
        }
    }

    #[test]
    fn a_small_circle_needs_few_cells() {
        let centre = Place::new(15.0, 37.0).unwrap();
        let cells = cells(Shape::Circle { radius_m: 100.0 }, centre);
        assert!(cells.len() <= 4, "{cells:?}");
        assert!(cells.iter().all(|cell| cell.steps >= 15), "{cells:?}");
    }
}
