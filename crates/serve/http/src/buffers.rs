//! Buffers and request states that the connections of one thread take turns with.

use std::cell::RefCell;
use std::rc::Rc;

use weir_http::wire::response::ResponseHead;
use weir_http::{Facts, Request};

/// Size of a buffer for heads and small bodies.
/// It holds an answer of 16 KiB with its head, so that such answers take one read and one write.
pub(crate) const SMALL: usize = 32 * 1024;
/// Size of a buffer while a large body runs.
pub(crate) const LARGE: usize = 256 * 1024;

/// Kept for reuse; more are given back to the allocator.
const KEEP_SMALL: usize = 64;
const KEEP_LARGE: usize = 8;
const KEEP_REQUESTS: usize = 64;

/// Free buffers of one thread.
#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "requests go in and out as boxes; a kilobyte is not moved each time")]
pub(crate) struct Buffers {
    small: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
    requests: RefCell<Vec<Box<Request>>>,
    heads: RefCell<Vec<ResponseHead>>,
}

impl Buffers {
    pub(crate) fn small(&self) -> Vec<u8> {
        self.small.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(SMALL))
    }

    pub(crate) fn large(&self) -> Vec<u8> {
        self.large.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(LARGE))
    }

    /// Takes a buffer back. Only the two sizes are kept.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let (pool, keep) = match buffer.capacity() {
            SMALL => (&self.small, KEEP_SMALL),
            LARGE => (&self.large, KEEP_LARGE),
            _ => return,
        };
        let mut pool = pool.borrow_mut();
        if pool.len() < keep {
            buffer.clear();
            pool.push(buffer);
        }
    }

    /// A head to parse a peer's answer into.
    pub(crate) fn head(&self) -> ResponseHead {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_head(&self, mut head: ResponseHead) {
        let mut pool = self.heads.borrow_mut();
        if pool.len() < KEEP_REQUESTS {
            head.clear();
            pool.push(head);
        }
    }

    /// A request state for a connection, with an empty head buffer.
    pub(crate) fn request(&self, facts: Rc<Facts>) -> Box<Request> {
        match self.requests.borrow_mut().pop() {
            Some(mut request) => {
                request.reset(facts);
                request
            }
            None => Box::new(Request::new(facts)),
        }
    }

    /// Takes a request state back; its head buffer is taken out of it before.
    pub(crate) fn give_request(&self, mut request: Box<Request>) {
        self.give(std::mem::take(&mut request.bytes));
        let mut pool = self.requests.borrow_mut();
        if pool.len() < KEEP_REQUESTS {
            pool.push(request);
        }
    }
}
