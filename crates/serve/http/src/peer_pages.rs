//! Pages about peers: `upstream_show` and `check_status`, in the forms of nginx-upsync-module and
//! nginx_upstream_check_module.

use std::sync::Arc;

use weir_balance::{Bars, Group, Peer};
use weir_http::log_line::escape_log;
use weir_http::named::argument;
use weir_http::ssi::text::entities;
use weir_model::{CheckStatusFormat, Escape, Level};

use crate::body;
use crate::exchange::{Exchange, Next};
use crate::live::Live;
use crate::respond;

/// `upstream_show`: the peers of all upstreams, or of the one that the query names.
pub(crate) async fn upstream_show(exchange: &mut Exchange<'_>) -> Next {
    if let Err(refused) = readable(exchange).await {
        return refused;
    }
    let groups: Vec<_> = exchange.live.upstreams.iter().map(|upstream| upstream.group()).collect();
    let text = listing(&groups, &exchange.request.args);
    respond::text(exchange, 200, b"text/plain", text.as_bytes()).await
}

/// `check_status`: every checked peer with what its checks found.
pub(crate) async fn check_status(exchange: &mut Exchange<'_>, format: CheckStatusFormat) -> Next {
    if let Err(refused) = readable(exchange).await {
        return refused;
    }
    let rows = checked(&exchange.live);
    if rows.is_empty() {
        exchange.log(
            Level::Error,
            format_args!(
                "http upstream check module can not find any check server, make sure you've added the check servers"
            ),
        );
        return Next::Error(500);
    }
    let (format, filter) = wanted(exchange, format);
    let generation = exchange.live.shared.number;
    let shown: Vec<&Row> = rows.iter().filter(|row| filter.is_none_or(|down| row.down == down)).collect();
    let (kind, page) = match format {
        CheckStatusFormat::Html => ("text/html", html(&shown, generation)),
        CheckStatusFormat::Csv => ("text/plain", csv(&shown)),
        CheckStatusFormat::Json => ("application/json", json(&shown, generation)),
    };
    respond::text(exchange, 200, kind.as_bytes(), &page).await
}

/// These pages are only read.
async fn readable(exchange: &mut Exchange<'_>) -> Result<(), Next> {
    if !matches!(exchange.request.method(), b"GET" | b"HEAD") {
        return Err(Next::Error(405));
    }
    body::unwanted(exchange).await.map_err(|error| Next::Error(error.status()))
}

fn listing(groups: &[Arc<Group>], query: &[u8]) -> String {
    if !query.is_empty() {
        let named = groups.iter().find(|group| group.name().as_bytes().eq_ignore_ascii_case(query));
        return named.map_or_else(
            || "The upstream you requested does not exist. Please double-check the name".to_owned(),
            |group| paragraph(group),
        );
    }
    if groups.is_empty() {
        return "No upstreams defined".to_owned();
    }
    groups.iter().map(|group| paragraph(group) + "\n").collect()
}

fn paragraph(group: &Group) -> String {
    let (name, count) = (group.name(), group.peers().len());
    let mut text = format!("Upstream name: {name}; Backend server count: {count}\n");
    for Peer { spec, state, .. } in group.peers() {
        let (name, weight, max_fails) = (&spec.name, spec.weight, spec.max_fails);
        let seconds = spec.fail_timeout / 1000;
        let backup = if spec.backup { " backup" } else { "" };
        let down = if spec.down || spec.drain || state.bars().any() { " down" } else { "" };
        text += &format!(
            "        server {name} weight={weight} max_fails={max_fails} fail_timeout={seconds}s{backup}{down};\n"
        );
    }
    text
}

/// A checked peer.
struct Row {
    /// Over all checked peers, whether they are shown or not.
    index: usize,
    upstream: String,
    name: String,
    down: bool,
    rise: u32,
    fall: u32,
    kind: &'static str,
    port: u16,
}

fn checked(live: &Live) -> Vec<Row> {
    let upstreams = live.site().http().upstreams.iter().zip(&live.upstreams);
    let mut rows = Vec::new();
    for (model, upstream) in upstreams {
        let Some(check) = model.checks.first() else { continue };
        for peer in upstream.group().peers() {
            rows.push(Row {
                index: rows.len(),
                upstream: model.name.clone(),
                name: peer.spec.name.clone(),
                down: peer.state.bars().has(Bars::CHECK),
                rise: peer.state.rise(),
                fall: peer.state.fall(),
                kind: check.probe.name(),
                port: check.port,
            });
        }
    }
    rows
}

