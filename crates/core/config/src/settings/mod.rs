//! The directives that set what a location inherits.

use weir_model::log::AccessTarget;
use weir_model::{AccessLog, LogTarget, Settings};

use crate::Options;
use crate::args::Args;
use crate::directive::{Directive, Problem};
use crate::scope::Scope;

/// A setting that is one reader of [`Args`] and one field: `set!(client.tcp_nodelay, flag)`.
macro_rules! set {
    ($head:ident $(. $field:ident)*, $reader:ident) => {
        $crate::directive::Action::Setting(|settings, args, _| {
            settings.$head$(.$field)* = args.$reader(0)?;
            Ok(())
        })
    };
}

mod access;
mod client;
mod errors;
mod files;
mod limits;
mod log;
mod off;
mod proxy;
mod proxy_cookies;
mod proxy_redirect;
mod response;
mod ssi;

/// All tables of this folder.
pub(crate) const TABLES: &[&[Directive]] = &[
    access::DIRECTIVES,
    client::DIRECTIVES,
    errors::DIRECTIVES,
    files::DIRECTIVES,
    limits::DIRECTIVES,
    log::DIRECTIVES,
    off::DIRECTIVES,
    proxy::DIRECTIVES,
    proxy_cookies::DIRECTIVES,
    proxy_redirect::DIRECTIVES,
    response::DIRECTIVES,
    ssi::DIRECTIVES,
];

/// What holds at the http level before its first directive: the model's defaults with the paths of
/// `options` filled in, and the default access log.
pub(crate) fn defaults(options: &Options, scope: &mut Scope<'_>) -> Settings {
    let mut settings = Settings::default();
    settings.files.root = weir_model::Template::text(&options.below_prefix(&options.default_root));
    settings.client.body_temp_path = options.below_prefix(&options.default_client_body_temp);
    settings.proxy.temp_path = options.below_prefix(&options.default_proxy_temp);
    let format = log::combined(scope);
    let target = AccessTarget::Log(LogTarget::File(options.below_prefix(&options.default_access_log)));
    settings.access_log =
        vec![AccessLog { target, format, buffer: None, flush: None, gzip: None, condition: None }];
    settings
}

/// Runs when all directives of one level have been read, before its blocks are entered: relations between
/// settings (buffer sizes) are checked here, and what two directives make together is put together.
pub(crate) fn finish(settings: &mut Settings, _: &mut Scope<'_>) -> Result<(), Problem> {
    let timeout = settings.proxy.resolver_timeout;
    if let Some(resolver) = &mut settings.proxy.resolver {
        resolver.timeout = timeout;
    }
    proxy::check_buffers(&settings.proxy)
}

/// The index of a word in a list, whatever its case, as nginx's enum and bit mask slots look it up.
fn choice(args: &Args<'_>, i: usize, known: &[&str]) -> Result<usize, Problem> {
    let text = args.text(i);
    known
        .iter()
        .position(|word| word.eq_ignore_ascii_case(text))
        .ok_or_else(|| args.invalid_value(i).help(format!("one of {} is expected", known.join(", "))))
}

/// A 32-bit number.
fn number(args: &Args<'_>, i: usize) -> Result<u32, Problem> {
    Ok(u32::try_from(args.number(i)?).unwrap_or(u32::MAX))
}

/// A number within inclusive bounds.
fn bounded(args: &Args<'_>, low: u16, high: u16) -> Result<u16, Problem> {
    let number = args.number(0)?;
    u16::try_from(number)
        .ok()
        .filter(|number| (low..=high).contains(number))
        .ok_or_else(|| Problem::new(format!("value must be between {low} and {high}")).at(args.word(0).span))
}

/// A size that may have variables; without them it is checked and becomes a number of bytes.
fn size(args: &Args<'_>, scope: &mut Scope<'_>) -> Result<weir_model::Template, Problem> {
    if crate::template::has_variables(args.text(0)) {
        return scope.template(args.word(0));
    }
    Ok(weir_model::Template::text(&args.size(0)?.to_string()))
}

/// A path with variables: `full` is `text` behind its folder, which a path that starts with a variable does
/// not get.
fn path_template(
    args: &Args<'_>,
    text: &str,
    full: &str,
    scope: &mut Scope<'_>,
) -> Result<weir_model::Template, Problem> {
    scope.template_of(if text.starts_with('$') { text } else { full }, args.word(0).span)
}

/// Adds to a list of MIME types: lower case, `*` for everything.
fn add_mime_types(types: &mut Vec<String>, args: &Args<'_>, scope: &mut Scope<'_>) {
    for word in args.words() {
        if word.text == "*" {
            *types = vec!["*".to_owned()];
        }
        if types.iter().any(|name| name == "*") {
            return;
        }
        let name = word.text.to_ascii_lowercase();
        if types.contains(&name) {
            scope.warn(Problem::new(format!(r#"duplicate MIME type "{}""#, word.text)).at(word.span));
        } else {
            types.push(name);
        }
    }
}
