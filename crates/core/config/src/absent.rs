//! Directives of nginx and of well-known third-party modules that are refused by name.

use crate::directive::{Action, Arity, Contexts, Directive};

const MAIN: Contexts = Contexts::MAIN;
const HTTP: Contexts = Contexts::HTTP;
const HSL: Contexts = Contexts::HSL;
const HSLI: Contexts = Contexts::HSLI;
const HTTP_SERVER: Contexts = Contexts::HTTP_SERVER;
const LOCATION: Contexts = Contexts::LOCATION;
const LOCATION_AND_IF: Contexts = LOCATION.or(Contexts::LOCATION_IF);
const SERVER_LOCATION: Contexts = Contexts::SERVER.or(LOCATION);
const TUNNEL: Contexts = SERVER_LOCATION.or(Contexts::LOCATION_IF);
const PERL: Contexts = LOCATION.or(Contexts::LIMIT_EXCEPT);
const LUA_PHASES: Contexts = HSLI.or(Contexts::SERVER_IF);
const SET_MISC: Contexts = TUNNEL.or(Contexts::SERVER_IF);
const UPSTREAM: Contexts = Contexts::UPSTREAM;
const STREAM: Contexts = Contexts::STREAM;
const STREAM_SERVER: Contexts = Contexts::STREAM_SERVER;
const STREAM_BOTH: Contexts = STREAM.or(STREAM_SERVER);
const STREAM_UPSTREAM: Contexts = Contexts::STREAM_UPSTREAM;
const MAIL: Contexts = Contexts::MAIL;
const MAIL_SERVER: Contexts = Contexts::MAIL_SERVER;
const MAIL_BOTH: Contexts = MAIL.or(MAIL_SERVER);

const TAKE_OUT: &str = "take it out, or keep what needs it on another server";
const TLS: &str = "TLS for clients comes with a later version; until then end TLS in front";
const TLS_TO_PEERS: &str = "TLS to peers comes with a later version; reach them with http:// until then";
const HTTP2: &str =
    "HTTP/2 comes with a later version; clients are served in HTTP/1.1 when the line is taken out";
const HTTP3: &str = "HTTP/3 is not there; clients are served in HTTP/1.1 when the line is taken out";
const GRPC: &str = "gRPC comes with a later version, together with HTTP/2";
const GATEWAY: &str =
    "only HTTP is spoken to peers; put an HTTP server in front of the application and use proxy_pass";
const MEMCACHED: &str = "only HTTP is spoken to peers; read memcached in the application";
const CACHE: &str = "answers are not cached by this version; take it out, or keep a cache behind this proxy";
const STORE: &str = "answers are not stored as files; take it out";
const SOCKET: &str = "socket buffers of peers are sized by the kernel; take it out";
const BODY: &str = "bodies are passed on unchanged; make the change in the application";
const GEOIP: &str = "write the networks into a geo block, which may include a file";
const SECURE_LINK: &str = "check signed links in an auth_request service";
const REFERER: &str = "match $http_referer in a map and test the result with if";
const BROWSER: &str = "match $http_user_agent in a map";
const FOLDERS: &str = "only single files are served; keep this on a file server behind proxy_pass";
const MEDIA: &str =
    "files are served with byte ranges and not cut; keep this on a file server behind proxy_pass";
const USERID: &str = "set the cookie with add_header and $request_id";
const CHARSET: &str = "texts are not converted; charset names the one that they have";
const EARLY_HINTS: &str = "interim answers of peers are not passed on; take it out";
const TUNNEL_LATER: &str = "the CONNECT method is not served";
const STREAM_LATER: &str = "TCP and UDP come with a later version; keep the stream block on nginx until then";
const MAIL_NEVER: &str = "mail is not proxied; keep it on nginx";
const PERL_NEVER: &str =
    "perl does not run here; a map, or an application behind proxy_pass, takes its place";
const SCRIPTS: &str = "scripts do not run here; map, set, if, auth_request, or an application behind proxy_pass take their place";
const HEADERS_MORE: &str = "use add_header, proxy_set_header and proxy_hide_header";
const ECHO: &str = "use return with a text";
const COMPRESSION: &str = "gzip is the compression that is there";
const AUTH: &str = "use auth_basic, or a service of your own with auth_request";
const FAIR: &str = "use least_conn or least_time";
const PLUS: &str = "it belongs to the commercial nginx and is not there";
const THIRD_PARTY: &str = "third-party modules cannot be loaded; take it out";

const fn absent(
    name: &'static str,
    module: &'static str,
    contexts: Contexts,
    instead: &'static str,
) -> Directive {
    Directive {
        name,
        module,
        contexts,
        arguments: Arity::Any,
        action: Action::Absent(instead),
        ..Directive::NEW
    }
}

