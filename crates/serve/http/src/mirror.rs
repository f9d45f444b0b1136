//! `mirror`: copies of requests, whose answers nobody sees.

use std::rc::Rc;

use crate::body::{self, Gathered, Reader};
use crate::exchange::{Exchange, Next};
use crate::subrequest;

/// Starts the copies of a request that is about to be served. The error is how the request ends when its body
/// cannot be read.
pub(crate) async fn start(exchange: &mut Exchange<'_>) -> Result<(), Next> {
    let live = exchange.live();
    let settings = &live.site().place(exchange.request.location).settings;
    let body = if settings.mirror_request_body { shared_body(exchange).await? } else { None };
    let args = exchange.request.args.clone();
    for uri in &settings.mirror {
        subrequest::spawn(exchange, uri.as_bytes(), &args, body.as_ref());
    }
    Ok(())
}

/// Reads the whole body, so that the request and its copies can each have it.
async fn shared_body(exchange: &mut Exchange<'_>) -> Result<Option<Rc<Gathered>>, Next> {
    if let Reader::Replay { body, .. } = &exchange.body {
        return Ok(Some(Rc::clone(body)));
    }
    if !exchange.body.is_pending() || exchange.body.is_discarded() {
        return Ok(None);
    }
    let gathered = match body::gather(exchange).await {
        Ok(gathered) => Rc::new(gathered),
        Err(error) => return Err(body::failed(exchange, &error)),
    };
    let used = exchange.body.consumed(&exchange.request);
    exchange.body = Reader::replay(Rc::clone(&gathered), used);
    Ok(Some(gathered))
}
