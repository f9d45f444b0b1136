//! Names of limit zones, which may be used before they are defined.

use std::collections::BTreeMap;

use weir_model::http::LimitZone;
use weir_syntax::Span;

use crate::directive::Problem;

/// All zones of the http block.
#[derive(Default)]
pub(crate) struct Zones {
    pub(crate) limit_req: Table,
    pub(crate) limit_conn: Table,
    pub(crate) upstream: Shared,
}

/// Zones of upstream blocks: one of those that share a name gives the size.
#[derive(Default)]
pub(crate) struct Shared(BTreeMap<String, (bool, Span)>);

impl Shared {
    pub(crate) fn mention(&mut self, name: &str, sized: bool, span: Span) {
        self.0.entry(name.to_owned()).or_insert((false, span)).0 |= sized;
    }

    pub(crate) fn missing(self) -> Vec<Problem> {
        let sizeless = self.0.into_iter().filter(|(_, (sized, _))| !sized);
        sizeless
            .map(|(name, (_, span))| {
                zero_size(&name).at(span).help("the size belongs behind the name: zone NAME SIZE;")
            })
            .collect()
    }
}

fn zero_size(name: &str) -> Problem {
    Problem::new(format!(r#"zero size shared memory zone "{name}""#))
}

/// The zones of one kind; the index of a name is final from its first mention.
#[derive(Default)]
pub(crate) struct Table(Vec<Entry>);

struct Entry {
    name: String,
    used: Option<Span>,
    zone: Option<LimitZone>,
}

impl Table {
    pub(crate) fn used(&mut self, name: &str, span: Span) -> usize {
        let index = self.index(name);
        self.0[index].used.get_or_insert(span);
        index
    }

    /// The zone of this name, when it was defined before.
    pub(crate) fn defined(&mut self, name: &str) -> Option<&LimitZone> {
        let index = self.index(name);
        self.0[index].zone.as_ref()
    }

    pub(crate) fn define(&mut self, zone: LimitZone) {
        let index = self.index(&zone.name);
        self.0[index].zone = Some(zone);
    }

    /// The zones in index order, or a problem for each name that nothing defines.
    pub(crate) fn finish(self) -> Result<Vec<LimitZone>, Vec<Problem>> {
        let mut zones = Vec::new();
        let mut problems = Vec::new();
        for entry in self.0 {
            match (entry.zone, entry.used) {
                (Some(zone), _) => zones.push(zone),
                (None, span) => problems
                    .push(Problem { span, ..zero_size(&entry.name).help("no zone of this name is defined") }),
            }
        }
        if problems.is_empty() { Ok(zones) } else { Err(problems) }
    }

    fn index(&mut self, name: &str) -> usize {
        self.0.iter().position(|entry| entry.name == name).unwrap_or_else(|| {
            self.0.push(Entry { name: name.to_owned(), used: None, zone: None });
            self.0.len() - 1
        })
    }
}