/// What the query asks for: the format, and which state alone is shown (down: true).
fn wanted(exchange: &Exchange<'_>, format: CheckStatusFormat) -> (CheckStatusFormat, Option<bool>) {
    let value = |name: &[u8]| {
        let mut value = Vec::new();
        argument(&exchange.request.args, name, &mut value).then_some(value)
    };
    let (mut wanted, mut filter) = (format, None);
    for (name, value) in [(&b"format"[..], value(b"format")), (b"status", value(b"status"))] {
        let Some(value) = value else { continue };
        match (name, value.to_ascii_lowercase().as_slice()) {
            (b"format", b"html") => wanted = CheckStatusFormat::Html,
            (b"format", b"csv") => wanted = CheckStatusFormat::Csv,
            (b"format", b"json") => wanted = CheckStatusFormat::Json,
            (b"status", b"up") => filter = Some(false),
            (b"status", b"down") => filter = Some(true),
            _ => {
                let value = String::from_utf8_lossy(&value);
                exchange.log(Level::Error, format_args!("http upstream check, bad argument: \"{value}\""));
            }
        }
    }
    (wanted, filter)
}

impl Row {
    fn status(&self) -> &'static str {
        if self.down { "down" } else { "up" }
    }
}

fn html(rows: &[&Row], generation: u64) -> Vec<u8> {
    let count = rows.len();
    let mut page = format!(
        "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\n\
         \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd\">\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\">\n\
         <head>\n  <title>Nginx http upstream check status</title>\n</head>\n\
         <body>\n<h1>Nginx http upstream check status</h1>\n\
         <h2>Check upstream server number: {count}, generation: {generation}</h2>\n\
         <table style=\"background-color:white\" cellspacing=\"0\"        cellpadding=\"3\" border=\"1\">\n\
         \x20 <tr bgcolor=\"#C0C0C0\">\n"
    )
    .into_bytes();
    const TITLES: [&str; 8] =
        ["Index", "Upstream", "Name", "Status", "Rise counts", "Fall counts", "Check type", "Check port"];
    for title in TITLES {
        page.extend_from_slice(format!("    <th>{title}</th>\n").as_bytes());
    }
    page.extend_from_slice(b"  </tr>\n");
    for row in rows {
        page.extend_from_slice(if row.down { b"  <tr bgcolor=\"#FF0000\">\n" } else { b"  <tr>\n" });
        let (index, rise, fall) = (row.index.to_string(), row.rise.to_string(), row.fall.to_string());
        let port = row.port.to_string();
        for cell in [&index, &row.upstream, &row.name, row.status(), &rise, &fall, row.kind, &port] {
            page.extend_from_slice(b"    <td>");
            entities(cell.as_bytes(), &mut page);
            page.extend_from_slice(b"</td>\n");
        }
        page.extend_from_slice(b"  </tr>\n");
    }
    page.extend_from_slice(b"</table>\n</body>\n</html>\n");
    page
}

fn csv(rows: &[&Row]) -> Vec<u8> {
    let line = |row: &&Row| {
        let Row { index, upstream, name, rise, fall, kind, port, .. } = row;
        let status = row.status();
        format!("{index},{upstream},{name},{status},{rise},{fall},{kind},{port}\n")
    };
    rows.iter().map(line).collect::<String>().into_bytes()
}

fn json(rows: &[&Row], generation: u64) -> Vec<u8> {
    let total = rows.len();
    let head = format!(
        "{{\"servers\": {{\n  \"total\": {total},\n  \"generation\": {generation},\n  \"server\": [\n"
    );
    let mut page = head.into_bytes();
    for (at, row) in rows.iter().enumerate() {
        let Row { index, rise, fall, kind, port, .. } = row;
        page.extend_from_slice(format!("    {{\"index\": {index}, \"upstream\": \"").as_bytes());
        escape_log(row.upstream.as_bytes(), Escape::Json, &mut page);
        page.extend_from_slice(b"\", \"name\": \"");
        escape_log(row.name.as_bytes(), Escape::Json, &mut page);
        let status = row.status();
        let comma = if at + 1 < total { "," } else { "" };
        let rest = format!(
            "\", \"status\": \"{status}\", \"rise\": {rise}, \"fall\": {fall}, \"type\": \"{kind}\", \"port\": {port}}}{comma}\n"
        );
        page.extend_from_slice(rest.as_bytes());
    }
    page.extend_from_slice(b"  ]\n}}\n");
    page
}

#[cfg(test)]
mod tests {
    use weir_balance::{Member, Method, PeerSpec};

    use super::*;

    fn group(name: &str, members: Vec<Member>) -> Arc<Group> {
        Arc::new(Group::with_states(name.to_owned(), Method::RoundRobin, members))
    }

    fn row(index: usize, name: &str, down: bool) -> Row {
        let (upstream, name) = ("backend".to_owned(), name.to_owned());
        Row { index, upstream, name, down, rise: 46, fall: 2, kind: "http", port: 0 }
    }

