//! Text with variables: the grammar of nginx's scripts.

use weir_model::{Part, Template};
use weir_syntax::Span;

use crate::directive::Problem;
use crate::variables::Variables;

/// Splits text at `$name`, `${name}` and `$1` to `$9`. There is no way to write a literal `$`.
pub(crate) fn compile(text: &str, span: Span, variables: &mut Variables) -> Result<Template, Problem> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        if dollar > 0 {
            parts.push(Part::Text(rest[..dollar].to_owned()));
        }
        rest = &rest[dollar + 1..];
        if let Some(digit @ b'1'..=b'9') = rest.as_bytes().first() {
            parts.push(Part::Capture(digit - b'0'));
            rest = &rest[1..];
            continue;
        }
        let name = name(rest, span)?;
        rest = &rest[name.len + usize::from(name.braces) * 2..];
        parts.push(Part::Variable(variables.used(name.text, span)));
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(Template(parts))
}

/// Whether a text would have variables in it.
pub(crate) fn has_variables(text: &str) -> bool {
    text.contains('$')
}

struct Name<'a> {
    text: &'a str,
    len: usize,
    braces: bool,
}

fn name(rest: &str, span: Span) -> Result<Name<'_>, Problem> {
    let braces = rest.starts_with('{');
    let start = &rest[usize::from(braces)..];
    let len = start.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let text = &start[..len];
    if braces && start.as_bytes().get(len) != Some(&b'}') {
        return Err(Problem::new(format!(r#"the closing bracket in "{text}" variable is missing"#)).at(span));
    }
    if len == 0 {
        return Err(Problem::new("invalid variable name")
            .at(span)
            .help("a name is expected after $; a literal $ cannot be written here"));
    }
    Ok(Name { text, len, braces })
}
