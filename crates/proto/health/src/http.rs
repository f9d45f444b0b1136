//! HTTP/1 responses: status, headers, framing and body, from bytes in any cut.

use weir_model::check::StatusClasses;

use crate::expect::Expected;
use crate::reason::{Reason, Verdict};
use crate::{BODY_LIMIT, HEAD_LIMIT};

/// What a response has to be.
#[derive(Debug)]
pub(crate) enum Judge {
    /// `check_http_expect_alive`: the status line alone.
    Classes(StatusClasses),
    /// `health_check`.
    Expected(Box<Expected>),
}

/// What the request settles about reading the response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// The request was HEAD: no body comes.
    pub(crate) bodiless: bool,
    /// The connection is to carry the next request as well, so the response has to be read to its end.
    pub(crate) reuse: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    stage: Stage,
    /// Bytes at the start of the input in which no line ends that was not looked at.
    scanned: usize,
    /// Bytes of the body that were read.
    body_len: usize,
    /// Bytes beside head and body: interim responses, chunk heads, trailers.
    extra: usize,
    status: u16,
    /// The peer keeps the connection open after the response.
    keep: bool,
    settled: Option<Verdict>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    #[default]
    Head,
    Length(u64),
    UntilClose,
    ChunkHead,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
}

/// What a step did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Took so many bytes, and can go on with the next.
    Took(usize),
    /// Needs more than there is.
    Short,
    Done {
        verdict: Verdict,
        /// So many bytes were the last, and the connection is fit for another request.
        reusable: Option<usize>,
    },
}

impl Step {
    pub(crate) const fn fail(reason: Reason) -> Self {
        Self::Done { verdict: Verdict::fail(reason), reusable: None }
    }
}

const LONG_LINE: usize = 4096;
const BAD_CHUNK: Reason = Reason::Garbage("http", "bad chunk");

struct Head {
    status: u16,
    len: usize,
    stage: Option<Stage>,
    keep: bool,
}

impl State {
    /// The verdict as far as it stands without the rest of the response.
    pub(crate) fn settled(&self) -> Option<&Verdict> {
        self.settled.as_ref()
    }

    pub(crate) fn step(&mut self, judge: &Judge, reading: Reading, input: &[u8], body: &mut Vec<u8>) -> Step {
        match self.stage {
            Stage::Head => self.head(judge, reading, input),
            Stage::Length(left) => {
                let step = self.content(judge, left, input, body);
                if let Step::Took(taken) = step {
                    let left = left - taken as u64;
                    self.stage = Stage::Length(left);
                    if left == 0 {
                        return self.finish(judge, body, Some(taken));
                    }
                }
                step
            }
            Stage::UntilClose => self.content(judge, u64::MAX, input, body),
            Stage::ChunkHead => self.chunk_head(input),
            Stage::ChunkData(left) => {
                let step = self.content(judge, left, input, body);
                if let Step::Took(taken) = step {
                    let left = left - taken as u64;
                    self.stage = if left == 0 { Stage::ChunkEnd } else { Stage::ChunkData(left) };
                }
                step
            }
            Stage::ChunkEnd => match input {
                [b'\r', b'\n', ..] => self.overhead(2, Stage::ChunkHead),
                [] | [b'\r'] => Step::Short,
                _ => self.broken(BAD_CHUNK),
            },
            Stage::Trailers => self.trailer(judge, input, body),
        }
    }

    /// The peer closed.
    pub(crate) fn close(&mut self, judge: &Judge, body: &[u8], answered: bool) -> Verdict {
        if let (Stage::UntilClose, None) = (self.stage, &self.settled) {
            return judge.body(self.status, body);
        }
        let unfinished = if answered { Reason::ClosedEarly } else { Reason::ClosedUnanswered };
        self.settled.take().unwrap_or(Verdict::fail(unfinished))
    }

