//! A line of `virtual_rules` or `static_rules`.

use std::net::IpAddr;

use weir_model::vrrp::{Family, Rule, RuleAction};
use weir_syntax::Word;
use weir_syntax::keepalived::Statement;

use crate::address::{bits, prefix};
use crate::line;
use crate::names;
use crate::scope::Scope;

/// What a line says, with the track group of a static rule.
pub(crate) struct Line<'a> {
    pub(crate) rule: Rule,
    pub(crate) track_group: Option<&'a Word>,
}

/// Options that Weir reads and leaves out; a value follows each.
const LEFT_OUT: &[&str] = &[
    "realms",
    "suppress_ifgroup",
    "sup_group",
    "tunnel-id",
    "uidrange",
    "protocol",
    "ipproto",
    "sport",
    "dport",
];

struct Reading<'a, 's, 'e> {
    words: std::slice::Iter<'a, Word>,
    family: Option<Family>,
    rule: Rule,
    action: Option<RuleAction>,
    track_group: Option<&'a Word>,
    scope: &'s mut Scope<'e>,
}

/// Reads a line; what makes keepalived leave the rule out makes it absent.
pub(crate) fn read<'a>(item: &'a Statement, is_static: bool, scope: &mut Scope<'_>) -> Option<Line<'a>> {
    let mut reading = Reading {
        words: item.args.iter(),
        family: None,
        rule: Rule {
            family: Family::V4,
            from: None,
            to: None,
            invert: false,
            table: None,
            priority: None,
            input_interface: None,
            output_interface: None,
            mark: None,
            tos: None,
            suppress_prefix_len: None,
            action: RuleAction::Table,
            track: true,
        },
        action: None,
        track_group: None,
        scope,
    };
    reading.option(&item.name, is_static)?;
    while let Some(word) = reading.words.next() {
        reading.option(word, is_static)?;
    }
    reading.finish(item)
}

impl<'a> Reading<'a, '_, '_> {
    fn refuse<T>(&mut self, word: &Word, why: &str) -> Option<T> {
        self.scope.warn(word.span, format!("{why}; the rule is ignored"));
        None
    }

