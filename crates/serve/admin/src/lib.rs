//! The control API over HTTP: states of peers for people and scripts.
//! What is answered is asked of a trait that the binary implements.
