//! Blocking queries: a read that waits until its answer is newer than the index that the client has.

use std::time::Duration;

use weir_registry::{State, Topic};

use super::{Answer, Context, Query, Request};

/// Without `wait=`.
const DEFAULT_WAIT: Duration = Duration::from_secs(300);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The options that every read of data understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueryOptions {
    /// What the client has seen; 0: it does not wait.
    pub(crate) index: u64,
    /// With jitter not yet added.
    pub(crate) wait: Duration,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self { index: 0, wait: DEFAULT_WAIT }
    }
}

impl QueryOptions {
    /// `dc`, `ns`, `stale`, `consistent`, `wait`, `index`, refused in Consul's words.
    pub(crate) fn parse(query: &Query, datacenter: &str) -> Result<Self, Answer> {
        if query.has("stale") && query.has("consistent") {
            return Err(Answer::bad("Cannot specify ?stale with ?consistent, conflicting semantics."));
        }
        let mut options = Self::default();
        if let Some(wait) = query.first("wait").filter(|wait| !wait.is_empty()) {
            let nanos = super::duration::parse(wait).ok_or_else(|| Answer::bad("Invalid wait time"))?;
            if let Some(nanos) = u64::try_from(nanos).ok().filter(|nanos| *nanos > 0) {
                options.wait = Duration::from_nanos(nanos).min(LONGEST_WAIT);
            }
        }
        if let Some(index) = query.first("index").filter(|index| !index.is_empty()) {
            options.index = super::parse_u64(index).map_err(|_| Answer::bad("Invalid index"))?;
        }
        if query.has("ns") {
            return Err(Answer::bad(
                "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature",
            ));
        }
        same_datacenter(query, datacenter)?;
        Ok(options)
    }
}

/// `?dc=` names this datacenter, or none.
fn same_datacenter(query: &Query, datacenter: &str) -> Result<(), Answer> {
    match query.first("dc") {
        Some(other) if !other.is_empty() && !other.eq_ignore_ascii_case(datacenter) => {
            Err(Answer::text(hyper::StatusCode::INTERNAL_SERVER_ERROR, "No path to datacenter"))
        }
        _ => Ok(()),
    }
}

/// The answer of `question` with its index in the headers: at once where the client does not wait or has seen an older
/// index; otherwise after `topic` changed, or, unchanged, after the wait and up to a sixteenth of it, so that clients do
/// not come back together.
///
/// The request ends here: a client that waits costs no more than its options and the question.
pub(crate) async fn blocking(
    context: &Context,
    request: Request,
    topic: Topic,
    question: impl Fn(&State) -> (u64, Answer),
) -> Answer {
    let QueryOptions { index: seen, wait } = request.options;
    drop(request);
    let ask = || context.engine.read(|state| (question(state), state.index()));
    let ((index, answer), _) = ask();
    if seen == 0 || index > seen {
        return answer.index(index);
    }
    drop(answer);
    let watch = context.engine.watch(&topic);
    drop(topic);
    let newer = async {
        loop {
            // Asked again now that somebody watches: a change since the first answer is not missed.
            let ((index, answer), everything) = ask();
            if index > seen {
                return answer.index(index);
            }
            drop(answer);
            // Whatever this answer knows wakes nobody a second time.
            watch.changed(everything).await;
        }
    };
    match tokio::time::timeout(wait + jitter(wait), newer).await {
        Ok(answer) => answer,
        Err(_) => {
            let ((index, answer), _) = ask();
            answer.index(index)
        }
    }
}

fn jitter(wait: Duration) -> Duration {
    // Without randomness nothing is lost but the spread.
    let random = getrandom::u32().unwrap_or_default();
    (wait / 16).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<QueryOptions, String> {
        QueryOptions::parse(&Query::parse(query), "dc1")
            .map_err(|answer| format!("{} {}", answer.status.as_u16(), String::from_utf8_lossy(&answer.body)))
    }

    #[test]
    fn options_are_those_of_consul() {
        let seconds = |index, seconds| Ok(QueryOptions { index, wait: Duration::from_secs(seconds) });
        assert_eq!(parse(""), seconds(0, 300));
        assert_eq!(parse("index=7&wait=15000ms"), seconds(7, 15));
        assert_eq!(parse("wait=2h&stale&cached&max_stale=1s&dc=DC1"), seconds(0, 600));
        assert_eq!(parse("wait=0s"), seconds(0, 300));
        assert_eq!(parse("wait=-5s"), seconds(0, 300));
        assert_eq!(parse("wait=1&index=x"), Err("400 Invalid wait time".to_owned()));
        assert_eq!(parse("index=-1"), Err("400 Invalid index".to_owned()));
        assert_eq!(parse("dc=dc2"), Err("500 No path to datacenter".to_owned()));
        assert!(parse("stale&consistent").is_err_and(|text| text.starts_with("400 Cannot specify ?stale")));
        assert!(parse("ns=").is_err_and(|text| text.starts_with("400 Bad request: Invalid query parameter")));
    }

    #[test]
    fn jitter_is_at_most_a_sixteenth() {
        for _ in 0..1000 {
            assert!(jitter(Duration::from_secs(16)) <= Duration::from_secs(1));
        }
    }
}
