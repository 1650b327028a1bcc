//! Rows of the small tables, as protobuf, so that fields can be added.

/// A row of [`crate::core::effects::Table::Leases`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LeaseRow {
    #[prost(int64, tag = "1")]
    pub(crate) ttl_s: i64,
    #[prost(int64, tag = "2")]
    pub(crate) remaining_s: i64,
}

/// A row of [`crate::core::effects::Table::Sessions`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SessionRow {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(uint64, tag = "2")]
    pub(crate) ordinal: u64,
}

/// A row of [`crate::core::effects::Table::Proposers`].
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProposerRow {
    #[prost(uint64, tag = "1")]
    pub(crate) boot: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) answered_below: u64,
    /// Runs of applied sequences: first, one past the last, first, …
    #[prost(uint64, repeated, tag = "3")]
    pub(crate) runs: Vec<u64>,
}
