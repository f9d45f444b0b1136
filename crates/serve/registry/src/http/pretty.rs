//! `?pretty`: four spaces a level, a newline at the end.

/// `compact`, which is valid JSON without white space between its words, with line breaks and indents.
pub(crate) fn pretty(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    let mut depth = 0usize;
    let mut bytes = compact.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => string(&mut out, &mut bytes),
            b'{' | b'[' => {
                out.push(byte);
                match bytes.next_if(|next| matches!(next, b'}' | b']')) {
                    Some(close) => out.push(close),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            other => out.push(other),
        }
    }
    out.push(b'\n');
    out
}

/// The rest of a string whose first quote was read.
fn string(out: &mut Vec<u8>, bytes: &mut impl Iterator<Item = u8>) {
    out.push(b'"');
    while let Some(byte) = bytes.next() {
        out.push(byte);
        match byte {
            b'"' => return,
            b'\\' => out.extend(bytes.next()),
            _ => {}
        }
    }
}

fn line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 4 * depth, b' ');
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn every_value_is_indented_as_consul_does() {
        let compact = br#"[{"Key":"a:,[{\"","Value":null,"Tags":[],"Meta":{},"Checks":["x","y"]}]"#;
        let expected = r#"[
    {
        "Key": "a:,[{\"",
        "Value": null,
        "Tags": [],
        "Meta": {},
        "Checks": [
            "x",
            "y"
        ]
    }
]
"#;
        assert_eq!(String::from_utf8(pretty(compact)).expect("ascii"), expected);
        assert_eq!(pretty(b"true"), b"true\n");
    }
}
