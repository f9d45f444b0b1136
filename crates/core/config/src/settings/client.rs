//! How a client is read from and written to.

use weir_model::Settings;
use weir_model::location::{BodyInFile, LingeringClose};

use super::{choice, size};
use crate::args::Args;
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const CORE: Directive =
    Directive { module: "ngx_http_core_module", contexts: Contexts::HSL, ..Directive::NEW };
const FLAG: Directive = Directive { arguments: Arity::Flag, syntax: "on | off", ..CORE };

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive {
        name: "client_max_body_size",
        syntax: "SIZE",
        default: "1m",
        doc: "The largest request body that is taken; 0 sets no limit.",
        action: set!(client.max_body_size, offset),
        ..CORE
    },
    Directive {
        name: "client_body_buffer_size",
        syntax: "SIZE",
        default: "8k",
        doc: "How much of a request body is kept in memory; more goes to a file.",
        action: set!(client.body_buffer_size, size),
        ..CORE
    },
    Directive {
        name: "client_body_timeout",
        syntax: "TIME",
        default: "60s",
        doc: "How long a client may be silent while it sends a body.",
        action: set!(client.body_timeout, time),
        ..CORE
    },
    Directive {
        name: "client_body_temp_path",
        arguments: Arity::Between(1, 4),
        syntax: "FOLDER [LEVEL1 [LEVEL2 [LEVEL3]]]",
        default: "client_body_temp",
        doc: "The folder of temporary files for request bodies.",
        action: Action::Setting(|settings, args, scope| {
            settings.client.body_temp_path = super::files::temp_path(args, scope)?;
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "client_body_in_file_only",
        syntax: "on | clean | off",
        default: "off",
        doc: "Whether every request body goes to a file.",
        action: Action::Setting(|settings, args, _| {
            let values = [BodyInFile::Off, BodyInFile::On, BodyInFile::Clean];
            settings.client.body_in_file_only = values[choice(args, 0, &["off", "on", "clean"])?];
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "client_body_in_single_buffer",
        default: "off",
        doc: "Whether a body that is kept in memory is in one piece.",
        action: set!(client.body_in_single_buffer, flag),
        ..FLAG
    },
    Directive {
        name: "send_timeout",
        syntax: "TIME",
        default: "60s",
        doc: "How long a client may take between two reads of an answer.",
        action: set!(client.send_timeout, time),
        ..CORE
    },
    Directive {
        name: "keepalive_timeout",
        arguments: Arity::Between(1, 2),
        syntax: "TIME [HEADER_TIME]",
        default: "75s",
        doc: "How long an idle connection of a client stays open, and what the Keep-Alive field says.",
        action: Action::Setting(|settings, args, _| {
            settings.client.keepalive_timeout = args.time(0)?;
            if args.len() == 2 {
                settings.client.keepalive_header = Some(args.seconds(1)?).filter(|seconds| *seconds > 0);
            }
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "keepalive_requests",
        syntax: "NUMBER",
        default: "1000",
        doc: "The number of requests after which a client's connection is closed.",
        action: set!(client.keepalive_requests, number),
        ..CORE
    },
    Directive {
        name: "keepalive_time",
        syntax: "TIME",
        default: "1h",
        doc: "The age at which a client's connection takes no further request.",
        action: set!(client.keepalive_time, time),
        ..CORE
    },
    Directive {
        name: "keepalive_min_timeout",
        syntax: "TIME",
        default: "0",
        doc: "How long an idle connection stays open while the worker shuts down.",
        action: set!(client.keepalive_min_timeout, time),
        ..CORE
    },
    Directive {
        name: "keepalive_disable",
        arguments: Arity::Between(1, 2),
        repeat: true,
        syntax: "none | BROWSER ...",
        default: "msie6",
        doc: "The browsers whose connections are not kept open after a POST.",
        action: Action::Setting(keepalive_disable),
        ..CORE
    },
    Directive {
        name: "lingering_close",
        syntax: "off | on | always",
        default: "on",
        doc: "Whether more data of a client is read before its connection is closed.",
        action: Action::Setting(|settings, args, _| {
            let values = [LingeringClose::Off, LingeringClose::On, LingeringClose::Always];
            settings.client.lingering_close = values[choice(args, 0, &["off", "on", "always"])?];
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "lingering_time",
        syntax: "TIME",
        default: "30s",
        doc: "How long data is read and dropped before a connection is closed.",
        action: set!(client.lingering_time, time),
        ..CORE
    },
    Directive {
        name: "lingering_timeout",
        syntax: "TIME",
        default: "5s",
        doc: "How long a client may be silent before its connection is closed.",
        action: set!(client.lingering_timeout, time),
        ..CORE
    },
    Directive {
        name: "reset_timedout_connection",
        default: "off",
        doc: "Whether a connection that timed out is reset instead of closed.",
        action: set!(client.reset_timedout_connection, flag),
        ..FLAG
    },
    Directive {
        name: "tcp_nodelay",
        default: "on",
        doc: "Whether small pieces of answers leave at once.",
        action: set!(client.tcp_nodelay, flag),
        ..FLAG
    },
    Directive {
        name: "tcp_nopush",
        default: "off",
        doc: "Whether the head of an answer leaves together with the start of its file.",
        action: set!(client.tcp_nopush, flag),
        ..FLAG
    },
    Directive {
        name: "limit_rate",
        contexts: Contexts::HSLI,
        syntax: "RATE",
        default: "0",
        doc: "Bytes per second of one answer; 0 sets no limit.",
        action: Action::Setting(|settings, args, scope| {
            settings.client.limit_rate = size(args, scope)?;
            Ok(())
        }),
        ..CORE
    },
    Directive {
        name: "limit_rate_after",
        contexts: Contexts::HSLI,
        syntax: "SIZE",
        default: "0",
        doc: "How much of an answer is sent before its rate is limited.",
        action: Action::Setting(|settings, args, scope| {
            settings.client.limit_rate_after = size(args, scope)?;
            Ok(())
        }),
        ..CORE
    },
];

fn keepalive_disable(settings: &mut Settings, args: &Args<'_>, scope: &mut Scope<'_>) -> Result<(), Problem> {
    if scope.first("keepalive_disable") {
        settings.client.keepalive_disable_msie6 = false;
        settings.client.keepalive_disable_safari = false;
    }
    for i in 0..args.len() {
        match choice(args, i, &["none", "msie6", "safari"])? {
            1 => settings.client.keepalive_disable_msie6 = true,
            2 => settings.client.keepalive_disable_safari = true,
            _ => {}
        }
    }
    Ok(())
}
