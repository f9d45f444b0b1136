//! Filters of bodies, between what answers a request and its client: server-side includes, then compression.
//! Answers that need none of it never come here.

mod gzip;
mod output;
pub(crate) mod ssi;

use std::os::fd::OwnedFd;

use weir_log::Errno;
use weir_model::Level;

use crate::exchange::{Exchange, Next, Sink};
use crate::files;
use crate::respond::{self, Gone};
pub(crate) use output::Output;
use output::Trouble;
use ssi::Page;

/// Bytes of a file that are read at once.
const PIECE: u64 = 64 * 1024;

/// The filters of one answer.
#[derive(Debug)]
pub(crate) struct Filter {
    page: Option<Page>,
    /// Level of compression.
    gzip: Option<u8>,
    /// What comes out is this request's to end; an included page only adds to it.
    owns: bool,
}

/// Whether an answer's type is in a list; `*` stands for all. Parameters do not count.
fn is_listed(types: &[String], content_type: Option<&[u8]>) -> bool {
    let Some(content_type) = content_type else { return false };
    let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    types.iter().any(|listed| listed == "*" || essence.eq_ignore_ascii_case(listed.as_bytes()))
}

/// Chooses the filters of an answer whose head is complete but for its length, and changes the head as they
/// need it.
pub(crate) fn choose(exchange: &mut Exchange<'_>) -> Option<Box<Filter>> {
    let live = exchange.live();
    let place = live.site().place(exchange.request.location);
    let page = Page::of(exchange, &place.settings.response.ssi);
    let gzip = gzip::choose(exchange, place);
    let included = matches!(exchange.sink, Sink::Output(_));
    if page.is_none() && gzip.is_none() && !included {
        return None;
    }
    exchange.request.answer.remove("accept-ranges");
    Some(Box::new(Filter { page, gzip, owns: false }))
}

/// Writes the head of an answer with filters and makes what their output goes to. `None` for other answers.
pub(crate) fn begin(exchange: &mut Exchange<'_>) -> Option<Box<Filter>> {
    let mut filter = exchange.filter.take()?;
    let mut head = exchange.client.thread.buffers.small();
    respond::write_head(exchange, &mut head);
    if matches!(exchange.sink, Sink::Client) {
        filter.owns = true;
        exchange.sink = Sink::Output(Box::new(Output::new(exchange, head, filter.gzip)));
    } else {
        exchange.client.thread.buffers.give(head);
    }
    Some(filter)
}

/// Sends a body from memory through the filters.
pub(crate) async fn whole(exchange: &mut Exchange<'_>, body: &[u8]) -> Next {
    let Some(mut filter) = begin(exchange) else { return Next::Abort };
    if !respond::is_bodyless(exchange) && filter.data(exchange, body).await.is_err() {
        return Next::Abort;
    }
    done(filter.end(exchange).await)
}

/// Sends a file through the filters.
pub(crate) async fn file(exchange: &mut Exchange<'_>, file: &OwnedFd, path: &[u8], size: u64) -> Next {
    let Some(mut filter) = begin(exchange) else { return Next::Abort };
    let mut piece = Vec::new();
    let mut at = 0;
    while at < size && !respond::is_bodyless(exchange) {
        piece.clear();
        let wanted = (size - at).min(PIECE);
        match files::read(file, at, wanted as usize, &mut piece) {
            // The file has become shorter; the length of what comes out was not promised.
            Ok(0) => break,
            Ok(count) => at += count as u64,
            Err(error) => {
                let path = String::from_utf8_lossy(path);
                let why = Errno(&error);
                exchange.log(
                    Level::Crit,
                    format_args!("pread() \"{path}\" failed {why} while sending response to client"),
                );
                return Next::Abort;
            }
        }
        if filter.data(exchange, &piece).await.is_err() {
            return Next::Abort;
        }
        tokio::task::yield_now().await;
    }
    done(filter.end(exchange).await)
}

