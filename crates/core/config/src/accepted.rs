//! Directives that tune machinery which Weir has not, or which tunes itself: checked, and without effect.

use crate::directive::{Action, Arity, Contexts, Directive};

const MEMORY: &str = "memory is taken as it is needed";
const HASH: &str = "names are kept in tables that size themselves";
const FILES: &str = "files are opened as they are asked for; answers are the same";
const OUTPUT: &str = "output is gathered and flushed by what the client's connection takes";
const PROCESS: &str = "the threads that serve tune this themselves";

const fn plain(
    name: &'static str,
    module: &'static str,
    contexts: Contexts,
    arguments: Arity,
    doc: &'static str,
    why: &'static str,
) -> Directive {
    let syntax = match arguments {
        Arity::Flag => "on | off",
        Arity::None => "",
        Arity::Exactly(2) => "NUMBER SIZE",
        Arity::Exactly(_) => "VALUE",
        _ => "VALUE ...",
    };
    Directive {
        name,
        module,
        contexts,
        arguments,
        syntax,
        doc,
        action: Action::Accepted(why),
        ..Directive::NEW
    }
}

const CORE: &str = "ngx_http_core_module";
const ONE: Arity = Arity::Exactly(1);
const TWO: Arity = Arity::Exactly(2);
const HSL: Contexts = Contexts::HSL;
const HTTP_SERVER: Contexts = Contexts::HTTP_SERVER;
const MAIN: Contexts = Contexts::MAIN;

