//! What happens to requests that failed.

use weir_model::Settings;
use weir_model::location::{ErrorPage, Overwrite};

use crate::args::{Args, number};
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const CORE: Directive =
    Directive { module: "ngx_http_core_module", contexts: Contexts::HSL, ..Directive::NEW };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "error_page",
        contexts: Contexts::HSLI,
        arguments: Arity::AtLeast(2),
        repeat: true,
        syntax: "CODE ... [=[RESPONSE]] URI",
        doc: "The URI that answers in place of an error.",
        action: Action::Setting(error_page),
        ..CORE
    },
    Directive {
        name: "recursive_error_pages",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "off",
        doc: "Whether an error of an error page has an error page too.",
        action: set!(recursive_error_pages, flag),
        ..CORE
    },
];

fn error_page(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let last = args.len() - 1;
    let (overwrite, codes) = match args.text(last - 1).strip_prefix('=') {
        None => (Overwrite::Keep, last),
        Some(_) if last == 1 => {
            return Err(args.invalid_value(0).help("a status that the page is for must stand before it"));
        }
        Some("") => (Overwrite::Answer, last - 1),
        Some(code) => match number(code) {
            Some(0) => (Overwrite::Answer, last - 1),
            Some(code) => (Overwrite::Status(u16::try_from(code).unwrap_or(u16::MAX)), last - 1),
            None => return Err(args.invalid_value(last - 1).help("= or =CODE is expected")),
        },
    };
    let target = scope.template(args.word(last))?;
    if scope.first("error_page") {
        settings.error_pages.clear();
    }
    for i in 0..codes {
        let Some(status) = number(args.text(i)).filter(|status| *status != 499) else {
            return Err(args.invalid_value(i).help("a status from 300 to 599 except 499 is expected"));
        };
        let Some(status) = u16::try_from(status).ok().filter(|status| (300..=599).contains(status)) else {
            let message = format!(r#"value "{}" must be between 300 and 599"#, args.text(i));
            return Err(Problem::new(message).at(args.word(i).span));
        };
        // 494 to 497 are nginx's own refinements of 400 and are not shown to clients.
        let overwrite = match (overwrite, status) {
            (Overwrite::Keep, 494..=497) => Overwrite::Status(400),
            _ => overwrite,
        };
        settings.error_pages.push(ErrorPage { status, overwrite, target: target.clone() });
    }
    Ok(())
}
