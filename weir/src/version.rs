//! Who this is, in the forms that nginx's scripts and test suite read.

use weir_config::{Action, Directive};

/// The nginx whose behaviour is the measure, and this version.
pub(crate) const NAME: &str = concat!("nginx/1.31.4 (weir/", env!("CARGO_PKG_VERSION"), ")");

/// nginx builds these unless told not to; a missing one is named by `--without-`. Module, option.
const OPT_OUT: &[(&str, &str)] = &[
    ("ngx_http_charset_filter_module", "http_charset_module"),
    ("ngx_http_gzip_filter_module", "http_gzip_module"),
    ("ngx_http_ssi_filter_module", "http_ssi_module"),
    ("ngx_http_userid_filter_module", "http_userid_module"),
    ("ngx_http_access_module", "http_access_module"),
    ("ngx_http_auth_basic_module", "http_auth_basic_module"),
    ("ngx_http_mirror_module", "http_mirror_module"),
    ("ngx_http_autoindex_module", "http_autoindex_module"),
    ("ngx_http_geo_module", "http_geo_module"),
    ("ngx_http_map_module", "http_map_module"),
    ("ngx_http_split_clients_module", "http_split_clients_module"),
    ("ngx_http_referer_module", "http_referer_module"),
    ("ngx_http_rewrite_module", "http_rewrite_module"),
    ("ngx_http_proxy_module", "http_proxy_module"),
    ("ngx_http_fastcgi_module", "http_fastcgi_module"),
    ("ngx_http_uwsgi_module", "http_uwsgi_module"),
    ("ngx_http_scgi_module", "http_scgi_module"),
    ("ngx_http_grpc_module", "http_grpc_module"),
    ("ngx_http_tunnel_module", "http_tunnel_module"),
    ("ngx_http_memcached_module", "http_memcached_module"),
    ("ngx_http_limit_conn_module", "http_limit_conn_module"),
    ("ngx_http_limit_req_module", "http_limit_req_module"),
    ("ngx_http_empty_gif_module", "http_empty_gif_module"),
    ("ngx_http_browser_module", "http_browser_module"),
    ("ngx_http_upstream_hash_module", "http_upstream_hash_module"),
    ("ngx_http_upstream_ip_hash_module", "http_upstream_ip_hash_module"),
    ("ngx_http_upstream_least_conn_module", "http_upstream_least_conn_module"),
    ("ngx_http_upstream_least_time_module", "http_upstream_least_time_module"),
    ("ngx_http_upstream_random_module", "http_upstream_random_module"),
    ("ngx_http_upstream_keepalive_module", "http_upstream_keepalive_module"),
    ("ngx_http_upstream_zone_module", "http_upstream_zone_module"),
    ("ngx_http_upstream_sticky_module", "http_upstream_sticky_module"),
];

/// nginx builds these only if told to; a present one is named by `--with-`.
const OPT_IN: &[(&str, &str)] = &[
    ("ngx_http_ssl_module", "http_ssl_module"),
    ("ngx_http_v2_module", "http_v2_module"),
    ("ngx_http_v3_module", "http_v3_module"),
    ("ngx_http_realip_module", "http_realip_module"),
    ("ngx_http_addition_filter_module", "http_addition_module"),
    ("ngx_http_sub_filter_module", "http_sub_module"),
    ("ngx_http_dav_module", "http_dav_module"),
    ("ngx_http_flv_module", "http_flv_module"),
    ("ngx_http_mp4_module", "http_mp4_module"),
    ("ngx_http_gunzip_filter_module", "http_gunzip_module"),
    ("ngx_http_gzip_static_module", "http_gzip_static_module"),
    ("ngx_http_auth_request_module", "http_auth_request_module"),
    ("ngx_http_random_index_module", "http_random_index_module"),
    ("ngx_http_secure_link_module", "http_secure_link_module"),
    ("ngx_http_slice_filter_module", "http_slice_module"),
    ("ngx_http_stub_status_module", "http_stub_status_module"),
    ("ngx_stream_core_module", "stream"),
    ("ngx_mail_core_module", "mail"),
];

/// What `-V` prints behind `configure arguments:`, honest about each module: it is there when more of its
/// directives work than are refused.
pub(crate) fn configure_arguments() -> String {
    let serves = |module: &str| {
        let own = || weir_config::directives().filter(|d| d.module == module);
        let refused = own().filter(|d| matches!(d.action, Action::Absent(_))).count();
        own().filter(|d| works(d)).count() > refused
    };
    let without =
        OPT_OUT.iter().filter(|(module, _)| !serves(module)).map(|(_, o)| format!(" --without-{o}"));
    let with = OPT_IN.iter().filter(|(module, _)| serves(module)).map(|(_, o)| format!(" --with-{o}"));
    // The cache is part of the proxy module in nginx and has an option of its own.
    let cache = !weir_config::directives().any(|d| d.name == "proxy_cache" && works(d));
    let cache = cache.then(|| " --without-http-cache".to_owned());
    with.chain(without).chain(cache).collect()
}

/// Whether a directive changes anything: not when it is refused, tunes what is not there, or may only say `off`.
fn works(directive: &Directive) -> bool {
    !matches!(directive.action, Action::Absent(_) | Action::Accepted(_)) && directive.syntax != "off"
}
