//! Lines and braces to a tree.

use super::keywords::{is_list, is_script, needs_block};
use super::line::{Line, Part};
use super::reader::Reader;
use super::{Parsed, Statement, Tree};
use crate::{Diagnostic, Span, Word};

/// Blocks within each other; keepalived's own go five deep.
const DEEPEST: usize = 200;

pub(super) struct Builder<'a> {
    reader: Reader<'a>,
    /// The blocks that are open, outermost first.
    open: Vec<Open>,
    items: Vec<Statement>,
    /// The last statement of the innermost block may still get a block of its own.
    waiting: bool,
    /// Braces that were left out because they go too deep.
    left_out: usize,
}

struct Open {
    statement: Statement,
    items: Vec<Statement>,
    list: bool,
}

impl<'a> Builder<'a> {
    pub(super) fn new(reader: Reader<'a>) -> Self {
        Self { reader, open: Vec::new(), items: Vec::new(), waiting: false, left_out: 0 }
    }

    pub(super) fn build(mut self) -> Parsed {
        while let Some(part) = self.reader.next() {
            match part {
                Part::Open(span) => self.enter(span),
                Part::Close(span) => {
                    self.demand_block(span);
                    self.leave(span);
                }
                Part::Text(line) => {
                    self.demand_block(line.span());
                    self.statement(&line);
                }
            }
        }
        self.end()
    }

    fn enter(&mut self, span: Span) {
        if self.left_out > 0 || self.open.len() >= DEEPEST {
            let error = Diagnostic::error("too many blocks within each other").at(span);
            self.report(error.help(format!("at most {DEEPEST} may be open at once")));
            self.left_out += 1;
            return;
        }
        let statement = if self.waiting { self.inside().pop() } else { None };
        match statement {
            Some(statement) => self.block(statement),
            None => self.report(
                Diagnostic::error("unexpected \"{\" is ignored")
                    .at(span)
                    .help("a block belongs to the keyword on its own line or on the line before"),
            ),
        }
    }

    fn block(&mut self, statement: Statement) {
        let list = !self.in_list() && is_list(&statement.name.text, self.open.is_empty());
        self.open.push(Open { statement, items: Vec::new(), list });
        self.waiting = false;
    }

    fn leave(&mut self, span: Span) {
        self.waiting = false;
        if self.left_out > 0 {
            self.left_out -= 1;
            return;
        }
        match self.open.pop() {
            Some(Open { mut statement, items, .. }) => {
                statement.block = Some(items);
                statement.close = Some(span);
                self.inside().push(statement);
            }
            None => {
                let error = Diagnostic::error("extra \"}\" is ignored").at(span);
                self.report(error.help("no block is open here: take it out or add the missing \"{\""));
            }
        }
    }

    /// Opens the block of a keyword that has to have one and is not followed by `{`, as keepalived does.
    fn demand_block(&mut self, next: Span) {
        let root = self.open.is_empty();
        if !self.waiting || self.in_list() || self.left_out > 0 {
            return;
        }
        let Some(statement) = self.inside().pop_if(|statement| needs_block(&statement.name.text, root))
        else {
            return;
        };
        let name = &statement.name.text;
        let error =
            Diagnostic::error(format!("missing \"{{\" at the beginning of block \"{name}\"")).at(next);
        self.reader
            .reports
            .add(error.help(format!("write \"{{\" behind \"{name}\" or on the line below it")));
        self.block(statement);
    }

    fn statement(&mut self, line: &Line) {
        let words = line.words();
        let mut list = words.list.into_iter();
        let Some(name) = list.next() else { return };
        if self.left_out > 0 {
            return;
        }
        if let Some(span) =
            words.open.filter(|_| !is_script(&name.text) && line.clone().clean(false).is_none())
        {
            let error = Diagnostic::error("a quote is never closed").at(span);
            self.report(error.help("a backslash does not escape a quote here: take the quote out"));
        }
        if let Some(span) = words.kept {
            let warning =
                Diagnostic::warning("keepalived takes this sign for the start of a comment").at(span);
            self.report(warning.help("put the word into double quotes, without a backslash"));
        }
        let args: Vec<_> = list.collect();
        let span = args.last().map_or(name.span, |last| name.span.to(last.span));
        self.undefined(line);
        let statement = Statement { name, args, rest: words.rest, block: None, span, close: None };
        self.apply(&statement);
        self.inside().push(statement);
        self.waiting = true;
    }

    /// Names a `${NAME}` outside quotes that stands for nothing.
    fn undefined(&mut self, line: &Line) {
        if let Some(span) = line.reference() {
            let error =
                Diagnostic::error("this name is not defined, or is not the last of its line").at(span);
            self.report(
                error.help("keepalived takes its braces for a block: define the name in front of its use"),
            );
        }
    }

    /// Obeys what `global_defs` says to the grammar itself.
    fn apply(&mut self, statement: &Statement) {
        if self.open.len() != 1
            || self.open.last().is_none_or(|open| open.statement.name.text != "global_defs")
        {
            return;
        }
        match statement.name.text.as_str() {
            "include_check" => {
                let words = statement.args.iter().map(|word| word.text.as_str());
                for word in self.reader.check(words) {
                    let error = Diagnostic::error(format!("unknown check \"{word}\"")).at(statement.span);
                    let known =
                        "use readable, match, wildcard_match or brace_match, with + to add or - to remove";
                    self.reader.reports.add(error.help(known));
                }
            }
            "random_seed" => {
                if let Some(seed) = statement.args.first().and_then(|word| word.text.parse().ok()) {
                    self.reader.seed(seed);
                }
            }
            _ => {}
        }
    }

    /// The list to which the next statement belongs.
    fn inside(&mut self) -> &mut Vec<Statement> {
        match self.open.last_mut() {
            Some(open) => &mut open.items,
            None => &mut self.items,
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.reader.reports.add(diagnostic);
    }

    fn end(mut self) -> Parsed {
        let last = self.inside().last().map(|statement| statement.name.clone());
        let lonely = |name: &Word| needs_block(&name.text, self.open.is_empty());
        if let Some(name) = last.filter(|name| self.waiting && !self.in_list() && lonely(name)) {
            let error = Diagnostic::error(format!("\"{}\" has no block", name.text)).at(name.span);
            self.report(error.help("write \"{\", the block's lines and \"}\" behind it"));
        }
        if let Some(outer) = self.open.first() {
            let (count, span) = (self.open.len(), outer.statement.span);
            let error = Diagnostic::error(format!("{count} \"}}\" missing at the end of the file")).at(span);
            let name = &outer.statement.name.text;
            self.reader
                .reports
                .add(error.help(format!("the block of \"{name}\" that is opened here is never closed")));
        }
        while let Some(Open { mut statement, items, .. }) = self.open.pop() {
            statement.block = Some(items);
            self.inside().push(statement);
        }
        let (files, reports) = self.reader.into_parts();
        Parsed { tree: Tree { files, items: self.items }, diagnostics: reports.into_list() }
    }

    fn in_list(&self) -> bool {
        self.open.last().is_some_and(|open| open.list)
    }
}
