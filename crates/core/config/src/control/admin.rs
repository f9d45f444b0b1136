//! `admin`: the control API, and where states are kept.

use weir_model::Process;
use weir_syntax::Directive as Node;

use super::{address, check_open, tokens};
use crate::directive::{Action, Arity, Block, Contexts, Directive};
use crate::lower::{Target, run};
use crate::scope::Scope;

const INSIDE: Directive = Directive { module: "weir", contexts: Contexts::ADMIN, ..Directive::NEW };
const MAIN: Directive = Directive { contexts: Contexts::MAIN, ..INSIDE };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "admin",
        arguments: Arity::None,
        block: true,
        doc: "The control API over TCP, and where its socket is.",
        action: Action::Block(Block::Admin),
        ..MAIN
    },
    Directive {
        name: "state_path",
        syntax: "FOLDER",
        default: "/var/lib/weir; without root ~/.local/state/weir",
        doc: "Where the states of servers and the last known lists of sources are kept.",
        action: Action::Process(|process, args, scope| {
            process.state_path = scope.path(args.text(0));
            Ok(())
        }),
        ..MAIN
    },
    Directive {
        name: "listen",
        repeat: true,
        syntax: "ADDRESS:PORT | PORT | unix:PATH",
        doc: "An address of the control API; one that other machines reach needs a write token.",
        action: Action::Admin(|admin, args, scope| {
            admin.listen.extend(address(args, None, scope)?);
            Ok(())
        }),
        ..INSIDE
    },
    Directive {
        name: "socket",
        syntax: "PATH",
        doc: "The socket that the command line uses; its mode says who may.",
        action: Action::Admin(|admin, args, scope| {
            let path = args.text(0).strip_prefix("unix:").unwrap_or(args.text(0));
            if path.is_empty() || path.len() > 107 {
                return Err(args.invalid_value(0).help("a path of 1 to 107 bytes is expected"));
            }
            admin.socket = Some(scope.path(path));
            Ok(())
        }),
        ..INSIDE
    },
    Directive {
        name: "token",
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "[write=TOKEN | write_file=FILE] [read=TOKEN | read_file=FILE]",
        doc: "What a client over TCP has to show to change something, and to read.",
        action: Action::Admin(|admin, args, scope| {
            tokens(&mut admin.write_token, &mut admin.read_token, args, scope)
        }),
        ..INSIDE
    },
];

/// Lowers the block.
pub(crate) fn lower(scope: &mut Scope<'_>, node: &Node, process: &mut Process) {
    scope.enter();
    let body = node.block.as_deref().unwrap_or_default();
    run(scope, body, Contexts::ADMIN, &mut Target::Admin(&mut process.admin));
    scope.leave();
    check_open(scope, node, &process.admin.listen, process.admin.write_token.as_ref(), "the control API");
}
