//! The body of a request: read piece by piece, or gathered in memory and in a file.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use weir_http::Request;
use weir_http::wire::chunked::{Chunk, Chunked};
use weir_http::wire::head::RequestHead;
use weir_log::Errno;
use weir_model::Level;
use weir_model::location::BodyInFile;

use crate::buffers::SMALL;
use crate::exchange::{Exchange, Next};
use crate::stream::Stream;

/// How far the body has been read. `at` is the place in the head's buffer that bytes are taken from.
#[derive(Debug)]
pub(crate) enum Reader {
    None,
    Length {
        left: u64,
        at: usize,
    },
    Chunked {
        body: Box<ChunkedBody>,
        at: usize,
        done: bool,
    },
    /// Nobody wants the rest, and too much of it comes to wait for.
    Discarded,
    /// The body was read and is read again. `at` is the place in it, `used` the end of this request in the head's
    /// buffer.
    Replay {
        body: Rc<Gathered>,
        at: u64,
        used: usize,
    },
}

/// A body whose length is not known before its end.
#[derive(Debug, Default)]
pub(crate) struct ChunkedBody {
    decoder: Chunked,
    read: u64,
    /// What it may have at most, in bytes; 0 is no limit.
    limit: u64,
}

impl ChunkedBody {
    /// Refuses a body that is too large as soon as a chunk says so, before its data comes.
    fn check(&self, fresh: usize) -> Result<(), BodyError> {
        let (read, more) = (self.read, self.decoder.announced().saturating_add(fresh as u64));
        if self.limit > 0 && more > self.limit.saturating_sub(read) {
            return Err(BodyError::TooLarge { read, more });
        }
        Ok(())
    }
}

/// Why a body cannot be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The client closed or reset the connection.
    Gone,
    Timeout,
    /// Chunks that are none.
    Malformed(String),
    /// More than `client_max_body_size`.
    TooLarge {
        read: u64,
        more: u64,
    },
    /// A temporary file could not be written.
    File,
}

impl BodyError {
    /// The status that tells the client.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Gone | Self::Malformed(_) => 400,
            Self::Timeout => 408,
            Self::TooLarge { .. } => 413,
            Self::File => 500,
        }
    }
}

impl Reader {
    /// The body that a head announces.
    pub(crate) fn of(head: &RequestHead) -> Self {
        let at = head.len as usize;
        match head.content_length {
            _ if head.chunked => Self::Chunked { body: Box::default(), at, done: false },
            None | Some(0) => Self::None,
            Some(left) => Self::Length { left, at },
        }
    }

    /// Lets a body without a known length have so many bytes; 0 is no limit.
    pub(crate) fn limit(&mut self, bytes: u64) {
        if let Self::Chunked { body, .. } = self {
            body.limit = bytes;
        }
    }

    pub(crate) fn is_discarded(&self) -> bool {
        matches!(self, Self::Discarded)
    }

    pub(crate) fn discard_all(&mut self) {
        if self.is_pending() {
            *self = Self::Discarded;
        }
    }

    /// Whether bytes of the body have not been read yet.
    pub(crate) fn is_pending(&self) -> bool {
        match self {
            Self::None => false,
            Self::Length { left, .. } => *left > 0,
            Self::Chunked { done, .. } => !done,
            Self::Discarded => true,
            Self::Replay { body, at, .. } => *at < body.len(),
        }
    }

    /// Whether the client is still to send some of it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_pending() && !matches!(self, Self::Replay { .. })
    }

    /// A body that was read before, from its start.
    pub(crate) fn replay(body: Rc<Gathered>, used: usize) -> Self {
        Self::Replay { body, at: 0, used }
    }

    /// Bytes of the head's buffer that belong to this request.
    pub(crate) fn consumed(&self, request: &Request) -> usize {
        match self {
            Self::None => request.head.len as usize,
            Self::Length { at, .. } | Self::Chunked { at, .. } => *at,
            Self::Discarded => request.bytes.len(),
            Self::Replay { used, .. } => *used,
        }
    }

    /// Appends body bytes to `out`; 0 is the end.
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        request: &mut Request,
        out: &mut Vec<u8>,
    ) -> Poll<Result<usize, BodyError>> {
        match self {
            Self::None | Self::Discarded => Poll::Ready(Ok(0)),
            Self::Length { left, at } => {
                if *left == 0 {
                    return Poll::Ready(Ok(0));
                }
                let limit = usize::try_from(*left).unwrap_or(usize::MAX);
                let buffered = request.bytes.get(*at..).unwrap_or_default();
                let count = if buffered.is_empty() {
                    if out.len() == out.capacity() {
                        out.reserve(SMALL);
                    }
                    let count =
                        ready!(stream.poll_read_at_most(cx, out, limit)).map_err(|_| BodyError::Gone)?;
                    if count == 0 {
                        return Poll::Ready(Err(BodyError::Gone));
                    }
                    count
                } else {
                    let count = buffered.len().min(limit);
                    out.extend_from_slice(&buffered[..count]);
                    *at += count;
                    count
                };
                *left -= count as u64;
                request.request_length += count as u64;
                Poll::Ready(Ok(count))
            }
            Self::Chunked { body, at, done } => poll_chunked(cx, stream, request, out, body, at, done),
            Self::Replay { body, at, .. } => {
                let count = body.read_at(*at, out).map_err(|_| BodyError::File)?;
                *at += count as u64;
                Poll::Ready(Ok(count))
            }
        }
    }
}

