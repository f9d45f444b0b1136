//! What one keyword is: the value from which checking, help and lowering all follow.

use weir_model::vrrp::{GarpGroup, StaticGroup, TrackFile, TrackProcess, Vrrp};

use crate::draft::{Draft, ScriptDraft};
use crate::global::Defaults;
use crate::group::GroupDraft;
use crate::line::Line;
use crate::scope::Scope;

/// One keyword of keepalived's grammar in one family of blocks.
///
/// A name that means different things in different blocks (`weight`, `interface`) has one value for each meaning.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    pub name: &'static str,
    /// Where it may stand.
    pub blocks: Blocks,
    pub shape: Shape,
    /// The arguments as the documentation writes them, without the name.
    pub syntax: &'static str,
    /// The value in force when it is absent; empty when there is none.
    pub default: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// The keepalived release that brought it, `weir` for Weir's own; empty: before 2.0.
    pub since: &'static str,
    pub action: Action,
}

impl Keyword {
    const fn new(
        name: &'static str,
        blocks: Blocks,
        shape: Shape,
        syntax: &'static str,
        doc: &'static str,
        action: Action,
    ) -> Self {
        Self { name, blocks, shape, syntax, default: "", doc, since: "", action }
    }

    /// A keyword with as many words as said, both ends inclusive.
    pub(crate) const fn line(
        name: &'static str,
        blocks: Blocks,
        words: (usize, usize),
        syntax: &'static str,
        doc: &'static str,
        action: Action,
    ) -> Self {
        Self::new(name, blocks, Shape::Words(words.0, words.1), syntax, doc, action)
    }

    /// A keyword that is true when it stands alone.
    pub(crate) const fn flag(name: &'static str, blocks: Blocks, doc: &'static str, action: Action) -> Self {
        Self::new(name, blocks, Shape::Words(0, 1), "[on | off]", doc, action).default("off")
    }

    /// A keyword that takes nothing.
    pub(crate) const fn bare(name: &'static str, blocks: Blocks, doc: &'static str, action: Action) -> Self {
        Self::new(name, blocks, Shape::Words(0, 0), "", doc, action)
    }

    /// A command line with an optional user.
    pub(crate) const fn command(
        name: &'static str,
        blocks: Blocks,
        doc: &'static str,
        action: Action,
    ) -> Self {
        Self::new(name, blocks, Shape::Command, "COMMAND [USER [GROUP]]", doc, action)
    }

    /// `{ ... }` with an item a line.
    pub(crate) const fn list(
        name: &'static str,
        blocks: Blocks,
        syntax: &'static str,
        doc: &'static str,
        action: Action,
    ) -> Self {
        Self::new(name, blocks, Shape::List, syntax, doc, action)
    }

    /// `{ ... }` with a keyword a line.
    pub(crate) const fn block(
        name: &'static str,
        blocks: Blocks,
        words: (usize, usize),
        opens: Blocks,
        syntax: &'static str,
        doc: &'static str,
        action: Action,
    ) -> Self {
        Self::new(name, blocks, Shape::Block { from: words.0, to: words.1, opens }, syntax, doc, action)
    }

    pub(crate) const fn default(mut self, value: &'static str) -> Self {
        self.default = value;
        self
    }

    pub(crate) const fn since(mut self, release: &'static str) -> Self {
        self.since = release;
        self
    }
}

/// What follows the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// So many words, inclusive.
    Words(usize, usize),
    /// A command line that is split like a shell's.
    Command,
    /// A block with an item a line.
    List,
    /// So many words, inclusive, and a block with a keyword a line.
    Block { from: usize, to: usize, opens: Blocks },
}