    fn head(&mut self, judge: &Judge, reading: Reading, input: &[u8]) -> Step {
        let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if blank != 0 {
            return self.overhead(blank, Stage::Head);
        }
        let within = input.get(..HEAD_LIMIT).unwrap_or(input);
        // Complete lines only, so that the verdict does not depend on where the network cut the last one.
        let fresh = within.get(self.scanned..).unwrap_or_default();
        if let Some(end) = fresh.iter().rposition(|byte| *byte == b'\n') {
            let lines = within.get(..=self.scanned + end).unwrap_or_default();
            let parsed = match judge {
                Judge::Classes(classes) => self.parse_leniently(*classes, reading, lines),
                Judge::Expected(expected) => self.parse_strictly(expected, reading, lines),
            };
            match parsed {
                Ok(Some(head)) => return self.begin_body(judge, &head),
                Ok(None) => {}
                Err(step) => return step,
            }
        }
        self.scanned = within.len();
        if within.len() == HEAD_LIMIT {
            return self.broken(Reason::LongHead);
        }
        Step::Short
    }

    /// The status line decides; the headers are only of use for the next request.
    fn parse_leniently(
        &mut self,
        classes: StatusClasses,
        reading: Reading,
        input: &[u8],
    ) -> Result<Option<Head>, Step> {
        if self.settled.is_none() {
            let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
            let line = input.get(..=end).unwrap_or(input);
            let Some(status) = status_of(line) else {
                return Err(Step::fail(Reason::Garbage("http", "bad status line")));
            };
            if !is_interim(status) {
                let passed = classes.has(status);
                self.settled = Some(Verdict { passed, reason: Reason::Status(status) });
                if !reading.reuse {
                    return Err(self.broken(Reason::Status(status)));
                }
            }
        }
        parse(input, reading, |_, _| {}).map_err(|reason| self.broken(reason))
    }

    fn parse_strictly(
        &mut self,
        expected: &Expected,
        reading: Reading,
        input: &[u8],
    ) -> Result<Option<Head>, Step> {
        let mut failed = None;
        let judge = |status: u16, headers: &[httparse::Header<'_>]| {
            failed = expected.judge_head(status, headers);
        };
        let head = parse(input, reading, judge).map_err(Step::fail)?;
        let Some(head) = head else { return Ok(None) };
        if is_interim(head.status) {
            return Ok(Some(head));
        }
        if let Some(reason) = failed {
            self.settled = Some(Verdict::fail(reason));
        } else if !expected.wants_body() {
            self.settled = Some(Verdict::pass(Reason::Status(head.status)));
        }
        if let (Some(_), false) = (&self.settled, reading.reuse) {
            return Err(self.broken(Reason::Status(head.status)));
        }
        Ok(Some(head))
    }

    fn begin_body(&mut self, judge: &Judge, head: &Head) -> Step {
        self.scanned = 0;
        if is_interim(head.status) {
            return self.overhead(head.len, Stage::Head);
        }
        (self.status, self.keep) = (head.status, head.keep);
        let Some(stage) = head.stage else { return self.finish(judge, &[], Some(head.len)) };
        let endless = match stage {
            Stage::UntilClose => true,
            Stage::Length(length) => length > BODY_LIMIT as u64,
            _ => false,
        };
        if self.settled.is_some() && (endless || !head.keep) {
            return self.finish(judge, &[], None);
        }
        self.stage = stage;
        Step::Took(head.len)
    }

    fn content(&mut self, judge: &Judge, left: u64, input: &[u8], body: &mut Vec<u8>) -> Step {
        if input.is_empty() {
            return Step::Short;
        }
        let room = BODY_LIMIT - self.body_len;
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let taken = input.len().min(left).min(room);
        if self.settled.is_none() {
            body.extend_from_slice(input.get(..taken).unwrap_or_default());
        }
        self.body_len += taken;
        if self.body_len == BODY_LIMIT && left > taken {
            return self.finish(judge, body, None);
        }
        Step::Took(taken)
    }

    fn chunk_head(&mut self, input: &[u8]) -> Step {
        let within = input.get(..LONG_LINE).unwrap_or(input);
        match httparse::parse_chunk_size(within) {
            Ok(httparse::Status::Complete((len, 0))) => self.overhead(len, Stage::Trailers),
            Ok(httparse::Status::Complete((len, size))) => self.overhead(len, Stage::ChunkData(size)),
            Ok(httparse::Status::Partial) if within.len() < LONG_LINE => Step::Short,
            Ok(httparse::Status::Partial) | Err(_) => self.broken(BAD_CHUNK),
        }
    }

