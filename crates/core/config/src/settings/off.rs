//! Directives of things that are not there yet, taken where they say so: the value that asks for nothing is
//! accepted, all others are refused.

use weir_model::Settings;

use crate::args::Args;
use crate::directive::{Action, Arity, Contexts, Directive, Problem};
use crate::scope::Scope;

const NOT_YET: &str = "This version of Weir takes only the value that asks for nothing.";

const OFF: Directive = Directive {
    contexts: Contexts::HSL,
    arguments: Arity::Exactly(1),
    syntax: "off",
    default: "off",
    doc: NOT_YET,
    action: Action::Setting(off),
    ..Directive::NEW
};
const HTTP_SERVER: Directive = Directive { contexts: Contexts::HTTP_SERVER, ..OFF };
const INHERIT: Directive = Directive {
    module: "ngx_http_headers_module",
    contexts: Contexts::HSLI,
    syntax: "on",
    default: "on",
    action: Action::Setting(on),
    ..OFF
};

pub(crate) const DIRECTIVES: &[Directive] = &[
    Directive { name: "proxy_cache", module: "ngx_http_proxy_module", ..OFF },
    Directive { name: "proxy_store", module: "ngx_http_proxy_module", ..OFF },
    Directive { name: "proxy_ssl_server_name", module: "ngx_http_proxy_module", ..OFF },
    Directive { name: "proxy_ssl_verify", module: "ngx_http_proxy_module", ..OFF },
    Directive { name: "gzip_static", module: "ngx_http_gzip_static_module", ..OFF },
    Directive { name: "gunzip", module: "ngx_http_gunzip_filter_module", ..OFF },
    Directive { name: "autoindex", module: "ngx_http_autoindex_module", ..OFF },
    Directive { name: "userid", module: "ngx_http_userid_filter_module", ..OFF },
    Directive {
        name: "disable_symlinks",
        module: "ngx_http_core_module",
        arguments: Arity::Between(1, 2),
        ..OFF
    },
    Directive {
        name: "override_charset",
        module: "ngx_http_charset_filter_module",
        contexts: Contexts::HSLI,
        ..OFF
    },
    Directive { name: "http2", module: "ngx_http_v2_module", ..HTTP_SERVER },
    Directive { name: "http3", module: "ngx_http_v3_module", ..HTTP_SERVER },
    Directive { name: "http3_hq", module: "ngx_http_v3_module", ..HTTP_SERVER },
    Directive { name: "quic_retry", module: "ngx_http_v3_module", ..HTTP_SERVER },
    Directive { name: "quic_gso", module: "ngx_http_v3_module", ..HTTP_SERVER },
    Directive { name: "ssl_stapling", module: "ngx_http_ssl_module", ..HTTP_SERVER },
    Directive { name: "ssl_ocsp", module: "ngx_http_ssl_module", ..HTTP_SERVER },
    Directive { name: "add_header_inherit", ..INHERIT },
    Directive { name: "add_trailer_inherit", ..INHERIT },
];

fn off(_: &mut Settings, args: &Args<'_>, _: &mut Scope<'_>) -> Result<(), Problem> {
    only("off", args)
}

fn on(_: &mut Settings, args: &Args<'_>, _: &mut Scope<'_>) -> Result<(), Problem> {
    only("on", args)
}

fn only(value: &str, args: &Args<'_>) -> Result<(), Problem> {
    if args.len() == 1 && args.text(0).eq_ignore_ascii_case(value) {
        return Ok(());
    }
    let message = format!(r#""{}" directive is not supported by this version of Weir"#, args.name());
    Err(Problem::new(message).help(format!("take it out; only {value} is accepted")))
}
