#![doc = include_str!("../README.md")]

pub mod byzantine;
pub mod checkers;
pub mod explore;
pub mod memory;
pub mod poll;
pub mod proxy;
pub mod sim;
pub mod source;