pub(crate) const DIRECTIVES: &[Directive] = &[
    plain("lock_file", "ngx_core_module", MAIN, ONE, "The file of nginx's accept lock.", PROCESS),
    plain("timer_resolution", "ngx_core_module", MAIN, ONE, "How often nginx reads the clock.", PROCESS),
    plain("debug_points", "ngx_core_module", MAIN, ONE, "What nginx does at internal errors.", PROCESS),
    plain("worker_priority", "ngx_core_module", MAIN, ONE, "The scheduling priority of workers.", PROCESS),
    plain(
        "worker_cpu_affinity",
        "ngx_core_module",
        MAIN,
        Arity::AtLeast(1),
        "The cores of workers.",
        PROCESS,
    ),
    plain("worker_rlimit_core", "ngx_core_module", MAIN, ONE, "The size of core files.", PROCESS),
    plain(
        "pcre_jit",
        "ngx_regex_module",
        MAIN,
        Arity::Flag,
        "Whether regexes are compiled to code.",
        "regexes run in linear time without it",
    ),
    Directive {
        repeat: true,
        ..plain(
            "thread_pool",
            "ngx_thread_pool_module",
            MAIN,
            Arity::Between(2, 3),
            "A pool of threads for files.",
            PROCESS,
        )
    },
    Directive {
        repeat: true,
        ..plain(
            "load_module",
            CORE,
            MAIN,
            ONE,
            "Loads a module of nginx from a file.",
            "modules are built in; a directive of one that is not there is refused where it stands",
        )
    },
    tls("ssl_protocols", Arity::AtLeast(1), "The versions of TLS."),
    tls("ssl_ciphers", ONE, "The ciphers of TLS."),
    tls("ssl_prefer_server_ciphers", Arity::Flag, "Whether the server's order of ciphers decides."),
    tls("ssl_ecdh_curve", ONE, "The curves of the key exchange."),
    tls("ssl_dhparam", ONE, "Parameters of the finite field key exchange."),
    tls("ssl_buffer_size", ONE, "The size of TLS records."),
    tls("ssl_session_cache", Arity::Between(1, 2), "Where TLS sessions are kept."),
    tls("ssl_session_tickets", Arity::Flag, "Whether TLS sessions are kept by the client."),
    tls("ssl_session_timeout", ONE, "How long a TLS session can be resumed."),
    plain(
        "connection_pool_size",
        CORE,
        HTTP_SERVER,
        ONE,
        "The memory taken for a connection at once.",
        MEMORY,
    ),
    plain("request_pool_size", CORE, HTTP_SERVER, ONE, "The memory taken for a request at once.", MEMORY),
    plain("types_hash_max_size", CORE, HSL, ONE, "A size of nginx's table of types.", HASH),
    plain("types_hash_bucket_size", CORE, HSL, ONE, "A size of nginx's table of types.", HASH),
    plain(
        "proxy_headers_hash_max_size",
        "ngx_http_proxy_module",
        HSL,
        ONE,
        "A size of nginx's table of fields.",
        HASH,
    ),
    plain(
        "proxy_headers_hash_bucket_size",
        "ngx_http_proxy_module",
        HSL,
        ONE,
        "A size of nginx's table of fields.",
        HASH,
    ),
    plain("aio", CORE, HSL, ONE, "Whether files are read without blocking.", FILES),
    plain(
        "aio_write",
        CORE,
        HSL,
        Arity::Flag,
        "Whether temporary files are written without blocking.",
        FILES,
    ),
    plain("read_ahead", CORE, HSL, ONE, "How much of a file the kernel reads ahead.", FILES),
    plain("directio", CORE, HSL, ONE, "The size from which files are read past the cache.", FILES),
    plain("directio_alignment", CORE, HSL, ONE, "The alignment of reads past the cache.", FILES),
    plain(
        "output_buffers",
        CORE,
        HSL,
        TWO,
        "Number and size of the buffers that files are read into.",
        OUTPUT,
    ),
    plain("postpone_output", CORE, HSL, ONE, "The amount from which output is sent.", OUTPUT),
    plain("send_lowat", CORE, HSL, ONE, "A low water mark of sending, for other systems than Linux.", OUTPUT),
    plain(
        "proxy_send_lowat",
        "ngx_http_proxy_module",
        HSL,
        ONE,
        "A low water mark of sending, for other systems than Linux.",
        OUTPUT,
    ),
    plain("subrequest_output_buffer_size", CORE, HSL, ONE, "The buffer of a subrequest's answer.", MEMORY),
    plain("open_file_cache", CORE, HSL, Arity::Between(1, 2), "A cache of open files.", FILES),
    plain(
        "open_file_cache_valid",
        CORE,
        HSL,
        ONE,
        "How long an entry of the cache of open files holds.",
        FILES,
    ),
    plain("open_file_cache_min_uses", CORE, HSL, ONE, "The uses that keep a file in the cache.", FILES),
    plain("open_file_cache_errors", CORE, HSL, Arity::Flag, "Whether errors are kept in the cache.", FILES),
    plain(
        "open_file_cache_events",
        CORE,
        HSL,
        Arity::Flag,
        "Whether the kernel tells of changed files.",
        FILES,
    ),
    plain(
        "gzip_buffers",
        "ngx_http_gzip_filter_module",
        HSL,
        TWO,
        "Number and size of the buffers of compression.",
        MEMORY,
    ),
    plain("gzip_window", "ngx_http_gzip_filter_module", HSL, ONE, "The window of compression.", MEMORY),
    plain("gzip_hash", "ngx_http_gzip_filter_module", HSL, ONE, "The memory of compression.", MEMORY),
    plain(
        "gzip_no_buffer",
        "ngx_http_gzip_filter_module",
        HSL,
        Arity::Flag,
        "Whether compression waits for a full buffer.",
        OUTPUT,
    ),
    plain(
        "postpone_gzipping",
        "ngx_http_gzip_filter_module",
        HSL,
        ONE,
        "The amount from which compression starts.",
        OUTPUT,
    ),
    plain(
        "msie_refresh",
        CORE,
        HSL,
        Arity::Flag,
        "Whether old browsers get a refresh in place of a redirect.",
        "browsers that need it are gone",
    ),
    plain(
        "referer_hash_max_size",
        "ngx_http_referer_module",
        Contexts::SERVER.or(Contexts::LOCATION),
        ONE,
        "A size of nginx's table of referers.",
        HASH,
    ),
    plain(
        "referer_hash_bucket_size",
        "ngx_http_referer_module",
        Contexts::SERVER.or(Contexts::LOCATION),
        ONE,
        "A size of nginx's table of referers.",
        HASH,
    ),
];

/// A setting of TLS that many files make once for all servers. Without a listener that speaks TLS, which is
/// refused, nothing reads it, here as in nginx.
const fn tls(name: &'static str, arguments: Arity, doc: &'static str) -> Directive {
    plain(
        name,
        "ngx_http_ssl_module",
        HTTP_SERVER,
        arguments,
        doc,
        "no server speaks TLS yet: `listen ... ssl` and certificates are refused",
    )
}