fn poll_chunked(
    cx: &mut Context<'_>,
    stream: &mut Stream,
    request: &mut Request,
    out: &mut Vec<u8>,
    body: &mut ChunkedBody,
    at: &mut usize,
    done: &mut bool,
) -> Poll<Result<usize, BodyError>> {
    if *done {
        return Poll::Ready(Ok(0));
    }
    loop {
        let buffered = request.bytes.get(*at..).unwrap_or_default();
        if buffered.is_empty() {
            // All was decoded: the room behind the head is free again.
            let head = request.head.len as usize;
            request.bytes.truncate(head);
            *at = head;
            if request.bytes.len() == request.bytes.capacity() {
                request.bytes.reserve(SMALL);
            }
            let count = ready!(stream.poll_read(cx, &mut request.bytes)).map_err(|_| BodyError::Gone)?;
            if count == 0 {
                return Poll::Ready(Err(BodyError::Gone));
            }
            continue;
        }
        let found =
            body.decoder.advance(buffered).map_err(|error| BodyError::Malformed(error.to_string()))?;
        let fresh = if let Chunk::Data { len, .. } = found { len } else { 0 };
        body.check(fresh)?;
        body.read += fresh as u64;
        match found {
            Chunk::Data { skip, len } => {
                out.extend_from_slice(&buffered[skip..skip + len]);
                *at += skip + len;
                request.request_length += (skip + len) as u64;
                return Poll::Ready(Ok(len));
            }
            Chunk::NeedMore { consumed } => {
                *at += consumed;
                request.request_length += consumed as u64;
            }
            Chunk::End { consumed } => {
                *at += consumed;
                request.request_length += consumed as u64;
                *done = true;
                return Poll::Ready(Ok(0));
            }
        }
    }
}

/// A body that was read to its end, or the beginning of one.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The first bytes, or all of them.
    pub(crate) memory: Vec<u8>,
    /// The rest; dropped with it.
    pub(crate) file: Option<Spill>,
}

impl Gathered {
    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.memory.len() as u64 + self.file.as_ref().map_or(0, |spill| spill.len)
    }

    /// Appends a piece from offset `at` on; 0 is the end.
    fn read_at(&self, at: u64, out: &mut Vec<u8>) -> io::Result<usize> {
        let memory = usize::try_from(at).ok().and_then(|at| self.memory.get(at..)).unwrap_or_default();
        if !memory.is_empty() {
            let piece = &memory[..memory.len().min(SMALL)];
            out.extend_from_slice(piece);
            return Ok(piece.len());
        }
        let Some(spill) = &self.file else { return Ok(0) };
        let start = out.len();
        out.resize(start + SMALL, 0);
        let read = spill.file.read_at(&mut out[start..], at - self.memory.len() as u64);
        out.truncate(start + *read.as_ref().unwrap_or(&0));
        read
    }
}

/// A temporary file, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Spill {
    pub(crate) file: File,
    pub(crate) path: std::path::PathBuf,
    pub(crate) len: u64,
    keep: bool,
}

