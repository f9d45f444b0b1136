//! Lexer and tree with spans for the nginx grammar, and diagnostics that show the line.
//! What a directive means is left to weir-config.
