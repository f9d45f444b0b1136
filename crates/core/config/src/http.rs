//! The `http` block as a whole.

use weir_model::{Handler, Http, Location, LocationId, LocationKind, Process, Settings};
use weir_syntax::{Directive as Node, Severity};

use crate::directive::{Action, Block, Contexts, Directive, Problem};
use crate::lower::{Level, Target, run};
use crate::scope::Scope;

const HASH: &str = "names are kept in tables that size themselves";
const CORE: Directive = Directive {
    module: "ngx_http_core_module",
    contexts: Contexts::HTTP,
    syntax: "NUMBER",
    ..Directive::NEW
};

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "map",
        module: "ngx_http_map_module",
        arguments: crate::Arity::Exactly(2),
        block: true,
        repeat: true,
        syntax: "TEXT $NAME",
        doc: "Defines a variable whose value is looked up by another text.",
        action: Action::Block(Block::Map),
        ..CORE
    },
    Directive {
        name: "geo",
        module: "ngx_http_geo_module",
        arguments: crate::Arity::Between(1, 2),
        block: true,
        repeat: true,
        syntax: "[$ADDRESS] $NAME",
        doc: "Defines a variable whose value is looked up by an address.",
        action: Action::Block(Block::Geo),
        ..CORE
    },
    Directive {
        name: "split_clients",
        module: "ngx_http_split_clients_module",
        arguments: crate::Arity::Exactly(2),
        block: true,
        repeat: true,
        syntax: "TEXT $NAME",
        doc: "Defines a variable whose value is drawn by shares of the hashes of a text.",
        action: Action::Block(Block::SplitClients),
        ..CORE
    },
    Directive {
        name: "variables_hash_max_size",
        default: "1024",
        doc: "A size of nginx's table of variables.",
        action: Action::Accepted(HASH),
        ..CORE
    },
    Directive {
        name: "variables_hash_bucket_size",
        default: "64",
        doc: "A size of nginx's table of variables.",
        action: Action::Accepted(HASH),
        ..CORE
    },
    Directive {
        name: "server_names_hash_max_size",
        default: "512",
        doc: "A size of nginx's table of server names.",
        action: Action::Accepted(HASH),
        ..CORE
    },
    Directive {
        name: "server_names_hash_bucket_size",
        default: "64",
        doc: "A size of nginx's table of server names.",
        action: Action::Accepted(HASH),
        ..CORE
    },
    Directive {
        name: "map_hash_max_size",
        module: "ngx_http_map_module",
        default: "2048",
        doc: "A size of nginx's tables of map keys.",
        action: Action::Accepted(HASH),
        ..CORE
    },
    Directive {
        name: "map_hash_bucket_size",
        module: "ngx_http_map_module",
        default: "64",
        doc: "A size of nginx's tables of map keys.",
        action: Action::Accepted(HASH),
        ..CORE
    },
];

/// Lowers the block. Its simple directives come first, then what servers refer to, then the servers.
pub(crate) fn lower(scope: &mut Scope<'_>, node: &Node, process: &Process) -> Http {
    let body = node.block.as_deref().unwrap_or_default();
    scope.variables.scan(body);
    scope.http_close = node.close;
    scope.enter();
    let mut settings = crate::settings::defaults(scope.options, scope);
    settings.error_log.clone_from(&process.error_log);
    let mut level = Level { location: root(settings), server: crate::server::defaults() };
    let blocks = run(scope, body, Contexts::HTTP, &mut Target::Level(&mut level));
    // Relations between settings are checked where requests are served: servers may set what http lacks.
    scope.leave();
    let proxy = &level.location.settings.proxy;
    scope.resolvers.http_timeout = proxy.resolver_timeout;
    scope.resolvers.http.clone_from(&proxy.resolver);
    for pending in blocks.iter().filter(|pending| !matches!(pending.block, Block::Server)) {
        scope.current = Some(pending.directive.span);
        let outcome = match pending.block {
            Block::Match => crate::health::matching::lower(scope, pending.directive),
            Block::Upstream => crate::upstream::lower(scope, pending.directive),
            Block::Map => crate::map::lower(scope, pending.directive),
            Block::Geo => crate::geo::lower(scope, pending.directive),
            Block::SplitClients => crate::split::lower(scope, pending.directive),
            _ => Ok(()),
        };
        if let Err(problem) = outcome {
            scope.error(pending.directive, problem);
        }
    }
    for pending in blocks.iter().filter(|pending| matches!(pending.block, Block::Server)) {
        crate::server::lower(scope, pending.directive, &level);
    }
    finish(scope, node)
}

fn root(settings: Settings) -> Location {
    Location {
        kind: LocationKind::Server,
        children: Vec::<LocationId>::new(),
        rewrite: Vec::new(),
        handler: Handler::Static,
        internal: false,
        limit_except: None,
        settings,
    }
}

/// What can be told only when everything was read. A block that was never closed does not end.
fn finish(scope: &mut Scope<'_>, node: &Node) -> Http {
    let mut http = std::mem::take(&mut scope.http);
    let listens = std::mem::take(&mut scope.listens);
    let (listeners, warnings, mut problems) = listens.finish(&http.servers);
    http.listeners = listeners;
    for warning in warnings {
        scope.note_when_http_ends(Severity::Warning, warning);
    }
    match std::mem::take(&mut scope.variables).finish() {
        Ok(variables) => http.variables = variables,
        Err(more) => problems.extend(more),
    }
    for problem in problems {
        scope.note_when_http_ends(Severity::Error, problem);
    }
    let crate::zones::Zones { limit_req, limit_conn, upstream } = std::mem::take(&mut scope.zones);
    let mut missing = upstream.missing();
    http.limit_req_zones = limit_req.finish().unwrap_or_else(|more| none(&mut missing, more));
    http.limit_conn_zones = limit_conn.finish().unwrap_or_else(|more| none(&mut missing, more));
    for problem in missing.into_iter().filter(|_| node.close.is_some()) {
        scope.error_when_all_ends(problem);
    }
    http
}

fn none<T>(problems: &mut Vec<Problem>, more: Vec<Problem>) -> Vec<T> {
    problems.extend(more);
    Vec::new()
}
