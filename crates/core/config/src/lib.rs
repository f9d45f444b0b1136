//! The directives: one value each, and their lowering from a tree to the model.
//! Lexing is left to weir-syntax, serving to weir-serve-*.
