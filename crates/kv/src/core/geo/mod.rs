//! Places on Earth as numbers of 52 bits, by which places that are near each other are mostly
//! near in order (Redis: "GEOADD"; Morton 1966).
//!
//! Longitude and latitude are each halved 26 times; the bits of both, in turn, are the score of
//! a sorted set's member. A cell is what is left after fewer halvings: its members' scores are a
//! range.

mod cells;
mod distance;

pub use cells::{Cell, cells};
pub use distance::{Shape, distance_m};

/// So often each of longitude and latitude is halved.
pub const STEPS_MAX: u32 = 26;

/// East is positive, in degrees.
const LONGITUDE: (f64, f64) = (-180.0, 180.0);
/// North is positive, in degrees. Where the square map of the web ends: the poles are off it.
const LATITUDE: (f64, f64) = (-85.051_128_78, 85.051_128_78);
/// Latitudes of the geohashes that everybody else uses.
const LATITUDE_STANDARD: (f64, f64) = (-90.0, 90.0);

/// Digits of geohashes.
const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
/// So many digits GEOHASH gives; the last one would need 55 bits, and is 0.
const GEOHASH_DIGITS: u32 = 11;
const GEOHASH_DIGIT_BITS: u32 = 5;

/// A place on Earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// East is positive.
    pub longitude: f64,
    /// North is positive.
    pub latitude: f64,
}

impl Place {
    /// The place, if it is on the map.
    pub fn new(longitude: f64, latitude: f64) -> Option<Self> {
        let on_map = (LONGITUDE.0..=LONGITUDE.1).contains(&longitude)
            && (LATITUDE.0..=LATITUDE.1).contains(&latitude);
        on_map.then_some(Place {
            longitude,
            latitude,
        })
    }

    /// The place that a score stands for: the middle of its cell. Scores that stand for none
    /// give some place, as in Redis.
    pub fn of_score(score: f64) -> Self {
        let (west_to_east, south_to_north) = split(score as u64);
        let middle = |index: u32, (min, max): (f64, f64)| {
            let parts = f64::from(1_u32 << STEPS_MAX);
            let low = min + f64::from(index) / parts * (max - min);
            let high = min + (f64::from(index) + 1.0) / parts * (max - min);
            f64::midpoint(low, high).clamp(min, max)
        };
        Place {
            longitude: middle(west_to_east, LONGITUDE),
            latitude: middle(south_to_north, LATITUDE),
        }
    }

    /// The score that stands for the place.
    pub fn score(self) -> f64 {
        // 52 bits: every one of them fits a double.
        self.bits(LATITUDE) as f64
    }

    /// The geohash that other systems know the place by (Niemeyer 2008), eleven digits.
    pub fn geohash(self) -> String {
        let bits = self.bits(LATITUDE_STANDARD);
        (1..=GEOHASH_DIGITS)
            .map(|digit| {
                let below = (2 * STEPS_MAX).checked_sub(digit * GEOHASH_DIGIT_BITS);
                let index = below.map_or(0, |below| (bits >> below) & 0x1f);
                char::from(DIGITS[index as usize])
            })
            .collect()
    }

    fn bits(self, latitudes: (f64, f64)) -> u64 {
        join(
            part(self.longitude, LONGITUDE, STEPS_MAX),
            part(self.latitude, latitudes, STEPS_MAX),
        )
    }
}

/// In which of `2^steps` equal parts of a range a degree is.
fn part(degree: f64, (min, max): (f64, f64), steps: u32) -> u32 {
    let parts = 1_u32 << steps;
    let index = (degree - min) / (max - min) * f64::from(parts);
    // The very last degree belongs to the last part.
    (index as u32).min(parts - 1)
}

/// Two numbers' bits in turn; the second one's come first from below.
fn join(west_to_east: u32, south_to_north: u32) -> u64 {
    spread(south_to_north) | (spread(west_to_east) << 1)
}

/// The inverse of [`join`], of the lowest 52 bits.
fn split(bits: u64) -> (u32, u32) {
    let bits = bits & ((1 << (2 * STEPS_MAX)) - 1);
    (gather(bits >> 1), gather(bits))
}

/// Moves bit i to bit 2i.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        bits = (bits | (bits << shift)) & mask;
    }
    bits
}

/// Moves bit 2i to bit i; odd bits are dropped.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | (bits >> shift)) & mask;
    }
    // Nothing is left above 32 bits.
    bits as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The examples of Redis's documentation of GEOADD, GEOPOS and GEOHASH.
    #[test]
    fn palermo_and_catania() {
        for (longitude, latitude, score, decoded, geohash) in [
            (
                13.361389,
                38.115556,
                3_479_099_956_230_698.0,
                (13.361_389_338_970_184, 38.115_556_395_496_3),
                "sqc8b49rny0",
            ),
            (
                15.087269,
                37.502669,
                3_479_447_370_796_909.0,
                (15.087_267_458_438_873, 37.502_668_423_331_62),
                "sqdtr74hyu0",
            ),
        ] {
            let place = Place::new(longitude, latitude).unwrap();
            assert_eq!(place.score(), score);
            let read = Place::of_score(score);
            assert_eq!((read.longitude, read.latitude), decoded);
            assert_eq!(read.geohash(), geohash);
        }
    }

    #[test]
    fn the_edges_of_the_map() {
        assert!(Place::new(180.1, 0.0).is_none());
        assert!(Place::new(0.0, 85.06).is_none());
        assert!(Place::new(f64::NAN, 0.0).is_none());
        let corner = Place::new(180.0, 85.051_128_78).unwrap();
        assert_eq!(corner.score(), (2_u64.pow(52) - 1) as f64);
        let corner = Place::new(-180.0, -85.051_128_78).unwrap();
        assert_eq!(corner.score(), 0.0);
        // What stands for no place gives one all the same.
        for score in [f64::INFINITY, f64::NEG_INFINITY, -5.0, 1e300] {
            let place = Place::of_score(score);
            assert!(Place::new(place.longitude, place.latitude).is_some());
        }
    }

    proptest! {
        #[test]
        fn bits_come_apart_as_they_were_put_together(east in 0..1_u32 << 26, north in 0..1_u32 << 26) {
            prop_assert_eq!(split(join(east, north)), (east, north));
        }

        #[test]
        fn places_stay_where_they_are(longitude in -180.0..180.0, latitude in -85.05..85.05) {
            let place = Place::new(longitude, latitude).unwrap();
            let read = Place::of_score(place.score());
            prop_assert!((read.longitude - longitude).abs() < 360.0 / 2.0_f64.powi(26));
            prop_assert!((read.latitude - latitude).abs() < 171.0 / 2.0_f64.powi(26));
            prop_assert_eq!(read.score(), place.score());
        }
    }
}
