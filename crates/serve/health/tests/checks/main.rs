//! Checks against real servers and against responders that misbehave in known ways.

mod keepalive;
mod life;
mod nginx;
mod peers;
mod support;
