//! Static files: found below `root` or `alias`, held against the client's conditions, sent.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno as Code;
use weir_http::wire::chunked::write_chunk_head;
use weir_http::wire::uri::{Escape, escape};
use weir_log::{Errno, clock};
use weir_model::{Level, Template};

use crate::body;
use crate::conditions::{self, Verdict};
use crate::exchange::{Exchange, Next, Sink};
use crate::filter;
use crate::ranges::{self, Plan};
use crate::respond::{self, Gone};
use crate::throttle::{self, Throttle};

/// Answers with the file that the URI names, or with the index of its directory.
pub(crate) async fn serve(exchange: &mut Exchange<'_>) -> Next {
    if !matches!(exchange.request.method(), b"GET" | b"HEAD" | b"POST") {
        return Next::Error(405);
    }
    if exchange.request.uri.ends_with(b"/") {
        return index(exchange);
    }
    let path = exchange.evaluate(|request, scope, _| request.filename(scope));
    let (file, stat) = match open(&path) {
        Ok(opened) => opened,
        Err((call, code)) => return cannot_open(exchange, &path, call, code),
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return add_slash(exchange),
        _ => {
            exchange.log(Level::Crit, format_args!("\"{}\" is not a regular file", lossy(&path)));
            return Next::Error(404);
        }
    }
    if exchange.request.method() == b"POST" {
        return Next::Error(405);
    }
    if let Err(error) = body::unwanted(exchange).await {
        return Next::Error(error.status());
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    prepare(exchange, stat.st_mtime, size);
    if conditions::check(exchange) == Verdict::Failed {
        exchange.request.answer.clear();
        return Next::Error(412);
    }
    respond::filter(exchange);
    match ranges::plan(exchange, size) {
        Plan::Unsatisfiable => Next::Error(416),
        _ if exchange.filter.is_some() => filter::file(exchange, &file, &path, size).await,
        plan => send(exchange, &file, &path, size, plan).await,
    }
}

/// Opens without waiting for a writer, should the name stand for a pipe.
fn open(path: &[u8]) -> Result<(OwnedFd, Stat), (&'static str, Code)> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|code| ("open()", code))?;
    let stat = rustix::fs::fstat(&file).map_err(|code| ("fstat()", code))?;
    Ok((file, stat))
}

fn cannot_open(exchange: &Exchange<'_>, path: &[u8], call: &str, code: Code) -> Next {
    let (level, status) = match code {
        Code::NOENT | Code::NOTDIR | Code::NAMETOOLONG => (Level::Error, 404),
        Code::ACCESS | Code::MLINK | Code::LOOP => (Level::Error, 403),
        _ => (Level::Crit, 500),
    };
    if status != 404 || logs_missing(exchange) {
        exchange.log(level, format_args!("{call} \"{}\" failed {}", lossy(path), Errno(&code.into())));
    }
    Next::Error(status)
}

/// `log_not_found`.
fn logs_missing(exchange: &Exchange<'_>) -> bool {
    exchange.live.site().place(exchange.request.location).settings.log_not_found
}

fn lossy(path: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(path)
}

/// A directory was asked for as if it were a file.
fn add_slash(exchange: &mut Exchange<'_>) -> Next {
    let request = &mut *exchange.request;
    let mut target = Vec::with_capacity(request.uri.len() + 1);
    escape(Escape::Uri, &request.uri, &mut target);
    target.push(b'/');
    if !request.args.is_empty() {
        target.push(b'?');
        target.extend_from_slice(&request.args);
    }
    request.answer.location = Some(target);
    Next::Error(301)
}

/// The head of a file's answer.
fn prepare(exchange: &mut Exchange<'_>, modified: i64, size: u64) {
    let content_type = content_type(exchange);
    let etag = exchange.live.site().place(exchange.request.location).settings.files.etag;
    let answer = &mut exchange.request.answer;
    answer.status = 200;
    answer.content_length = Some(size);
    answer.content_type = Some(content_type).filter(|value| !value.is_empty());
    answer.last_modified = Some(clock::http_date(modified).into_bytes());
    if etag {
        answer.push(b"ETag", format!("\"{modified:x}-{size:x}\"").as_bytes());
    }
}

/// The type of the file that the URI names, by the ending of its name; empty for none.
pub(crate) fn content_type(exchange: &mut Exchange<'_>) -> Vec<u8> {
    // The answer of a peer that named this file with X-Accel-Redirect says what it is.
    if let Some(known) = &exchange.request.answer.content_type {
        return known.clone();
    }
    let files = &exchange.live.site().place(exchange.request.location).settings.files;
    let known = extension(&exchange.request.uri).and_then(|ending| {
        let ending = std::str::from_utf8(ending).ok()?;
        if ending.bytes().any(|byte| byte.is_ascii_uppercase()) {
            files.types.get(&ending.to_ascii_lowercase())
        } else {
            files.types.get(ending)
        }
    });
    known.unwrap_or(&files.default_type).as_bytes().to_vec()
}

/// What follows the last dot of the last name; a name that begins with its only dot has no ending.
fn extension(uri: &[u8]) -> Option<&[u8]> {
    let name = &uri[memchr::memrchr(b'/', uri).map_or(0, |at| at + 1)..];
    let dot = memchr::memrchr(b'.', name).filter(|&at| at > 0)?;
    Some(&name[dot + 1..]).filter(|ending| !ending.is_empty())
}

/// `charset`: names the character set of texts that do not say it themselves.
pub(crate) fn charset(exchange: &mut Exchange<'_>, charset: Option<&Template>) {
    let Some(charset) = charset else { return };
    let answer = &exchange.request.answer;
    // Old browsers took the character set of a redirect for that of its target.
    if exchange.is_sub || matches!(answer.status, 301 | 302) || answer.charset.is_some() {
        return;
    }
    if !answer.content_type.as_deref().is_some_and(takes_charset) {
        return;
    }
    let value = exchange.evaluate(|request, scope, _| request.expanded(scope, charset));
    exchange.request.answer.charset = Some(value).filter(|value| !value.is_empty());
}

/// Whether a type is a text without a charset of its own (the default of `charset_types`).
fn takes_charset(content_type: &[u8]) -> bool {
    const TYPES: [&[u8]; 6] = [
        b"text/html",
        b"text/xml",
        b"text/plain",
        b"text/vnd.wap.wml",
        b"application/javascript",
        b"application/rss+xml",
    ];
    let mut parts = content_type.split(|&byte| byte == b';');
    let essence = parts.next().unwrap_or_default().trim_ascii();
    let named = parts
        .any(|part| part.trim_ascii().get(..8).is_some_and(|name| name.eq_ignore_ascii_case(b"charset=")));
    !named && TYPES.iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// `index`: the first file of the list that is there takes the request over.
fn index(exchange: &mut Exchange<'_>) -> Next {
    let live = exchange.live();
    let names = &live.site().place(exchange.request.location).settings.files.index;
    let directory = exchange.evaluate(|request, scope, _| request.filename(scope));
    let mut is_directory = false;
    for name in names {
        let name = exchange.evaluate(|request, scope, _| request.expanded(scope, name));
        if name.starts_with(b"/") {
            return Next::Redirect { uri: name, args: exchange.request.args.clone() };
        }
        let path = [directory.as_slice(), &name].concat();
        match rustix::fs::stat(path.as_slice()) {
            Ok(_) => {
                let uri = [exchange.request.uri.as_slice(), &name].concat();
                return Next::Redirect { uri, args: exchange.request.args.clone() };
            }
            Err(Code::LOOP | Code::MLINK) => return Next::Error(403),
            Err(code @ (Code::NOTDIR | Code::NAMETOOLONG | Code::ACCESS)) => {
                return no_index(exchange, &path, code);
            }
            Err(code) => {
                // Looked at only now: a request that is right has not to wait for this.
                if !is_directory && let Err(next) = test_directory(exchange, &directory, &path) {
                    return next;
                }
                is_directory = true;
                if code != Code::NOENT {
                    exchange.log(
                        Level::Crit,
                        format_args!("stat() \"{}\" failed {}", lossy(&path), Errno(&code.into())),
                    );
                    return Next::Error(500);
                }
            }
        }
    }
    exchange.log(Level::Error, format_args!("directory index of \"{}\" is forbidden", lossy(&directory)));
    Next::Error(403)
}

/// Whether a directory without the index `path` is one at all.
fn test_directory(exchange: &Exchange<'_>, directory: &[u8], path: &[u8]) -> Result<(), Next> {
    let bare = match directory {
        [rest @ .., b'/'] if !rest.is_empty() => rest,
        whole => whole,
    };
    match rustix::fs::stat(bare) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => Ok(()),
        // Names in it can be looked up even when it cannot be read.
        Err(Code::ACCESS) => Ok(()),
        Ok(_) => {
            exchange.log(Level::Alert, format_args!("\"{}\" is not a directory", lossy(bare)));
            Err(Next::Error(500))
        }
        Err(code @ Code::NOENT) => Err(no_index(exchange, path, code)),
        Err(code) => {
            exchange
                .log(Level::Crit, format_args!("stat() \"{}\" failed {}", lossy(bare), Errno(&code.into())));
            Err(Next::Error(500))
        }
    }
}

fn no_index(exchange: &Exchange<'_>, path: &[u8], code: Code) -> Next {
    if code == Code::ACCESS {
        exchange.log(Level::Error, format_args!("\"{}\" is forbidden {}", lossy(path), Errno(&code.into())));
        return Next::Error(403);
    }
    if logs_missing(exchange) {
        exchange.log(Level::Error, format_args!("\"{}\" is not found {}", lossy(path), Errno(&code.into())));
    }
    Next::Error(404)
}

/// Bytes that are read at once when the kernel does not send the file itself.
const PIECE: usize = 64 * 1024;

/// A file's body on its way: memory that waits to be written, and how file bytes follow it.
struct Sending<'f> {
    file: &'f OwnedFd,
    path: &'f [u8],
    out: Vec<u8>,
    /// `sendfile`, until the file system turns out not to have it.
    sendfile: bool,
    /// `sendfile_max_chunk`: after so many bytes other connections have their turn.
    turn: u64,
    throttle: Option<Throttle>,
}

