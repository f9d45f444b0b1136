//! Reason phrases and the built-in error pages, with the visible bytes of nginx's.
//! Which page an operator's `error_page` puts in their place is left to the server.

/// Name and version in the pages' last line.
const FULL: &str = "nginx/1.31.4";
const SHORT: &str = "nginx";

/// The text behind a status in the status line; empty when nginx has none.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        302 => "Moved Temporarily",
        304 => "Not Modified",
        401 => "Unauthorized",
        494..=499 => "",
        _ => heading(status),
    }
}

/// The heading of a built-in page; empty when there is no page.
fn heading(status: u16) -> &'static str {
    match status {
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 | 494..=497 => "Bad Request",
        401 => "Authorization Required",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

/// The status that is sent for one of nginx's internal codes 494 to 497; any other is itself.
#[must_use]
pub fn visible(status: u16) -> u16 {
    if matches!(status, 494..=497) { 400 } else { status }
}

/// Appends the built-in `text/html` page of a status. Returns false, with nothing written, when it has none.
/// `msie_padding` lengthens the pages from 400 on, for browsers that hide short ones.
pub fn error_page(status: u16, server_tokens: bool, msie_padding: bool, out: &mut Vec<u8>) -> bool {
    let status = if status == 498 { 404 } else { status };
    let heading = heading(status);
    if heading.is_empty() {
        return false;
    }
    let detail = match status {
        494 => "Request Header Or Cookie Too Large",
        495 => "The SSL certificate error",
        496 => "No required SSL certificate was sent",
        497 => "The plain HTTP request was sent to HTTPS port",
        _ => "",
    };
    let code = visible(status).to_string();
    let title = if detail.is_empty() { heading } else { detail };
    let mut line = |parts: &[&str]| {
        parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        out.extend_from_slice(b"\r\n");
    };
    line(&["<html>"]);
    line(&["<head><title>", &code, " ", title, "</title></head>"]);
    line(&["<body>"]);
    line(&["<center><h1>", &code, " ", heading, "</h1></center>"]);
    if !detail.is_empty() {
        line(&["<center>", detail, "</center>"]);
    }
    line(&["<hr><center>", if server_tokens { FULL } else { SHORT }, "</center>"]);
    line(&["</body>"]);
    line(&["</html>"]);
    if msie_padding && status >= 400 {
        for _ in 0..6 {
            line(&["<!-- a padding to disable MSIE and Chrome friendly error page -->"]);
        }
    }
    true
}
