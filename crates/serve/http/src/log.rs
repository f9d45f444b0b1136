//! Lines about requests: the access logs and the error log with its context.

use std::os::unix::ffi::OsStrExt;

use weir_log::{Context, Errno, clock};
use weir_model::Level;

use crate::exchange::Exchange;
use crate::live::AccessOut;

/// Writes to the error log of the request's place. `upstream` is the URL that is being asked.
pub(crate) fn error(
    exchange: &Exchange<'_>,
    level: Level,
    message: std::fmt::Arguments<'_>,
    upstream: Option<&[u8]>,
) {
    let live = &exchange.live;
    let Some(log) = live.shared.error_logs.get(exchange.request.location.0 as usize) else { return };
    if !log.enabled(level) {
        return;
    }
    let request = &exchange.request;
    let http = live.site().http();
    let server = weir_http::request::server_name(http, request.server);
    let line = request.request_line();
    let host = request.head.host.map(|host| request.text(host));
    let client =
        request.real.map_or_else(|| request.facts.remote_text.clone(), |(address, _)| address.to_string());
    let context = Context {
        client: Some(&client),
        server: Some(&server),
        request: Some(line).filter(|line| !line.is_empty()),
        subrequest: exchange.is_sub.then_some(request.uri.as_slice()),
        upstream,
        host,
        referrer: request.header("referer"),
        ..Context::NONE
    };
    log.log(level, Some(request.facts.serial), message, &context);
}

/// Writes the access log lines of a finished request.
pub(crate) fn access(exchange: &mut Exchange<'_>) {
    let live = exchange.live();
    let Some(lines) = live.access.get(exchange.request.location.0 as usize) else { return };
    for line in lines {
        let wanted = line.condition.as_ref().is_none_or(|condition| {
            let value = exchange.evaluate(|request, scope, _| request.expanded(scope, condition));
            !value.is_empty() && value != b"0"
        });
        let Some(format) = live.site().http().log_formats.get(line.format).filter(|_| wanted) else {
            continue;
        };
        match &line.sink {
            AccessOut::Sink(sink) => sink.push_with(|out| {
                exchange.evaluate(|request, scope, _| {
                    request.expand_log(scope, &format.template, format.escape, out);
                });
            }),
            AccessOut::Path(path) => {
                let (path, text) = exchange.evaluate(|request, scope, _| {
                    let mut text = Vec::new();
                    request.expand_log(scope, &format.template, format.escape, &mut text);
                    text.push(b'\n');
                    (request.expanded(scope, path), text)
                });
                append(exchange, &path, &text);
            }
        }
    }
}

/// A line for a log whose path has variables.
fn append(exchange: &Exchange<'_>, path: &[u8], line: &[u8]) {
    let cache = &exchange.live.site().place(exchange.request.location).settings.log_file_cache;
    let files = &exchange.client.thread.log_files;
    let written = files.borrow_mut().append(path, line, cache.as_ref(), clock::mono_ms());
    if let Err(failure) = written {
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
        exchange.log(
            Level::Crit,
            format_args!("open() \"{}\" failed {} while logging request", path.display(), Errno(&failure)),
        );
    }
}
