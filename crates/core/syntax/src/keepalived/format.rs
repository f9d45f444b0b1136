//! One canonical layout for a file: two spaces for a level, the lines as they are.

use super::definition::Definition;
use super::line::{Line, Part};
use super::reader::LONGEST;
use crate::encode;

/// Lays a file out: lines are indented by the blocks around them, blanks at their ends go, runs of empty lines become
/// one. What stands on a line stays there, so that the result means what the text meant.
#[must_use]
pub fn format(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut depth = 0_usize;
    // The depth to return to when the definition ends.
    let mut defining: Option<usize> = None;
    let mut empty = false;
    for raw in text.lines() {
        let shown = raw.trim_end_matches([' ', '\t', '\r']).trim_start_matches([' ', '\t']);
        if shown.is_empty() {
            depth = defining.take().unwrap_or(depth);
            empty = !out.is_empty();
            continue;
        }
        if std::mem::take(&mut empty) {
            out.push('\n');
        }
        let mut line = Line::new(0, shown, 0);
        line.clean(defining.is_some() || Definition::read(&line).is_some());
        let open = match defining {
            Some(_) => line.letters.last().is_some_and(|letter| letter.value == '\\'),
            None => Definition::read(&line).is_some_and(|definition| definition.open),
        };
        let (opened, closed, leading) = braces(line);
        let indent = 2 * (depth.saturating_sub(leading) + usize::from(defining.is_some()));
        if indent + encode(shown).len() <= LONGEST {
            out.extend(std::iter::repeat_n(' ', indent));
        }
        out.push_str(shown);
        out.push('\n');
        let before = depth;
        depth = (depth + opened).saturating_sub(closed);
        defining = match (open, defining) {
            (true, None) => Some(before),
            (true, Some(outer)) => Some(outer),
            (false, Some(outer)) => {
                depth = outer;
                None
            }
            (false, None) => None,
        };
    }
    out
}

/// How many braces open, how many close, and how many of those stand in front of all else.
fn braces(line: Line) -> (usize, usize, usize) {
    let (mut opened, mut closed, mut leading, mut first) = (0, 0, 0, true);
    let mut rest = (!line.is_empty()).then_some(line);
    while let Some(line) = rest {
        let (part, behind) = line.split();
        match part {
            Part::Open(_) => (opened, first) = (opened + 1, false),
            Part::Close(_) => (closed, leading) = (closed + 1, leading + usize::from(first)),
            Part::Text(_) => first = false,
        }
        rest = behind;
    }
    (opened, closed, leading)
}

#[cfg(test)]
mod tests {
    use super::format;

    #[test]
    fn a_file_is_laid_out() {
        let text = "\n\n! top\nglobal_defs\n{\n\trouter_id  a # here {\n\n\n}\t\nvrrp_instance V { interface eth0\r\n\
                    virtual_ipaddress { 10.1.1.1\n    10.1.1.2 } track_script { a\n} }\n@one priority 5\n";
        let expected = "! top\nglobal_defs\n{\n  router_id  a # here {\n\n}\nvrrp_instance V { interface eth0\n  \
                        virtual_ipaddress { 10.1.1.1\n    10.1.1.2 } track_script { a\n} }\n@one priority 5\n";
        let once = format(text);
        assert_eq!(once, expected);
        assert_eq!(format(&once), once);
    }

    #[test]
    fn a_definition_is_indented_and_leaves_the_depth_as_it_was() {
        let text =
            "$A= \\\nvrrp_script s { \\\nscript \"}\" \\\n# more \\\n\nglobal_defs {\nrouter_id ${A}\n}\n";
        let expected = "$A= \\\n  vrrp_script s { \\\n    script \"}\" \\\n    # more \\\n\nglobal_defs {\n  router_id ${A}\n}\n";
        assert_eq!(format(text), expected);
    }

    #[test]
    fn a_line_that_would_grow_too_long_stays_at_the_margin() {
        let long = "x".repeat(1021);
        assert_eq!(format(&format!("a {{\n {long}\n}}\n")), format!("a {{\n{long}\n}}\n"));
    }
}