    fn value(&mut self, option: &Word) -> Option<&'a Word> {
        match self.words.next() {
            Some(word) => Some(word),
            None => self.refuse(option, &format!("{} has no value", option.text)),
        }
    }

    fn is_of(&mut self, word: &Word, family: Family) -> Option<()> {
        if *self.family.get_or_insert(family) == family {
            return Some(());
        }
        self.refuse(word, &format!("{:?} mixes IPv4 and IPv6", word.text))
    }

    /// `PREFIX`, or `default` and its like, which match everything.
    fn prefix(&mut self, option: &Word) -> Option<Option<(IpAddr, u8)>> {
        let word = self.value(option)?;
        match word.text.as_str() {
            "default" | "any" | "all" => return Some(None),
            "default6" => {
                self.is_of(word, Family::V6)?;
                return Some(None);
            }
            _ => {}
        }
        let Some((address, length)) = prefix(word, self.scope) else {
            return self.refuse(word, &format!("{:?} is no prefix", word.text));
        };
        self.is_of(word, Family::of(&address))?;
        Some(Some((address, length.unwrap_or(bits(&address)))))
    }

    fn number(&mut self, option: &Word) -> Option<u32> {
        let word = self.value(option)?;
        match names::number(&word.text) {
            Some(number) => Some(number),
            None => self.refuse(word, &format!("{} {:?} is no number", option.text, word.text)),
        }
    }

    fn interface(&mut self, option: &Word) -> Option<String> {
        let word = self.value(option)?;
        line::interface(word, self.scope)
    }

    fn option(&mut self, option: &'a Word, is_static: bool) -> Option<()> {
        match option.text.as_str() {
            "inet" => self.is_of(option, Family::V4)?,
            "inet6" => self.is_of(option, Family::V6)?,
            "from" => self.rule.from = self.prefix(option)?,
            "to" => self.rule.to = self.prefix(option)?,
            "table" | "lookup" => self.table(option)?,
            "not" => self.rule.invert = true,
            "preference" | "order" | "priority" => self.rule.priority = Some(self.number(option)?),
            "tos" | "dsfield" => self.tos(option)?,
            "fwmark" => self.mark(option)?,
            "suppress_prefixlength" | "sup_pl" => {
                self.rule.suppress_prefix_len = Some(self.number(option)?);
            }
            "iif" | "dev" => self.rule.input_interface = Some(self.interface(option)?),
            "oif" => self.rule.output_interface = Some(self.interface(option)?),
            "no_track" => self.rule.track = false,
            "track_group" if is_static => self.track_group = Some(self.value(option)?),
            "l3mdev" => return self.refuse(option, "l3mdev is not supported"),
            text if LEFT_OUT.contains(&text) => {
                self.scope.warn(option.span, format!("{text} of a rule is not supported; it is ignored"));
                self.value(option)?;
            }
            _ => self.action(option)?,
        }
        Some(())
    }

    fn table(&mut self, option: &Word) -> Option<()> {
        let word = self.value(option)?;
        let table = names::table(word, self.scope)?;
        if table == 0 {
            return self.refuse(word, "table 0 is none");
        }
        self.rule.table = Some(table);
        self.act(option, RuleAction::Table)
    }

    fn tos(&mut self, option: &Word) -> Option<()> {
        let word = self.value(option)?;
        // iproute2 writes it in hexadecimal, with or without 0x.
        let digits = word.text.strip_prefix("0x").unwrap_or(&word.text);
        let Ok(tos) = u8::from_str_radix(digits, 16) else {
            return self.refuse(word, &format!("tos {:?} is no hexadecimal octet", word.text));
        };
        self.rule.tos = Some(tos);
        Some(())
    }

    fn mark(&mut self, option: &Word) -> Option<()> {
        let word = self.value(option)?;
        let (value, mask) =
            word.text.split_once('/').map_or((word.text.as_str(), None), |(v, m)| (v, Some(m)));
        let mask = mask.map_or(Some(u32::MAX), names::number);
        let (Some(value), Some(mask)) = (names::number(value), mask) else {
            return self.refuse(word, &format!("fwmark {:?} is no MARK or MARK/MASK", word.text));
        };
        self.rule.mark = Some((value, mask));
        Some(())
    }

    /// `[type] goto N | nop | blackhole | unreachable | prohibit`
    fn action(&mut self, first: &Word) -> Option<()> {
        let word = if first.text == "type" { self.value(first)? } else { first };
        let action = match word.text.as_str() {
            "goto" => {
                let target = self.number(word)?;
                RuleAction::Goto(target)
            }
            "nop" => RuleAction::Nop,
            "blackhole" => RuleAction::Blackhole,
            "unreachable" => RuleAction::Unreachable,
            "prohibit" => RuleAction::Prohibit,
            other => return self.refuse(word, &format!("a rule has no option {other:?}")),
        };
        self.act(word, action)
    }

    fn act(&mut self, word: &Word, action: RuleAction) -> Option<()> {
        if self.action.replace(action).is_some() {
            return self.refuse(word, "it has two actions");
        }
        Some(())
    }

    fn finish(mut self, item: &'a Statement) -> Option<Line<'a>> {
        let Some(action) = self.action else {
            return self.refuse(&item.name, "it has neither a table nor another action");
        };
        self.rule.action = action;
        self.rule.family = self.family.unwrap_or(Family::V4);
        if let RuleAction::Goto(target) = action {
            match self.rule.priority {
                Some(priority) if priority < target => {}
                Some(priority) => {
                    return self
                        .refuse(&item.name, &format!("goto {target} does not lead behind {priority}"));
                }
                None => return self.refuse(&item.name, "goto needs a preference"),
            }
        }
        if action != RuleAction::Table && self.rule.suppress_prefix_len.is_some() {
            return self.refuse(&item.name, "suppress_prefixlength needs a table");
        }
        if self.rule.priority.is_none() {
            self.scope.advise(
                item.span,
                "the rule has no preference; the kernel chooses one",
                "write preference N: the order of rules decides which one counts",
            );
        }
        Some(Line { rule: self.rule, track_group: self.track_group })
    }
}
