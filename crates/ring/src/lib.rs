//! Who owns what.
pub mod partition;
pub mod slot;
