//! Range reads, whole or in steps.
//!
//! A read is planned once, collected from the index in as many steps as the caller likes
//! (writers may go on between them, as long as the plan's revision stays pinned), and then
//! finished without the keyspace: values are loaded, filtered, sorted and cut. The order of
//! these, and what `count` and `more` mean, are etcd's.

use std::{cmp::Ordering, ops::Bound};

use bytes::Bytes;

use crate::{
    core::{
        effects::{Fault, Space, Values},
        error::Error,
        history::Found,
        keyspace::{Keyspace, Span, load_stored},
    },
    proto::{
        etcdserverpb::{
            RangeRequest, RangeResponse, ResponseHeader,
            range_request::{SortOrder, SortTarget},
        },
        mvccpb::KeyValue,
    },
};

/// A range read, ready to be collected.
#[derive(Clone, Debug)]
pub struct RangePlan {
    space: Space,
    span: Span,
    /// The main revision that is read; pin it until the plan is collected and finished.
    revision: i64,
    header_revision: i64,
    /// Entries beyond this many are only counted.
    fetch_max: usize,
    needs_values: bool,
    request: RangeRequest,
}

/// How far a plan has been collected.
#[derive(Clone, Debug, Default)]
pub struct RangeCursor {
    after: Option<Bytes>,
    count: i64,
    items: Vec<Item>,
}

#[derive(Clone, Debug)]
enum Item {
    Ready(KeyValue),
    Stored { main: i64, sub: u32 },
}

impl RangeCursor {
    /// How many entries were collected to be loaded.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is to be loaded.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl RangePlan {
    /// The keyspace it reads.
    pub fn space(&self) -> Space {
        self.space
    }

    /// The main revision it reads at.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The keyspace's revision when the plan was made.
    pub fn header_revision(&self) -> i64 {
        self.header_revision
    }
}

/// Whether the answer comes in the order in which keys lie, without sorting.
pub fn is_default_order(request: &RangeRequest) -> bool {
    request.sort_order() == SortOrder::None
        || (request.sort_target() == SortTarget::Key && request.sort_order() == SortOrder::Ascend)
}

/// Whether the request filters by revision.
pub fn has_revision_filters(request: &RangeRequest) -> bool {
    request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

impl Keyspace {
    /// Prepares a read.
    ///
    /// # Errors
    /// `FutureRev` and `Compacted`.
    pub fn plan_range(&self, request: &RangeRequest) -> Result<RangePlan, Error> {
        let revision = self.read_revision(request.revision)?;
        let cut_early = is_default_order(request) && !has_revision_filters(request);
        let fetch_max = match request.limit {
            _ if request.count_only => 0,
            limit if limit > 0 && cut_early => {
                // One more than asked for tells whether there is more.
                usize::try_from(limit.saturating_add(1)).unwrap_or(usize::MAX)
            }
            _ => usize::MAX,
        };
        Ok(RangePlan {
            space: self.space,
            span: Span::new(&request.key, &request.range_end),
            revision,
            header_revision: self.revision,
            fetch_max,
            needs_values: !request.keys_only || request.sort_target() == SortTarget::Value,
            request: request.clone(),
        })
    }

    /// Collects up to `keys_max` further keys; true once there are no more.
    pub fn collect_range(
        &self,
        plan: &RangePlan,
        cursor: &mut RangeCursor,
        keys_max: usize,
    ) -> bool {
        assert!(keys_max > 0, "a step of no keys never ends the walk");
        let scan = match (&plan.span, &cursor.after) {
            (span, None) => self.scan(span),
            (Span::One(_), Some(_)) => return true,
            (Span::Many { to, .. }, Some(after)) => {
                self.scan_from(Bound::Excluded(after), to.as_deref())
            }
        };
        let mut last = None;
        for (seen, (key, history)) in scan.enumerate() {
            if seen == keys_max {
                cursor.after = last.map(Bytes::copy_from_slice);
                return false;
            }
            last = Some(key);
            if let Some(found) = history.at(plan.revision) {
                cursor.count += 1;
                if cursor.items.len() < plan.fetch_max {
                    cursor.items.push(self.item(plan, key, found));
                }
            }
        }
        true
    }

    fn item(&self, plan: &RangePlan, key: &[u8], found: Found) -> Item {
        let (main, sub) = (found.entry.main, found.entry.sub);
        if let Some(newest) = found.newest
            && !plan.needs_values
        {
            return Item::Ready(KeyValue {
                key: Bytes::copy_from_slice(key),
                create_revision: newest.create,
                mod_revision: main,
                version: newest.version,
                value: Bytes::new(),
                lease: newest.lease,
            });
        }
        match self.recent.get(&(main, sub)) {
            Some(record) => Item::Ready(record.kv.clone().unwrap_or_default()),
            None => Item::Stored { main, sub },
        }
    }

    /// A whole read in one go.
    ///
    /// # Errors
    /// Outer: the store cannot give a value. Inner: `FutureRev` and `Compacted`.
    pub fn range(
        &self,
        request: &RangeRequest,
        values: &dyn Values,
    ) -> Result<Result<RangeResponse, Error>, Fault> {
        let plan = match self.plan_range(request) {
            Ok(plan) => plan,
            Err(error) => return Ok(Err(error)),
        };
        let mut cursor = RangeCursor::default();
        let done = self.collect_range(&plan, &mut cursor, usize::MAX);
        assert!(done, "an unbounded step collects everything");
        plan.finish(cursor, values).map(Ok)
    }
}

impl RangePlan {
    /// Loads, filters, sorts and cuts what was collected. Needs no access to the keyspace.
    /// The header carries the revision only.
    ///
    /// # Errors
    /// When the store cannot give a value.
    pub fn finish(&self, cursor: RangeCursor, values: &dyn Values) -> Result<RangeResponse, Fault> {
        let mut kvs = Vec::with_capacity(cursor.items.len());
        for item in cursor.items {
            let kv = match item {
                Item::Ready(kv) => kv,
                Item::Stored { main, sub } => load_stored(self.space, main, sub, values)?,
            };
            if self.passes(&kv) {
                kvs.push(kv);
            }
        }
        self.sort(&mut kvs);
        let limit = usize::try_from(self.request.limit).unwrap_or(0);
        let more = limit > 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        if self.request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        Ok(RangeResponse {
            header: Some(ResponseHeader {
                revision: self.header_revision,
                ..ResponseHeader::default()
            }),
            kvs,
            more,
            count: cursor.count,
        })
    }

    fn passes(&self, kv: &KeyValue) -> bool {
        let request = &self.request;
        let within = |value: i64, min: i64, max: i64| {
            (min == 0 || value >= min) && (max == 0 || value <= max)
        };
        within(
            kv.mod_revision,
            request.min_mod_revision,
            request.max_mod_revision,
        ) && within(
            kv.create_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
    }

    fn sort(&self, kvs: &mut [KeyValue]) {
        let target = self.request.sort_target();
        let order = match self.request.sort_order() {
            SortOrder::None if target == SortTarget::Key => return,
            // Sorting by anything but the key is ascending unless said otherwise.
            SortOrder::None => SortOrder::Ascend,
            order => order,
        };
        if target == SortTarget::Key && order == SortOrder::Ascend {
            return;
        }
        let compare = |a: &KeyValue, b: &KeyValue| -> Ordering {
            match target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            }
        };
        match order {
            SortOrder::Descend => kvs.sort_by(|a, b| compare(b, a)),
            _ => kvs.sort_by(compare),
        }
    }
}
