//! Raw sockets, processes, real-time threads against the real kernel. What needs a network has one of its own.

mod children;
mod hosts;
mod raw;
mod realtime;
