//! What commands over several partitions come to, and that nothing is seen half done, whoever
//! dies in the middle.

mod meanings;
mod world;