async fn send(exchange: &mut Exchange<'_>, file: &OwnedFd, path: &[u8], size: u64, plan: Plan) -> Next {
    let mut out = exchange.client.thread.buffers.small();
    let total = exchange.request.answer.content_length.unwrap_or(size);
    respond::write_head(exchange, &mut out);
    let bodyless = respond::is_bodyless(exchange);
    if let (Sink::Collect { .. }, false) = (&exchange.sink, bodyless) {
        exchange.client.thread.buffers.give(out);
        return collect(exchange, file, size);
    }
    let live = exchange.live();
    let settings = &live.site().place(exchange.request.location).settings;
    let head = out.len() as u64;
    let before = exchange.request.sent;
    let throttle = Throttle::of(exchange);
    let (sendfile, turn) = (settings.files.sendfile, settings.files.sendfile_max_chunk);
    let mut sending = Sending { file, path, out, sendfile, turn, throttle };
    let cork = settings.client.tcp_nopush && sendfile && exchange.client.stream.is_tcp() && !bodyless;
    if cork {
        // Without it the packets are only less full.
        let _ = weir_net::set_cork(exchange.client.stream.fd(), true);
    }
    let sent = if bodyless {
        sending.flush(exchange).await
    } else {
        sending.body(exchange, total, plan, size).await
    };
    if cork {
        let _ = weir_net::set_cork(exchange.client.stream.fd(), false);
    }
    exchange.client.thread.buffers.give(sending.out);
    exchange.request.body_sent += (exchange.request.sent - before).saturating_sub(head);
    match sent {
        Ok(()) => {
            exchange.request.complete = true;
            Next::Done
        }
        Err(Gone) => {
            exchange.keep = false;
            Next::Abort
        }
    }
}

