//! Names that are looked up while requests wait (`proxy_pass` with variables).

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use weir_model::Resolver;

/// A future that any thread may wait for.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who knows the addresses of a name.
pub trait Resolve: Send + Sync {
    /// The addresses of `name`, at least one; the resolver's timeout holds. Answers are remembered as long as they may be:
    /// this is asked for every request.
    ///
    /// # Errors
    /// Number and words of nginx, as in `3: Host not found`.
    fn resolve(&self, resolver: &Resolver, name: &str) -> BoxFuture<'static, Result<Arc<[IpAddr]>, String>>;
}
