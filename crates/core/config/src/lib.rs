//! The directives: one value each, and their lowering from a tree to the model.
//! Lexing is left to weir-syntax, serving to weir-serve-*.

mod absent;
mod accepted;
mod address;
mod args;
mod catalogue;
mod control;
mod directive;
mod geo;
mod health;
mod http;
mod listen;
mod location;
mod lower;
mod main_level;
mod map;
mod names;
mod options;
mod pass;
mod peer;
mod resolver;
mod rewrite;
mod scope;
mod secret;
mod server;
mod server_line;
mod settings;
mod source;
mod split;
mod template;
mod upstream;
mod variables;
mod zones;

pub use catalogue::{directives, nearest};
pub use directive::{Action, Arity, Block, Contexts, Directive, Problem};
pub use lower::{Failure, Loaded, load};
pub use options::{Environment, Options};
pub use secret::hide_secrets;
pub use server_line::{ServerAddress, server_address, server_parameter};
