//! `weir service run` as a process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use weir_net::{Signal, send_signal};

use crate::common::{until, weir};

/// One application that registers itself; it is killed with this value.
pub struct Instance {
    pub process: Child,
    log: PathBuf,
}

impl Instance {
    /// `words` are those behind `weir service run`; what it says goes into a file `name` of the folder.
    pub fn run<S: AsRef<std::ffi::OsStr>>(
        folder: &Path,
        name: &str,
        words: impl IntoIterator<Item = S>,
    ) -> Instance {
        let mut command = weir();
        command.args(["service", "run"]).args(words);
        Instance::spawn(folder, name, command)
    }

    /// The same of any command.
    pub fn spawn(folder: &Path, name: &str, mut command: std::process::Command) -> Instance {
        let log = folder.join(name);
        let file = File::create(&log).expect("a file");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("dup")).stderr(file);
        weir_net::end_with_parent(&mut command, Signal::Kill);
        Instance { process: command.spawn().expect("start"), log }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for words in what it and the application say.
    pub fn says(&mut self, words: &str) {
        let found = crate::common::seek(|| {
            let log = self.log();
            let over = matches!(self.process.try_wait(), Ok(Some(_)));
            (log.contains(words) || over && !self.log().contains(words)).then_some(())
        });
        assert!(found.is_some() && self.log().contains(words), "no {words:?} in:\n{}", self.log());
    }

    pub fn signal(&self, signal: Signal) {
        send_signal(self.process.id(), signal).expect("it runs");
    }

    /// The process of the application, as it was told.
    pub fn application(&self) -> u32 {
        let log = self.log();
        let rest = log.split("(process ").nth(1).expect("it was told");
        rest.split(')').next().and_then(|pid| pid.parse().ok()).expect("a number")
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("a child").is_none()
    }

    pub fn wait(&mut self) -> ExitStatus {
        let process = &mut self.process;
        until("the end of the service", || process.try_wait().expect("a child"))
    }

    /// Waits for its exit code, and says what it said.
    pub fn code(&mut self) -> (i32, String) {
        let code = self.wait().code().unwrap_or(-1);
        (code, self.log())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = send_signal(self.process.id(), Signal::Kill);
            let _ = self.process.wait();
        }
    }
}
