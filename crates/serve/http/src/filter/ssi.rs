//! Server-side includes: carries out the commands of a page while it goes by.

use std::cell::RefCell;
use std::rc::Rc;

use weir_http::Value;
use weir_http::ssi::text::{self, Condition, entities, evaluate};
use weir_http::ssi::{Command, Parser, Piece};
use weir_http::wire::uri::{Escape, escape};
use weir_log::clock;
use weir_model::location::Ssi;
use weir_model::{Level, Variable, VariableSource};
use weir_pattern::{Captures, Pattern};

use super::{emit, is_listed};
use crate::exchange::{Exchange, Sink};
use crate::respond::Gone;
use crate::subrequest;

/// Pages that may include one another, from the first on.
const DEPTH: u8 = 50;
/// Pages that one request may include in all.
const INCLUDES: u32 = 64_000;
/// Bytes of a page that becomes a variable.
const VALUE: usize = 64 * 1024;
const NONE: &[u8] = b"(none)";

/// What a request and the pages that it includes have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    variables: Vec<(Vec<u8>, Vec<u8>)>,
    /// Groups of the last pattern that matched.
    captures: Vec<Vec<u8>>,
    blocks: Vec<(Vec<u8>, Vec<u8>)>,
    left: u32,
}

/// Where a request stands among the pages that include one another.
#[derive(Debug)]
pub(crate) struct Pages {
    shared: Rc<RefCell<Shared>>,
    depth: u8,
    /// A block takes the place of this page when it fails or is empty.
    pub(crate) has_stub: bool,
    /// Something of the page's body has come.
    pub(crate) emitted: bool,
}

impl Pages {
    fn first() -> Self {
        let shared =
            Shared { variables: Vec::new(), captures: Vec::new(), blocks: Vec::new(), left: INCLUDES };
        Self { shared: Rc::new(RefCell::new(shared)), depth: 0, has_stub: false, emitted: false }
    }

    fn included(&self, has_stub: bool) -> Self {
        Self { shared: Rc::clone(&self.shared), depth: self.depth + 1, has_stub, emitted: false }
    }
}

impl Shared {
    fn set(&mut self, name: &[u8], value: Vec<u8>) {
        let name = name.to_ascii_lowercase();
        match self.variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name, value)),
        }
    }

    /// The value of a name in lower case.
    fn value(&self, name: &[u8]) -> Option<Vec<u8>> {
        if let [digit @ b'0'..=b'9'] = name
            && let Some(capture) = self.captures.get(usize::from(digit - b'0'))
        {
            return Some(capture.clone());
        }
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// How `echo` writes values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    None,
    Url,
    Entity,
}

/// The part of an `if` that a page is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Branch {
    Outside,
    If,
    Else,
}

/// A page on its way.
#[derive(Debug)]
pub(crate) struct Page {
    parser: Parser,
    /// What comes now goes out: false in a block and in a branch that was not taken.
    output: bool,
    /// A branch of the current `if` was taken.
    taken: bool,
    branch: Branch,
    in_block: bool,
    encoding: Encoding,
    time_format: Option<Vec<u8>>,
    message: Vec<u8>,
    silent: bool,
}

/// Why a command was not carried out.
enum Trouble {
    /// For the error log; the page goes on.
    Wrong(String),
    Gone,
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

impl From<Gone> for Trouble {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Page {
    /// The filter of an answer that is a page with commands; its head is changed then.
    pub(super) fn of(exchange: &mut Exchange<'_>, ssi: &Ssi) -> Option<Self> {
        let answer = &exchange.request.answer;
        let has_body = answer.status >= 200 && !matches!(answer.status, 204 | 304);
        let dropped = matches!(exchange.sink, Sink::Collect { limit: 0, .. });
        if !ssi.on
            || !has_body
            || dropped
            || answer.content_length == Some(0)
            || !is_listed(&ssi.types, answer.content_type.as_deref())
        {
            return None;
        }
        if !exchange.is_sub {
            let answer = &mut exchange.request.answer;
            answer.content_length = None;
            if ssi.last_modified {
                answer.weaken_etag();
            } else {
                answer.last_modified = None;
                answer.remove("etag");
            }
        }
        exchange.pages.get_or_insert_with(|| Box::new(Pages::first()));
        Some(Self {
            parser: Parser::new(usize::try_from(ssi.value_length).unwrap_or(usize::MAX)),
            output: true,
            taken: false,
            branch: Branch::Outside,
            in_block: false,
            encoding: Encoding::Entity,
            time_format: None,
            message: b"[an error occurred while processing the directive]".to_vec(),
            silent: ssi.silent_errors,
        })
    }

