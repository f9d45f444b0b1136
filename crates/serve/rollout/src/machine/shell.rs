//! Shell commands, on this machine or over ssh.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::process::{End, Process, Ran, find, span};
use super::{Core, Output};

/// Beyond a command's own time: the other machine ends it, and then tells.
const BEYOND: Duration = Duration::from_secs(10);

/// What `timeout` of the coreutils ends with when it ended the command by SIGTERM, and by SIGKILL.
const LATE: [i32; 2] = [124, 137];

/// What ssh ends with when it failed itself.
const SSH_FAILED: i32 = 255;

/// A command of `sh -c`.
pub(crate) struct Script<'a> {
    /// What it is for: `stop`, `hook pre_drain`.
    pub(crate) what: &'a str,
    pub(crate) text: &'a str,
    /// Over ssh there; absent: here.
    pub(crate) host: Option<&'a str>,
    pub(crate) environment: &'a [(&'static str, String)],
    pub(crate) timeout: Duration,
    /// Empty: of the whole release.
    pub(crate) server: &'a str,
}

/// How a script ended.
pub(crate) struct Ended {
    /// 0 is well; absent: it did not end by itself.
    pub(crate) code: Option<i32>,
    pub(crate) last: Vec<String>,
    /// Why it is not well.
    problem: String,
}

impl Ended {
    pub(crate) fn well(self) -> Result<(), String> {
        if self.code == Some(0) { Ok(()) } else { Err(self.problem) }
    }
}

/// Who runs scripts.
#[derive(Clone, Copy)]
pub(crate) struct Shell<'a> {
    pub(crate) path: Option<&'a OsStr>,
    pub(crate) output: &'a Output,
}

impl<'a> Shell<'a> {
    pub(crate) fn of(core: &'a Core) -> Self {
        Self { path: core.path.as_deref(), output: &core.output }
    }

    /// The program that runs scripts there.
    pub(crate) fn program(self, host: Option<&str>) -> Result<PathBuf, String> {
        let name = if host.is_some() { "ssh" } else { "sh" };
        find(name, self.path).ok_or_else(|| match host {
            Some(host) => format!(
                "ssh is not here, and commands for {host} need it; install openssh-client, or look at PATH"
            ),
            None => "sh is not here, and commands need it; look at PATH".to_owned(),
        })
    }

    /// Until it ended, with its lines told to who looks on.
    ///
    /// # Errors
    /// It could not be run at all.
    pub(crate) async fn run(self, script: &Script<'_>) -> Result<Ended, String> {
        let tell = |line: &str| (self.output)(script.server, line);
        let mark = script.host.map(|_| format!("weir-{:016x}:", fastrand::u64(..)));
        let program = self.program(script.host)?;
        let process = Process {
            arguments: match (script.host, &mark) {
                (Some(host), Some(mark)) => over_ssh(host, &there(script, mark))?,
                _ => vec!["-c".into(), script.text.into()],
            },
            environment: if script.host.is_some() { &[] } else { script.environment },
            path: self.path,
            timeout: script.timeout + if script.host.is_some() { BEYOND } else { Duration::ZERO },
            mark,
            program,
        };
        let (shown, began) = (process.program.clone(), Instant::now());
        let ran = process
            .run(tell)
            .await
            .map_err(|error| format!("{}: {} cannot be started: {error}", script.what, shown.display()))?;
        if ran.held && !matches!(ran.end, End::Late(_)) {
            tell(
                "weir: what this command started still holds its output, and ends when it writes there; send its output to a file, as in: app >>app.log 2>&1 &",
            );
        }
        Ok(script.ended(ran, began.elapsed()))
    }
}

impl Script<'_> {
    fn ended(&self, ran: Ran, took: Duration) -> Ended {
        let (code, why) = match (&ran.end, self.host) {
            (End::Late(signal), None) => (None, self.late(&format!("it was ended by {}", signal.name()))),
            (End::Late(signal), Some(host)) => (
                None,
                self.late(&format!(
                    "ssh to {host} was ended by {}, and the command may still run there",
                    signal.name()
                )),
            ),
            (End::Marked(code), Some(host)) if LATE.contains(code) && took >= self.timeout => {
                (None, self.late(&format!("timeout ended it on {host}")))
            }
            (End::Marked(code), _) => (Some(*code), format!("ended with exit status: {code}")),
            (End::Exit(status), Some(host)) if status.code() == Some(SSH_FAILED) => {
                (None, format!("cannot be run: ssh to {host} failed"))
            }
            (End::Exit(status), Some(host)) => {
                (None, format!("was lost: ssh to {host} ended with {status} before it"))
            }
            (End::Exit(status), None) => (status.code(), format!("ended with {status}")),
        };
        let problem = format!("{} {why}; {}", self.what, ran.last_lines());
        Ended { code, last: ran.last, problem }
    }

    fn late(&self, how: &str) -> String {
        format!("did not end within {}: {how}", span(self.timeout))
    }
}

fn over_ssh(host: &str, command: &str) -> Result<Vec<OsString>, String> {
    if host.is_empty() || host.starts_with('-') || host.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("{host:?} is no host for ssh; expected one like deploy@10.0.0.1"));
    }
    let words = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", host, "--", command];
    Ok(words.map(OsString::from).into())
}

/// What is run on the other machine. A login shell may be any, so it only starts `sh`; an end of the connection ends no command, so
/// `timeout` does; and ssh waits for whatever holds the output, so the mark tells the end.
fn there(script: &Script<'_>, mark: &str) -> String {
    let exports: String =
        script.environment.iter().map(|(name, value)| format!("export {name}={}; ", quoted(value))).collect();
    let seconds = script.timeout.as_secs_f64().ceil().max(1.0);
    let command = quoted(script.text);
    let text = format!(
        "{exports}if timeout -k 5 1 true 2>/dev/null; then timeout -k 5 {seconds} sh -c {command}; else sh -c {command}; fi; \
         printf '%s%s\\n' {mark} $?"
    );
    format!("sh -c {}", quoted(&text))
}

/// One word for a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }

    #[test]
    fn a_host_is_no_option_of_ssh() {
        let error = over_ssh("-oProxyCommand=id", "true").expect_err("no host");
        assert_eq!(error, "\"-oProxyCommand=id\" is no host for ssh; expected one like deploy@10.0.0.1");
        let words = over_ssh("deploy@10.0.0.1", "true").expect("a host");
        assert_eq!(
            words,
            ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "deploy@10.0.0.1", "--", "true"]
        );
    }
}
