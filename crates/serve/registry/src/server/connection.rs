//! One connection: HTTP/1.1 and 1.0, request after request. While a request waits for a change, its connection holds no
//! buffer: thousands of watchers are the usual load of a registry, and hyper keeps 8 KiB for each.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::held;
use super::incoming::{Flaw, Incoming, read_body, read_head};
use super::link::Link;
use super::mount::{Begun, Mount, Visitor};
use super::thread::Service;
use super::wire;
use crate::http::{Answer, Body, Reply, Rights, Router, Verb};

/// A head has to be complete by then; an idle connection is closed after it too.
const HEAD_TIME: Duration = Duration::from_secs(120);
/// A body has to be complete by then.
const BODY_TIME: Duration = Duration::from_secs(60);
/// A client takes something of a response in it, or is gone.
const WRITE_TIME: Duration = Duration::from_secs(60);
/// What is read and thrown away of a request that was answered before its end, so that the answer is not lost in a reset.
const LINGER_SIZE: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(1);
/// A body that nobody wants is read up to so many bytes, so that the connection can go on.
const MOST_SKIPPED: usize = 64 * 1024;
/// Bytes of further requests that are read while one waits.
const MOST_PIPELINED: usize = 16 * 1024;

/// Whether another request may come.
enum Next {
    Another,
    Linger,
}

/// Serves requests until either side has enough.
pub(super) async fn serve<S: Link>(mut stream: S, service: Rc<Service>, rights: Rights) {
    let mut buffer = Vec::new();
    loop {
        match exchange(&mut stream, &mut buffer, &service, rights).await {
            Ok(Next::Another) => {}
            Ok(Next::Linger) => return Box::pin(linger(stream)).await,
            // The client went away: there is nobody to tell.
            Err(_) => return,
        }
    }
}

async fn exchange<S>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    service: &Rc<Service>,
    rights: Rights,
) -> io::Result<Next>
where
    S: Link,
{
    // Boxed: what reading needs is gone before anybody waits.
    let mounted = service.mount.as_deref().map_or(&[][..], Mount::paths);
    let mut incoming = match Box::pin(timeout(HEAD_TIME, read_head(stream, buffer, mounted))).await {
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        Ok(Err(Flaw::Gone(error))) => return Err(error),
        Ok(Err(flaw)) => {
            respond(stream, flaw.answer(), wire::Form::refusal()).await?;
            return Ok(Next::Linger);
        }
        Ok(Ok(incoming)) => incoming,
    };
    if let Some(mount) = service.mount.as_deref().filter(|_| !incoming.raw.is_empty()) {
        incoming.raw.append(buffer);
        return Box::pin(pass_on(stream, mount, &incoming, service, rights)).await;
    }
    let mut form = incoming.form();
    let found = service.router.find(&service.context, rights, &incoming.head);
    let most = match &found {
        Ok((route, request)) if request.verb != Verb::Get => route.longest_body(),
        _ => MOST_SKIPPED,
    };
    // Nothing asks a client for a body that is not wanted.
    let expects = incoming.expects() && most == MOST_SKIPPED;
    let body = match take_body(stream, buffer, incoming, most, expects).await? {
        Ok(body) => body,
        Err(answer) => {
            respond(stream, answer, wire::Form::refusal()).await?;
            return Ok(Next::Linger);
        }
    };
    form.keep_alive &= matches!(body, Body::Whole(_));
    let mut answer = match found {
        Err(answer) => answer,
        Ok((route, mut request)) => {
            let reads = request.verb == Verb::Get;
            if !reads {
                request.body = body;
            }
            request.peer = stream.peer();
            let reply = route.handle(&service.context, request);
            if reads { answer_or_gone(stream, buffer, reply).await? } else { reply.await }
        }
    };
    if let Some(lease) = answer.lease.take() {
        Box::pin(held::hold(stream, buffer, &lease, answer, form)).await?;
        return Ok(Next::Linger);
    }
    form.keep_alive &= !answer.closes();
    let keep_alive = form.keep_alive;
    respond(stream, answer, form).await?;
    Ok(if keep_alive { Next::Another } else { Next::Linger })
}

