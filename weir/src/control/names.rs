//! Names that data threads want resolved are resolved here, where one cache serves all of them.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use weir_model::Resolver;
use weir_serve_discovery::Names;
use weir_serve_http::Resolve;

type Answer = Result<Arc<[IpAddr]>, String>;

/// One name that a request waits for.
pub(super) struct Question {
    resolver: Resolver,
    name: String,
    answer: oneshot::Sender<Answer>,
}

/// The data threads' end.
pub(crate) struct Asking(UnboundedSender<Question>);

/// Both ends.
pub(crate) fn pair() -> (Arc<Asking>, Questions) {
    let (ask, asked) = unbounded_channel();
    (Arc::new(Asking(ask)), Questions(asked))
}

/// The control thread's end.
pub(crate) struct Questions(UnboundedReceiver<Question>);

impl Resolve for Asking {
    fn resolve(
        &self,
        resolver: &Resolver,
        name: &str,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'static>> {
        let (answer, answered) = oneshot::channel();
        let question = Question { resolver: resolver.clone(), name: name.to_owned(), answer };
        // Without a control thread the answer's other end is dropped at once, which is told below.
        let _ = self.0.send(question);
        Box::pin(async move {
            answered
                .await
                .unwrap_or_else(|_| Err("names are not resolved while this process ends".to_owned()))
        })
    }
}

impl Questions {
    /// Answers until the end.
    pub(super) async fn answer(mut self, names: Names) {
        while let Some(question) = self.0.recv().await {
            let looked_up = names.lookup(&question.resolver, &question.name);
            tokio::task::spawn_local(async move {
                let answer = looked_up.await;
                // The request may be gone.
                let _ = question.answer.send(answer);
            });
        }
    }
}
