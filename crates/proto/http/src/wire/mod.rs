//! HTTP/1 messages as bytes: heads, chunked bodies, URIs, host names, status texts.
//! What they mean to a server is left to the rest of the crate.
#![deny(clippy::indexing_slicing)]

pub mod chunked;
mod error;
pub mod field;
pub mod head;
pub mod host;
mod request_line;
pub mod response;
pub mod status;
pub mod uri;

#[cfg(test)]
mod tests;