impl Spill {
    /// Creates a file in a folder, which is made when it is missing.
    pub(crate) fn create(folder: &str, keep: bool) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Relaxed) + 1;
            let path = std::path::Path::new(folder).join(format!("{:010}-{}", number, std::process::id()));
            let opened = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path);
            match opened {
                Ok(file) => return Ok(Self { file, path, len: 0, keep }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && !std::path::Path::new(folder).exists() =>
                {
                    std::fs::create_dir_all(folder)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the name off the file, which stays open: nothing is left of it however the worker ends.
    pub(crate) fn unname(&mut self) {
        if std::fs::remove_file(&self.path).is_ok() {
            self.keep = true;
        }
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(io::SeekFrom::Start(self.len))?;
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        if !self.keep {
            // A file that is already gone needs no removal.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Says `100 Continue` once to a client that waits for it, whether or not a body follows.
pub(crate) async fn invite(exchange: &mut Exchange<'_>) {
    let request = &exchange.request;
    let wanted = request.head.expect_continue && request.is_http11() && !exchange.is_sub;
    if wanted && !std::mem::replace(&mut exchange.invited, true) {
        let sent = exchange.request.sent;
        // A client that is gone shows when its body is read.
        let _ = crate::respond::write(exchange, b"HTTP/1.1 100 Continue\r\n\r\n").await;
        exchange.request.sent = sent;
    }
}

/// Reads as much of the body as has arrived, up to `client_body_buffer_size`. True when that is all of it.
pub(crate) async fn at_hand(exchange: &mut Exchange<'_>) -> Result<(Gathered, bool), BodyError> {
    let live = exchange.live();
    let settings = &live.site().place(exchange.request.location).settings.client;
    let room = usize::try_from(settings.body_buffer_size).unwrap_or(usize::MAX);
    invite(exchange).await;
    exchange.body.limit(settings.max_body_size);
    let mut memory = Vec::new();
    let (reader, client, request) = (&mut exchange.body, &mut *exchange.client, &mut *exchange.request);
    let read = poll_fn(|cx| {
        while memory.len() < room && reader.is_pending() {
            match reader.poll_data(cx, &mut client.stream, request, &mut memory) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(!reader.is_pending()))
    })
    .await;
    match read {
        Ok(whole) => Ok((Gathered { memory, file: None }, whole)),
        Err(error) => Err(unreadable(exchange, error)),
    }
}

/// Has the body that begins with `gathered` read again from its start by whoever serves the request next. To be
/// called when no other part of it was taken.
pub(crate) async fn keep(exchange: &mut Exchange<'_>, gathered: Gathered) -> Result<(), BodyError> {
    let gathered = gather_behind(exchange, gathered).await?;
    if gathered.len() > 0 {
        let used = exchange.body.consumed(&exchange.request);
        exchange.body = Reader::replay(Rc::new(gathered), used);
    }
    Ok(())
}

/// Reads the whole body: up to `client_body_buffer_size` in memory, the rest in a file.
pub(crate) async fn gather(exchange: &mut Exchange<'_>) -> Result<Gathered, BodyError> {
    gather_behind(exchange, Gathered::default()).await
}

async fn gather_behind(exchange: &mut Exchange<'_>, mut gathered: Gathered) -> Result<Gathered, BodyError> {
    let live = exchange.live();
    let settings = &live.site().place(exchange.request.location).settings.client;
    invite(exchange).await;
    if !exchange.body.is_pending() || exchange.body.is_discarded() {
        return Ok(gathered);
    }
    let room = usize::try_from(settings.body_buffer_size).unwrap_or(usize::MAX);
    let to_file = settings.body_in_file_only != BodyInFile::Off;
    let mut piece = Vec::new();
    exchange.body.limit(settings.max_body_size);
    loop {
        let count = read_piece(exchange, settings.body_timeout.duration(), &mut piece).await?;
        if count == 0 {
            break;
        }
        if gathered.file.is_none() && !to_file && gathered.memory.len() + piece.len() <= room {
            gathered.memory.append(&mut piece);
        } else {
            let keep = settings.body_in_file_only == BodyInFile::On;
            spill(exchange, &mut gathered, &settings.body_temp_path, keep, &piece)?;
            piece.clear();
        }
    }
    if to_file && gathered.file.is_none() {
        spill(
            exchange,
            &mut gathered,
            &settings.body_temp_path,
            settings.body_in_file_only == BodyInFile::On,
            b"",
        )?;
    }
    Ok(gathered)
}

/// Reads one piece of the body within the time that the place allows between two of them.
pub(crate) async fn read_piece(
    exchange: &mut Exchange<'_>,
    limit: std::time::Duration,
    piece: &mut Vec<u8>,
) -> Result<usize, BodyError> {
    let (reader, client, request) = (&mut exchange.body, &mut *exchange.client, &mut *exchange.request);
    let stream = &mut client.stream;
    let read = client.deadline.within(limit, |cx| reader.poll_data(cx, stream, request, piece)).await;
    let error = match read {
        Ok(Ok(count)) => return Ok(count),
        Ok(Err(error)) => error,
        Err(_) => BodyError::Timeout,
    };
    Err(unreadable(exchange, error))
}

/// Logs why a body cannot be read and gives up what is left of it.
pub(crate) fn unreadable(exchange: &mut Exchange<'_>, error: BodyError) -> BodyError {
    match &error {
        BodyError::Gone => exchange.log(Level::Info, format_args!("client prematurely closed connection")),
        BodyError::Timeout => exchange.log(
            Level::Info,
            format_args!("client timed out (110: Connection timed out) while reading client request body"),
        ),
        BodyError::Malformed(why) => {
            exchange.log(Level::Info, format_args!("client sent invalid chunked body: {why}"));
        }
        BodyError::TooLarge { read, more } => exchange.log(
            Level::Error,
            format_args!("client intended to send too large chunked body: {read}+{more} bytes"),
        ),
        BodyError::File => {}
    }
    exchange.keep = false;
    exchange.body.discard_all();
    error
}

fn spill(
    exchange: &Exchange<'_>,
    gathered: &mut Gathered,
    folder: &str,
    keep: bool,
    piece: &[u8],
) -> Result<(), BodyError> {
    let result = (|| {
        let spill = match &mut gathered.file {
            Some(spill) => spill,
            empty => {
                let mut spill = Spill::create(folder, keep)?;
                exchange.log(
                    Level::Warn,
                    format_args!(
                        "a client request body is buffered to a temporary file {}",
                        spill.path.display()
                    ),
                );
                spill.append(&gathered.memory)?;
                gathered.memory = Vec::new();
                empty.insert(spill)
            }
        };
        spill.append(piece)
    })();
    result.map_err(|error: io::Error| {
        exchange.log(
            Level::Crit,
            format_args!("a temporary file in \"{folder}\" cannot be written {}", Errno(&error)),
        );
        BodyError::File
    })
}

/// Called before an answer that does not need the body: invites it and looks at what has already arrived of it, so
/// that a malformed one is refused and not answered.
pub(crate) async fn unwanted(exchange: &mut Exchange<'_>) -> Result<(), BodyError> {
    if exchange.is_sub {
        return Ok(());
    }
    invite(exchange).await;
    let mut dropped = Vec::new();
    loop {
        let Reader::Chunked { at, done: false, .. } = &exchange.body else { return Ok(()) };
        if *at >= exchange.request.bytes.len() {
            return Ok(());
        }
        let (reader, client, request) = (&mut exchange.body, &mut *exchange.client, &mut *exchange.request);
        let stream = &mut client.stream;
        dropped.clear();
        let read = poll_fn(|cx| Poll::Ready(reader.poll_data(cx, stream, request, &mut dropped))).await;
        match read {
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => return Err(unreadable(exchange, error)),
            Poll::Pending => return Ok(()),
        }
    }
}

/// Reads what is left of the body after the answer, so that the connection can go on. False when it cannot.
pub(crate) async fn discard(exchange: &mut Exchange<'_>) -> bool {
    if exchange.body.is_discarded() {
        return false;
    }
    if !exchange.body.is_pending() {
        return true;
    }
    // A client that waits for 100 Continue may never send the body.
    if exchange.request.head.expect_continue && !exchange.invited {
        return false;
    }
    let live = exchange.live();
    let settings = &live.site().place(exchange.request.location).settings.client;
    let end = tokio::time::Instant::now() + settings.lingering_time.duration();
    let mut dropped = Vec::with_capacity(SMALL);
    while tokio::time::Instant::now() < end {
        dropped.clear();
        match read_piece(exchange, settings.lingering_timeout.duration(), &mut dropped).await {
            Ok(0) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// The answer to a body that could not be read.
pub(crate) fn failed(exchange: &mut Exchange<'_>, error: &BodyError) -> Next {
    exchange.keep = false;
    match error {
        BodyError::Gone => {
            exchange.request.answer.status = 400;
            Next::Abort
        }
        other => Next::Error(other.status()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(gathered: &Gathered) -> (Vec<u8>, usize) {
        let (mut all, mut pieces) = (Vec::new(), 0);
        while gathered.read_at(all.len() as u64, &mut all).expect("a body that was gathered can be read") > 0
        {
            pieces += 1;
        }
        (all, pieces)
    }

    #[test]
    fn a_gathered_body_is_read_again_in_pieces() {
        let body: Vec<u8> = (0..=255).cycle().take(2 * SMALL + 5).collect();
        let memory = Gathered { memory: body.clone(), file: None };
        assert_eq!(read_all(&memory), (body.clone(), 3));
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let folder = folder.path().to_str().expect("its name is text");
        let mut spill = Spill::create(folder, false).expect("a file can be made in it");
        spill.append(&body[7..]).expect("the file takes the body");
        let both = Gathered { memory: body[..7].to_vec(), file: Some(spill) };
        assert_eq!(read_all(&both), (body, 3));
        assert_eq!(read_all(&Gathered::default()), (Vec::new(), 0));
    }
}
