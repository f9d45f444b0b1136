//! All tables together: looking a name up, and naming what was probably meant.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::directive::{Action, Contexts, Directive, Problem};

/// Every table. A name may stand in several of them, in different contexts.
const TABLES: &[&[Directive]] = &[
    crate::main_level::DIRECTIVES,
    crate::control::registry::DIRECTIVES,
    crate::control::admin::DIRECTIVES,
    crate::http::DIRECTIVES,
    crate::server::DIRECTIVES,
    crate::location::DIRECTIVES,
    crate::pass::DIRECTIVES,
    crate::rewrite::DIRECTIVES,
    crate::upstream::DIRECTIVES,
    crate::resolver::DIRECTIVES,
    crate::source::DIRECTIVES,
    crate::source::upsync::DIRECTIVES,
    crate::health::check::DIRECTIVES,
    crate::health::request::DIRECTIVES,
    crate::health::matching::DIRECTIVES,
    crate::accepted::DIRECTIVES,
    crate::absent::DIRECTIVES,
];

/// Every directive that Weir knows, those included that it refuses.
pub fn directives() -> impl Iterator<Item = &'static Directive> + Clone {
    TABLES.iter().chain(crate::settings::TABLES).flat_map(|table| table.iter())
}

/// The name closest to a mistyped one; absent when none is close enough to be meant.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match name.len() {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    known
        .filter(|candidate| *candidate != name && candidate.len().abs_diff(name.len()) <= limit)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The meaning of a name in a context.
///
/// # Errors
/// nginx's words for an unknown name and for a wrong context, and a refusal of what is known and not there.
pub(crate) fn find(name: &str, context: Contexts) -> Result<&'static Directive, Problem> {
    static BY_NAME: OnceLock<HashMap<&'static str, Vec<&'static Directive>>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        let mut map: HashMap<_, Vec<_>> = HashMap::new();
        for directive in directives() {
            map.entry(directive.name).or_default().push(directive);
        }
        map
    });
    let Some(meanings) = by_name.get(name) else { return Err(unknown(name, context)) };
    let Some(directive) = meanings.iter().find(|directive| directive.contexts.has(context)) else {
        return Err(misplaced(name, meanings));
    };
    match directive.action {
        Action::Absent(instead) => Err(absent(directive, instead)),
        _ => Ok(directive),
    }
}

fn absent(directive: &Directive, instead: &str) -> Problem {
    let message = format!(r#""{}" directive is not supported by this version of Weir"#, directive.name);
    let problem = Problem::new(message);
    let problem = if directive.module.is_empty() {
        problem
    } else {
        problem.note(format!("it belongs to {}", directive.module))
    };
    if instead.is_empty() {
        problem.help("take it out, or keep what needs it elsewhere")
    } else {
        problem.help(instead)
    }
}

fn misplaced(name: &str, meanings: &[&Directive]) -> Problem {
    Problem::new(format!(r#""{name}" directive is not allowed here"#))
        .help(format!("it is allowed in {}", places(meanings.iter().copied())))
}

/// The contexts of all meanings, without those in which the name is only known to be refused.
fn places<'a>(meanings: impl Iterator<Item = &'a Directive> + Clone) -> String {
    let all = |meanings: &mut dyn Iterator<Item = &'a Directive>| {
        meanings.fold(Contexts(0), |all, directive| all.or(directive.contexts))
    };
    let served = all(&mut meanings.clone().filter(|one| !matches!(one.action, Action::Absent(_))));
    let contexts = if served == Contexts(0) { all(&mut meanings.clone()) } else { served };
    contexts.names().collect::<Vec<_>>().join(", ")
}

fn unknown(name: &str, context: Contexts) -> Problem {
    let problem = Problem::new(format!(r#"unknown directive "{name}""#));
    let here = directives().filter(|directive| directive.contexts.has(context));
    if let Some(near) = nearest(name, here.map(|directive| directive.name)) {
        return problem.help(format!(r#"did you mean "{near}"?"#));
    }
    match nearest(name, directives().map(|directive| directive.name)) {
        Some(near) => {
            let places = places(directives().filter(|directive| directive.name == near));
            problem.help(format!(r#"did you mean "{near}"? it is allowed in {places}"#))
        }
        None => problem,
    }
}

/// Edits that turn one word into the other; a swap of neighbours counts one (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = [Vec::new(), (0..=b.len()).collect::<Vec<_>>()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (rows[1][j] + usize::from(x != y)).min(rows[1][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(rows[0][j - 1] + 1);
            }
            row.push(best);
        }
        rows = [std::mem::take(&mut rows[1]), row];
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_has_two_meanings_in_one_context() {
        let mut seen: HashMap<(&str, u32), &Directive> = HashMap::new();
        let mut doubles = Vec::new();
        for directive in directives() {
            for bit in (0..32).map(|bit| 1u32 << bit).filter(|bit| directive.contexts.0 & bit != 0) {
                if let Some(other) = seen.insert((directive.name, bit), directive) {
                    doubles.push(format!("{} ({}, {})", directive.name, other.module, directive.module));
                }
            }
        }
        doubles.dedup();
        assert!(doubles.is_empty(), "{doubles:#?}");
    }

    #[test]
    fn every_directive_is_described() {
        for directive in directives() {
            assert!(!directive.name.is_empty() && directive.contexts.0 != 0, "{directive:?}");
            if !matches!(directive.action, Action::Absent(_)) {
                assert!(!directive.doc.is_empty() && !directive.module.is_empty(), "{}", directive.name);
            }
        }
    }

    #[test]
    fn near_words_are_found() {
        let known = ["proxy_pass", "proxy_bind", "listen", "root"];
        assert_eq!(nearest("proxy_psas", known.into_iter()), Some("proxy_pass"));
        assert_eq!(nearest("lisen", known.into_iter()), Some("listen"));
        assert_eq!(nearest("xyz", known.into_iter()), None);
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
