use crate::exchange::{Exchange, Next};
pub(crate) async fn serve(_exchange: &mut Exchange<'_>) -> Next { Next::Error(404) }
pub(crate) fn content_type(_exchange: &mut Exchange<'_>) -> Vec<u8> { b"text/plain".to_vec() }
