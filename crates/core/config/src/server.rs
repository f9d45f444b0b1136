//! The `server` block, and the scalars that a server inherits from http.

use weir_model::http::Server;
use weir_model::{Location, LocationId, LocationKind, Millis};
use weir_syntax::Directive as Node;

use crate::directive::{Action, Arity, Block, Contexts, Directive};
use crate::lower::{Level, Target, run};
use crate::scope::Scope;

const CORE: Directive =
    Directive { module: "ngx_http_core_module", contexts: Contexts::HTTP_SERVER, ..Directive::NEW };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "server",
        contexts: Contexts::HTTP,
        arguments: Arity::None,
        block: true,
        repeat: true,
        doc: "A server, chosen by address and name.",
        action: Action::Block(Block::Server),
        ..CORE
    },
    Directive {
        name: "listen",
        contexts: Contexts::SERVER,
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "ADDRESS[:PORT] | PORT | unix:PATH [default_server] [proxy_protocol] [reuseport] [backlog=NUMBER] ...",
        default: "*:80",
        doc: "An address at which the server is found.",
        action: Action::Server(crate::listen::listen),
        ..CORE
    },
    Directive {
        name: "server_name",
        contexts: Contexts::SERVER,
        arguments: Arity::AtLeast(1),
        repeat: true,
        syntax: "NAME ...",
        default: "\"\"",
        doc: "The names of the server: exact, with a wildcard, or a regex after ~.",
        action: Action::Server(crate::names::server_name),
        ..CORE
    },
    Directive {
        name: "client_header_timeout",
        syntax: "TIME",
        default: "60s",
        doc: "How long a client may take to send a request's head.",
        action: Action::Server(|server, args, _| {
            server.client_header_timeout = args.time(0)?;
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "client_header_buffer_size",
        syntax: "SIZE",
        default: "1k",
        doc: "The buffer in which a request's head is read first.",
        action: Action::Server(|server, args, _| {
            server.client_header_buffer_size = args.size(0)?;
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "large_client_header_buffers",
        arguments: Arity::Exactly(2),
        syntax: "NUMBER SIZE",
        default: "4 8k",
        doc: "Number and size of the buffers for large request heads; a line must fit into one.",
        action: Action::Server(|server, args, _| {
            server.large_client_header_buffers = args.buffers(0)?;
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "max_headers",
        syntax: "NUMBER",
        default: "1000",
        doc: "The number of header fields that a request may have.",
        action: Action::Server(|server, args, _| {
            server.max_headers = u32::try_from(args.number(0)?).unwrap_or(u32::MAX);
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "ignore_invalid_headers",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "on",
        doc: "Whether fields with invalid names are dropped instead of refused.",
        action: Action::Server(|server, args, _| {
            server.ignore_invalid_headers = args.flag(0)?;
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "underscores_in_headers",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "off",
        doc: "Whether field names with underscores are valid.",
        action: Action::Server(|server, args, _| {
            server.underscores_in_headers = args.flag(0)?;
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "merge_slashes",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "on",
        doc: "Whether runs of slashes in the path are one slash.",
        action: Action::Server(|server, args, _| {
            server.merge_slashes = args.flag(0)?;
            Ok(())
        }),
        ..CORE
    },
];

/// What a server has when nothing is said.
pub(crate) fn defaults() -> Server {
    Server {
        names: Vec::new(),
        root: LocationId(0),
        client_header_timeout: Millis(60_000),
        client_header_buffer_size: 1024,
        large_client_header_buffers: (4, 8 * 1024),
        max_headers: 1000,
        ignore_invalid_headers: true,
        underscores_in_headers: false,
        merge_slashes: true,
    }
}

/// Lowers one `server` block below the http level.
pub(crate) fn lower(scope: &mut Scope<'_>, node: &Node, http: &Level) {
    let mut level = Level {
        location: crate::location::below(&http.location, LocationKind::Server),
        server: http.server.clone(),
    };
    let index = scope.http.servers.len();
    scope.listens.server = index;
    scope.listens.any = false;
    scope.enter();
    let body = node.block.as_deref().unwrap_or_default();
    let blocks = run(scope, body, Contexts::SERVER, &mut Target::Level(&mut level));
    crate::location::finish(scope, node, &mut level.location);
    scope.leave();
    if !scope.listens.any
        && let Err(problem) = crate::listen::default_listen(scope, node.name.span)
    {
        scope.error_at_end(node, problem);
    }
    let Level { location, mut server } = level;
    server.root = push(scope, location);
    // The place is taken before the locations are read: none of them adds a server.
    scope.http.servers.push(server);
    let root = scope.http.servers[index].root;
    crate::location::enter_blocks(scope, root, blocks, Contexts::SERVER);
}

pub(crate) fn push(scope: &mut Scope<'_>, location: Location) -> LocationId {
    let id = LocationId(u32::try_from(scope.http.locations.len()).expect("fewer than 2^32 locations fit"));
    scope.http.locations.push(location);
    id
}
