//! Words to a tree, with `include` expanded.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use crate::bytes::decode;
use crate::lexer::{End, Flaw, Lexer};
use crate::source::absolute;
use crate::{Diagnostic, Directive, Source, SourceFile, Span, Tree, Word};

/// Blocks and included files within each other; far above what any file has, far below the stack.
const DEEPEST: usize = 200;

/// What could be read, and why the reading ended early.
///
/// nginx obeys each directive as it reads it, so a directive that it refuses is reported before a flaw that
/// stands behind it. The tree therefore keeps everything in front of the flaw; blocks that were open there
/// have no [`Directive::close`].
#[derive(Debug)]
pub struct Parsed {
    pub tree: Tree,
    pub flaw: Option<Box<Diagnostic>>,
}

/// Reads a configuration file and everything it includes.
///
/// `directory` is the one of the configuration file, with which relative paths are completed.
///
/// # Errors
/// The first flaw, with a span into the files that [`parse_all`] answers.
pub fn parse(path: &str, directory: &str, source: &dyn Source) -> Result<Tree, Box<Diagnostic>> {
    let parsed = parse_all(None, path, directory, source);
    parsed.flaw.map_or(Ok(parsed.tree), Err)
}

/// Reads the text of `-g` if there is one, then a configuration file and everything it includes, up to the
/// first flaw.
#[must_use]
pub fn parse_all(globals: Option<&str>, path: &str, directory: &str, source: &dyn Source) -> Parsed {
    let mut parser =
        Parser { source, directory, files: Vec::new(), known: HashMap::new(), reading: Vec::new() };
    let mut items = Vec::new();
    let flaw = parser.whole(globals, path, &mut items).err();
    let files = parser.files.into_iter().map(Rc::unwrap_or_clone).collect();
    Parsed { tree: Tree { files, items }, flaw }
}

type Result<T, E = Box<Diagnostic>> = std::result::Result<T, E>;

struct Parser<'a> {
    source: &'a dyn Source,
    directory: &'a str,
    files: Vec<Rc<SourceFile>>,
    known: HashMap<String, u32>,
    /// The files that are open, outermost first.
    reading: Vec<u32>,
}

/// A block whose `}` has not been read yet.
struct Open {
    directive: Directive,
    items: Vec<Directive>,
}

impl Parser<'_> {
    fn whole(&mut self, globals: Option<&str>, path: &str, items: &mut Vec<Directive>) -> Result<()> {
        if let Some(text) = globals.filter(|text| !text.is_empty()) {
            let index = self.add("command line".to_owned(), text.to_owned(), true);
            self.items(index, 0, items)?;
        }
        self.file(path, None, 0, items)
    }

    fn add(&mut self, path: String, text: String, command_line: bool) -> u32 {
        let index = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(Rc::new(SourceFile { path, text, command_line }));
        index
    }

    /// Reads a file into `items`; `from` is the `include`.
    fn file(
        &mut self,
        path: &str,
        from: Option<&Directive>,
        depth: usize,
        items: &mut Vec<Directive>,
    ) -> Result<()> {
        let index = match self.known.get(path) {
            Some(index) => *index,
            None => {
                let bytes = self.source.read(path).map_err(|error| unreadable(path, &error, from))?;
                let text = decode(bytes);
                if u32::try_from(text.len()).is_err() {
                    return Err(place(Diagnostic::error(format!("file \"{path}\" is too large")), from));
                }
                let index = self.add(path.to_owned(), text, false);
                self.known.insert(path.to_owned(), index);
                index
            }
        };
        if self.reading.contains(&index) {
            let message = format!("open() \"{path}\" failed (24: Too many open files)");
            return Err(place(Diagnostic::error(message).help("this file includes itself"), from));
        }
        self.reading.push(index);
        let outcome = self.items(index, depth, items);
        self.reading.pop();
        outcome
    }

    /// Reads one file's text. What was read before a flaw is kept.
    fn items(&mut self, index: u32, depth: usize, items: &mut Vec<Directive>) -> Result<()> {
        let file = Rc::clone(&self.files[index as usize]);
        let mut lexer = Lexer::new(&file.text, index, file.command_line);
        let mut open = Vec::new();
        let outcome = self.run(&mut lexer, file.command_line, depth, &mut open, items);
        while let Some(Open { mut directive, items: inner }) = open.pop() {
            directive.block = Some(inner);
            inside(&mut open, items).push(directive);
        }
        outcome
    }

    fn run(
        &mut self,
        lexer: &mut Lexer<'_>,
        parameter: bool,
        depth: usize,
        open: &mut Vec<Open>,
        items: &mut Vec<Directive>,
    ) -> Result<()> {
        loop {
            let (words, end, last) = lexer.next().map_err(|flaw| flawed(flaw, open))?;
            match end {
                End::File if open.is_empty() => return Ok(()),
                End::File => return Err(never_closed(open, last)),
                End::Close => match open.pop() {
                    None => {
                        let error = Diagnostic::error("unexpected \"}\"").at(last);
                        return Err(Box::new(error.help("no block is open here in this file")));
                    }
                    Some(Open { mut directive, items: inner }) => {
                        directive.block = Some(inner);
                        directive.close = Some(last);
                        inside(open, items).push(directive);
                    }
                },
                End::Open if parameter => {
                    let error = Diagnostic::error("block directives are not supported in -g option");
                    return Err(Box::new(error.at(last)));
                }
                End::Open => {
                    let directive = assemble(words, last);
                    if depth + open.len() >= DEEPEST {
                        let error = Diagnostic::error("too many blocks within each other").at(last);
                        return Err(Box::new(error.help(format!("at most {DEEPEST} may be open at once"))));
                    }
                    open.push(Open { directive, items: Vec::new() });
                }
                End::Semicolon => {
                    let directive = assemble(words, last);
                    let depth = depth + open.len() + 1;
                    let items = inside(open, items);
                    if directive.name.text == "include" && directive.args.len() == 1 {
                        self.include(&directive, depth, items)?;
                    } else {
                        items.push(directive);
                    }
                }
            }
        }
    }

    fn include(&mut self, directive: &Directive, depth: usize, items: &mut Vec<Directive>) -> Result<()> {
        let path = absolute(self.directory, &directive.args[0].text);
        if depth >= DEEPEST {
            let message = format!("open() \"{path}\" failed (24: Too many open files)");
            return Err(place(Diagnostic::error(message), Some(directive)));
        }
        if !path.contains(['*', '?', '[']) {
            return self.file(&path, Some(directive), depth, items);
        }
        for path in self.source.glob(&path) {
            self.file(&path, Some(directive), depth, items)?;
        }
        Ok(())
    }
}

