//! What one directive is: the value from which checking, help and lowering all follow.

use weir_model::check::Match;
use weir_model::{Admin, Location, Process, Registry, Rewrite, Server, Settings, Upstream};
use weir_syntax::Span;

use crate::args::Args;
use crate::scope::Scope;

/// One directive of nginx's grammar in one family of contexts.
///
/// A name that means different things in different contexts (`server`, `keepalive_timeout`) has one value
/// for each meaning.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    pub name: &'static str,
    /// nginx's name of the module that defines it, or the third-party module's.
    pub module: &'static str,
    pub contexts: Contexts,
    pub arguments: Arity,
    /// The directive ends with `{ ... }` instead of `;`.
    pub block: bool,
    /// It may stand more than once on a level; otherwise a second one is `"x" directive is duplicate`.
    pub repeat: bool,
    /// The arguments as the documentation writes them, without the name: `on | off`, `NUMBER SIZE`.
    pub syntax: &'static str,
    /// The value in force when it is absent; empty when there is none.
    pub default: &'static str,
    /// One sentence.
    pub doc: &'static str,
    pub action: Action,
}

impl Directive {
    /// A value with nothing but a name, for `..Directive::NEW` in the tables.
    pub(crate) const NEW: Self = Self {
        name: "",
        module: "",
        contexts: Contexts(0),
        arguments: Arity::Exactly(1),
        block: false,
        repeat: false,
        syntax: "",
        default: "",
        doc: "",
        action: Action::Accepted(""),
    };
}

/// What a directive does when it is met.
#[derive(Clone, Copy)]
pub enum Action {
    /// Changes what a location inherits.
    Setting(fn(&mut Settings, &Args<'_>, &mut Scope<'_>) -> Result<(), Problem>),
    /// Main and events levels.
    Process(fn(&mut Process, &Args<'_>, &mut Scope<'_>) -> Result<(), Problem>),
    /// A scalar of the server that is inherited from http, or `listen` and `server_name`.
    Server(fn(&mut Server, &Args<'_>, &mut Scope<'_>) -> Result<(), Problem>),
    /// Something of one location that is not inherited: its handler, `internal`.
    Location(fn(&mut Location, &Args<'_>, &mut Scope<'_>) -> Result<(), Problem>),
    /// A step of the rewrite program.
    Rewrite(fn(&Args<'_>, &mut Scope<'_>) -> Result<Rewrite, Problem>),
    /// A line inside `upstream`.
    Upstream(fn(&mut Upstream, &Args<'_>, &mut Scope<'_>) -> Result<(), Problem>),
    /// A line inside `match`.
    Match(fn(&mut Match, &Args<'_>, &mut Scope<'_>) -> Result<(), Problem>),
    /// A line inside `registry`.
    Registry(fn(&mut Registry, &Args<'_>, &mut Scope<'_>) -> Result<(), Problem>),
    /// A line inside `admin`.
    Admin(fn(&mut Admin, &Args<'_>, &mut Scope<'_>) -> Result<(), Problem>),
    /// Something of the whole http block: a format, a zone. The result goes into `scope.http`.
    Http(fn(&Args<'_>, &mut Scope<'_>) -> Result<(), Problem>),
    /// Opens a level of its own, or a list of words.
    Block(Block),
    /// Checked and without effect; the text says why that is right.
    Accepted(&'static str),
    /// Known and refused; the text says what to do instead.
    Absent(&'static str),
}

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Setting(_) => "Setting",
            Self::Process(_) => "Process",
            Self::Server(_) => "Server",
            Self::Location(_) => "Location",
            Self::Rewrite(_) => "Rewrite",
            Self::Upstream(_) => "Upstream",
            Self::Match(_) => "Match",
            Self::Registry(_) => "Registry",
            Self::Admin(_) => "Admin",
            Self::Http(_) => "Http",
            Self::Block(_) => "Block",
            Self::Accepted(_) => "Accepted",
            Self::Absent(_) => "Absent",
        })
    }
}

