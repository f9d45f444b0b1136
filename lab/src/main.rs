//! `weir-lab`: the laboratory by itself.
//! Everything is in the library; the weir binary that it runs is the one beside it, or what WEIR names.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let beside = || std::env::current_exe().ok().map(|own| own.with_file_name("weir"));
    let weir =
        std::env::var_os("WEIR").map(PathBuf::from).or_else(beside).unwrap_or_else(|| PathBuf::from("weir"));
    weir_lab::main_with(std::env::args_os().skip(1), &weir)
}
