//! Distances on a round Earth, by the haversine formula (Sinnott 1984).
//!
//! Sines come from a library of our own choice, not from the machine's: replicas that keep
//! distances as scores have to agree on every bit.

use super::Place;

/// Half the mean of the Earth's diameters, in metres: the figure that Redis uses.
pub(super) const EARTH_RADIUS_M: f64 = 6_372_797.560_856;

/// Metres between two places.
pub fn distance_m(from: Place, to: Place) -> f64 {
    let east = libm::sin((radians(to.longitude) - radians(from.longitude)) / 2.0);
    // On one meridian, it is an arc, and exact.
    if east == 0.0 {
        return meridian_m(from, to);
    }
    let (south, north) = (radians(from.latitude), radians(to.latitude));
    let up = libm::sin((north - south) / 2.0);
    let square = up * up + libm::cos(south) * libm::cos(north) * east * east;
    // Rounding may carry opposite points beyond 1.
    2.0 * EARTH_RADIUS_M * libm::asin(square.sqrt().min(1.0))
}

/// Metres between the latitudes of two places.
fn meridian_m(from: Place, to: Place) -> f64 {
    EARTH_RADIUS_M * (radians(to.latitude) - radians(from.latitude)).abs()
}

pub(super) fn radians(degrees: f64) -> f64 {
    degrees * (std::f64::consts::PI / 180.0)
}

pub(super) fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

/// What is searched, around a centre; in metres.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// What is at most so far away.
    Circle {
        /// How far.
        radius_m: f64,
    },
    /// What is at most half of each away.
    Box {
        /// From west to east.
        width_m: f64,
        /// From south to north.
        height_m: f64,
    },
}

impl Shape {
    /// How far a place is from the centre, if it is inside.
    pub fn distance_m(self, centre: Place, place: Place) -> Option<f64> {
        match self {
            Shape::Circle { radius_m } => {
                let distance = distance_m(centre, place);
                (distance <= radius_m).then_some(distance)
            }
            Shape::Box { width_m, height_m } => {
                let below = Place {
                    longitude: centre.longitude,
                    ..place
                };
                let inside = meridian_m(place, centre) <= height_m / 2.0
                    && distance_m(place, below) <= width_m / 2.0;
                inside.then(|| distance_m(centre, place))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distances() {
        let place = |longitude, latitude| Place::new(longitude, latitude).unwrap();
        // Redis's documentation of GEODIST.
        let palermo = Place::of_score(3_479_099_956_230_698.0);
        let catania = Place::of_score(3_479_447_370_796_909.0);
        let sicily = distance_m(palermo, catania);
        assert!((sicily - 166_274.151_6).abs() < 0.000_05, "{sicily}");
        assert_eq!(distance_m(palermo, palermo), 0.0);
        let half = std::f64::consts::PI * EARTH_RADIUS_M;
        let opposite = distance_m(place(0.0, 0.0), place(180.0, 0.0));
        assert!((opposite - half).abs() < 0.001);
        let quarter = distance_m(place(10.0, -45.0), place(10.0, 45.0));
        assert!((quarter - half / 2.0).abs() < 0.001);
    }
}
