//! The pure part: who decides, who is told, and what is remembered until all know.

mod chance;
pub mod global;
pub mod partitions;
