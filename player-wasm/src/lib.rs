//! Seamcast player engine: demux, decode, timeline, prebuffer, schedule.
pub mod prebuffer;
