//! What is wrong, where, and what to do.

use std::fmt::Write;

use crate::{SourceFile, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    Warning,
}

/// One message for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// nginx's own words, without ` in FILE:LINE`.
    pub message: String,
    /// What is underlined.
    pub span: Option<Span>,
    /// Where nginx's parser stood: the line of this span's last byte is the one nginx names.
    /// Absent: the last byte of [`Self::span`].
    pub stood: Option<Span>,
    pub notes: Vec<String>,
    pub help: Vec<String>,
}

impl Diagnostic {
    /// An error in nginx's words.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            stood: None,
            notes: Vec::new(),
            help: Vec::new(),
        }
    }

    /// A warning in nginx's words.
    #[must_use]
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Underlines a span.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Says where nginx's parser stood, such as [`crate::Directive::span`] or its `close`.
    #[must_use]
    pub fn stood(mut self, span: Span) -> Self {
        self.stood = Some(span);
        self
    }

    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The line that nginx prints, such as `unknown directive "x" in /etc/nginx/nginx.conf:12`.
    #[must_use]
    pub fn nginx_line(&self, files: &[SourceFile]) -> String {
        let place = self.stood.or(self.span).and_then(|span| Some((file_of(files, span)?, span)));
        match place {
            None => self.message.clone(),
            Some((file, _)) if file.command_line => format!("{} in command line", self.message),
            Some((file, span)) => {
                format!("{} in {}:{}", self.message, file.path, file.line(span.last().start))
            }
        }
    }

    /// The message with its line of text, notes and help, over several lines.
    #[must_use]
    pub fn render(&self, files: &[SourceFile], color: bool) -> String {
        let paint = Paint { color };
        let (word, tint) = match self.severity {
            Severity::Error => ("error", "1;31"),
            Severity::Warning => ("warning", "1;33"),
        };
        let mut text = paint.on(tint, word);
        text.push_str(&paint.on("1", &format!(": {}", self.message)));
        text.push('\n');
        let place = self.span.or(self.stood.map(Span::last));
        let mut margin = 1;
        if let Some((file, span)) = place.and_then(|span| Some((file_of(files, span)?, span))) {
            margin = excerpt(&mut text, file, span, &paint, tint);
        }
        let notes = self.notes.iter().map(|note| ("note", note));
        for (kind, line) in notes.chain(self.help.iter().map(|help| ("help", help))) {
            let bar = paint.on("1;34", "=");
            let _ = writeln!(text, "{:margin$} {bar} {}: {line}", "", paint.on("1", kind));
        }
        text
    }
}

/// Writes the place and its line with carets; answers the width of the margin.
fn excerpt(text: &mut String, file: &SourceFile, span: Span, paint: &Paint, tint: &str) -> usize {
    let (line, column) = file.position(span.start);
    let number = line.to_string();
    let margin = number.len();
    let name = if file.command_line { "command line" } else { &file.path };
    let bar = paint.on("1;34", "|");
    let _ = writeln!(text, "{:margin$}{} {name}:{line}:{column}", "", paint.on("1;34", "-->"));
    let (content, start) = file.line_text(span.start);
    let from = span.start.saturating_sub(start) as usize;
    let to = (span.end.saturating_sub(start) as usize).min(content.len());
    let before = display(content.get(..from).unwrap_or(content));
    let marked = display(content.get(from..to).unwrap_or_default());
    let carets = "^".repeat(marked.chars().count().max(1));
    let _ = writeln!(text, "{:margin$} {bar}", "");
    let _ = writeln!(text, "{} {bar} {}", paint.on("1;34", &number), display(content));
    let pad = before.chars().count();
    let _ = writeln!(text, "{:margin$} {bar} {:pad$}{}", "", "", paint.on(tint, &carets));
    margin
}

fn file_of(files: &[SourceFile], span: Span) -> Option<&SourceFile> {
    files.get(span.file as usize)
}

/// A tab as four columns, other control characters as a dot, so that carets stand right.
fn display(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\t' => shown.push_str("    "),
            letter if letter.is_control() => shown.push('.'),
            letter => shown.push(letter),
        }
    }
    shown
}

struct Paint {
    color: bool,
}

impl Paint {
    fn on(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
