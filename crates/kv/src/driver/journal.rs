//! The journal that a node's partitions share.

use std::collections::{BTreeMap, btree_map::Entry};

use atoll_base::id::PartitionId;
use atoll_world::journal::{Journal, JournalError};

use super::{Setup, StartError};
use crate::core::{
    paxos::{Durable, Record},
    wire,
};

/// The folder of the journal, in that of hot data.
const FOLDER: &str = "journal";

/// Opens the journal and puts together what each partition knew.
pub(super) fn open(setup: &Setup) -> Result<(BTreeMap<PartitionId, Durable>, Journal), StartError> {
    let mut held: BTreeMap<PartitionId, Durable> = BTreeMap::new();
    let mut fault = None;
    let mut visit = |sequence: atoll_world::journal::Sequence, _, payload| {
        if fault.is_some() {
            return Ok(());
        }
        let (partition, record) = match wire::decode_record(payload) {
            Ok(record) => record,
            Err(reason) => {
                fault = Some(StartError::Record {
                    sequence: sequence.0,
                    reason,
                });
                return Ok::<(), JournalError>(());
            }
        };
        match (held.entry(partition), record) {
            (Entry::Occupied(mut durable), record) => durable.get_mut().apply(record),
            (Entry::Vacant(place), Record::Configure(configuration)) => {
                place.insert(Durable::new(configuration));
            }
            (Entry::Vacant(_), _) => fault = Some(StartError::Headless { partition }),
        }
        Ok(())
    };
    let disk = setup.disk.clone();
    let dir = setup.dir.join(FOLDER);
    let (journal, recovery) = Journal::open(disk, dir, setup.journal.clone(), &mut visit)?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    if recovery.maybe_acknowledged {
        return Err(StartError::MaybeForgetful);
    }
    Ok((held, journal))
}
