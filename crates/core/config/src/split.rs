//! The `split_clients` block.

use weir_model::{Split, Template, VariableSource};
use weir_syntax::Directive as Node;

use crate::args::Args;
use crate::directive::Problem;
use crate::scope::Scope;

/// All of them, in hundredths of a percent.
const WHOLE: u32 = 10_000;

/// Lowers one block; its variable is known from here on.
pub(crate) fn lower(scope: &mut Scope<'_>, node: &Node) -> Result<(), Problem> {
    let args = Args::new(node);
    let input = scope.template(args.word(0))?;
    let index = scope.http.splits.len();
    scope.variables.define(args.word(1), VariableSource::Split(index))?;
    let (mut parts, mut sum, mut last) = (Vec::new(), 0, 0u32);
    for node in args.body() {
        scope.current = Some(node.span);
        match share(node) {
            Ok(share) => {
                sum = share.map_or(WHOLE, |share| sum + share);
                if sum > WHOLE {
                    scope.error_at_end(args.directive, Problem::new("percent total is greater than 100%"));
                    break;
                }
                // nginx: the remainder of the division is given away part by part.
                let width = share.unwrap_or(0);
                last = last.wrapping_add(
                    u32::try_from(u64::from(width) * u64::from(u32::MAX) / u64::from(WHOLE))
                        .expect("a share of 32 bits has 32 bits"),
                );
                let bound = if sum == WHOLE { u32::MAX } else { last.saturating_sub(1) };
                parts.push((bound, Template::text(&node.args[0].text)));
            }
            Err(problem) => scope.error(node, problem),
        }
    }
    scope.http.splits.push(Split { input, parts });
    Ok(())
}

/// Hundredths of a percent; absent for `*`.
fn share(node: &Node) -> Result<Option<u32>, Problem> {
    let text = node.name.text.as_str();
    if node.block.is_some() {
        return Err(Problem::new(r#"unexpected "{""#));
    }
    let invalid = || Problem::new(format!(r#"invalid percent value "{text}""#)).at(node.name.span);
    let share = match text {
        "*" => None,
        text => {
            let share = text.strip_suffix('%').and_then(hundredths).filter(|share| *share > 0);
            Some(share.ok_or_else(invalid)?)
        }
    };
    // nginx takes the first word behind the share and never looks at more.
    if node.args.is_empty() {
        return Err(Problem::new("invalid number of arguments").help("a line is PERCENT% VALUE or * VALUE"));
    }
    Ok(share)
}

/// A number with at most two digits behind the point.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() && part.is_empty() || part.len() > 2 {
        return None;
    }
    let digits = format!("{whole}{part:0<2}");
    u32::try_from(crate::args::number(&digits)?).ok().filter(|share| *share <= 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::hundredths;

    #[test]
    fn percents() {
        assert_eq!(hundredths("33.3"), Some(3330));
        assert_eq!(hundredths(".5"), Some(50));
        assert_eq!(hundredths("100"), Some(10_000));
        assert_eq!(hundredths("1.234"), None);
        assert_eq!(hundredths("x"), None);
        assert_eq!(hundredths(""), None);
    }
}
