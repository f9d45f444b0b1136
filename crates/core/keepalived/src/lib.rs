//! keepalived's keywords: one value each, and their lowering from a tree to the model of virtual routers.
//! Lexing is left to weir-syntax, elections to weir-vrrp, what only the machine knows to the shell.

mod address;
mod balance;
mod catalogue;
mod complete;
mod draft;
mod global;
mod global_inert;
mod group;
mod instance;
mod keyword;
mod line;
mod lower;
mod mail;
mod names;
mod order;
mod pace;
mod roots;
mod route;
mod rule;
mod scope;
mod script;
mod strict;
mod tracker;
mod unicast;
mod uses;

pub use catalogue::{keywords, nearest};
pub use keyword::{Action, Blocks, Keyword, Shape};
pub use lower::{Failure, Loaded, load, lower};
pub use scope::Environment;