/// The blocks that are lowered.
#[derive(Clone, Copy, Debug)]
pub enum Block {
    Events,
    Http,
    Server,
    Location,
    LimitExcept,
    If,
    Upstream,
    Match,
    Registry,
    Admin,
    Map,
    Geo,
    SplitClients,
    /// `types`: a setting whose body is a list of words; lowered when it is met, like a simple directive.
    Setting(fn(&mut Settings, &Args<'_>, &mut Scope<'_>) -> Result<(), Problem>),
}

/// A set of contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contexts(pub u32);

impl Contexts {
    pub const MAIN: Self = Self(1);
    pub const EVENTS: Self = Self(1 << 1);
    pub const HTTP: Self = Self(1 << 2);
    pub const SERVER: Self = Self(1 << 3);
    pub const LOCATION: Self = Self(1 << 4);
    /// `if` in server.
    pub const SERVER_IF: Self = Self(1 << 5);
    /// `if` in location.
    pub const LOCATION_IF: Self = Self(1 << 6);
    pub const LIMIT_EXCEPT: Self = Self(1 << 7);
    pub const UPSTREAM: Self = Self(1 << 8);
    pub const STREAM: Self = Self(1 << 9);
    pub const STREAM_SERVER: Self = Self(1 << 10);
    pub const STREAM_UPSTREAM: Self = Self(1 << 11);
    pub const MAIL: Self = Self(1 << 12);
    pub const MAIL_SERVER: Self = Self(1 << 13);
    pub const MATCH: Self = Self(1 << 14);
    pub const REGISTRY: Self = Self(1 << 15);
    pub const ADMIN: Self = Self(1 << 16);

    /// http, server and location: where most settings may stand.
    pub const HSL: Self = Self::HTTP.or(Self::SERVER).or(Self::LOCATION);
    /// http, server, location and `if` in location.
    pub const HSLI: Self = Self::HSL.or(Self::LOCATION_IF);
    pub const HTTP_SERVER: Self = Self::HTTP.or(Self::SERVER);
    /// Every context of the http block and above.
    pub const ANY: Self = Self(0x1_ffff);

    const NAMES: [(Self, &'static str); 17] = [
        (Self::MAIN, "main"),
        (Self::EVENTS, "events"),
        (Self::HTTP, "http"),
        (Self::SERVER, "server"),
        (Self::LOCATION, "location"),
        (Self::SERVER_IF, "if in server"),
        (Self::LOCATION_IF, "if in location"),
        (Self::LIMIT_EXCEPT, "limit_except"),
        (Self::UPSTREAM, "upstream"),
        (Self::STREAM, "stream"),
        (Self::STREAM_SERVER, "server in stream"),
        (Self::STREAM_UPSTREAM, "upstream in stream"),
        (Self::MAIL, "mail"),
        (Self::MAIL_SERVER, "server in mail"),
        (Self::MATCH, "match"),
        (Self::REGISTRY, "registry"),
        (Self::ADMIN, "admin"),
    ];

    /// Both sets together.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the two sets share a context.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The words of the documentation: `http, server, location`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(context, _)| self.has(*context)).map(|(_, name)| name)
    }
}

/// How many arguments a directive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    None,
    /// One, `on` or `off`.
    Flag,
    Exactly(usize),
    /// Inclusive.
    Between(usize, usize),
    AtLeast(usize),
    /// The one or the other number (nginx's TAKE13).
    Either(usize, usize),
    /// Any number, none included.
    Any,
}

impl Arity {
    /// nginx takes at most seven arguments where it counts them at all (NGX_CONF_MAX_ARGS).
    pub(crate) const fn takes(self, count: usize) -> bool {
        match self {
            Self::None => count == 0,
            Self::Flag => count == 1,
            Self::Exactly(n) => count == n,
            Self::Between(from, to) => from <= count && count <= to,
            Self::AtLeast(n) => n <= count,
            Self::Either(a, b) => count == a || count == b,
            Self::Any => true,
        }
    }
}

/// Why a directive was refused, before the file and line are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// nginx's words where nginx has some, without the trailing ` in FILE:LINE`.
    pub message: String,
    /// Absent: the whole directive.
    pub span: Option<Span>,
    pub notes: Vec<String>,
    /// What to do about it.
    pub help: Vec<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), span: None, notes: Vec::new(), help: Vec::new() }
    }

    pub(crate) fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}