/// What a keyword does when it is met.
#[derive(Clone, Copy)]
pub enum Action {
    /// `global_defs`, lowered before everything else.
    Global(fn(&mut Defaults, &Line<'_>, &mut Scope<'_>)),
    Instance(fn(&mut Draft, &Line<'_>, &mut Scope<'_>)),
    Group(fn(&mut GroupDraft, &Line<'_>, &mut Scope<'_>)),
    Script(fn(&mut ScriptDraft, &Line<'_>, &mut Scope<'_>)),
    Process(fn(&mut TrackProcess, &Line<'_>, &mut Scope<'_>)),
    File(fn(&mut TrackFile, &Line<'_>, &mut Scope<'_>)),
    GarpGroup(fn(&mut GarpGroup, &Line<'_>, &mut Scope<'_>)),
    StaticGroup(fn(&mut StaticGroup, &Line<'_>, &mut Scope<'_>)),
    /// A list or a line of the root.
    Root(fn(&mut Vrrp, &Line<'_>, &mut Scope<'_>)),
    /// Opens a block that is lowered.
    Block,
    /// Has nothing to do in Weir, and nobody misses it; the text says why.
    Silent(&'static str),
    /// Read and without effect, which is said; the text says why.
    WithoutEffect(&'static str),
    /// The same for what a later version is to do.
    Later(&'static str),
}

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Global(_) => "Global",
            Self::Instance(_) => "Instance",
            Self::Group(_) => "Group",
            Self::Script(_) => "Script",
            Self::Process(_) => "Process",
            Self::File(_) => "File",
            Self::GarpGroup(_) => "GarpGroup",
            Self::StaticGroup(_) => "StaticGroup",
            Self::Root(_) => "Root",
            Self::Block => "Block",
            Self::Silent(_) => "Silent",
            Self::WithoutEffect(_) => "WithoutEffect",
            Self::Later(_) => "Later",
        })
    }
}

/// A set of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks(pub u32);

impl Blocks {
    /// What a block opens whose lines are no keywords.
    pub const NONE: Self = Self(0);
    pub const ROOT: Self = Self(1);
    pub const GLOBAL: Self = Self(1 << 1);
    pub const INSTANCE: Self = Self(1 << 2);
    pub const AUTHENTICATION: Self = Self(1 << 3);
    pub const GROUP: Self = Self(1 << 4);
    pub const SCRIPT: Self = Self(1 << 5);
    pub const PROCESS: Self = Self(1 << 6);
    pub const FILE: Self = Self(1 << 7);
    pub const GARP_GROUP: Self = Self(1 << 8);
    pub const STATIC_GROUP: Self = Self(1 << 9);
    pub const AUTH_HMAC: Self = Self(1 << 10);
    pub const BFD: Self = Self(1 << 11);
    pub const SSL: Self = Self(1 << 12);
    pub const VIRTUAL_SERVER: Self = Self(1 << 13);
    pub const REAL_SERVER: Self = Self(1 << 14);
    /// `TCP_CHECK`, `HTTP_GET` and their like.
    pub const CHECKER: Self = Self(1 << 15);
    pub const URL: Self = Self(1 << 16);
    /// `host` of `SMTP_CHECK`.
    pub const HOST: Self = Self(1 << 17);

    const NAMES: [(Self, &'static str); 18] = [
        (Self::ROOT, "the root"),
        (Self::GLOBAL, "global_defs"),
        (Self::INSTANCE, "vrrp_instance"),
        (Self::AUTHENTICATION, "authentication"),
        (Self::GROUP, "vrrp_sync_group"),
        (Self::SCRIPT, "vrrp_script"),
        (Self::PROCESS, "vrrp_track_process"),
        (Self::FILE, "track_file"),
        (Self::GARP_GROUP, "garp_group"),
        (Self::STATIC_GROUP, "track_group"),
        (Self::AUTH_HMAC, "auth_hmac"),
        (Self::BFD, "bfd_instance"),
        (Self::SSL, "SSL"),
        (Self::VIRTUAL_SERVER, "virtual_server"),
        (Self::REAL_SERVER, "real_server"),
        (Self::CHECKER, "a checker"),
        (Self::URL, "url"),
        (Self::HOST, "host"),
    ];

    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of the other's blocks is in this set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The blocks one by one.
    pub fn each(self) -> impl Iterator<Item = Self> {
        Self::NAMES.into_iter().map(|(block, _)| block).filter(move |block| self.has(*block))
    }

    /// The words of the documentation: `global_defs, vrrp_instance`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(block, _)| self.has(*block)).map(|(_, name)| name)
    }
}
