//! Tests of the wire formats.
#![allow(clippy::indexing_slicing)] // a test may panic

mod chunked;
mod head;
mod host;
mod properties;
mod response;
mod status;
mod uri;
