//! `weir check`: is a configuration right?

use std::process::ExitCode;

use crate::machine::Machine;

/// Checks each file by itself.
pub(super) fn run(files: &[String]) -> ExitCode {
    let mut wrong = 0;
    for file in files.iter().map(|file| super::in_folder(file)) {
        match super::load(&file, super::Show::All, Machine::Looking) {
            Some(loaded) => {
                let others = loaded.tree.files.len() - 1;
                let included = match others {
                    0 => String::new(),
                    1 => ", with 1 included file".to_owned(),
                    n => format!(", with {n} included files"),
                };
                let warned = match loaded.warnings.len() {
                    0 => String::new(),
                    1 => ", 1 warning".to_owned(),
                    n => format!(", {n} warnings"),
                };
                println!("{file}: ok{included}{warned}");
            }
            None => {
                println!("{file}: cannot be served");
                wrong += 1;
            }
        }
    }
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