/// Module, contexts, what to do instead, and names.
macro_rules! table {
    ($($module:literal, $contexts:expr, $instead:expr => [$($name:literal,)*];)*) => {
        pub(crate) const DIRECTIVES: &[Directive] = &[
            Directive {
                syntax: "FILE",
                arguments: Arity::Exactly(1),
                repeat: true,
                doc: "Reads another file, or all that match a pattern, in place of the line.",
                // The tree has the files in place already; what is left is an `include` with a wrong shape.
                action: Action::Accepted("it is expanded where it stands"),
                ..absent("include", "ngx_conf_module", Contexts::ANY, "")
            },
            $($(absent($name, $module, $contexts, $instead),)*)*
        ];
    };
}

table! {
    "ngx_openssl_module", MAIN, TLS => [
        "ssl_engine",
    ];
    "ngx_openssl_cache_module", MAIN, TLS => [
        "ssl_object_cache_inheritable",
    ];
    "ngx_quic_bpf_module", MAIN, HTTP3 => [
        "quic_bpf",
    ];
    "ngx_http_addition_filter_module", HSL, BODY => [
        "add_before_body", "add_after_body", "addition_types",
    ];
    "ngx_http_autoindex_module", HSL, FOLDERS => [
        "autoindex_format", "autoindex_localtime", "autoindex_exact_size",
    ];
    "ngx_http_browser_module", HSL, BROWSER => [
        "modern_browser", "ancient_browser", "modern_browser_value", "ancient_browser_value",
    ];
    "ngx_http_charset_filter_module", HSLI, CHARSET => [
        "source_charset",
    ];
    "ngx_http_charset_filter_module", HSL, CHARSET => [
        "charset_types",
    ];
    "ngx_http_charset_filter_module", HTTP, CHARSET => [
        "charset_map",
    ];
    "ngx_http_dav_module", HSL, FOLDERS => [
        "dav_methods", "create_full_put_path", "min_delete_depth", "dav_access",
    ];
    "ngx_http_degradation_module", HTTP, TAKE_OUT => [
        "degradation",
    ];
    "ngx_http_degradation_module", HSL, TAKE_OUT => [
        "degrade",
    ];
    "ngx_http_fastcgi_module", LOCATION_AND_IF, GATEWAY => [
        "fastcgi_pass",
    ];
    "ngx_http_fastcgi_module", HSL, GATEWAY => [
        "fastcgi_index", "fastcgi_split_path_info", "fastcgi_store", "fastcgi_store_access",
        "fastcgi_buffering", "fastcgi_request_buffering", "fastcgi_ignore_client_abort",
        "fastcgi_bind", "fastcgi_socket_keepalive", "fastcgi_socket_rcvbuf",
        "fastcgi_socket_sndbuf", "fastcgi_connect_timeout", "fastcgi_send_timeout",
        "fastcgi_send_lowat", "fastcgi_buffer_size", "fastcgi_pass_request_headers",
        "fastcgi_pass_request_body", "fastcgi_intercept_errors", "fastcgi_read_timeout",
        "fastcgi_buffers", "fastcgi_busy_buffers_size", "fastcgi_force_ranges",
        "fastcgi_limit_rate", "fastcgi_cache", "fastcgi_cache_key", "fastcgi_cache_bypass",
        "fastcgi_no_cache", "fastcgi_cache_valid", "fastcgi_cache_min_uses",
        "fastcgi_cache_max_range_offset", "fastcgi_cache_use_stale", "fastcgi_cache_methods",
        "fastcgi_cache_lock", "fastcgi_cache_lock_timeout", "fastcgi_cache_lock_age",
        "fastcgi_cache_revalidate", "fastcgi_cache_background_update", "fastcgi_temp_path",
        "fastcgi_max_temp_file_size", "fastcgi_temp_file_write_size", "fastcgi_next_upstream",
        "fastcgi_next_upstream_tries", "fastcgi_next_upstream_timeout", "fastcgi_param",
        "fastcgi_pass_header", "fastcgi_hide_header", "fastcgi_ignore_headers",
        "fastcgi_catch_stderr", "fastcgi_keep_conn",
    ];
    "ngx_http_fastcgi_module", HTTP, GATEWAY => [
        "fastcgi_cache_path",
    ];
    "ngx_http_flv_module", LOCATION, MEDIA => [
        "flv",
    ];
    "ngx_http_geoip_module", HTTP, GEOIP => [
        "geoip_country", "geoip_org", "geoip_city", "geoip_proxy", "geoip_proxy_recursive",
    ];
    "ngx_http_grpc_module", LOCATION_AND_IF, GRPC => [
        "grpc_pass",
    ];
    "ngx_http_grpc_module", HSL, GRPC => [
        "grpc_bind", "grpc_socket_keepalive", "grpc_socket_rcvbuf", "grpc_socket_sndbuf",
        "grpc_connect_timeout", "grpc_send_timeout", "grpc_intercept_errors", "grpc_buffer_size",
        "grpc_read_timeout", "grpc_next_upstream", "grpc_next_upstream_tries",
        "grpc_next_upstream_timeout", "grpc_set_header", "grpc_pass_header", "grpc_hide_header",
        "grpc_ignore_headers", "grpc_ssl_session_reuse", "grpc_ssl_protocols", "grpc_ssl_ciphers",
        "grpc_ssl_name", "grpc_ssl_server_name", "grpc_ssl_verify", "grpc_ssl_verify_depth",
        "grpc_ssl_trusted_certificate", "grpc_ssl_crl", "grpc_ssl_certificate",
        "grpc_ssl_certificate_key", "grpc_ssl_certificate_cache", "grpc_ssl_password_file",
        "grpc_ssl_conf_command",
    ];
    "ngx_http_gunzip_filter_module", HSL, TAKE_OUT => [
        "gunzip_buffers",
    ];
    "ngx_http_image_filter_module", LOCATION, BODY => [
        "image_filter",
    ];
    "ngx_http_image_filter_module", HSL, BODY => [
        "image_filter_jpeg_quality", "image_filter_webp_quality", "image_filter_sharpen",
        "image_filter_transparency", "image_filter_interlace", "image_filter_buffer",
    ];
    "ngx_http_memcached_module", LOCATION_AND_IF, MEMCACHED => [
        "memcached_pass",
    ];
    "ngx_http_memcached_module", HSL, MEMCACHED => [
        "memcached_bind", "memcached_socket_keepalive", "memcached_connect_timeout",
        "memcached_send_timeout", "memcached_buffer_size", "memcached_read_timeout",
        "memcached_next_upstream", "memcached_next_upstream_tries",
        "memcached_next_upstream_timeout", "memcached_gzip_flag",
    ];
    "ngx_http_mp4_module", LOCATION, MEDIA => [
        "mp4",
    ];
    "ngx_http_mp4_module", HSL, MEDIA => [
        "mp4_buffer_size", "mp4_max_buffer_size", "mp4_start_key_frame",
    ];
    "ngx_http_proxy_module", HSL, CACHE => [
        "proxy_cache_key", "proxy_cache_bypass", "proxy_no_cache", "proxy_cache_valid",
        "proxy_cache_min_uses", "proxy_cache_max_range_offset", "proxy_cache_use_stale",
        "proxy_cache_methods", "proxy_cache_lock", "proxy_cache_lock_timeout",
        "proxy_cache_lock_age", "proxy_cache_revalidate", "proxy_cache_convert_head",
        "proxy_cache_background_update",
    ];
    "ngx_http_proxy_module", HSL, STORE => [
        "proxy_store_access",
    ];
    "ngx_http_proxy_module", HSL, SOCKET => [
        "proxy_socket_rcvbuf", "proxy_socket_sndbuf",
    ];
    "ngx_http_proxy_module", HSL, TLS_TO_PEERS => [
        "proxy_ssl_session_reuse", "proxy_ssl_protocols", "proxy_ssl_ciphers", "proxy_ssl_name",
        "proxy_ssl_verify_depth", "proxy_ssl_trusted_certificate", "proxy_ssl_crl",
        "proxy_ssl_certificate", "proxy_ssl_certificate_key", "proxy_ssl_certificate_cache",
        "proxy_ssl_password_file", "proxy_ssl_conf_command",
    ];
    "ngx_http_proxy_module", HTTP, CACHE => [
        "proxy_cache_path",
    ];
    "ngx_http_random_index_module", LOCATION, FOLDERS => [
        "random_index",
    ];
    "ngx_http_referer_module", SERVER_LOCATION, REFERER => [
        "valid_referers",
    ];
    "ngx_http_scgi_module", LOCATION_AND_IF, GATEWAY => [
        "scgi_pass",
    ];
    "ngx_http_scgi_module", HSL, GATEWAY => [
        "scgi_store", "scgi_store_access", "scgi_buffering", "scgi_request_buffering",
        "scgi_ignore_client_abort", "scgi_bind", "scgi_socket_keepalive", "scgi_socket_rcvbuf",
        "scgi_socket_sndbuf", "scgi_connect_timeout", "scgi_send_timeout", "scgi_buffer_size",
        "scgi_pass_request_headers", "scgi_pass_request_body", "scgi_intercept_errors",
        "scgi_read_timeout", "scgi_buffers", "scgi_busy_buffers_size", "scgi_force_ranges",
        "scgi_limit_rate", "scgi_cache", "scgi_cache_key", "scgi_cache_bypass", "scgi_no_cache",
        "scgi_cache_valid", "scgi_cache_min_uses", "scgi_cache_max_range_offset",
        "scgi_cache_use_stale", "scgi_cache_methods", "scgi_cache_lock",
        "scgi_cache_lock_timeout", "scgi_cache_lock_age", "scgi_cache_revalidate",
        "scgi_cache_background_update", "scgi_temp_path", "scgi_max_temp_file_size",
        "scgi_temp_file_write_size", "scgi_next_upstream", "scgi_next_upstream_tries",
        "scgi_next_upstream_timeout", "scgi_param", "scgi_pass_header", "scgi_hide_header",
        "scgi_ignore_headers",
    ];
    "ngx_http_scgi_module", HTTP, GATEWAY => [
        "scgi_cache_path",
    ];
    "ngx_http_secure_link_module", HSL, SECURE_LINK => [
        "secure_link", "secure_link_md5", "secure_link_secret",
    ];
    "ngx_http_slice_filter_module", HSL, MEDIA => [
        "slice",
    ];
    "ngx_http_ssl_module", HTTP_SERVER, TLS => [
        "ssl_certificate", "ssl_certificate_key", "ssl_certificate_cache", "ssl_ech_file",
        "ssl_password_file", "ssl_certificate_compression",
        "ssl_verify_client",
        "ssl_verify_depth", "ssl_client_certificate", "ssl_trusted_certificate",

        "ssl_session_ticket_key", "ssl_crl", "ssl_ocsp_responder",
        "ssl_ocsp_cache", "ssl_stapling_file", "ssl_stapling_responder", "ssl_stapling_verify",
        "ssl_early_data", "ssl_conf_command", "ssl_reject_handshake",
    ];
    "ngx_http_sub_filter_module", HSL, BODY => [
        "sub_filter", "sub_filter_types", "sub_filter_once", "sub_filter_last_modified",
    ];
    "ngx_http_tunnel_module", TUNNEL, TUNNEL_LATER => [
        "tunnel_pass",
    ];
    "ngx_http_tunnel_module", HSL, TUNNEL_LATER => [
        "tunnel_bind", "tunnel_socket_keepalive", "tunnel_socket_rcvbuf", "tunnel_socket_sndbuf",
        "tunnel_connect_timeout", "tunnel_send_timeout", "tunnel_send_lowat",
        "tunnel_buffer_size", "tunnel_read_timeout", "tunnel_next_upstream",
        "tunnel_next_upstream_tries", "tunnel_next_upstream_timeout",
    ];
    "ngx_http_userid_filter_module", HSL, USERID => [
        "userid_service", "userid_name", "userid_domain", "userid_path", "userid_expires",
        "userid_flags", "userid_p3p", "userid_mark",
    ];
    "ngx_http_uwsgi_module", LOCATION_AND_IF, GATEWAY => [
        "uwsgi_pass",
    ];
    "ngx_http_uwsgi_module", HSL, GATEWAY => [
        "uwsgi_modifier1", "uwsgi_modifier2", "uwsgi_store", "uwsgi_store_access",
        "uwsgi_buffering", "uwsgi_request_buffering", "uwsgi_ignore_client_abort", "uwsgi_bind",
        "uwsgi_socket_keepalive", "uwsgi_socket_rcvbuf", "uwsgi_socket_sndbuf",
        "uwsgi_connect_timeout", "uwsgi_send_timeout", "uwsgi_buffer_size",
        "uwsgi_pass_request_headers", "uwsgi_pass_request_body", "uwsgi_intercept_errors",
        "uwsgi_read_timeout", "uwsgi_buffers", "uwsgi_busy_buffers_size", "uwsgi_force_ranges",
        "uwsgi_limit_rate", "uwsgi_cache", "uwsgi_cache_key", "uwsgi_cache_bypass",
        "uwsgi_no_cache", "uwsgi_cache_valid", "uwsgi_cache_min_uses",
        "uwsgi_cache_max_range_offset", "uwsgi_cache_use_stale", "uwsgi_cache_methods",
        "uwsgi_cache_lock", "uwsgi_cache_lock_timeout", "uwsgi_cache_lock_age",
        "uwsgi_cache_revalidate", "uwsgi_cache_background_update", "uwsgi_temp_path",
        "uwsgi_max_temp_file_size", "uwsgi_temp_file_write_size", "uwsgi_next_upstream",
        "uwsgi_next_upstream_tries", "uwsgi_next_upstream_timeout", "uwsgi_param", "uwsgi_string",
        "uwsgi_pass_header", "uwsgi_hide_header", "uwsgi_ignore_headers",
        "uwsgi_ssl_session_reuse", "uwsgi_ssl_protocols", "uwsgi_ssl_ciphers", "uwsgi_ssl_name",
        "uwsgi_ssl_server_name", "uwsgi_ssl_verify", "uwsgi_ssl_verify_depth",
        "uwsgi_ssl_trusted_certificate", "uwsgi_ssl_crl", "uwsgi_ssl_certificate",
        "uwsgi_ssl_certificate_key", "uwsgi_ssl_certificate_cache", "uwsgi_ssl_password_file",
        "uwsgi_ssl_conf_command",
    ];
    "ngx_http_uwsgi_module", HTTP, GATEWAY => [
        "uwsgi_cache_path",
    ];
    "ngx_http_xslt_filter_module", HSL, BODY => [
        "xml_entities", "xml_external_entities", "xslt_param", "xslt_string_param", "xslt_types",
        "xslt_last_modified",
    ];
    "ngx_http_xslt_filter_module", LOCATION, BODY => [
        "xslt_stylesheet",
    ];
    "ngx_http_perl_module", HTTP, PERL_NEVER => [
        "perl_modules", "perl_require", "perl_set",
    ];
    "ngx_http_perl_module", PERL, PERL_NEVER => [
        "perl",
    ];
    "ngx_http_core_module", HTTP_SERVER, TAKE_OUT => [
        "client_body_early_read",
    ];
    "ngx_http_core_module", HSL, EARLY_HINTS => [
        "early_hints",
    ];
    "ngx_http_v2_module", HTTP, HTTP2 => [
        "http2_recv_buffer_size",
    ];
    "ngx_http_v2_module", HTTP_SERVER, HTTP2 => [
        "http2_pool_size", "http2_max_concurrent_streams", "http2_max_concurrent_pushes",
        "http2_max_requests", "http2_max_field_size", "http2_max_header_size",
        "http2_body_preread_size", "http2_streams_index_size", "http2_recv_timeout",
        "http2_idle_timeout",
    ];
    "ngx_http_v2_module", HSL, HTTP2 => [
        "http2_chunk_size", "http2_push_preload", "http2_push",
    ];
    "ngx_http_v3_module", HTTP_SERVER, HTTP3 => [
        "http3_max_concurrent_streams", "http3_stream_buffer_size", "quic_host_key",
        "quic_active_connection_id_limit",
    ];
    "ngx_mail_module", MAIN, MAIL_NEVER => [
        "mail",
    ];
    "ngx_mail_auth_http_module", MAIL_BOTH, MAIL_NEVER => [
        "auth_http", "auth_http_timeout", "auth_http_header", "auth_http_pass_client_cert",
    ];
    "ngx_mail_core_module", MAIL, MAIL_NEVER => [
        "server",
    ];
    "ngx_mail_core_module", MAIL_SERVER, MAIL_NEVER => [
        "listen", "protocol",
    ];
    "ngx_mail_core_module", MAIL_BOTH, MAIL_NEVER => [
        "timeout", "server_name", "error_log", "resolver", "resolver_timeout", "max_errors",
    ];
    "ngx_mail_imap_module", MAIL_BOTH, MAIL_NEVER => [
        "imap_client_buffer", "imap_capabilities", "imap_auth",
    ];
    "ngx_mail_pop3_module", MAIL_BOTH, MAIL_NEVER => [
        "pop3_capabilities", "pop3_auth",
    ];
    "ngx_mail_proxy_module", MAIL_BOTH, MAIL_NEVER => [
        "proxy", "proxy_buffer", "proxy_timeout", "proxy_pass_error_message", "xclient",
        "proxy_smtp_auth", "proxy_protocol",
    ];
    "ngx_mail_realip_module", MAIL_BOTH, MAIL_NEVER => [
        "set_real_ip_from",
    ];
    "ngx_mail_smtp_module", MAIL_BOTH, MAIL_NEVER => [
        "smtp_client_buffer", "smtp_greeting_delay", "smtp_capabilities", "smtp_auth",
    ];
    "ngx_mail_ssl_module", MAIL_BOTH, MAIL_NEVER => [
        "starttls", "ssl_certificate", "ssl_certificate_key", "ssl_password_file",
        "ssl_certificate_compression", "ssl_dhparam", "ssl_ecdh_curve", "ssl_protocols",
        "ssl_ciphers", "ssl_prefer_server_ciphers", "ssl_session_cache", "ssl_session_tickets",
        "ssl_session_ticket_key", "ssl_session_timeout", "ssl_verify_client", "ssl_verify_depth",
        "ssl_client_certificate", "ssl_trusted_certificate", "ssl_crl", "ssl_conf_command",
    ];
    "ngx_google_perftools_module", MAIN, TAKE_OUT => [
        "google_perftools_profiles",
    ];
    "ngx_stream_module", MAIN, STREAM_LATER => [
        "stream",
    ];
    "ngx_stream_access_module", STREAM_BOTH, STREAM_LATER => [
        "allow", "deny",
    ];
    "ngx_stream_core_module", STREAM, STREAM_LATER => [
        "variables_hash_max_size", "variables_hash_bucket_size", "server_names_hash_max_size",
        "server_names_hash_bucket_size", "server",
    ];
    "ngx_stream_core_module", STREAM_SERVER, STREAM_LATER => [
        "listen", "server_name",
    ];
    "ngx_stream_core_module", STREAM_BOTH, STREAM_LATER => [
        "error_log", "resolver", "resolver_timeout", "proxy_protocol_timeout", "tcp_nodelay",
        "preread_buffer_size", "preread_timeout",
    ];
    "ngx_stream_geo_module", STREAM, STREAM_LATER => [
        "geo",
    ];
    "ngx_stream_geoip_module", STREAM, STREAM_LATER => [
        "geoip_country", "geoip_org", "geoip_city",
    ];
    "ngx_stream_limit_conn_module", STREAM, STREAM_LATER => [
        "limit_conn_zone",
    ];
    "ngx_stream_limit_conn_module", STREAM_BOTH, STREAM_LATER => [
        "limit_conn", "limit_conn_log_level", "limit_conn_dry_run",
    ];
    "ngx_stream_log_module", STREAM, STREAM_LATER => [
        "log_format",
    ];
    "ngx_stream_log_module", STREAM_BOTH, STREAM_LATER => [
        "access_log", "open_log_file_cache",
    ];
    "ngx_stream_map_module", STREAM, STREAM_LATER => [
        "map", "map_hash_max_size", "map_hash_bucket_size",
    ];
    "ngx_stream_pass_module", STREAM_SERVER, STREAM_LATER => [
        "pass",
    ];
    "ngx_stream_proxy_module", STREAM_SERVER, STREAM_LATER => [
        "proxy_pass",
    ];
    "ngx_stream_proxy_module", STREAM_BOTH, STREAM_LATER => [
        "proxy_bind", "proxy_socket_keepalive", "proxy_socket_rcvbuf", "proxy_socket_sndbuf",
        "proxy_connect_timeout", "proxy_timeout", "proxy_buffer_size", "proxy_downstream_buffer",
        "proxy_upstream_buffer", "proxy_upload_rate", "proxy_download_rate", "proxy_requests",
        "proxy_responses", "proxy_next_upstream", "proxy_next_upstream_tries",
        "proxy_next_upstream_timeout", "proxy_protocol", "proxy_half_close", "proxy_ssl",
        "proxy_ssl_session_reuse", "proxy_ssl_protocols", "proxy_ssl_ciphers", "proxy_ssl_name",
        "proxy_ssl_server_name", "proxy_ssl_alpn", "proxy_ssl_verify", "proxy_ssl_verify_depth",
        "proxy_ssl_trusted_certificate", "proxy_ssl_crl", "proxy_ssl_certificate",
        "proxy_ssl_certificate_key", "proxy_ssl_certificate_cache", "proxy_ssl_password_file",
        "proxy_ssl_conf_command",
    ];
    "ngx_stream_realip_module", STREAM_BOTH, STREAM_LATER => [
        "set_real_ip_from",
    ];
    "ngx_stream_return_module", STREAM_SERVER, STREAM_LATER => [
        "return",
    ];
    "ngx_stream_set_module", STREAM_SERVER, STREAM_LATER => [
        "set",
    ];
    "ngx_stream_split_clients_module", STREAM, STREAM_LATER => [
        "split_clients",
    ];
    "ngx_stream_ssl_module", STREAM_BOTH, STREAM_LATER => [
        "ssl_handshake_timeout", "ssl_certificate", "ssl_certificate_key",
        "ssl_certificate_cache", "ssl_ech_file", "ssl_password_file",
        "ssl_certificate_compression", "ssl_dhparam", "ssl_ecdh_curve", "ssl_protocols",
        "ssl_ciphers", "ssl_verify_client", "ssl_verify_depth", "ssl_client_certificate",
        "ssl_trusted_certificate", "ssl_prefer_server_ciphers", "ssl_session_cache",
        "ssl_session_tickets", "ssl_session_ticket_key", "ssl_session_timeout", "ssl_crl",
        "ssl_ocsp", "ssl_ocsp_responder", "ssl_ocsp_cache", "ssl_stapling", "ssl_stapling_file",
        "ssl_stapling_responder", "ssl_stapling_verify", "ssl_conf_command",
        "ssl_reject_handshake", "ssl_alpn",
    ];
    "ngx_stream_ssl_preread_module", STREAM_BOTH, STREAM_LATER => [
        "ssl_preread",
    ];
    "ngx_stream_upstream_module", STREAM, STREAM_LATER => [
        "upstream",
    ];
    "ngx_stream_upstream_module", STREAM_UPSTREAM, STREAM_LATER => [
        "server", "resolver", "resolver_timeout",
    ];
    "ngx_stream_upstream_hash_module", STREAM_UPSTREAM, STREAM_LATER => [
        "hash",
    ];
    "ngx_stream_upstream_least_conn_module", STREAM_UPSTREAM, STREAM_LATER => [
        "least_conn",
    ];
    "ngx_stream_upstream_least_time_module", STREAM_UPSTREAM, STREAM_LATER => [
        "least_time",
    ];
    "ngx_stream_upstream_random_module", STREAM_UPSTREAM, STREAM_LATER => [
        "random",
    ];
    "ngx_stream_upstream_zone_module", STREAM_UPSTREAM, STREAM_LATER => [
        "zone",
    ];
    "ngx_http_upstream_module", UPSTREAM, PLUS => [
        "state", "queue", "ntlm",
    ];
    "ngx_http_api_module", LOCATION, PLUS => [
        "api", "status", "status_format", "upstream_conf",
    ];
    "ngx_http_api_module", SERVER_LOCATION, PLUS => [
        "status_zone",
    ];
    "ngx_http_keyval_module", HTTP, PLUS => [
        "keyval", "keyval_zone",
    ];
    "ngx_http_auth_jwt_module", HSL, PLUS => [
        "auth_jwt", "auth_jwt_key_file", "auth_jwt_key_request", "auth_jwt_key_cache",
        "auth_jwt_claim_set", "auth_jwt_header_set", "auth_jwt_leeway", "auth_jwt_require",
        "auth_jwt_type",
    ];
    "ngx_http_oidc_module", HTTP, PLUS => [
        "oidc_provider",
    ];
    "ngx_http_oidc_module", HSL, PLUS => [
        "auth_oidc",
    ];
    "ngx_http_internal_redirect_module", SERVER_LOCATION, PLUS => [
        "internal_redirect",
    ];
    "ngx_http_session_log_module", HTTP, PLUS => [
        "session_log_format", "session_log_zone",
    ];
    "ngx_http_session_log_module", HSL, PLUS => [
        "session_log",
    ];
    "ngx_http_hls_module", HSL, PLUS => [
        "hls", "hls_buffers", "hls_forward_args", "hls_fragment", "hls_mp4_buffer_size",
        "hls_mp4_max_buffer_size", "f4f", "f4f_buffer_size",
    ];
    "ngx_http_proxy_module", HSL, PLUS => [
        "proxy_cache_purge",
    ];
    "ngx_stream_zone_sync_module", STREAM_SERVER, PLUS => [
        "zone_sync", "zone_sync_server", "zone_sync_buffers", "zone_sync_timeout",
    ];
    "ngx_mgmt_module", MAIN, PLUS => [
        "mgmt",
    ];
    "ngx_http_lua_module", HTTP, SCRIPTS => [
        "init_by_lua", "init_by_lua_block", "init_by_lua_file", "init_worker_by_lua",
        "init_worker_by_lua_block", "init_worker_by_lua_file", "exit_worker_by_lua_block",
        "exit_worker_by_lua_file", "lua_package_path", "lua_package_cpath", "lua_shared_dict",
        "lua_sa_restart", "lua_malloc_trim", "lua_max_running_timers", "lua_max_pending_timers",
        "lua_capture_error_log",
    ];
    "ngx_http_lua_module", LUA_PHASES, SCRIPTS => [
        "set_by_lua", "set_by_lua_block", "set_by_lua_file", "rewrite_by_lua",
        "rewrite_by_lua_block", "rewrite_by_lua_file", "access_by_lua", "access_by_lua_block",
        "access_by_lua_file", "content_by_lua", "content_by_lua_block", "content_by_lua_file",
        "server_rewrite_by_lua_block", "server_rewrite_by_lua_file", "precontent_by_lua_block",
        "precontent_by_lua_file", "header_filter_by_lua", "header_filter_by_lua_block",
        "header_filter_by_lua_file", "body_filter_by_lua", "body_filter_by_lua_block",
        "body_filter_by_lua_file", "log_by_lua", "log_by_lua_block", "log_by_lua_file",
        "lua_code_cache", "lua_need_request_body", "lua_socket_log_errors",
        "lua_socket_connect_timeout", "lua_socket_read_timeout", "lua_socket_send_timeout",
        "lua_socket_pool_size", "lua_socket_keepalive_timeout", "lua_ssl_trusted_certificate",
        "lua_ssl_verify_depth", "lua_ssl_protocols", "lua_check_client_abort",
        "lua_http10_buffering", "lua_transform_underscores_in_response_headers",
        "rewrite_by_lua_no_postpone", "access_by_lua_no_postpone",
    ];
    "ngx_http_lua_module", HTTP_SERVER, SCRIPTS => [
        "ssl_certificate_by_lua_block", "ssl_certificate_by_lua_file",
        "ssl_client_hello_by_lua_block", "ssl_client_hello_by_lua_file",
        "ssl_session_fetch_by_lua_block", "ssl_session_store_by_lua_block",
    ];
    "ngx_http_lua_module", UPSTREAM, SCRIPTS => [
        "balancer_by_lua_block", "balancer_by_lua_file",
    ];
    "ngx_http_js_module", HSL, SCRIPTS => [
        "js_import", "js_path", "js_set", "js_var", "js_preload_object", "js_engine",
        "js_fetch_timeout", "js_fetch_verify", "js_fetch_trusted_certificate", "js_fetch_ciphers",
        "js_fetch_protocols", "js_fetch_buffer_size", "js_fetch_max_response_buffer_size",
        "js_shared_dict_zone",
    ];
    "ngx_http_js_module", LUA_PHASES, SCRIPTS => [
        "js_content", "js_header_filter", "js_body_filter", "js_periodic", "js_access",
    ];
    "headers-more-nginx-module", HSLI, HEADERS_MORE => [
        "more_set_headers", "more_clear_headers", "more_set_input_headers",
        "more_clear_input_headers",
    ];
    "echo-nginx-module", LOCATION_AND_IF, ECHO => [
        "echo", "echo_duplicate", "echo_flush", "echo_sleep", "echo_blocking_sleep",
        "echo_reset_timer", "echo_read_request_body", "echo_location", "echo_location_async",
        "echo_subrequest", "echo_subrequest_async", "echo_foreach_split", "echo_end",
        "echo_request_body", "echo_exec", "echo_status", "echo_before_body", "echo_after_body",
    ];
    "ngx_brotli", HSLI, COMPRESSION => [
        "brotli", "brotli_static", "brotli_types", "brotli_comp_level", "brotli_window",
        "brotli_min_length", "brotli_buffers",
    ];
    "zstd-nginx-module", HSLI, COMPRESSION => [
        "zstd", "zstd_static", "zstd_types", "zstd_comp_level", "zstd_min_length", "zstd_buffers",
        "zstd_dict_file",
    ];
    "nginx-module-vts", HTTP, THIRD_PARTY => [
        "vhost_traffic_status_zone", "vhost_traffic_status_dump",
    ];
    "nginx-module-vts", HSL, THIRD_PARTY => [
        "vhost_traffic_status", "vhost_traffic_status_display",
        "vhost_traffic_status_display_format", "vhost_traffic_status_display_jsonp",
        "vhost_traffic_status_filter", "vhost_traffic_status_filter_by_host",
        "vhost_traffic_status_filter_by_set_key", "vhost_traffic_status_filter_max_node",
        "vhost_traffic_status_limit", "vhost_traffic_status_limit_traffic",
        "vhost_traffic_status_bypass_limit", "vhost_traffic_status_bypass_stats",
        "vhost_traffic_status_histogram_buckets", "vhost_traffic_status_average_method",
    ];
    "ModSecurity-nginx", HSL, THIRD_PARTY => [
        "modsecurity", "modsecurity_rules", "modsecurity_rules_file", "modsecurity_rules_remote",
        "modsecurity_transaction_id", "modsecurity_use_error_log",
    ];
    "ngx_http_geoip2_module", HTTP, GEOIP => [
        "geoip2", "geoip2_proxy", "geoip2_proxy_recursive",
    ];
    "ngx_fancyindex", HSL, FOLDERS => [
        "fancyindex", "fancyindex_exact_size", "fancyindex_localtime", "fancyindex_header",
        "fancyindex_footer", "fancyindex_ignore", "fancyindex_default_sort",
        "fancyindex_name_length", "fancyindex_css_href", "fancyindex_time_format",
        "fancyindex_directories_first", "fancyindex_show_path", "fancyindex_hide_symlinks",
        "fancyindex_show_dotfiles",
    ];
    "ngx_http_substitutions_filter_module", HSL, BODY => [
        "subs_filter", "subs_filter_types", "subs_filter_bypass", "subs_buffers",
        "subs_line_buffer_size",
    ];
    "set-misc-nginx-module", SET_MISC, THIRD_PARTY => [
        "set_if_empty", "set_quote_sql_str", "set_quote_json_str", "set_unescape_uri",
        "set_escape_uri", "set_hashed_upstream", "set_encode_base32", "set_decode_base32",
        "set_encode_base64", "set_decode_base64", "set_encode_hex", "set_decode_hex", "set_sha1",
        "set_md5", "set_hmac_sha1", "set_hmac_sha256", "set_random", "set_secure_random_alphanum",
        "set_secure_random_lcalpha", "set_rotate", "set_local_today", "set_formatted_gmt_time",
        "set_formatted_local_time",
    ];
    "ngx_cache_purge", LOCATION, CACHE => [
        "fastcgi_cache_purge", "scgi_cache_purge", "uwsgi_cache_purge",
    ];
    "nginx-upstream-fair", UPSTREAM, FAIR => [
        "fair",
    ];
    "ngx_http_dyups_module", HTTP_SERVER, THIRD_PARTY => [
        "dyups_interface", "dyups_upstream_conf", "dyups_shm_zone_size", "dyups_trylock",
        "dyups_read_msg_timeout",
    ];
    "nginx-otel", HTTP, THIRD_PARTY => [
        "otel_exporter", "otel_service_name", "otel_resource_attr",
    ];
    "nginx-otel", HSL, THIRD_PARTY => [
        "otel_trace", "otel_trace_context", "otel_span_name", "otel_span_attr",
    ];
    "nginx-opentracing", HSL, THIRD_PARTY => [
        "opentracing", "opentracing_load_tracer", "opentracing_tag",
        "opentracing_propagate_context", "opentracing_operation_name",
        "opentracing_location_operation_name", "opentracing_trace_locations",
    ];
    "nginx-auth-ldap", HSL, AUTH => [
        "auth_ldap", "auth_ldap_servers", "auth_pam", "auth_pam_service_name", "auth_digest",
        "auth_digest_user_file", "auth_spnego", "auth_gss",
    ];
    "nginx-auth-ldap", HTTP, AUTH => [
        "ldap_server",
    ];
    "nginx-rtmp-module", MAIN, THIRD_PARTY => [
        "rtmp", "rtmp_auto_push",
    ];
    "ngx_pagespeed", HSL, THIRD_PARTY => [
        "pagespeed",
    ];
    "passenger", HSL, GATEWAY => [
        "passenger_enabled", "passenger_root", "passenger_ruby", "passenger_app_root",
        "passenger_python", "passenger_nodejs",
    ];
    "naxsi", HSL, THIRD_PARTY => [
        "SecRulesEnabled", "SecRulesDisabled", "LearningMode", "DeniedUrl", "CheckRule",
        "BasicRule", "MainRule",
    ];
}
