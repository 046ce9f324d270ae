#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod poll;
pub mod proxy;
pub mod source;