    fn trailer(&mut self, judge: &Judge, input: &[u8], body: &[u8]) -> Step {
        let within = input.get(..LONG_LINE).unwrap_or(input);
        match within.iter().position(|byte| *byte == b'\n') {
            Some(end) if matches!(within.get(..end), Some([] | [b'\r'])) => {
                self.finish(judge, body, Some(end + 1))
            }
            Some(end) => self.overhead(end + 1, Stage::Trailers),
            None if within.len() < LONG_LINE => Step::Short,
            None => self.broken(Reason::Garbage("http", "long trailer")),
        }
    }

    /// Bytes that are neither head nor body: bounded as well.
    fn overhead(&mut self, len: usize, next: Stage) -> Step {
        self.extra += len;
        self.stage = next;
        if self.extra > BODY_LIMIT {
            return self.broken(Reason::Garbage("http", "too much beside the body"));
        }
        Step::Took(len)
    }

    /// Nothing more can be read; what was settled before stands.
    fn broken(&mut self, reason: Reason) -> Step {
        let verdict = self.settled.take().unwrap_or(Verdict::fail(reason));
        Step::Done { verdict, reusable: None }
    }

    fn finish(&mut self, judge: &Judge, body: &[u8], end: Option<usize>) -> Step {
        let verdict = self.settled.take().unwrap_or_else(|| judge.body(self.status, body));
        Step::Done { verdict, reusable: end.filter(|_| self.keep) }
    }
}

impl Judge {
    fn body(&self, status: u16, body: &[u8]) -> Verdict {
        match self {
            Self::Classes(classes) => Verdict { passed: classes.has(status), reason: Reason::Status(status) },
            Self::Expected(expected) => expected.judge_body(status, body),
        }
    }
}

/// 101 is an answer of its own (RFC 9110, section 15.2).
fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}

/// The status of a complete status line.
pub(crate) fn status_of(line: &[u8]) -> Option<u16> {
    let mut response = httparse::Response::new(&mut []);
    response.parse(line).ok()?;
    response.code
}

/// Reads a head, and shows status and headers when it is complete.
fn parse(
    input: &[u8],
    reading: Reading,
    show: impl FnOnce(u16, &[httparse::Header<'_>]),
) -> Result<Option<Head>, Reason> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(input) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Reason::Garbage("http", flaw(error))),
    };
    let (status, minor) = (response.code.unwrap_or_default(), response.version.unwrap_or_default());
    let headers = &*response.headers;
    show(status, headers);
    let connection = values(headers, "connection");
    let keep = match minor {
        0 => connection.clone().any(|value| has_word(value, b"keep-alive")),
        _ => !connection.clone().any(|value| has_word(value, b"close")),
    };
    let none = reading.bodiless || matches!(status, 101 | 204 | 304);
    let stage = if none { None } else { framing(headers) };
    let open = matches!(stage, Some(Stage::UntilClose)) || status == 101;
    Ok(Some(Head { status, len, stage, keep: keep && !open }))
}

fn flaw(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => {
            "bad header line"
        }
        httparse::Error::TooManyHeaders => "more than 128 header lines",
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => "bad status line",
    }
}

pub(crate) fn values<'h>(
    headers: &'h [httparse::Header<'h>],
    name: &'h str,
) -> impl Iterator<Item = &'h [u8]> + Clone {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn has_word(value: &[u8], word: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(word))
}

/// Where the body ends (RFC 9112, section 6.3). None: there is none. What is contradictory ends with the connection.
fn framing(headers: &[httparse::Header<'_>]) -> Option<Stage> {
    if let Some(coding) = values(headers, "transfer-encoding").last() {
        let last = coding.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
        let chunked = last.eq_ignore_ascii_case(b"chunked");
        return Some(if chunked { Stage::ChunkHead } else { Stage::UntilClose });
    }
    let mut lengths = values(headers, "content-length");
    let Some(first) = lengths.next() else { return Some(Stage::UntilClose) };
    if lengths.any(|other| other != first) || !first.iter().all(u8::is_ascii_digit) {
        return Some(Stage::UntilClose);
    }
    match std::str::from_utf8(first).ok().and_then(|digits| digits.parse().ok()) {
        Some(0) => None,
        Some(length) => Some(Stage::Length(length)),
        None => Some(Stage::UntilClose),
    }
}