    #[test]
    fn a_listing_has_the_forms_of_the_module() {
        let spec = |port: u16| PeerSpec::new(format!("127.0.0.1:{port}"));
        let weighted = PeerSpec { weight: 10, max_fails: 3, ..spec(8088) };
        let spare = PeerSpec { backup: true, down: true, ..spec(8090) };
        let members: Vec<Member> =
            vec![(weighted, Arc::default()), (spec(8089), Arc::default()), (spare, Arc::default())];
        members[1].1.bar(Bars::CHECK);
        let groups = [group("test", members), group("Empty", Vec::new())];
        let test = "Upstream name: test; Backend server count: 3\n        \
            server 127.0.0.1:8088 weight=10 max_fails=3 fail_timeout=10s;\n        \
            server 127.0.0.1:8089 weight=1 max_fails=1 fail_timeout=10s down;\n        \
            server 127.0.0.1:8090 weight=1 max_fails=1 fail_timeout=10s backup down;\n";
        let empty = "Upstream name: Empty; Backend server count: 0\n";
        assert_eq!(listing(&groups, b""), format!("{test}\n{empty}\n"));
        assert_eq!(listing(&groups, b"TEST"), test);
        assert_eq!(listing(&groups, b"empty"), empty);
        let unknown = "The upstream you requested does not exist. Please double-check the name";
        assert_eq!(listing(&groups, b"other"), unknown);
        assert_eq!(listing(&[], b"other"), unknown);
        assert_eq!(listing(&[], b""), "No upstreams defined");
    }

    #[test]
    fn rows_of_values() {
        let (up, down) = (row(0, "10.0.0.1:80", false), row(3, "10.0.0.4:80", true));
        let text = String::from_utf8(csv(&[&up, &down])).expect("ascii");
        assert_eq!(text, "0,backend,10.0.0.1:80,up,46,2,http,0\n3,backend,10.0.0.4:80,down,46,2,http,0\n");
        assert!(csv(&[]).is_empty());
    }

    #[test]
    fn json_is_valid_whatever_is_left_out() {
        let (up, down) = (row(0, "10.0.0.1:80", false), row(1, "unix:/a\"b", true));
        let text = |rows: &[&Row]| String::from_utf8(json(rows, 3)).expect("ascii");
        let head = |total| {
            format!("{{\"servers\": {{\n  \"total\": {total},\n  \"generation\": 3,\n  \"server\": [\n")
        };
        let first = "    {\"index\": 0, \"upstream\": \"backend\", \"name\": \"10.0.0.1:80\", \"status\": \"up\", \
            \"rise\": 46, \"fall\": 2, \"type\": \"http\", \"port\": 0}";
        let second = "    {\"index\": 1, \"upstream\": \"backend\", \"name\": \"unix:/a\\\"b\", \"status\": \"down\", \
            \"rise\": 46, \"fall\": 2, \"type\": \"http\", \"port\": 0}";
        assert_eq!(text(&[&up, &down]), format!("{}{first},\n{second}\n  ]\n}}}}\n", head(2)));
        assert_eq!(text(&[&up]), format!("{}{first}\n  ]\n}}}}\n", head(1)));
        assert_eq!(text(&[]), format!("{}  ]\n}}}}\n", head(0)));
    }

    #[test]
    fn a_page_colours_what_is_down() {
        let (up, down) = (row(0, "10.0.0.1:80", false), row(1, "unix:/<b>", true));
        let page = String::from_utf8(html(&[&up, &down], 3)).expect("ascii");
        assert!(
            page.starts_with("<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Strict//EN\n\"http://"),
            "{page}"
        );
        assert!(page.contains("<h2>Check upstream server number: 2, generation: 3</h2>\n<table "), "{page}");
        assert!(page.contains("cellspacing=\"0\"        cellpadding=\"3\" border=\"1\">\n  <tr bgcolor=\"#C0C0C0\">\n    <th>Index</th>\n"), "{page}");
        let cells = |name: &str, index: u32, status: &str| {
            format!(
                "    <td>{index}</td>\n    <td>backend</td>\n    <td>{name}</td>\n    <td>{status}</td>\n    \
                <td>46</td>\n    <td>2</td>\n    <td>http</td>\n    <td>0</td>\n  </tr>\n"
            )
        };
        let rows = format!(
            "  <tr>\n{}  <tr bgcolor=\"#FF0000\">\n{}</table>\n</body>\n</html>\n",
            cells("10.0.0.1:80", 0, "up"),
            cells("unix:/&lt;b&gt;", 1, "down"),
        );
        assert!(page.ends_with(&rows), "{page}");
    }
}
