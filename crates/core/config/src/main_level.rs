//! The main and events levels.

use weir_model::{Config, ErrorLog, Level, LogTarget, Process, User, WorkerCount};
use weir_syntax::Directive as Node;

use crate::args::Args;
use crate::directive::{Action, Arity, Block, Contexts, Directive, Problem};
use crate::lower::{Target, run};
use crate::scope::Scope;

const CORE: &str = "ngx_core_module";
const EVENTS: &str = "ngx_events_module";
const EVENT_CORE: &str = "ngx_event_core_module";
const MAIN: Directive = Directive { module: CORE, contexts: Contexts::MAIN, ..Directive::NEW };
const IN_EVENTS: Directive = Directive { module: EVENT_CORE, contexts: Contexts::EVENTS, ..Directive::NEW };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "daemon",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "on",
        doc: "Whether the keeper goes into the background.",
        action: Action::Process(|process, args, _| {
            process.daemon = args.flag(0)?;
            Ok(())
        }),
        ..MAIN
    },
    Directive {
        name: "master_process",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "on",
        doc: "Whether keeper and worker are two processes.",
        action: Action::Process(|process, args, _| {
            process.master_process = args.flag(0)?;
            Ok(())
        }),
        ..MAIN
    },
    Directive {
        name: "pid",
        syntax: "FILE",
        default: "logs/nginx.pid",
        doc: "The file that holds the process id of the keeper.",
        action: Action::Process(|process, args, scope| {
            process.pid = scope.path(args.text(0));
            Ok(())
        }),
        ..MAIN
    },
    Directive {
        name: "user",
        arguments: Arity::Between(1, 2),
        syntax: "USER [GROUP]",
        default: "nobody",
        doc: "The account of the worker.",
        action: Action::Process(user),
        ..MAIN
    },
    Directive {
        name: "worker_processes",
        syntax: "NUMBER | auto",
        default: "1",
        doc: "The number of threads that serve.",
        action: Action::Process(worker_processes),
        ..MAIN
    },
    Directive {
        name: "worker_rlimit_nofile",
        syntax: "NUMBER",
        doc: "The limit of open files of the worker.",
        action: Action::Process(|process, args, _| {
            process.worker_rlimit_nofile = Some(args.number(0)?);
            Ok(())
        }),
        ..MAIN
    },
    Directive {
        name: "worker_shutdown_timeout",
        syntax: "TIME",
        default: "0",
        doc: "How long a graceful end waits before it closes what is still open; 0 waits for ever.",
        action: Action::Process(|process, args, _| {
            process.worker_shutdown_timeout = args.time(0)?;
            Ok(())
        }),
        ..MAIN
    },
    Directive {
        name: "working_directory",
        syntax: "FOLDER",
        doc: "The current folder of the worker.",
        action: Action::Process(|process, args, _| {
            process.working_directory = Some(args.text(0).to_owned());
            Ok(())
        }),
        ..MAIN
    },
    Directive {
        name: "env",
        repeat: true,
        syntax: "NAME[=VALUE]",
        default: "TZ",
        doc: "An environment variable that the worker keeps or gets.",
        action: Action::Process(|process, args, _| {
            process.env.push(args.text(0).to_owned());
            Ok(())
        }),
        ..MAIN
    },
    Directive {
        name: "keepalived",
        module: "weir",
        syntax: "FILE",
        doc: "A keepalived.conf whose virtual routers run beside the proxy.",
        action: Action::Process(|process, args, scope| {
            process.keepalived = Some(scope.conf_path(args.text(0)));
            Ok(())
        }),
        ..MAIN
    },
    Directive {
        name: "events",
        module: EVENTS,
        arguments: Arity::None,
        block: true,
        doc: "How connections are handled.",
        action: Action::Block(Block::Events),
        ..MAIN
    },
    Directive {
        name: "http",
        module: "ngx_http_module",
        arguments: Arity::None,
        block: true,
        doc: "The HTTP servers.",
        action: Action::Block(Block::Http),
        ..MAIN
    },
    Directive {
        name: "worker_connections",
        syntax: "NUMBER",
        default: "512",
        doc: "The connections that one process of nginx holds at most; here descriptors are the only limit.",
        action: Action::Process(|process, args, _| {
            process.worker_connections = u32::try_from(args.number(0)?).unwrap_or(u32::MAX);
            Ok(())
        }),
        ..IN_EVENTS
    },
    Directive {
        name: "use",
        syntax: "METHOD",
        default: "epoll",
        doc: "The kernel interface for readiness.",
        action: Action::Accepted("epoll is always used"),
        ..IN_EVENTS
    },
    Directive {
        name: "multi_accept",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "off",
        doc: "Whether a thread accepts all new connections at once.",
        action: Action::Accepted("each thread accepts as it sees fit"),
        ..IN_EVENTS
    },
    Directive {
        name: "accept_mutex",
        arguments: Arity::Flag,
        syntax: "on | off",
        default: "off",
        doc: "Whether processes take turns to accept.",
        action: Action::Accepted("threads of one process need no lock to accept"),
        ..IN_EVENTS
    },
    Directive {
        name: "accept_mutex_delay",
        syntax: "TIME",
        default: "500ms",
        doc: "The wait of a process whose turn it is not.",
        action: Action::Accepted("threads of one process need no lock to accept"),
        ..IN_EVENTS
    },
    Directive {
        name: "debug_connection",
        repeat: true,
        syntax: "ADDRESS | CIDR | unix:",
        doc: "Clients whose connections are logged at level debug.",
        action: Action::Accepted("it widens a log and changes nothing that is served"),
        ..IN_EVENTS
    },
    Directive {
        name: "epoll_events",
        module: "ngx_epoll_module",
        syntax: "NUMBER",
        default: "512",
        doc: "The number of events taken from the kernel at once.",
        action: Action::Accepted("the runtime sizes its event list itself"),
        ..IN_EVENTS
    },
    Directive {
        name: "worker_aio_requests",
        module: "ngx_epoll_module",
        syntax: "NUMBER",
        default: "32",
        doc: "The number of file operations under way.",
        action: Action::Accepted("files are read by a pool that sizes itself"),
        ..IN_EVENTS
    },
];