/// The list to which the next directive belongs.
fn inside<'a>(open: &'a mut [Open], items: &'a mut Vec<Directive>) -> &'a mut Vec<Directive> {
    match open.last_mut() {
        Some(open) => &mut open.items,
        None => items,
    }
}

fn assemble(words: Vec<Word>, last: Span) -> Directive {
    let mut words = words.into_iter();
    let name = words.next().expect("the lexer ends a directive only behind a word");
    let span = name.span.to(last);
    Directive { name, args: words.collect(), block: None, span, close: None }
}

fn place(mut diagnostic: Diagnostic, from: Option<&Directive>) -> Box<Diagnostic> {
    if let Some(directive) = from {
        diagnostic.span = Some(directive.args.first().map_or(directive.name.span, |word| word.span));
        diagnostic.stood = Some(directive.span);
    }
    Box::new(diagnostic)
}

/// The system call's error as nginx words it: `(2: No such file or directory)`.
fn unreadable(path: &str, error: &io::Error, from: Option<&Directive>) -> Box<Diagnostic> {
    let call = if error.kind() == io::ErrorKind::IsADirectory { "read()" } else { "open()" };
    let words = error.to_string();
    let message = match error.raw_os_error() {
        Some(code) => {
            let words = words.strip_suffix(&format!(" (os error {code})")).unwrap_or(&words);
            format!("{call} \"{path}\" failed ({code}: {words})")
        }
        None => format!("{call} \"{path}\" failed ({words})"),
    };
    place(Diagnostic::error(message), from)
}

fn flawed(flaw: Flaw, open: &[Open]) -> Box<Diagnostic> {
    let stood = Span { file: flaw.span.file, start: flaw.stood, end: flaw.stood };
    let mut diagnostic = Diagnostic::error(flaw.message).at(flaw.span).stood(stood);
    if let Some(help) = flaw.help {
        diagnostic = diagnostic.help(help);
    }
    if let Some(outer) = open.last() {
        diagnostic = diagnostic.note(format!("inside the block of \"{}\"", outer.directive.name.text));
    }
    Box::new(diagnostic)
}

fn never_closed(open: &[Open], end: Span) -> Box<Diagnostic> {
    let diagnostic = Diagnostic::error("unexpected end of file, expecting \"}\"").stood(end);
    Box::new(match open.last() {
        Some(outer) => {
            let help = format!("the block of \"{}\" is never closed", outer.directive.name.text);
            diagnostic.at(outer.directive.span).help(help)
        }
        None => diagnostic.at(end),
    })
}
