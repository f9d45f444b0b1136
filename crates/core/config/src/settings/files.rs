//! Files below a root, and their types.

use weir_model::location::{Fallback, IfModifiedSince, TryFiles};
use weir_model::{Location, LocationKind, Settings, Template};

use super::{choice, number, path_template};
use crate::args::Args;
use crate::directive::{Action, Arity, Block, Contexts, Directive, Problem};
use crate::scope::Scope;

const CORE: Directive =
    Directive { module: "ngx_http_core_module", contexts: Contexts::HSL, ..Directive::NEW };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "root",
        contexts: Contexts::HSLI,
        syntax: "FOLDER",
        default: "html",
        doc: "The folder of files; the path of the request is put behind it.",
        action: Action::Setting(root),
        ..CORE
    },
    Directive {
        name: "alias",
        contexts: Contexts::LOCATION,
        syntax: "PATH",
        doc: "What stands in place of the location's name in the path of a file.",
        action: Action::Location(alias),
        ..CORE
    },
    Directive {
        name: "index",
        module: "ngx_http_index_module",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "FILE ...",
        default: "index.html",
        doc: "The files that answer for a folder; the first that exists does.",
        action: Action::Setting(index),
        ..CORE
    },
    Directive {
        name: "try_files",
        module: "ngx_http_try_files_module",
        contexts: Contexts::SERVER.or(Contexts::LOCATION),
        arguments: Arity::AtLeast(2),
        syntax: "FILE ... URI | FILE ... =CODE",
        doc: "Files that are looked for, and what to do when none exists.",
        action: Action::Setting(try_files),
        ..CORE
    },
    Directive {
        name: "types",
        arguments: Arity::None,
        block: true,
        repeat: true,
        default: "text/html html; image/gif gif; image/jpeg jpg;",
        doc: "The types of files by the ending of their names.",
        action: Action::Block(Block::Setting(types)),
        ..CORE
    },
    Directive {
        name: "default_type",
        syntax: "TYPE",
        default: "text/plain",
        doc: "The type of files whose ending is not known.",
        action: Action::Setting(|settings, args, _| {
            settings.files.default_type = args.text(0).to_owned();
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "sendfile",
        contexts: Contexts::HSLI,
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "off",
        doc: "Whether the kernel sends files without copying them.",
        action: set!(files.sendfile, flag),
        ..CORE
    },
    Directive {
        name: "sendfile_max_chunk",
        syntax: "SIZE",
        default: "2m",
        doc: "How much of a file is sent before other connections have their turn.",
        action: set!(files.sendfile_max_chunk, size),
        ..CORE
    },
    Directive {
        name: "etag",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "on",
        doc: "Whether files get an ETag field.",
        action: set!(files.etag, flag),
        ..CORE
    },
    Directive {
        name: "if_modified_since",
        syntax: "off | exact | before",
        default: "exact",
        doc: "How If-Modified-Since is compared with the time of a file.",
        action: Action::Setting(|settings, args, _| {
            let values = [IfModifiedSince::Off, IfModifiedSince::Exact, IfModifiedSince::Before];
            settings.files.if_modified_since = values[choice(args, 0, &["off", "exact", "before"])?];
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "max_ranges",
        syntax: "NUMBER",
        doc: "The number of byte ranges that one request may ask for; 0 ignores ranges.",
        action: Action::Setting(|settings, args, _| {
            settings.files.max_ranges = number(args, 0)?;
            Ok(())
        }),
        ..CORE
    },
];

/// A folder of temporary files. Its levels are checked and not used: the files have no names.
pub(super) fn temp_path(args: &Args<'_>, scope: &mut Scope<'_>) -> Result<String, Problem> {
    for i in 1..args.len() {
        if !matches!(args.text(i), "1" | "2" | "3") {
            return Err(args.slot(i, "invalid value").help("a level is 1, 2 or 3"));
        }
    }
    Ok(scope.path(args.text(0)))
}

fn root(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    check_root(args, scope, "alias")?;
    let text = args.text(0);
    settings.files.root = if text == "/" {
        // The whole file system: nothing stands before the path.
        Template::default()
    } else {
        let bare = text.strip_suffix('/').unwrap_or(text);
        let full = scope.path(bare);
        path_template(args, bare, &full, scope)?
    };
    settings.files.alias = false;
    Ok(())
}

fn alias(location: &mut Location, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    check_root(args, scope, "root")?;
    if matches!(location.kind, LocationKind::Named(_)) {
        let message = r#"the "alias" directive cannot be used inside the named location"#;
        return Err(Problem::new(message).help("use root"));
    }
    let full = scope.path(args.text(0));
    location.settings.files.root = path_template(args, args.text(0), &full, scope)?;
    location.settings.files.alias = true;
    Ok(())
}

fn check_root(args: &Args<'_>, scope: &Scope<'_>, other: &str) -> Result<(), Problem> {
    let name = args.name();
    if scope.met(other) {
        let message =
            format!(r#""{name}" directive is duplicate, "{other}" directive was specified earlier"#);
        return Err(Problem::new(message).help("keep one of the two"));
    }
    for variable in ["document_root", "realpath_root"] {
        let text = args.text(0);
        if text.contains(&format!("${variable}")) || text.contains(&format!("${{{variable}}}")) {
            let message = format!(r#"the ${variable} variable cannot be used in the "{name}" directive"#);
            return Err(Problem::new(message).at(args.word(0).span));
        }
    }
    Ok(())
}

fn index(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    if scope.first("index") {
        settings.files.index.clear();
    }
    for (i, word) in args.words().iter().enumerate() {
        if word.text.is_empty() {
            return Err(Problem::new(r#"index "" in "index" directive is invalid"#).at(word.span));
        }
        if word.text.starts_with('/') && i + 1 < args.len() {
            let message = r#"only the last index in "index" directive should be absolute"#;
            scope.warn(Problem::new(message).at(word.span));
        }
        settings.files.index.push(scope.template(word)?);
    }
    Ok(())
}

fn try_files(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let last = args.len() - 1;
    let files = args.words()[..last].iter().map(|word| scope.template(word)).collect::<Result<_, _>>()?;
    let fallback = match args.text(last).strip_prefix('=') {
        None => Fallback::Redirect(scope.template(args.word(last))?),
        Some(code) => {
            let code = code.parse().ok().filter(|code| *code <= 999);
            let invalid = || Problem::new(format!(r#"invalid code "{}""#, args.text(last)));
            Fallback::Status(code.ok_or_else(|| {
                invalid().at(args.word(last).span).help("= and a status from 0 to 999 are expected")
            })?)
        }
    };
    settings.files.try_files = Some(TryFiles { files, fallback });
    Ok(())
}

/// Each line is a type and endings. `include` has been expanded.
fn types(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let map = &mut settings.files.types;
    if scope.first("types") {
        map.clear();
    }
    for line in args.body() {
        let name = &line.name.text;
        if line.block.is_some() {
            return Err(Problem::new(r#"unexpected "{""#).at(line.span.last()));
        }
        if name == "include" {
            return Err(Problem::new(r#"invalid number of arguments in "include" directive"#).at(line.span));
        }
        for word in &line.args {
            let ending = word.text.to_ascii_lowercase();
            if let Some(old) = map.insert(ending, name.clone()) {
                let message = format!(
                    r#"duplicate extension "{}", content type: "{name}", previous content type: "{old}""#,
                    word.text
                );
                scope.warn(Problem::new(message).at(word.span));
            }
        }
    }
    Ok(())
}
