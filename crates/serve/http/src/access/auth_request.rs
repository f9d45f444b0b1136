//! `auth_request`: the status of a subrequest decides.

use weir_model::Level;
use weir_model::location::Access;

use super::Verdict;
use crate::exchange::{Exchange, Next};
use crate::subrequest;

pub(super) async fn check(exchange: &mut Exchange<'_>, access: &Access) -> Verdict {
    let Some(uri) = &access.auth_request else { return Verdict::Skip };
    let answer = subrequest::run(exchange, uri.as_bytes(), b"", &access.auth_request_set).await;
    match answer.status {
        200..300 => Verdict::Allow,
        403 => Verdict::Refuse(403),
        401 => {
            for value in answer.values("www-authenticate") {
                exchange.request.answer.push(b"WWW-Authenticate", value);
            }
            Verdict::Refuse(401)
        }
        // The subrequest's place closes the connection.
        444 => {
            exchange.keep = false;
            exchange.request.answer.status = 444;
            Verdict::Leave(Next::Abort)
        }
        status => {
            exchange.log(Level::Error, format_args!("auth request unexpected status: {status}"));
            Verdict::Refuse(500)
        }
    }
}