    pub(super) async fn data(&mut self, exchange: &mut Exchange<'_>, bytes: &[u8]) -> Result<(), Gone> {
        let mut at = 0;
        while let Some(piece) = self.parser.next(bytes, &mut at) {
            self.piece(exchange, piece).await?;
        }
        Ok(())
    }

    pub(super) async fn end(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Gone> {
        match self.parser.end() {
            Some(piece) => self.piece(exchange, piece).await,
            None => Ok(()),
        }
    }

    async fn piece(&mut self, exchange: &mut Exchange<'_>, piece: Piece<'_>) -> Result<(), Gone> {
        let done = match piece {
            Piece::Text(text) if self.output => emit(exchange, text).await.map_err(Trouble::from),
            Piece::Text(text) => {
                self.to_block(exchange, |block| block.extend_from_slice(text));
                Ok(())
            }
            Piece::Command(command) => self.command(exchange, &command).await,
            Piece::Flaw(why) => Err(Trouble::Wrong(why)),
        };
        match done {
            Ok(()) => Ok(()),
            Err(Trouble::Gone) => Err(Gone),
            Err(Trouble::Wrong(why)) => {
                exchange.log(Level::Error, format_args!("{why}"));
                if self.silent { Ok(()) } else { emit(exchange, &self.message).await }
            }
        }
    }

    fn to_block(&self, exchange: &Exchange<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        if let (true, Some(pages)) = (self.in_block, &exchange.pages)
            && let Some((_, block)) = pages.shared.borrow_mut().blocks.last_mut()
        {
            write(block);
        }
    }

    async fn command(&mut self, exchange: &mut Exchange<'_>, command: &Command) -> Result<(), Trouble> {
        let name = command.name.as_slice();
        if self.in_block && name != b"endblock" {
            self.to_block(exchange, |block| command.write(block));
            return Ok(());
        }
        let conditional = matches!(name, b"elif" | b"else" | b"endif");
        if !self.output && !conditional && !self.in_block {
            return Ok(());
        }
        let misplaced = match name {
            b"elif" | b"else" => self.branch != Branch::If,
            b"endif" => self.branch == Branch::Outside,
            _ => false,
        };
        if misplaced {
            return Err(Trouble::Wrong(format!("invalid context of SSI command: \"{}\"", lossy(name))));
        }
        match name {
            b"include" => self.include(exchange, command).await,
            b"echo" => self.echo(exchange, command).await,
            b"set" => self.set(exchange, command),
            b"config" => self.config(command),
            b"if" if self.branch != Branch::Outside => {
                Err(Trouble::Wrong("the \"if\" command inside the \"if\" command".to_owned()))
            }
            b"if" | b"elif" => self.test(exchange, command),
            b"else" => {
                let [] = command.values([])?;
                self.output = !self.taken;
                self.branch = Branch::Else;
                Ok(())
            }
            b"endif" => {
                let [] = command.values([])?;
                (self.output, self.taken, self.branch) = (true, false, Branch::Outside);
                Ok(())
            }
            b"block" => self.block(exchange, command),
            b"endblock" => {
                let [] = command.values([])?;
                (self.output, self.in_block) = (true, false);
                Ok(())
            }
            _ => Err(Trouble::Wrong(format!("invalid SSI command: \"{}\"", lossy(name)))),
        }
    }

    /// The value of a name: a capture, a variable of the page, or one of the request.
    fn lookup(&self, exchange: &mut Exchange<'_>, name: &[u8]) -> Option<Vec<u8>> {
        let name = name.to_ascii_lowercase();
        let of_page = exchange.pages.as_ref().and_then(|pages| pages.shared.borrow().value(&name));
        if of_page.is_some() {
            return of_page;
        }
        if let (Some(format), b"date_gmt" | b"date_local") = (&self.time_format, name.as_slice()) {
            return clock::formatted(&lossy(format), name == b"date_gmt").map(String::into_bytes);
        }
        of_request(exchange, &lossy(&name))
    }

    /// The value of a text with variables.
    fn expand(&self, exchange: &mut Exchange<'_>, text: &[u8]) -> Result<Vec<u8>, String> {
        evaluate(text, |name| self.lookup(exchange, name))
    }

    async fn echo(&mut self, exchange: &mut Exchange<'_>, command: &Command) -> Result<(), Trouble> {
        let [name, default, encoding] = command.values(["var", "default", "encoding"])?;
        let name = command.mandatory("var", name)?;
        let value = self.lookup(exchange, name).unwrap_or_else(|| default.unwrap_or(NONE).to_vec());
        match encoding {
            None => {}
            Some(b"none") => self.encoding = Encoding::None,
            Some(b"url") => self.encoding = Encoding::Url,
            Some(b"entity") => self.encoding = Encoding::Entity,
            Some(other) => exchange.log(
                Level::Error,
                format_args!("unknown encoding \"{}\" in the \"echo\" command", lossy(other)),
            ),
        }
        let mut encoded = Vec::with_capacity(value.len());
        match self.encoding {
            Encoding::None => encoded = value,
            Encoding::Url => escape(Escape::Html, &value, &mut encoded),
            Encoding::Entity => entities(&value, &mut encoded),
        }
        Ok(emit(exchange, &encoded).await?)
    }

    fn set(&mut self, exchange: &mut Exchange<'_>, command: &Command) -> Result<(), Trouble> {
        let [name, value] = command.values(["var", "value"])?;
        let (name, value) = (command.mandatory("var", name)?, command.mandatory("value", value)?);
        let value = self.expand(exchange, value)?;
        if let Some(pages) = &exchange.pages {
            pages.shared.borrow_mut().set(name, value);
        }
        Ok(())
    }

    fn config(&mut self, command: &Command) -> Result<(), Trouble> {
        let [message, format] = command.values(["errmsg", "timefmt"])?;
        if let Some(format) = format {
            self.time_format = Some(format.to_vec());
        }
        if let Some(message) = message {
            self.message = message.to_vec();
        }
        Ok(())
    }

    /// `if` and `elif`.
    fn test(&mut self, exchange: &mut Exchange<'_>, command: &Command) -> Result<(), Trouble> {
        let [expression] = command.values(["expr"])?;
        let expression = command.mandatory("expr", expression)?;
        if self.taken {
            self.output = false;
            return Ok(());
        }
        let holds = match Condition::parse(expression)? {
            Condition::Text(text) => !self.expand(exchange, &text)?.is_empty(),
            Condition::Equal { left, right, negate } => {
                let (left, right) = (self.expand(exchange, &left)?, self.expand(exchange, &right)?);
                (left == right) != negate
            }
            Condition::Match { left, pattern, negate } => {
                let (left, pattern) = (self.expand(exchange, &left)?, self.expand(exchange, &pattern)?);
                matches(exchange, &pattern, &left)? != negate
            }
        };
        (self.output, self.taken, self.branch) = (holds, holds, Branch::If);
        Ok(())
    }

    fn block(&mut self, exchange: &Exchange<'_>, command: &Command) -> Result<(), Trouble> {
        let [name] = command.values(["name"])?;
        let name = command.mandatory("name", name)?.to_vec();
        if let Some(pages) = &exchange.pages {
            pages.shared.borrow_mut().blocks.push((name, Vec::new()));
        }
        (self.output, self.in_block) = (false, true);
        Ok(())
    }

    async fn include(&mut self, exchange: &mut Exchange<'_>, command: &Command) -> Result<(), Trouble> {
        let wrong = |why: &str| Err(Trouble::Wrong(format!("{why} in \"include\" SSI command")));
        let [uri, file, wait, set, stub] = command.values(["virtual", "file", "wait", "set", "stub"])?;
        let link = match (uri, file) {
            (Some(_), Some(_)) => return wrong("both \"virtual\" and \"file\""),
            (None, None) => return wrong("no parameter"),
            (Some(link), None) | (None, Some(link)) => link,
        };
        if set.is_some() && stub.is_some() {
            return wrong("\"set\" and \"stub\" cannot be used together");
        }
        // Each page is waited for, so there is nothing more to do.
        if wait.is_some_and(|wait| !wait.eq_ignore_ascii_case(b"yes") && !wait.eq_ignore_ascii_case(b"no")) {
            return wrong("invalid value of the \"wait\" parameter");
        }
        let link = self.expand(exchange, link)?;
        let (uri, args) = text::link(&link, &exchange.request.uri)?;
        let pages = count(exchange, stub.is_some())?;
        let stub = match stub {
            None => None,
            Some(name) => Some(stub_named(&pages, name)?),
        };
        let into_memory = set.map(|_| VALUE);
        let included =
            subrequest::include(exchange, &uri, &args, pages, stub.as_deref(), into_memory).await?;
        if let (Some(name), Some(pages)) = (set, &exchange.pages) {
            pages.shared.borrow_mut().set(name, included);
        }
        Ok(())
    }
}

/// Counts a page that is to be included.
fn count(exchange: &Exchange<'_>, has_stub: bool) -> Result<Box<Pages>, String> {
    let pages = exchange.pages.as_ref().filter(|pages| pages.depth < DEPTH && pages.shared.borrow().left > 0);
    let Some(pages) = pages else {
        return Err(format!("subrequests cycle while processing \"{}\"", lossy(&exchange.request.uri)));
    };
    pages.shared.borrow_mut().left -= 1;
    Ok(Box::new(pages.included(has_stub)))
}

fn stub_named(pages: &Pages, name: &[u8]) -> Result<Vec<u8>, String> {
    let shared = pages.shared.borrow();
    let block = shared.blocks.iter().find(|(known, _)| known == name).map(|(_, block)| block.clone());
    block.ok_or_else(|| format!("\"stub\"=\"{}\" for \"include\" not found", lossy(name)))
}

/// Holds a value against a pattern of the page; its groups become variables.
fn matches(exchange: &Exchange<'_>, pattern: &[u8], value: &[u8]) -> Result<bool, String> {
    let pattern = std::str::from_utf8(pattern).map_err(|error| error.to_string())?;
    let pattern = Pattern::new(pattern, false).map_err(|error| error.to_string())?;
    let mut captures = Captures::new();
    if !pattern.captures(value, &mut captures) {
        return Ok(false);
    }
    if let Some(pages) = &exchange.pages {
        let mut shared = pages.shared.borrow_mut();
        shared.captures = (0..captures.len()).map(|group| captures.text(value, group).to_vec()).collect();
        for (group, name) in pattern.names() {
            shared.set(name.as_bytes(), captures.text(value, usize::from(group)).to_vec());
        }
    }
    Ok(true)
}

/// A variable of the request by its name in lower case.
fn of_request(exchange: &mut Exchange<'_>, name: &str) -> Option<Vec<u8>> {
    let live = exchange.live();
    let declared =
        live.site().http().variables.iter().enumerate().find(|(_, declared)| declared.name == name);
    let family = Variable::parse(name);
    let variable = match (declared, family) {
        (Some((index, declared)), family) => {
            let is_set = matches!(exchange.request.variables.get(index), Some(Value::Set(_)));
            // `set` in another place may have the name of a header.
            match family.filter(|_| !is_set && matches!(declared.source, VariableSource::Set)) {
                Some(family) => family,
                None => Variable::User(u32::try_from(index).ok()?),
            }
        }
        (None, family) => family?,
    };
    exchange.evaluate(|request, scope, _| {
        let mut value = Vec::new();
        request.variable(scope, &variable, &mut value).then_some(value)
    })
}

fn lossy(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}
