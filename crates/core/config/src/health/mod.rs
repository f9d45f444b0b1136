//! Active checks: the directives of nginx_upstream_check_module, and `health_check` with `match`.

pub(crate) mod check;
pub(crate) mod matching;
pub(crate) mod request;
