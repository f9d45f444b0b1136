//! The lines of `vrrp_track_process` and `track_file`, and weights.

use weir_model::Micros;
use weir_model::vrrp::{InitFile, ParameterMatch, TrackFile, TrackProcess};

use crate::keyword::Action::{File, Process};
use crate::keyword::{Blocks, Keyword};
use crate::line::{IGNORED, Line};
use crate::scope::Scope;

const P: Blocks = Blocks::PROCESS;
const F: Blocks = Blocks::FILE;

pub(crate) const KEYWORDS: &[Keyword] = &[
    Keyword::line(
        "process",
        P,
        (1, usize::MAX),
        "NAME [PARAMETER ...]",
        "The process that has to run.",
        Process(process),
    ),
    Keyword::line(
        "param_match",
        P,
        (0, 1),
        "[initial | partial]",
        "How its parameters are compared.",
        Process(param_match),
    )
    .default("exactly, if given"),
    Keyword::line(
        "weight",
        P,
        (1, 2),
        "-254-254 [reverse]",
        "What it adds to the priority; 0: a failure is a fault.",
        Process(process_weight),
    )
    .default("0"),
    Keyword::line("quorum", P, (1, 1), "1-65535", "How many have to run.", Process(quorum)).default("1"),
    Keyword::line("quorum_max", P, (1, 1), "0-65535", "How many may run.", Process(quorum_max)),
    Keyword::line("delay", P, (1, 1), "SECONDS", "How long a change has to last.", Process(delay))
        .default("0"),
    Keyword::line(
        "fork_delay",
        P,
        (1, 1),
        "SECONDS",
        "How long a new process has to last.",
        Process(fork_delay),
    )
    .default("0"),
    Keyword::line(
        "terminate_delay",
        P,
        (1, 1),
        "SECONDS",
        "How long it has to be gone.",
        Process(terminate_delay),
    )
    .default("0"),
    Keyword::bare("full_command", P, "The whole command line is compared.", Process(full_command)),
    Keyword::line("file", F, (1, 1), "PATH", "The file that holds a number.", File(file)),
    Keyword::line(
        "weight",
        F,
        (1, 2),
        "-254-254 [reverse]",
        "What the number is multiplied with; 0: a number other than 0 is a fault.",
        File(file_weight),
    )
    .default("1"),
    Keyword::line(
        "init_file",
        F,
        (0, 2),
        "[VALUE] [overwrite]",
        "The file is written at the start.",
        File(init_file),
    ),
];

/// `WEIGHT [reverse]` of a definition, at most `limit` either way.
pub(crate) fn weight(line: &Line<'_>, limit: i64, scope: &mut Scope<'_>) -> Option<(i32, bool)> {
    let weight = line.loose_number(0, -limit..=limit, IGNORED, scope)?;
    let Some(word) = line.words().get(1) else { return Some((weight, false)) };
    if word.text != "reverse" {
        scope.warn(word.span, format!("a weight has no option {:?}; it is ignored", word.text));
    }
    Some((weight, word.text == "reverse"))
}

fn process(track: &mut TrackProcess, line: &Line<'_>, scope: &mut Scope<'_>) {
    if !track.process.is_empty() {
        scope.warn(line.span(), format!("the process was said before; {IGNORED}"));
        return;
    }
    let mut words = line.words().iter().map(|word| word.text.clone());
    track.process = words.next().unwrap_or_default();
    track.parameters = words.collect();
    if !track.parameters.is_empty() {
        track.parameter_match.get_or_insert(ParameterMatch::Exact);
        track.full_command = true;
    }
}

fn param_match(track: &mut TrackProcess, line: &Line<'_>, scope: &mut Scope<'_>) {
    let way = match line.text(0) {
        None => ParameterMatch::Exact,
        Some("initial") => ParameterMatch::Initial,
        Some("partial") => ParameterMatch::Partial,
        Some(other) => {
            let message = format!("param_match {other:?} is neither initial nor partial; {IGNORED}");
            scope.warn(line.span_of(0), message);
            return;
        }
    };
    track.parameter_match = Some(way);
    track.full_command = true;
}