/// Lowers everything. `whole` is false when the files could not be read to their end: what nginx finds wrong
/// when a file ends is not looked for then.
pub(crate) fn lower(scope: &mut Scope<'_>, items: &[Node], whole: bool) -> Config {
    let mut config = Config::default();
    let process = &mut config.process;
    process.pid = scope.path(&scope.options.default_pid);
    process.state_path = scope.path(&scope.options.default_state);
    scope.enter();
    let blocks = run(scope, items, Contexts::MAIN, &mut Target::Main(process));
    scope.leave();
    if process.error_log.is_empty() {
        process.error_log.push(default_error_log(scope));
    }
    let mut events = false;
    for pending in blocks {
        let node = pending.directive;
        match pending.block {
            Block::Events => {
                events = true;
                scope.enter();
                let body = node.block.as_deref().unwrap_or_default();
                run(scope, body, Contexts::EVENTS, &mut Target::Main(process));
                scope.leave();
            }
            Block::Registry => crate::control::registry::lower(scope, node, process),
            Block::Admin => crate::control::admin::lower(scope, node, process),
            _ => config.http = Some(crate::http::lower(scope, node, process)),
        }
    }
    if let Some(span) = scope.embedded.filter(|_| whole && config.process.registry.is_none()) {
        scope.error_when_all_ends(crate::source::without_registry(span));
    }
    if !events && whole {
        scope.error_when_all_ends(
            Problem::new(r#"no "events" section in configuration"#)
                .help("add an empty one at the main level: events { }"),
        );
    }
    config
}

fn default_error_log(scope: &Scope<'_>) -> ErrorLog {
    let path = scope.options.error_log.as_deref().unwrap_or(&scope.options.default_error_log);
    let target = match path {
        "stderr" => LogTarget::Stderr,
        path => LogTarget::File(scope.path(path)),
    };
    ErrorLog { target, level: Level::Error }
}

fn user(process: &mut Process, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    if scope.env.effective_uid() != 0 {
        scope.warn(Problem::new(
            "the \"user\" directive makes sense only if the master process runs with super-user privileges, ignored",
        ));
    }
    let group = (args.len() == 2).then(|| args.text(1).to_owned());
    if scope.env.effective_uid() == 0 {
        // Without a group nginx takes the one that is called like the user.
        let named = group.as_deref().unwrap_or(args.text(0));
        scope.env.account(args.text(0), named).map_err(|text| {
            Problem::new(text)
                .help("name a user and a group of this machine, or make them with `useradd -rU`")
        })?;
    }
    process.user = Some(User { name: args.text(0).to_owned(), group });
    Ok(())
}

fn worker_processes(process: &mut Process, args: &Args<'_>, _: &mut Scope<'_>) -> Result<(), Problem> {
    process.worker_processes = match args.text(0) {
        "auto" => WorkerCount::Auto,
        text => match crate::args::number(text).and_then(|count| u32::try_from(count).ok()) {
            Some(count) if count > 0 => WorkerCount::Fixed(count),
            _ => {
                return Err(args
                    .slot(0, "invalid value")
                    .help("a number of at least 1, or auto, is expected"));
            }
        },
    };
    Ok(())
}
