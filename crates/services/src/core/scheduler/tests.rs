//! Tests of the whole scheduler, on small clusters.

mod around;
mod desk;
mod filters;
mod flow;
mod offers;
mod preemption;
mod random;
mod scores;
mod town;
mod world;
