//! Files to lines: includes, conditions, definitions and sequences are resolved here.

use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;

use super::Settings;
use super::definition::{Body, Definition, Definitions, instance};
use super::include::{self, Checks};
use super::line::{Line, Part, is_blank, trim};
use super::repeat::Repeat;
use super::reports::Reports;
use crate::source::absolute;
use crate::{Diagnostic, Severity, Source, SourceFile, Span, decode, encode};

/// Bytes of a line without its end: keepalived reads into 1024 bytes, line feed and NUL included.
pub(super) const LONGEST: usize = 1022;

/// Files, values and sequences within each other.
const DEEPEST: usize = 256;

/// How often one line is looked at again because its expansion brought a condition, a sequence or a name.
const ROUNDS: usize = 64;

/// Lines that come out of values, sequences and files that are included again, and lines that use a name; one of n
/// bytes counts 1 + n / 64.
const MOST: usize = 1 << 21;

/// Answers the parts of all lines, in the order in which keepalived reads them.
pub(super) struct Reader<'a> {
    source: &'a dyn Source,
    instance: String,
    files: Vec<Rc<SourceFile>>,
    known: HashMap<String, u32>,
    /// Files that were read to their end at least once.
    finished: HashSet<u32>,
    /// Where lines come from; the last one is read first.
    frames: Vec<Frame>,
    definitions: Definitions,
    defining: Option<Definition>,
    checks: Checks,
    spent: usize,
    pub(super) reports: Reports,
}

#[derive(Debug)]
enum Frame {
    /// Files of one pattern, the next one last, and the pattern's place.
    Files(Vec<u32>, Span),
    /// A file, and what `include_check` was in front of it.
    File {
        index: u32,
        at: usize,
        checks: Checks,
    },
    /// What stands behind a brace.
    Rest(Line),
    /// The value of a definition.
    Body {
        body: Body,
        next: usize,
    },
    Repeat(Repeat),
}

/// What a path leads to.
enum Lead {
    File(u32),
    Missing,
    /// It was reported.
    Unusable,
}

impl<'a> Reader<'a> {
    pub(super) fn new(settings: &Settings, source: &'a dyn Source) -> Self {
        Self {
            source,
            instance: instance(settings).to_owned(),
            files: Vec::new(),
            known: HashMap::new(),
            finished: HashSet::new(),
            frames: Vec::new(),
            definitions: Definitions::new(settings),
            defining: None,
            checks: Checks::default(),
            spent: 0,
            reports: Reports::default(),
        }
    }

    /// The first file, from the disk or, with a text, from there.
    pub(super) fn start(&mut self, path: &str, text: Option<&str>) {
        match text {
            Some(text) => {
                let lead = self.add(path, text.to_owned());
                self.queue(lead.into_iter().collect(), None);
            }
            None => self.open(path, Checks::ALL, None),
        }
    }

