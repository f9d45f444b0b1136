//! The weir binary: command line, keeper, worker, wiring.
//! Everything that has a rule of its own lives in crates/.

mod arguments;
mod commands;
mod control;
mod demo;
mod journal;
mod keepalived;
mod keeper;
mod load;
mod machine;
mod message;
mod nginx;
mod place;
mod version;
mod worker;

use std::process::ExitCode;

/// Requests allocate little but often; this allocator halves what that costs and gives memory back sooner.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First of all, because threads inherit it: signals are waited for, not suffered.
    if let Err(error) = weir_net::block_signals() {
        eprintln!("weir: signals cannot be blocked: {error}");
        return ExitCode::FAILURE;
    }
    if let Some(code) = worker::run_if_worker().or_else(keeper::run_if_herald) {
        return code;
    }
    let mut words = std::env::args();
    let name = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    let name = name.rsplit('/').next().unwrap_or_default();
    if name == "keepalived" {
        return keepalived::run(words.into_iter());
    }
    if words.first().is_some_and(|word| word == "keepalived") {
        return keepalived::run(words.into_iter().skip(1));
    }
    let called_nginx = name == "nginx";
    if called_nginx || arguments::is_nginx_style(&words) { nginx::run(&words) } else { commands::run() }
}
