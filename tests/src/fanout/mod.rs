//! The fan-out benchmark: a stamped source, a load generator that is a
//! process of its own, and the servers it is pointed at.

pub mod docs;
pub mod floor;
pub mod histogram;
pub mod line;
pub mod load;
pub mod measure;
pub mod plot;
pub mod process;
pub mod report;
pub mod servers;
pub mod stream;