/// Somebody else of this process answers the request, if the tokens allow it, and the connection ends with it.
async fn pass_on<S: Link>(
    stream: &mut S,
    mount: &dyn Mount,
    incoming: &Incoming,
    service: &Service,
    rights: Rights,
) -> io::Result<Next> {
    let reads = matches!(incoming.head.method.as_str(), "GET" | "HEAD");
    let verb = if reads { Verb::Get } else { Verb::Put };
    let allowed = Router::allowed(&service.context, rights, &incoming.head, verb);
    if let Err(refused) = allowed {
        respond(stream, refused, wire::Form::refusal()).await?;
        return Ok(Next::Linger);
    }
    let settings = service.context.settings();
    let visitor = Visitor {
        address: stream.peer(),
        vouched: rights == Rights::Full || settings.tokens.read.is_some(),
        may_write: rights == Rights::Full || settings.tokens.guard_writes(),
    };
    mount.serve(Box::new(Begun { read: &incoming.raw, stream }), visitor).await;
    Ok(Next::Linger)
}

/// The body, if it has at most `most` bytes and nobody waits to be asked for it in vain.
async fn take_body<S>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    incoming: Incoming,
    most: usize,
    in_vain: bool,
) -> io::Result<Result<Body, Answer>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !incoming.has_body() {
        return Ok(Ok(Body::Whole(Bytes::new())));
    }
    if in_vain {
        return Ok(Ok(Body::TooLarge(String::new())));
    }
    let body = Box::pin(timeout(BODY_TIME, read_body(stream, buffer, &incoming, most))).await;
    match body.unwrap_or(Err(Flaw::SlowBody)) {
        Ok(body) => Ok(Ok(body)),
        Err(Flaw::Gone(error)) => Err(error),
        Err(flaw) => Ok(Err(flaw.answer())),
    }
}

/// The answer of a read, unless the client goes away first: then its question ends with it.
async fn answer_or_gone<S>(stream: &mut S, buffer: &mut Vec<u8>, mut reply: Reply) -> io::Result<Answer>
where
    S: AsyncRead + Unpin,
{
    poll_fn(|context| {
        if let Poll::Ready(answer) = reply.as_mut().poll(context) {
            return Poll::Ready(Ok(answer));
        }
        if buffer.is_empty() {
            *buffer = Vec::new();
        }
        poll_gone(stream, buffer, context).map(Err)
    })
    .await
}

/// Ready when the other side has ended; what it sends meanwhile is kept.
pub(super) fn poll_gone<S>(stream: &mut S, buffer: &mut Vec<u8>, context: &mut Context<'_>) -> Poll<io::Error>
where
    S: AsyncRead + Unpin,
{
    while buffer.len() < MOST_PIPELINED {
        let mut space = [0; 256];
        let mut read = ReadBuf::new(&mut space);
        match Pin::new(&mut *stream).poll_read(context, &mut read) {
            Poll::Pending => break,
            Poll::Ready(Err(error)) => return Poll::Ready(error),
            Poll::Ready(Ok(())) if read.filled().is_empty() => {
                return Poll::Ready(io::ErrorKind::UnexpectedEof.into());
            }
            Poll::Ready(Ok(())) => buffer.extend_from_slice(read.filled()),
        }
    }
    Poll::Pending
}

/// Writes a response; head and a short body leave together.
async fn respond<S>(stream: &mut S, answer: Answer, form: wire::Form) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let (head, body) = wire::encode(answer, form);
    write(stream, head.into()).await?;
    write(stream, body).await?;
    stream.flush().await
}

pub(super) async fn write<S: AsyncWrite + Unpin>(stream: &mut S, mut bytes: Bytes) -> io::Result<()> {
    while !bytes.is_empty() {
        if timeout(WRITE_TIME, stream.write_buf(&mut bytes)).await?? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let rest = async {
        let mut buffer = [0; 4096];
        let mut left = LINGER_SIZE;
        while left > 0 {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    };
    // Whoever still sends then learns it by a reset.
    drop(timeout(LINGER_TIME, rest).await);
}
