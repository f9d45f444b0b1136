//! Access log lines: templates whose values are escaped (`log_format ... escape=`).
//! Where the lines go is left to weir-serve-http.

use weir_model::{Escape, Part, Template};

use crate::evaluate::Scope;
use crate::request::Request;

impl Request {
    /// Appends a log line: values that are not there become `-`, others are escaped.
    pub fn expand_log(&mut self, scope: Scope<'_>, template: &Template, escape: Escape, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        for part in &template.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Capture(group) => escape_log(self.capture(usize::from(*group)), escape, out),
                Part::Variable(variable) => {
                    let start = out.len();
                    let known = self.variable(scope, variable, out);
                    if !known {
                        if escape == Escape::Default {
                            out.push(b'-');
                        }
                        continue;
                    }
                    let written = out.get(start..).unwrap_or_default();
                    if escape != Escape::None && written.iter().any(|&byte| needs_escape(byte, escape)) {
                        value.clear();
                        value.extend_from_slice(written);
                        out.truncate(start);
                        escape_log(&value, escape, out);
                    }
                }
            }
        }
    }
}

fn needs_escape(byte: u8, escape: Escape) -> bool {
    match escape {
        Escape::Default => byte == b'"' || byte == b'\\' || !(0x20..=0x7e).contains(&byte),
        Escape::Json => byte == b'"' || byte == b'\\' || byte < 0x20,
        Escape::None => false,
    }
}

/// Appends a value as `log_format` escapes it.
pub fn escape_log(value: &[u8], escape: Escape, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in value {
        if !needs_escape(byte, escape) {
            out.push(byte);
            continue;
        }
        let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
        match (escape, byte) {
            (Escape::Json, b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            (Escape::Json, b'\n') => out.extend_from_slice(b"\\n"),
            (Escape::Json, b'\r') => out.extend_from_slice(b"\\r"),
            (Escape::Json, b'\t') => out.extend_from_slice(b"\\t"),
            (Escape::Json, 0x08) => out.extend_from_slice(b"\\b"),
            (Escape::Json, 0x0c) => out.extend_from_slice(b"\\f"),
            (Escape::Json, _) => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
            _ => {
                out.extend_from_slice(b"\\x");
                out.extend_from_slice(&digits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(value: &[u8], escape: Escape) -> String {
        let mut out = Vec::new();
        escape_log(value, escape, &mut out);
        String::from_utf8(out).expect("only text was given")
    }

    #[test]
    fn values_cannot_end_a_quoted_field_or_a_line() {
        let value = b"a\"b\\\n\x1b\t";
        assert_eq!(escaped(value, Escape::Default), r"a\x22b\x5C\x0A\x1B\x09");
        assert_eq!(escaped(value, Escape::Json), r#"a\"b\\\n\u001B\t"#);
        assert_eq!(escaped(value, Escape::None), "a\"b\\\n\u{1b}\t");
    }
}