    /// `include_check`: answers the words that it does not know.
    pub(super) fn check<'w>(&mut self, words: impl Iterator<Item = &'w str>) -> Vec<&'w str> {
        self.checks.set(words)
    }

    /// `random_seed`
    pub(super) fn seed(&mut self, seed: u64) {
        self.definitions.seed(seed);
    }

    pub(super) fn into_parts(self) -> (Vec<SourceFile>, Reports) {
        (self.files.into_iter().map(Rc::unwrap_or_clone).collect(), self.reports)
    }

    pub(super) fn next(&mut self) -> Option<Part> {
        loop {
            let line = self.line()?;
            if let Some(mut definition) = self.defining.take() {
                let ended = line.is_empty();
                definition.add(line);
                if definition.open && !ended {
                    self.defining = Some(definition);
                } else {
                    self.definitions.define(definition);
                }
                continue;
            }
            let Some(line) = self.resolve(line) else { continue };
            if let Some((pattern, checks)) = include::read(&line, self.checks) {
                self.open(&pattern.text(), checks, Some(pattern.span()));
                continue;
            }
            let (part, rest) = line.split();
            if let Some(rest) = rest {
                self.frames.push(Frame::Rest(rest));
            }
            return Some(part);
        }
    }

    /// The next line from wherever lines come from; empty lines too, for they end a definition.
    fn line(&mut self) -> Option<Line> {
        loop {
            match self.frames.pop()? {
                Frame::Rest(line) => return Some(line),
                Frame::Files(mut queue, place) => {
                    if let Some(index) = queue.pop() {
                        self.frames.push(Frame::Files(queue, place));
                        if self.may_read(index, place) {
                            self.frames.push(Frame::File { index, at: 0, checks: self.checks });
                        }
                    }
                }
                Frame::File { index, at, checks } => match self.physical(index, at) {
                    Some((line, at)) => {
                        self.frames.push(Frame::File { index, at, checks });
                        return Some(line);
                    }
                    None => {
                        self.checks = checks;
                        self.finished.insert(index);
                    }
                },
                Frame::Body { body, next } => {
                    if let Some(line) = body.lines.get(next) {
                        let line = Line::placed(&line.letters, body.place);
                        self.frames.push(Frame::Body { body, next: next + 1 });
                        if self.spend(&line) {
                            return Some(line);
                        }
                    }
                }
                Frame::Repeat(mut repeat) => {
                    if let Some(line) = repeat.next(&mut self.definitions) {
                        self.frames.push(Frame::Repeat(repeat));
                        if self.spend(&line) {
                            return Some(line);
                        }
                    }
                }
            }
        }
    }

    /// A line of a file without its comment, and where the next one starts.
    fn physical(&mut self, index: u32, at: usize) -> Option<(Line, usize)> {
        let file = self.files.get(index as usize)?;
        let rest = file.text.get(at..).filter(|rest| !rest.is_empty())?;
        let len = rest.find('\n').unwrap_or(rest.len());
        let text = &rest[..len];
        let next = at + len + 1;
        let line = Line::new(index, text.trim_end_matches('\r'), at);
        let bytes = encode(text).len();
        let error = if bytes > LONGEST {
            let error = Diagnostic::error(format!("a line of {bytes} bytes is skipped"));
            error.help(format!("part it: keepalived reads at most {LONGEST} bytes a line"))
        } else if text.contains('\0') {
            Diagnostic::error("a line with a NUL byte is skipped").help("take the NUL out of the file")
        } else {
            let mut line = line;
            if let Some(span) = line.clean(self.defining.is_some() || starts_definition(&line)) {
                let error = Diagnostic::error("a quote is never closed").at(span);
                self.reports.add(error.help("close it with another \" on the same line"));
            }
            return Some((line, next));
        };
        self.reports.add(error.at(line.span()));
        Some((Line { file: index, letters: Vec::new() }, next))
    }

    /// Applies conditions, definitions and sequences; answers what is left to be read as configuration.
    fn resolve(&mut self, mut line: Line) -> Option<Line> {
        for round in 0..ROUNDS {
            if line.starts_with("@") {
                line = self.condition(&line)?;
            }
            if let Some(definition) = Definition::read(&line) {
                if definition.open {
                    self.defining = Some(definition);
                } else {
                    self.definitions.define(definition);
                }
                return None;
            }
            if line.starts_with("~SEQ") || line.starts_with("~LST") {
                let folder = self.folder();
                let repeat = Repeat::read(&line, &mut self.definitions, &folder, &mut self.reports)?;
                self.push(Frame::Repeat(repeat), line.span());
                return None;
            }
            if line.is_empty() {
                return None;
            }
            if line.starts_with("~") || !line.letters.iter().any(|letter| letter.value == '$') {
                return Some(line);
            }
            let folder = self.folder();
            let expansion = self.definitions.expand(&mut line, &folder, &mut self.reports);
            if expansion.uses == 0 {
                return Some(line);
            }
            let price = 1 + expansion.uses / 16 + round * (1 + line.letters.len() / 64);
            if expansion.overflow || !self.pay(price, line.span()) {
                return None;
            }
            for body in expansion.bodies {
                self.enter(body);
            }
            if let Some(span) = line.clean(false) {
                self.reports.add(Diagnostic::error("a quote is never closed").at(span));
            }
        }
        let error = Diagnostic::error("the definitions of this line lead to new ones without end");
        self.reports.add(error.at(line.span()).help("take the use of a name out of its own value"));
        None
    }

    /// `@id rest` and `@^id rest`: the rest, if the line is for this node.
    fn condition(&self, line: &Line) -> Option<Line> {
        let start = if line.starts_with("@^") { 2 } else { 1 };
        let len = line.letters.iter().skip(start).position(|letter| is_blank(letter.value))?;
        let wanted = line.letters.iter().skip(start).take(len).map(|letter| letter.value);
        (wanted.eq(self.instance.chars()) == (start == 1)).then(|| line.behind(start + len))
    }

    /// The folder of the file that is read.
    fn folder(&self) -> String {
        let index = self.frames.iter().rev().find_map(|frame| match frame {
            Frame::File { index, .. } => Some(*index),
            _ => None,
        });
        let path =
            index.and_then(|index| self.files.get(index as usize)).map_or("", |file| file.path.as_str());
        match path.rsplit_once('/') {
            Some(("", _)) => "/".to_owned(),
            Some((folder, _)) => folder.to_owned(),
            None => ".".to_owned(),
        }
    }

    /// Queues the files that a pattern names. `place` is the pattern; the first file has none.
    fn open(&mut self, pattern: &str, checks: Checks, place: Option<Span>) {
        let Some(alternatives) = include::alternatives(pattern) else {
            let error = at(Diagnostic::error("an include with too many alternatives in braces"), place);
            return self.reports.add(error.help("use several include lines"));
        };
        let braces = alternatives.len() > 1;
        let (mut found, mut missing, mut wild, mut seen) = (Vec::new(), Vec::new(), false, false);
        for path in alternatives {
            let path = if place.is_some() { absolute(&self.prefix(), &path) } else { path };
            let paths = if path.contains(['*', '?', '[']) {
                wild = true;
                self.source.glob(&path)
            } else {
                vec![path]
            };
            for path in paths {
                match self.load(&path, checks, place) {
                    Lead::File(index) => found.push(index),
                    Lead::Missing => missing.push(path),
                    Lead::Unusable => seen = true,
                }
            }
        }
        if !missing.is_empty() {
            let strict = if braces { checks.brace } else { checks.found };
            self.report(strict, format!("file \"{}\" not found", missing.join("\", \"")), place);
            if braces && checks.brace {
                return;
            }
        } else if wild && !seen && found.is_empty() && checks.wildcard {
            self.report(true, format!("no file matches \"{pattern}\""), place);
        }
        self.queue(found, place);
    }

    /// What completes a relative path: nothing for a file that was named without a folder.
    fn prefix(&self) -> String {
        Some(self.folder()).filter(|folder| folder != ".").unwrap_or_default()
    }

    fn queue(&mut self, mut files: Vec<u32>, place: Option<Span>) {
        files.reverse();
        let place = place.unwrap_or_default();
        self.push(Frame::Files(files, place), place);
    }

    fn load(&mut self, path: &str, checks: Checks, place: Option<Span>) -> Lead {
        if let Some(index) = self.known.get(path) {
            return Lead::File(*index);
        }
        if self.source.is_executable(path) {
            self.report(checks.read, format!("file \"{path}\" is executable and ignored"), place);
            return Lead::Unusable;
        }
        let text = match self.source.read(path) {
            Ok(bytes) => decode(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Lead::Missing,
            Err(error) => {
                self.report(checks.read, format!("file \"{path}\" cannot be read: {error}"), place);
                return Lead::Unusable;
            }
        };
        self.add(path, text).map_or(Lead::Unusable, Lead::File)
    }

    fn add(&mut self, path: &str, text: String) -> Option<u32> {
        if u32::try_from(text.len()).is_err() {
            self.reports.add(Diagnostic::error(format!("file \"{path}\" is larger than 4 GiB")));
            return None;
        }
        let index = u32::try_from(self.files.len()).ok()?;
        self.files.push(Rc::new(SourceFile { path: path.to_owned(), text, command_line: false }));
        self.known.insert(path.to_owned(), index);
        Some(index)
    }

    /// A file does not include itself, and one that is read again is paid for.
    fn may_read(&mut self, index: u32, place: Span) -> bool {
        let open = |frame: &Frame| matches!(frame, Frame::File { index: open, .. } if *open == index);
        let Some(file) = self.files.get(index as usize).map(Rc::clone) else { return false };
        if self.frames.iter().any(open) {
            let error = Diagnostic::error(format!("file \"{}\" includes itself", file.path));
            self.reports.add(error.at(place).help("take the include out"));
            return false;
        }
        let lines = file.text.bytes().filter(|byte| *byte == b'\n').count();
        !self.finished.contains(&index) || self.pay(1 + lines + file.text.len() / 64, place)
    }

    /// Queues the lines of a value, unless they are being read already.
    fn enter(&mut self, body: Body) {
        let open = |frame: &Frame| matches!(frame, Frame::Body { body: open, .. } if Rc::ptr_eq(&open.lines, &body.lines));
        let place = body.place;
        if self.frames.iter().any(open) {
            let error = Diagnostic::error("a definition is used within its own lines").at(place);
            self.reports.add(error.help("take the use of the name out of its own value"));
        } else {
            self.push(Frame::Body { body, next: 1 }, place);
        }
    }

    fn push(&mut self, frame: Frame, place: Span) {
        if self.frames.len() < DEEPEST {
            self.frames.push(frame);
        } else {
            let error = Diagnostic::error("too many includes, definitions or sequences within each other");
            self.reports.add(error.at(place).help(format!("at most {DEEPEST} may be open at once")));
        }
    }

    fn spend(&mut self, line: &Line) -> bool {
        self.pay(1 + line.letters.len() / 64, line.span())
    }

    /// Counts expanded lines. When there are too many the rest of all values and sequences is left out.
    fn pay(&mut self, price: usize, place: Span) -> bool {
        if self.spent + price <= MOST {
            self.spent += price;
            return true;
        }
        let error = Diagnostic::error("definitions, sequences and repeated includes make too many lines");
        self.reports.add(error.at(place).help(format!("at most {MOST} are read; the rest is left out")));
        self.spent = MOST;
        self.frames.retain(|frame| matches!(frame, Frame::File { .. } | Frame::Files(..) | Frame::Rest(_)));
        false
    }

    fn report(&mut self, strict: bool, message: String, place: Option<Span>) {
        let severity = if strict { Severity::Error } else { Severity::Warning };
        let diagnostic = Diagnostic { severity, ..Diagnostic::error(message) };
        let help = "what cannot be read is left out: mend the path or take the include out";
        self.reports.add(if place.is_some() { at(diagnostic, place).help(help) } else { diagnostic });
    }
}

fn at(diagnostic: Diagnostic, place: Option<Span>) -> Diagnostic {
    match place {
        Some(place) => diagnostic.at(place),
        None => diagnostic,
    }
}

/// Whether a raw line defines a name: a backslash behind its comment counts.
fn starts_definition(line: &Line) -> bool {
    let first = trim(&line.letters).first();
    first.is_some_and(|letter| letter.value == '$') && Definition::read(&line.behind(0)).is_some()
}
