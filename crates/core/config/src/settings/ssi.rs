//! Server-side includes, and the request that follows another.

use weir_model::Settings;

use super::add_mime_types;
use crate::args::Args;
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const SSI: Directive =
    Directive { module: "ngx_http_ssi_filter_module", contexts: Contexts::HSL, ..Directive::NEW };
const FLAG: Directive = Directive { arguments: Arity::Flag, syntax: "on | off", default: "off", ..SSI };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "ssi",
        contexts: Contexts::HSLI,
        doc: "Whether commands in answers are carried out.",
        action: set!(response.ssi.on, flag),
        ..FLAG
    },
    Directive {
        name: "ssi_silent_errors",
        doc: "Whether a command that fails leaves nothing in place of a message.",
        action: set!(response.ssi.silent_errors, flag),
        ..FLAG
    },
    Directive {
        name: "ssi_last_modified",
        doc: "Whether a page with commands keeps the Last-Modified field of the file it is made from.",
        action: set!(response.ssi.last_modified, flag),
        ..FLAG
    },
    Directive {
        name: "ssi_types",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "TYPE ...",
        default: "text/html",
        doc: "The types in which commands are carried out; text/html always is one.",
        action: Action::Setting(types),
        ..SSI
    },
    Directive {
        name: "ssi_value_length",
        syntax: "LENGTH",
        default: "255",
        doc: "The length of the longest value of a parameter.",
        action: set!(response.ssi.value_length, size),
        ..SSI
    },
    Directive {
        name: "ssi_min_file_chunk",
        syntax: "SIZE",
        default: "1k",
        doc: "The size from which parts of a file are sent without copying them. They are always copied.",
        action: Action::Setting(|_, args, _| args.size(0).map(drop)),
        ..SSI
    },
    Directive {
        name: "ssi_ignore_recycled_buffers",
        doc: "A detail of nginx's buffers, without effect.",
        action: Action::Setting(|_, args, _| args.flag(0).map(drop)),
        ..FLAG
    },
    Directive {
        name: "post_action",
        module: "ngx_http_core_module",
        contexts: Contexts::HSLI,
        syntax: "URI | off",
        default: "off",
        doc: "The URI that is served, unseen by the client, once a request is answered.",
        action: Action::Setting(post_action),
        ..SSI
    },
];

fn types(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    let types = &mut settings.response.ssi.types;
    if scope.first("ssi_types") {
        *types = vec!["text/html".to_owned()];
    }
    add_mime_types(types, args, scope);
    Ok(())
}

fn post_action(settings: &mut Settings, args: &Args<'_>, _: &mut Scope<'_>) -> Result<(), Problem> {
    settings.post_action = Some(args.text(0)).filter(|&uri| uri != "off").map(str::to_owned);
    Ok(())
}