fn process_weight(track: &mut TrackProcess, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some((weight, reverse)) = weight(line, 254, scope) {
        track.weight = weight;
        track.reverse = reverse;
    }
}

fn quorum(track: &mut TrackProcess, line: &Line<'_>, scope: &mut Scope<'_>) {
    let Some(quorum) = line.loose_number(0, 1..=65535, IGNORED, scope) else { return };
    if track.quorum_max.is_some_and(|max| quorum > max) {
        scope.warn(line.span_of(0), format!("quorum {quorum} is above quorum_max; {IGNORED}"));
        return;
    }
    track.quorum = quorum;
}

fn quorum_max(track: &mut TrackProcess, line: &Line<'_>, scope: &mut Scope<'_>) {
    let Some(max) = line.loose_number::<u32>(0, 0..=65535, IGNORED, scope) else { return };
    // A quorum of 1 is the default, and a maximum of 0 says that none may run.
    if max < track.quorum && (max > 0 || track.quorum > 1) {
        scope.warn(line.span_of(0), format!("quorum_max {max} is below quorum {}; {IGNORED}", track.quorum));
        return;
    }
    track.quorum_max = Some(max);
    track.quorum = if max == 0 { 0 } else { track.quorum.max(1) };
}

fn wait(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<Micros> {
    line.timer(0, 1..=3_600_000_000, IGNORED, scope)
}

fn delay(track: &mut TrackProcess, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(time) = wait(line, scope) {
        track.fork_delay = time;
        track.terminate_delay = time;
    }
}

fn fork_delay(track: &mut TrackProcess, line: &Line<'_>, scope: &mut Scope<'_>) {
    track.fork_delay = wait(line, scope).unwrap_or(track.fork_delay);
}

fn terminate_delay(track: &mut TrackProcess, line: &Line<'_>, scope: &mut Scope<'_>) {
    track.terminate_delay = wait(line, scope).unwrap_or(track.terminate_delay);
}

fn full_command(track: &mut TrackProcess, _: &Line<'_>, _: &mut Scope<'_>) {
    track.full_command = true;
}

fn file(track: &mut TrackFile, line: &Line<'_>, scope: &mut Scope<'_>) {
    if track.path.is_empty() {
        track.path = line.text(0).unwrap_or_default().to_owned();
    } else {
        scope.warn(line.span(), format!("the file was said before; {IGNORED}"));
    }
}

fn file_weight(track: &mut TrackFile, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some((weight, reverse)) = weight(line, 254, scope) {
        track.weight = weight;
        track.reverse = reverse;
    }
}

fn init_file(track: &mut TrackFile, line: &Line<'_>, scope: &mut Scope<'_>) {
    let mut init = InitFile { value: 0, overwrite: false };
    for (i, word) in line.words().iter().enumerate() {
        if word.text == "overwrite" {
            init.overwrite = true;
        } else if word.text.starts_with(|letter: char| letter == '-' || letter.is_ascii_digit()) {
            let range = i64::from(i32::MIN)..=i64::from(i32::MAX);
            init.value = line.number(i, range, "0 is used", scope).unwrap_or(0);
            if !(-254..=254).contains(&init.value) {
                scope.warn(word.span, format!("{} is more than any priority", init.value));
            }
        } else {
            scope.warn(word.span, format!("init_file has no option {:?}; it is ignored", word.text));
        }
    }
    track.init = Some(init);
}

/// A definition without what it is about.
pub(crate) fn new_process(name: &str) -> TrackProcess {
    TrackProcess {
        name: name.to_owned(),
        process: String::new(),
        parameters: Vec::new(),
        parameter_match: None,
        full_command: false,
        weight: 0,
        reverse: false,
        quorum: 1,
        quorum_max: None,
        fork_delay: Micros(0),
        terminate_delay: Micros(0),
    }
}

/// The same for a file.
pub(crate) fn new_file(name: &str) -> TrackFile {
    TrackFile { name: name.to_owned(), path: String::new(), weight: 1, reverse: false, init: None }
}
