//! The DNS interface: the domain `consul` over UDP and TCP (RFC 1035, RFC 2782, RFC 6891), nothing recursive.

mod message;
mod question;
mod server;
#[cfg(test)]
mod tests;
mod zone;

pub(crate) use server::serve;
