//! One probe's talk with its peer: bytes in, bytes out, a verdict.

use crate::http::Step;
use crate::plan::{Plan, Protocol};
use crate::reason::{Reason, Verdict};
use crate::{fastcgi, grpc, hello, http};

/// The talk on one connection. It keeps its buffers from probe to probe.
#[derive(Debug, Default)]
pub struct Exchange {
    state: State,
    /// Bytes that came and cannot be understood before more come.
    held: Vec<u8>,
    /// The part of the answer that is judged at its end.
    body: Vec<u8>,
    out: Vec<u8>,
    /// Bytes of the opening, or of `out`, that were sent.
    sent: usize,
    answered: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Plain,
    Http(http::State),
    Fastcgi(fastcgi::State),
    Grpc(grpc::State),
}

/// What came of the bytes of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing yet; look at [`Exchange::unsent`] and wait for more.
    More,
    Done {
        verdict: Verdict,
        /// The connection can carry another probe; otherwise close it.
        reusable: bool,
    },
}

impl Exchange {
    /// Starts a probe, on a fresh connection or on the one that carried the last.
    pub fn begin(&mut self, plan: &Plan, fresh: bool) {
        self.held.clear();
        self.body.clear();
        // What was owed on a kept connection still goes out, first of all.
        self.out.drain(..if fresh { self.out.len() } else { self.sent.min(self.out.len()) });
        self.sent = 0;
        self.answered = false;
        if let Protocol::Grpc(call) = &plan.protocol {
            if !matches!(self.state, State::Grpc(_)) {
                self.state = State::Grpc(grpc::State::default());
            }
            if let State::Grpc(state) = &mut self.state {
                state.begin(call, fresh, &mut self.out);
            }
            return;
        }
        self.state = match plan.protocol {
            Protocol::Http { .. } => State::Http(http::State::default()),
            Protocol::Fastcgi(_) => State::Fastcgi(fastcgi::State::default()),
            _ => State::Plain,
        };
    }

    /// What is to be sent next; empty when nothing is.
    #[must_use]
    pub fn unsent<'a>(&'a self, plan: &'a Plan) -> &'a [u8] {
        let all = if matches!(plan.protocol, Protocol::Grpc(_)) { &self.out } else { &plan.opening };
        all.get(self.sent..).unwrap_or_default()
    }

    /// So many bytes of [`Exchange::unsent`] went out.
    pub fn sent(&mut self, len: usize) {
        self.sent += len;
    }

    /// Whether a byte of the answer has come.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.answered
    }

    /// Bytes from the peer, in any cut.
    pub fn receive(&mut self, plan: &Plan, bytes: &[u8]) -> Progress {
        if bytes.is_empty() {
            return Progress::More;
        }
        self.answered = true;
        if self.held.is_empty() {
            let (taken, progress) = self.read(plan, bytes);
            if progress == Progress::More {
                self.held.extend_from_slice(bytes.get(taken..).unwrap_or_default());
            }
            return progress;
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let (taken, progress) = self.read(plan, &held);
        held.drain(..taken.min(held.len()));
        self.held = held;
        progress
    }

    /// The peer closed in order.
    pub fn close(&mut self, plan: &Plan) -> Verdict {
        match (&mut self.state, &plan.protocol) {
            (State::Http(state), Protocol::Http { judge, .. }) => {
                state.close(judge, &self.body, self.answered)
            }
            _ => self.settled().unwrap_or(Verdict::fail(match self.answered {
                true => Reason::ClosedEarly,
                false => Reason::ClosedUnanswered,
            })),
        }
    }

    /// The verdict that stands although the answer is not complete: the rest was wanted only to use the connection again.
    #[must_use]
    pub fn settled(&self) -> Option<Verdict> {
        match &self.state {
            State::Http(state) => state.settled().cloned(),
            State::Fastcgi(state) => state.settled().cloned(),
            State::Plain | State::Grpc(_) => None,
        }
    }

    /// Gives back what a long answer took.
    pub fn shrink(&mut self) {
        const KEPT: usize = 512;
        for buffer in [&mut self.held, &mut self.body] {
            buffer.clear();
            buffer.shrink_to(KEPT);
        }
    }

    /// Goes through `input` as far as it can be understood; answers how far.
    fn read(&mut self, plan: &Plan, input: &[u8]) -> (usize, Progress) {
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            match self.step(plan, rest) {
                Step::Took(len) => taken += len,
                Step::Short => return (taken, Progress::More),
                Step::Done { verdict, reusable } => {
                    // Frames follow one another; elsewhere an answer to half a request leaves the other half behind.
                    let asked = matches!(plan.protocol, Protocol::Grpc(_)) || self.unsent(plan).is_empty();
                    let clean = reusable == Some(rest.len()) && asked;
                    return (taken, Progress::Done { verdict, reusable: clean && plan.reuse });
                }
            }
        }
    }

    fn step(&mut self, plan: &Plan, input: &[u8]) -> Step {
        match (&mut self.state, &plan.protocol) {
            (State::Http(state), Protocol::Http { judge, reading }) => {
                state.step(judge, *reading, input, &mut self.body)
            }
            (State::Fastcgi(state), Protocol::Fastcgi(expect)) => {
                state.step(*expect, plan.reuse, input, &mut self.body)
            }
            (State::Grpc(state), Protocol::Grpc(call)) => state.step(call, input, &mut self.out),
            (_, Protocol::Mysql) => hello::judge_mysql(input),
            (_, Protocol::Ajp) => hello::judge_ajp(input),
            (_, Protocol::Tls) => hello::judge_tls(input),
            _ => Step::Short,
        }
    }
}
