pub(crate) fn apply(_: &mut crate::exchange::Exchange<'_>, _: Option<&weir_model::location::Expires>) {}