/// The body of a subrequest's answer.
fn collect(exchange: &mut Exchange<'_>, file: &OwnedFd, size: u64) -> Next {
    if let Sink::Collect { body, limit } = &mut exchange.sink {
        let wanted = usize::try_from(size).unwrap_or(usize::MAX).min(limit.saturating_sub(body.len()));
        if read(file, 0, wanted, body).is_err() {
            return Next::Abort;
        }
    }
    exchange.request.complete = true;
    Next::Done
}

/// Appends bytes of a file. Fewer than `wanted` come only from a file that has become shorter.
pub(crate) fn read(file: &OwnedFd, offset: u64, wanted: usize, out: &mut Vec<u8>) -> io::Result<usize> {
    let start = out.len();
    out.resize(start + wanted, 0);
    let mut done = 0;
    while done < wanted {
        match rustix::io::pread(file, &mut out[start + done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Code::INTR) => {}
            Err(code) => {
                out.truncate(start);
                return Err(code.into());
            }
        }
    }
    out.truncate(start + done);
    Ok(done)
}

impl Sending<'_> {
    async fn body(
        &mut self,
        exchange: &mut Exchange<'_>,
        total: u64,
        plan: Plan,
        size: u64,
    ) -> Result<(), Gone> {
        let chunked = exchange.request.answer.chunked;
        if chunked && total > 0 {
            write_chunk_head(&mut self.out, usize::try_from(total).unwrap_or(usize::MAX));
        }
        match plan {
            Plan::Whole => self.part(exchange, 0..size).await?,
            Plan::One(part) => self.part(exchange, part).await?,
            Plan::Many(body) => {
                for (head, part) in body.parts {
                    self.out.extend_from_slice(&head);
                    self.part(exchange, part).await?;
                }
                self.out.extend_from_slice(&body.end);
            }
            Plan::Unsatisfiable => {}
        }
        if chunked {
            if total > 0 {
                self.out.extend_from_slice(b"\r\n");
            }
            respond::last_chunk(exchange, &mut self.out);
        }
        self.flush(exchange).await
    }

    /// Sends a part of the file, or keeps it in memory when it fits behind what waits there: one system call
    /// then writes both.
    async fn part(&mut self, exchange: &mut Exchange<'_>, part: Range<u64>) -> Result<(), Gone> {
        let length = part.end - part.start;
        let room = self.out.capacity() - self.out.len();
        if let Some(length) = usize::try_from(length).ok().filter(|&length| length <= room)
            && self.throttle.is_none()
        {
            let done = read(self.file, part.start, length, &mut self.out);
            return self.all_read(exchange, done, length, part.start);
        }
        self.flush(exchange).await?;
        let mut at = part.start;
        while self.sendfile && at < part.end {
            self.send_file(exchange, &mut at, part.end).await?;
        }
        if at < part.end {
            self.copy(exchange, at..part.end).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Gone> {
        let sent = throttle::write(exchange, self.throttle.as_ref(), &self.out).await;
        self.out.clear();
        sent
    }

    /// Has the kernel send what the socket takes, at most one turn's bytes.
    async fn send_file(&mut self, exchange: &mut Exchange<'_>, at: &mut u64, end: u64) -> Result<(), Gone> {
        /// As much as one call can do.
        const MOST: u64 = 1 << 30;
        let mut most = (end - *at).min(MOST);
        if self.turn > 0 {
            most = most.min(self.turn);
        }
        if let Some(throttle) = &self.throttle {
            most = throttle.pass(exchange, most).await?;
        }
        let limit = respond::send_timeout(exchange);
        let file = self.file;
        let stream = &mut exchange.client.stream;
        let sent = exchange
            .client
            .deadline
            .within(limit, |cx| {
                stream.poll_write_with(cx, |socket| {
                    loop {
                        match weir_net::send_file(socket, file.as_fd(), at, most as usize) {
                            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                            other => return other,
                        }
                    }
                })
            })
            .await;
        match sent {
            Ok(Ok(0)) => Err(self.truncated(exchange, *at)),
            Ok(Ok(count)) => {
                exchange.request.sent += count as u64;
                if count as u64 == most && *at < end {
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Ok(Err(error))
                if matches!(
                    error.raw_os_error().map(Code::from_raw_os_error),
                    Some(Code::INVAL | Code::NOSYS)
                ) =>
            {
                self.sendfile = false;
                Ok(())
            }
            Ok(Err(error)) => {
                exchange.log(
                    Level::Info,
                    format_args!("sendfile() failed {} while sending response to client", Errno(&error)),
                );
                Err(Gone)
            }
            Err(_) => {
                respond::timed_out(exchange);
                Err(Gone)
            }
        }
    }

    /// Sends a part of the file through memory.
    async fn copy(&mut self, exchange: &mut Exchange<'_>, mut part: Range<u64>) -> Result<(), Gone> {
        let mut piece = Vec::with_capacity(PIECE);
        while part.start < part.end {
            piece.clear();
            let wanted = usize::try_from(part.end - part.start).unwrap_or(PIECE).min(PIECE);
            let done = read(self.file, part.start, wanted, &mut piece);
            self.all_read(exchange, done, wanted, part.start)?;
            throttle::write(exchange, self.throttle.as_ref(), &piece).await?;
            part.start += wanted as u64;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn all_read(
        &self,
        exchange: &Exchange<'_>,
        done: io::Result<usize>,
        wanted: usize,
        at: u64,
    ) -> Result<(), Gone> {
        match done {
            Ok(count) if count == wanted => Ok(()),
            Ok(count) => Err(self.truncated(exchange, at + count as u64)),
            Err(error) => {
                exchange.log(
                    Level::Crit,
                    format_args!(
                        "pread() \"{}\" failed {} while sending response to client",
                        lossy(self.path),
                        Errno(&error)
                    ),
                );
                Err(Gone)
            }
        }
    }

    /// The head promised more than the file has now, so the connection has to end.
    fn truncated(&self, exchange: &Exchange<'_>, at: u64) -> Gone {
        exchange.log(
            Level::Alert,
            format_args!(
                "file \"{}\" was truncated at {at} while sending response to client",
                lossy(self.path)
            ),
        );
        Gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        assert_eq!(extension(b"/a/b.HTML"), Some(&b"HTML"[..]));
        assert_eq!(extension(b"/a.b/c.tar.gz"), Some(&b"gz"[..]));
        for none in [&b"/a.b/c"[..], b"/.htaccess", b"/a/.html", b"/a.", b"/", b""] {
            assert_eq!(extension(none), None, "{}", none.escape_ascii());
        }
    }

    #[test]
    fn texts_without_a_charset_take_one() {
        assert!(takes_charset(b"text/html"));
        assert!(takes_charset(b"Text/Plain; format=flowed"));
        assert!(!takes_charset(b"text/html; charset=koi8-r"));
        assert!(!takes_charset(b"text/html;CHARSET=koi8-r"));
        assert!(!takes_charset(b"image/gif"));
        assert!(!takes_charset(b"application/octet-stream"));
    }

    #[test]
    fn files_open_with_their_state() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("a.txt");
        std::fs::write(&path, b"twelve bytes").expect("a file can be written");
        let path = path.to_str().expect("ASCII").as_bytes();
        let (file, stat) = open(path).expect("it is there");
        assert_eq!(stat.st_size, 12);
        let mut out = b"<".to_vec();
        assert_eq!(read(&file, 7, 5, &mut out).expect("it can be read"), 5);
        assert_eq!(out, b"<bytes");
        assert_eq!(read(&file, 7, 100, &mut out).expect("it can be read"), 5, "the end comes early");
        assert_eq!(out, b"<bytesbytes");

        let below = [path, b"/b"].concat();
        assert_eq!(open(&below).map(drop), Err(("open()", Code::NOTDIR)));
        assert_eq!(open(&[path, b"x"].concat()).map(drop), Err(("open()", Code::NOENT)));
        assert_eq!(open(&[path, &[b'x'; 300]].concat()).map(drop), Err(("open()", Code::NAMETOOLONG)));
    }

    #[test]
    fn a_pipe_without_a_writer_does_not_wait() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("pipe");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, mode, 0).expect("a pipe can be made");
        let (_, stat) = open(path.to_str().expect("ASCII").as_bytes()).expect("it opens at once");
        assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo);
    }
}
