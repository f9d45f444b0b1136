//! Keys of limit zones: their values, and their text as the operator wrote it.

use weir_model::{Http, Level, Part, Template, Variable};

use crate::exchange::Exchange;

/// The value of a zone's key. `None` when the request is not counted: it has no value, or a longer one than
/// `longest` bytes.
pub(super) fn value(exchange: &mut Exchange<'_>, template: &Template, longest: usize) -> Option<Vec<u8>> {
    let key = exchange.evaluate(|request, scope, _| request.expanded(scope, template));
    if key.len() > longest {
        let live = exchange.live();
        let text = source(live.site().http(), template);
        let shown = String::from_utf8_lossy(&key);
        exchange.log(
            Level::Error,
            format_args!("the value of the \"{text}\" key is more than {longest} bytes: \"{shown}\""),
        );
        return None;
    }
    Some(key).filter(|key| !key.is_empty())
}

/// A template as text with variables by name, which stays the same when their indices change.
pub(super) fn source(http: &Http, template: &Template) -> String {
    let mut text = String::new();
    for part in &template.0 {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Capture(group) => text.push_str(&format!("${group}")),
            Part::Variable(variable) => {
                text.push('$');
                variable_name(http, variable, &mut text);
            }
        }
    }
    text
}

fn variable_name(http: &Http, variable: &Variable, text: &mut String) {
    let (family, name) = match variable {
        Variable::Builtin(builtin) => ("", builtin.name()),
        Variable::User(index) => {
            ("", http.variables.get(*index as usize).map_or("", |variable| variable.name.as_str()))
        }
        Variable::Arg(name) => ("arg_", name.as_str()),
        Variable::Cookie(name) => ("cookie_", name.as_str()),
        Variable::Http(name) => ("http_", name.as_str()),
        Variable::SentHttp(name) => ("sent_http_", name.as_str()),
        Variable::SentTrailer(name) => ("sent_trailer_", name.as_str()),
        Variable::UpstreamHttp(name) => ("upstream_http_", name.as_str()),
        Variable::UpstreamTrailer(name) => ("upstream_trailer_", name.as_str()),
        Variable::UpstreamCookie(name) => ("upstream_cookie_", name.as_str()),
        Variable::ProxyProtocolTlv(name) => ("proxy_protocol_tlv_", name.as_str()),
    };
    text.push_str(family);
    text.push_str(name);
}
