//! All tables together: looking a name up, and naming what was probably meant.

use std::collections::HashMap;
use std::sync::OnceLock;

use weir_syntax::keepalived::Statement;

use crate::keyword::{Blocks, Keyword, Shape};
use crate::scope::Scope;

/// Every table. A name may stand in several of them, in different blocks.
const TABLES: &[&[Keyword]] = &[
    crate::roots::KEYWORDS,
    crate::global::KEYWORDS,
    crate::mail::KEYWORDS,
    crate::global_inert::KEYWORDS,
    crate::instance::KEYWORDS,
    crate::unicast::KEYWORDS,
    crate::pace::KEYWORDS,
    crate::script::KEYWORDS,
    crate::tracker::KEYWORDS,
    crate::uses::KEYWORDS,
    crate::group::KEYWORDS,
    crate::balance::KEYWORDS,
];

/// Every keyword that Weir knows, those included that have no effect.
pub fn keywords() -> impl Iterator<Item = &'static Keyword> + Clone {
    TABLES.iter().flat_map(|table| table.iter())
}

/// The keyword of a block that a mistyped name is closest to; absent when none is close enough to be meant.
#[must_use]
pub fn nearest(name: &str, block: Blocks) -> Option<&'static Keyword> {
    closest(name, keywords().filter(|keyword| keyword.blocks.has(block)))
}

fn closest(name: &str, known: impl Iterator<Item = &'static Keyword>) -> Option<&'static Keyword> {
    let limit = match name.len() {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    known
        .map(|keyword| (strsim::osa_distance(name, keyword.name), keyword))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, keyword)| keyword)
}

/// The meaning of a statement's name in a block. What is wrong with the name or with what follows it is noted; what
/// keepalived would not use then is absent.
pub(crate) fn find(statement: &Statement, block: Blocks, scope: &mut Scope<'_>) -> Option<&'static Keyword> {
    let name = statement.name.text.as_str();
    let Some(meanings) = by_name().get(name) else {
        unknown(statement, block, scope);
        return None;
    };
    let Some(keyword) = meanings.iter().find(|keyword| keyword.blocks.has(block)) else {
        misplaced(statement, block, meanings, scope);
        return None;
    };
    fits(statement, keyword, scope).then_some(keyword)
}

fn by_name() -> &'static HashMap<&'static str, Vec<&'static Keyword>> {
    static BY_NAME: OnceLock<HashMap<&'static str, Vec<&'static Keyword>>> = OnceLock::new();
    BY_NAME.get_or_init(|| {
        let mut map: HashMap<_, Vec<_>> = HashMap::new();
        for keyword in keywords() {
            map.entry(keyword.name).or_default().push(keyword);
        }
        map
    })
}

fn place(block: Blocks) -> String {
    block.names().collect::<Vec<_>>().join(", ")
}

fn unknown(statement: &Statement, block: Blocks, scope: &mut Scope<'_>) {
    let name = &statement.name;
    let message = format!("unknown keyword {:?}; it is ignored", name.text);
    let near = nearest(&name.text, block);
    let help = match near {
        Some(near) => format!("did you mean {:?}?", near.name),
        None => match closest(&name.text, keywords()) {
            Some(near) => format!("did you mean {:?}? it stands in {}", near.name, place(near.blocks)),
            None => return scope.warn(name.span, message),
        },
    };
    scope.advise(name.span, message, help);
    // What stands in a block that is ignored is ignored too, but who corrects its name wants to know of all mistakes.
    if let Some(Keyword { shape: Shape::Block { opens, .. }, .. }) = near
        && *opens != Blocks::NONE
    {
        let lines = statement.block.iter().flatten();
        for line in lines.filter(|line| !by_name().contains_key(line.name.text.as_str())) {
            unknown(line, *opens, scope);
        }
    }
}

fn misplaced(statement: &Statement, block: Blocks, meanings: &[&Keyword], scope: &mut Scope<'_>) {
    let name = &statement.name;
    let all = meanings.iter().fold(Blocks(0), |all, keyword| all.or(keyword.blocks));
    let message = format!("{:?} has no meaning in {}; it is ignored", name.text, place(block));
    scope.advise(name.span, message, format!("it stands in {}", place(all)));
}

