#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod byzantine;
pub mod checkers;
pub mod explore;
pub mod poll;
pub mod proxy;
pub mod sim;
pub mod source;
