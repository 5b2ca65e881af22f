//! Elastic's Event Query Language for single events.
