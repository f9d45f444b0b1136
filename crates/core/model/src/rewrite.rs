//! The programs that `rewrite`, `set`, `if`, `return` and `break` form.

use serde::{Deserialize, Serialize};

use crate::{LocationId, Template, Variable};

/// A regular expression and the variables that its named groups set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Regex {
    pub source: String,
    pub caseless: bool,
    /// Group number and index into [`crate::Http::variables`].
    pub names: Vec<(u16, u32)>,
}

/// One directive of the rewrite module, run in file order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rewrite {
    /// The variable is a user's, or one of the settable built-in ones (`$args`, `$limit_rate`).
    Set {
        variable: Variable,
        value: Template,
    },
    Rewrite {
        regex: Regex,
        replacement: Template,
        flag: RewriteFlag,
    },
    /// `text` is a body, or the target for 301, 302, 303, 307 and 308.
    Return {
        status: u16,
        text: Option<Template>,
    },
    Break,
    /// In a location `location` is the nameless one whose settings serve when the condition held last;
    /// in a server it is absent.
    If {
        condition: Condition,
        then: Vec<Rewrite>,
        location: Option<LocationId>,
    },
}

/// What follows a matching `rewrite`. A replacement that starts with `http://`, `https://` or `$scheme`
/// is lowered as `Redirect`. A trailing `?` of the replacement is lowered to `keep_args: false`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewriteFlag {
    pub then: AfterRewrite,
    /// Append the request's arguments to the replacement's own.
    pub keep_args: bool,
}

/// The last word of a `rewrite` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterRewrite {
    /// No word: the next directive runs.
    Next,
    Last,
    Break,
    Redirect,
    Permanent,
}

/// What `if (...)` tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// False when empty or exactly `0`.
    Truthy(Variable),
    Equal {
        variable: Variable,
        value: Template,
        negate: bool,
    },
    Match {
        variable: Variable,
        regex: Regex,
        negate: bool,
    },
    File {
        path: Template,
        test: FileTest,
        negate: bool,
    },
}

/// `-f`, `-d`, `-e` and `-x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileTest {
    File,
    Directory,
    Exists,
    Executable,
}