/// Whether a line has the words and the block that its keyword needs. Words too many are noted and left.
fn fits(statement: &Statement, keyword: &Keyword, scope: &mut Scope<'_>) -> bool {
    let count = statement.args.len();
    let (from, to, block) = match keyword.shape {
        Shape::Words(from, to) => (from, to, false),
        Shape::Command => (1, usize::MAX, false),
        Shape::List => (0, 0, true),
        Shape::Block { from, to, .. } => (from, to, true),
    };
    if count < from {
        let message = format!("{} has too few words; it is ignored", keyword.name);
        scope.advise(statement.name.span, message, usage(keyword));
        return false;
    }
    if block && statement.block.is_none() {
        let message = format!("{} has no block; it is ignored", keyword.name);
        scope.advise(statement.name.span, message, usage(keyword));
        return false;
    }
    if !block && let Some(items) = &statement.block {
        let span = items.first().map_or(statement.span, |item| item.span);
        scope.advise(
            span,
            format!("{} has no block; what is in it is ignored", keyword.name),
            usage(keyword),
        );
    }
    if let Some(word) = statement.args.get(to) {
        scope.advise(
            word.span,
            format!("{:?} is one word too many; it is ignored", word.text),
            usage(keyword),
        );
    }
    true
}

fn usage(keyword: &Keyword) -> String {
    let Keyword { name, syntax, .. } = keyword;
    let blank = if syntax.is_empty() { "" } else { " " };
    match keyword.shape {
        Shape::Words(..) | Shape::Command => format!("it is written: {name}{blank}{syntax}"),
        Shape::List => format!("it is written: {name} {{ {syntax}{blank}}}"),
        Shape::Block { .. } => format!("it is written: {name}{blank}{syntax} {{ ... }}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyword::Action;

    #[test]
    fn no_name_has_two_meanings_in_one_block() {
        let mut seen = HashMap::new();
        let mut doubles = Vec::new();
        for keyword in keywords() {
            for block in keyword.blocks.each() {
                if seen.insert((keyword.name, block.0), keyword).is_some() {
                    doubles.push(keyword.name);
                }
            }
        }
        assert!(doubles.is_empty(), "{doubles:?}");
    }

    #[test]
    fn every_keyword_is_described() {
        for keyword in keywords() {
            assert!(!keyword.name.is_empty() && keyword.blocks.0 != 0, "{keyword:?}");
            assert!(!keyword.doc.is_empty(), "{}", keyword.name);
            let words = !matches!(keyword.shape, Shape::Words(0, 0) | Shape::Block { to: 0, .. });
            assert_eq!(words, !keyword.syntax.is_empty(), "{}", keyword.name);
        }
    }

    #[test]
    fn an_action_fits_its_blocks() {
        for keyword in keywords() {
            let block = match keyword.action {
                Action::Global(_) => Blocks::GLOBAL,
                Action::Instance(_) => Blocks::INSTANCE.or(Blocks::AUTHENTICATION),
                Action::Group(_) => Blocks::GROUP,
                Action::Script(_) => Blocks::SCRIPT,
                Action::Process(_) => Blocks::PROCESS,
                Action::File(_) => Blocks::FILE,
                Action::GarpGroup(_) => Blocks::GARP_GROUP,
                Action::StaticGroup(_) => Blocks::STATIC_GROUP,
                Action::Root(_) => Blocks::ROOT,
                Action::Block => Blocks::ROOT.or(Blocks::INSTANCE),
                Action::Silent(_) | Action::WithoutEffect(_) | Action::Later(_) => continue,
            };
            assert!(keyword.blocks.each().all(|one| block.has(one)), "{}", keyword.name);
        }
    }

    #[test]
    fn near_words_are_found() {
        let near = |name, block| nearest(name, block).map(|keyword| keyword.name);
        assert_eq!(near("vritual_router_id", Blocks::INSTANCE), Some("virtual_router_id"));
        assert_eq!(near("vrrp_instnace", Blocks::ROOT), Some("vrrp_instance"));
        assert_eq!(near("weigth", Blocks::SCRIPT), Some("weight"));
        assert_eq!(near("xyzzy", Blocks::ROOT), None);
    }
}
