//! The core of a pillar, stepped by hand: no thread, no socket, no clock. Names state the scenario.
#![allow(clippy::unwrap_used)]

mod admission;
mod adversary;
mod attacks;
mod batching;
mod byzantine;
mod cluster;
mod codecs;
mod daggers_views;
mod daggers_votes;
mod digests;
mod evidence;
mod executor;
mod fixture;
mod forge;
mod forged_views;
mod limits;
mod loss;
mod normal;
mod pace;
mod random;
mod read_holes;
mod recovering;
mod repair;
mod scenarios;
mod view_codecs;
mod views;
