//! The `geo` block.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use weir_model::{Geo, Part, Template, VariableSource};
use weir_syntax::{Directive as Node, Word};

use crate::address::Cidr;
use crate::args::Args;
use crate::directive::Problem;
use crate::scope::Scope;

/// Lowers one block; its variable is known from here on.
pub(crate) fn lower(scope: &mut Scope<'_>, node: &Node) -> Result<(), Problem> {
    let args = Args::new(node);
    let input = match args.len() {
        2 => Some(Template(vec![Part::Variable(scope.variable(args.word(0))?)])),
        _ => None,
    };
    let index = scope.http.geos.len();
    scope.variables.define(args.word(args.len() - 1), VariableSource::Geo(index))?;
    let mut state = State::default();
    for node in args.body() {
        scope.current = Some(node.span);
        if let Err(problem) = state.line(node, scope) {
            scope.error(node, problem);
        }
    }
    scope.http.geos.push(state.finish(input));
    Ok(())
}

#[derive(Default)]
struct State {
    ranges_mode: bool,
    recursive: bool,
    volatile: bool,
    default: Option<String>,
    networks: BTreeMap<(IpAddr, IpAddr), String>,
    /// First address to last address and value; none overlaps another.
    ranges: BTreeMap<u32, (u32, String)>,
    proxies: Vec<(IpAddr, IpAddr)>,
}

impl State {
    fn line(&mut self, node: &Node, scope: &mut Scope<'_>) -> Result<(), Problem> {
        if node.block.is_some() {
            return Err(Problem::new(r#"unexpected "{""#));
        }
        match (node.name.text.as_str(), node.args.as_slice()) {
            ("ranges", []) if !self.networks.is_empty() => {
                Err(Problem::new(r#"the "ranges" directive must be the first directive inside "geo" block"#))
            }
            ("ranges", []) => {
                self.ranges_mode = true;
                Ok(())
            }
            ("proxy_recursive", []) => {
                self.recursive = true;
                Ok(())
            }
            ("volatile", []) => {
                self.volatile = true;
                Ok(())
            }
            ("proxy", [network]) => {
                self.proxies.push(cidr(network, scope)?.range());
                Ok(())
            }
            ("default", [value]) => {
                if let Some(old) = self.default.replace(value.text.clone()) {
                    scope.warn(Problem::new(format!(
                        r#"duplicate default geo value: "{}", old value: "{old}""#,
                        value.text
                    )));
                }
                Ok(())
            }
            ("delete", [range]) if self.ranges_mode => self.delete_range(range, scope),
            ("delete", [network]) => {
                if self.networks.remove(&cidr(network, scope)?.range()).is_none() {
                    scope.warn(Problem::new(format!(r#"no network "{}" to delete"#, network.text)));
                }
                Ok(())
            }
            (_, [value]) if self.ranges_mode => self.add_range(&node.name, &value.text, scope),
            (_, [value]) => self.add_network(&node.name, &value.text, scope),
            _ => Err(Problem::new("invalid number of the geo parameters").help("a line is NETWORK VALUE")),
        }
    }

    fn add_network(&mut self, network: &Word, value: &str, scope: &mut Scope<'_>) -> Result<(), Problem> {
        let range = cidr(network, scope)?.range();
        if let Some(old) = self.networks.insert(range, value.to_owned()) {
            let name = &network.text;
            scope.warn(Problem::new(format!(
                r#"duplicate network "{name}", value: "{value}", old value: "{old}""#
            )));
        }
        Ok(())
    }

    /// A range within an earlier one is cut out of it; any other overlap is an error.
    fn add_range(&mut self, word: &Word, value: &str, scope: &mut Scope<'_>) -> Result<(), Problem> {
        let (from, to) = range(word)?;
        let outer =
            self.ranges.range(..=to).next_back().map(|(start, (end, value))| (*start, *end, value.clone()));
        if let Some((start, end, old)) = outer.filter(|(_, end, _)| *end >= from) {
            if start > from || end < to {
                let (start, end) = (Ipv4Addr::from_bits(start), Ipv4Addr::from_bits(end));
                return Err(
                    Problem::new(format!(r#"range "{}" overlaps "{start}-{end}""#, word.text)).at(word.span)
                );
            }
            if (start, end) == (from, to) {
                scope.warn(Problem::new(format!(
                    r#"duplicate range "{}", value: "{value}", old value: "{old}""#,
                    word.text
                )));
            }
            self.ranges.remove(&start);
            if start < from {
                self.ranges.insert(start, (from - 1, old.clone()));
            }
            if end > to {
                self.ranges.insert(to + 1, (end, old));
            }
        }
        self.ranges.insert(from, (to, value.to_owned()));
        Ok(())
    }

    fn delete_range(&mut self, word: &Word, scope: &mut Scope<'_>) -> Result<(), Problem> {
        let (from, to) = range(word)?;
        if self.ranges.get(&from).is_some_and(|(end, _)| *end == to) {
            self.ranges.remove(&from);
        } else {
            scope.warn(Problem::new(format!(r#"no address range "{}" to delete"#, word.text)));
        }
        Ok(())
    }

    fn finish(self, input: Option<Template>) -> Geo {
        let networks = self.networks.into_iter().map(|((from, to), value)| (from, to, value));
        let v4 = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
        let ranges = self.ranges.into_iter().map(|(from, (to, value))| (v4(from), v4(to), value));
        Geo {
            input,
            ranges: networks.chain(ranges).collect(),
            default: self.default.unwrap_or_default(),
            proxies: self.proxies,
            proxy_recursive: self.recursive,
            volatile: self.volatile,
        }
    }
}

fn cidr(word: &Word, scope: &mut Scope<'_>) -> Result<Cidr, Problem> {
    let invalid = || Problem::new(format!(r#"invalid network "{}""#, word.text)).at(word.span);
    let cidr = Cidr::parse(&word.text).ok_or_else(invalid)?;
    if cidr.meaningless {
        scope.warn(Problem::new(format!("low address bits of {} are meaningless", word.text)).at(word.span));
    }
    Ok(cidr)
}

/// `FROM-TO`, IPv4 only as in nginx.
fn range(word: &Word) -> Result<(u32, u32), Problem> {
    word.text
        .split_once('-')
        .and_then(|(from, to)| Some((from.parse::<Ipv4Addr>().ok()?, to.parse::<Ipv4Addr>().ok()?)))
        .map(|(from, to)| (from.to_bits(), to.to_bits()))
        .filter(|(from, to)| from <= to)
        .ok_or_else(|| Problem::new(format!(r#"invalid range "{}""#, word.text)).at(word.span))
}
