use crate::exchange::{Exchange, Next};
pub(crate) async fn check(_exchange: &mut Exchange<'_>) -> Next { Next::TryFiles }