fn done(end: Result<(), Gone>) -> Next {
    if end.is_ok() { Next::Done } else { Next::Abort }
}

impl Filter {
    /// Takes a piece of the body.
    pub(crate) async fn data(&mut self, exchange: &mut Exchange<'_>, bytes: &[u8]) -> Result<(), Gone> {
        match &mut self.page {
            Some(page) => page.data(exchange, bytes).await,
            None => emit(exchange, bytes).await,
        }
    }

    /// Sends what is ready; with `all` also what a compressor would rather keep for a while.
    pub(crate) async fn flush(&mut self, exchange: &mut Exchange<'_>, all: bool) -> Result<(), Gone> {
        let Sink::Output(output) = &mut exchange.sink else { return Ok(()) };
        let sent = output.flush(exchange.client, all).await;
        settle(exchange, sent)
    }

    /// Ends the body.
    pub(crate) async fn end(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Gone> {
        if let Some(page) = &mut self.page {
            page.end(exchange).await?;
        }
        if self.owns {
            let mut tail = Vec::new();
            if exchange.request.answer.chunked && !respond::is_bodyless(exchange) {
                respond::last_chunk(exchange, &mut tail);
            }
            let Sink::Output(mut output) = std::mem::replace(&mut exchange.sink, Sink::Client) else {
                return Err(Gone);
            };
            let sent = output.end(exchange.client, &tail).await;
            exchange.request.gzip_ratio = output.ratio();
            account(exchange, &mut output);
            output.give_back(exchange.client);
            sent.map_err(|trouble| gone(exchange, trouble))?;
        }
        exchange.request.complete = true;
        Ok(())
    }
}

/// Sends what is there of a body that ends too early.
pub(crate) async fn cut(exchange: &mut Exchange<'_>) {
    if let Sink::Output(output) = &mut exchange.sink {
        let sent = output.flush(exchange.client, true).await;
        // The connection ends in any case.
        let _ = settle(exchange, sent);
    }
}

/// Sends bytes that have been through the page's filter on.
async fn emit(exchange: &mut Exchange<'_>, bytes: &[u8]) -> Result<(), Gone> {
    if bytes.is_empty() {
        return Ok(());
    }
    if let Some(pages) = &mut exchange.pages {
        pages.emitted = true;
    }
    match &mut exchange.sink {
        Sink::Client => Ok(()),
        Sink::Collect { body, limit } => {
            let room = limit.saturating_sub(body.len()).min(bytes.len());
            body.extend_from_slice(&bytes[..room]);
            Ok(())
        }
        Sink::Output(output) => {
            let sent = output.push(exchange.client, bytes).await;
            settle(exchange, sent)
        }
    }
}

fn settle(exchange: &mut Exchange<'_>, sent: Result<(), Trouble>) -> Result<(), Gone> {
    let sink = std::mem::replace(&mut exchange.sink, Sink::Client);
    if let Sink::Output(mut output) = sink {
        account(exchange, &mut output);
        exchange.sink = Sink::Output(output);
    }
    sent.map_err(|trouble| gone(exchange, trouble))
}

/// Counts what was written for the request that is being answered.
fn account(exchange: &mut Exchange<'_>, output: &mut Output) {
    let (sent, of_body) = output.take_counts();
    exchange.request.sent += sent;
    exchange.request.body_sent += of_body;
}

fn gone(exchange: &mut Exchange<'_>, trouble: Trouble) -> Gone {
    exchange.keep = false;
    if let Trouble::TimedOut = trouble {
        respond::timed_out(exchange);
    }
    Gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_compared_without_parameters() {
        let types = ["text/html".to_owned(), "text/css".to_owned()];
        assert!(is_listed(&types, Some(b"Text/HTML; charset=utf-8")));
        assert!(is_listed(&types, Some(b"text/css")));
        assert!(!is_listed(&types, Some(b"text/htm")));
        assert!(!is_listed(&types, None));
        assert!(is_listed(&["*".to_owned()], Some(b"image/gif")));
    }
}
