//! Since when keys are missing.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{SnapshotError, sink::Sink};
use crate::core::{
    codec::Reader,
    data::{Absences, HIDDEN},
};

pub(super) fn write<F: FnMut(Bytes)>(to: &mut Sink<F>, absences: &Absences) {
    let (whole, buckets) = absences.parts();
    to.length(whole.len());
    for (database, index) in whole {
        to.length(*database).number(*index);
    }
    to.length(buckets.len());
    for index in buckets {
        to.number(*index);
    }
}

pub(super) fn read(from: &mut Reader) -> Result<Absences, SnapshotError> {
    let mut whole = BTreeMap::new();
    for _ in 0..from.count(2)? {
        let database = usize::try_from(from.number()?).ok();
        let database = database.filter(|database| *database <= HIDDEN);
        let database = database.ok_or(SnapshotError::Impossible("a database that is none"))?;
        whole.insert(database, from.number()?);
    }
    let buckets = (0..from.count(1)?).map(|_| from.number());
    let buckets = buckets.collect::<Result<_, _>>()?;
    Absences::of(whole, buckets).ok_or(SnapshotError::Impossible("keys in other groups"))
}
