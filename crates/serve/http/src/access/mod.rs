//! Who may ask, and how often: realip, limits, allow and deny, passwords, subrequests.

mod auth_request;
mod basic;
mod key;
pub(crate) mod limit_conn;
mod limit_req;
mod password;
mod pause;
mod real_ip;
pub(crate) mod zones;

use weir_model::Level;
use weir_model::location::Access;

use crate::exchange::{Exchange, Next};

pub(crate) use real_ip::real_ip;

/// What one of the ways to control access says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is not asked here.
    Skip,
    Allow,
    /// 401, 403, or a failure of the check itself.
    Refuse(u16),
    /// The request is over.
    Leave(Next),
}

/// The stages between the location and its content that may refuse a request.
pub(crate) async fn check(exchange: &mut Exchange<'_>) -> Next {
    let settings = &exchange.live.site().place(exchange.request.location).settings.access;
    if is_open(settings) { Next::TryFiles } else { Box::pin(guarded(exchange)).await }
}

fn is_open(access: &Access) -> bool {
    access.rules.is_empty()
        && access.auth_basic.is_none()
        && access.auth_request.is_none()
        && access.limit_req.is_empty()
        && access.limit_conn.is_empty()
        && access.real_ip.from.is_empty()
}

async fn guarded(exchange: &mut Exchange<'_>) -> Next {
    let live = exchange.live();
    let access = &live.site().place(exchange.request.location).settings.access;
    real_ip(exchange);
    if !access.limit_req.is_empty()
        && let Some(next) = limit_req::check(exchange, access).await
    {
        return next;
    }
    if !access.limit_conn.is_empty()
        && let Some(status) = limit_conn::check(exchange, access)
    {
        return Next::Error(status);
    }
    // Who may ask was decided for the request that made this one.
    if exchange.is_sub { Next::TryFiles } else { allowed(exchange, access).await }
}

/// Asks the ways to control access in nginx's order; `satisfy` says whether one is enough.
async fn allowed(exchange: &mut Exchange<'_>, access: &Access) -> Next {
    let mut refused = None;
    for way in [Way::Rules, Way::Basic, Way::Request] {
        let verdict = match way {
            Way::Rules => rules(exchange, access),
            Way::Basic => basic::check(exchange, access).await,
            Way::Request => auth_request::check(exchange, access).await,
        };
        match verdict {
            Verdict::Skip => {}
            Verdict::Allow if access.satisfy_any => {
                exchange.request.answer.remove("www-authenticate");
                return Next::TryFiles;
            }
            Verdict::Allow => {}
            // A 403 does not stand over a 401, which the client can do something about.
            Verdict::Refuse(status @ (401 | 403)) if access.satisfy_any => {
                if refused != Some(401) {
                    refused = Some(status);
                }
            }
            Verdict::Refuse(401) => return unauthorized(exchange, access).await,
            Verdict::Refuse(status) => return Next::Error(status),
            Verdict::Leave(next) => return next,
        }
    }
    match refused {
        None => Next::TryFiles,
        Some(401) => unauthorized(exchange, access).await,
        Some(status) => {
            exchange.log(Level::Error, format_args!("access forbidden by rule"));
            Next::Error(status)
        }
    }
}

#[derive(Clone, Copy)]
enum Way {
    Rules,
    Basic,
    Request,
}

/// `allow` and `deny`.
fn rules(exchange: &Exchange<'_>, access: &Access) -> Verdict {
    let client = exchange.request.remote();
    match access.rules.iter().find(|rule| rule.who.holds(client)) {
        None => Verdict::Skip,
        Some(rule) if rule.allow => Verdict::Allow,
        Some(_) => {
            if !access.satisfy_any {
                exchange.log(Level::Error, format_args!("access forbidden by rule"));
            }
            Verdict::Refuse(403)
        }
    }
}

/// A refusal with 401 waits for `auth_delay`, so that passwords cannot be tried quickly.
async fn unauthorized(exchange: &mut Exchange<'_>, access: &Access) -> Next {
    if access.auth_delay.0 > 0 {
        exchange.log(Level::Info, format_args!("delaying unauthorized request"));
        if let Err(gone) = pause::wait(exchange, access.auth_delay.0).await {
            return gone;
        }
    }
    Next::Error(401)
}
