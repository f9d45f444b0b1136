use super::text::{Condition, entities, evaluate, link};
use super::*;

/// The parts of a page whose bytes come in pieces of `size`; neighbouring texts are one.
fn parts(page: &[u8], size: usize) -> Vec<String> {
    let mut parser = Parser::new(20);
    let mut parts: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut take = |piece: Piece<'_>| {
        let shown = match piece {
            Piece::Text(more) => return text.push_str(&String::from_utf8_lossy(more)),
            Piece::Command(command) => {
                let mut written = Vec::new();
                command.write(&mut written);
                String::from_utf8_lossy(&written).into_owned()
            }
            Piece::Flaw(why) => format!("flaw: {why}"),
        };
        if !text.is_empty() {
            parts.push(std::mem::take(&mut text));
        }
        parts.push(shown);
    };
    for data in page.chunks(size) {
        let mut at = 0;
        while let Some(piece) = parser.next(data, &mut at) {
            take(piece);
        }
        assert_eq!(at, data.len(), "all of it was looked at");
    }
    if let Some(piece) = parser.end() {
        take(piece);
    }
    if !text.is_empty() {
        parts.push(text);
    }
    parts
}

#[test]
fn commands_are_found_however_the_bytes_come() {
    let page = b"<p><!-- no -->a<!--# echo var=\"x\"  default='y'--><<!--#else -->b<!-<!--";
    let expected =
        ["<p><!-- no -->a", "<!--#echo var=\"x\" default=\"y\" -->", "<", "<!--#else -->", "b<!-<!--"];
    for size in 1..page.len() {
        assert_eq!(parts(page, size), expected, "in pieces of {size}");
    }
}

#[test]
fn what_is_no_command_says_why() {
    let flaw = |page: &str| parts(page.as_bytes(), 7).remove(0);
    assert_eq!(
        flaw("<!--#echo var=x -->"),
        "flaw: unexpected \"x\" symbol before the value of the parameter \"var\" in \"echo\" SSI command"
    );
    assert_eq!(
        flaw("<!--#echo var-->"),
        "flaw: unexpected \"-\" symbol after the parameter \"var\" in \"echo\" SSI command"
    );
    assert_eq!(
        flaw("<!--#set v=\"123456789012345678901\"-->"),
        "flaw: too long \"12345678901234567890...\" value of \"v\" parameter in \"set\" SSI command"
    );
    assert!(flaw("<!--#abcdefghijklmnopqrstuvwxyz0123456789 -->").ends_with("SSI command is too long"));
}

#[test]
fn quotes_in_values() {
    assert_eq!(parts(br#"<!--#set a="x\"y" -->"#, 3), [r#"<!--#set a='x\"y' -->"#]);
}

#[test]
fn parameters_are_looked_up_by_name() {
    let command = |params: &[(&str, &str)]| Command {
        name: b"echo".to_vec(),
        params: params
            .iter()
            .map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect(),
    };
    let names = ["var", "default"];
    assert_eq!(command(&[("default", "d")]).values(names), Ok([None, Some(&b"d"[..])]));
    let wrong = command(&[("no", "")]);
    let wrong = wrong.values(names);
    assert_eq!(wrong, Err("invalid parameter name: \"no\" in \"echo\" SSI command".to_owned()));
    let twice = command(&[("var", ""), ("var", "")]);
    let twice = twice.values(names);
    assert_eq!(twice, Err("duplicate \"var\" parameter in \"echo\" SSI command".to_owned()));
}

fn value(text: &str) -> Result<String, String> {
    let value = evaluate(text.as_bytes(), |name| match name {
        b"a" => Some(b"A".to_vec()),
        b"b_1" => Some(b"B".to_vec()),
        _ => None,
    })?;
    Ok(String::from_utf8(value).expect("ASCII"))
}

#[test]
fn texts_have_variables_and_backslashes() {
    assert_eq!(value(r"x$a-${b_1}y$none.").as_deref(), Ok("xA-By."));
    assert_eq!(value(r#"\$a \\ \" \' \d \"#).as_deref(), Ok(r#"$a \ " ' \d "#));
    assert_eq!(value("a$"), Err("invalid variable name in \"a$\"".to_owned()));
    assert_eq!(value("${a"), Err("the closing bracket in \"a\" variable is missing".to_owned()));
}

#[test]
fn conditions() {
    let text = |text: &str| text.as_bytes().to_vec();
    let equal =
        |left: &str, right: &str, negate| Condition::Equal { left: text(left), right: text(right), negate };
    assert_eq!(Condition::parse(b"$A"), Ok(Condition::Text(text("$a"))));
    assert_eq!(Condition::parse(b""), Ok(Condition::Text(Vec::new())));
    assert_eq!(Condition::parse(b"$a = X y"), Ok(equal("$a", "X y", false)));
    assert_eq!(Condition::parse(b"x!=$b"), Ok(equal("x", "$b", true)));
    assert_eq!(Condition::parse(b"$a=\\/x/"), Ok(equal("$a", "/x/", false)));
    let matches = Condition::Match { left: text("$a"), pattern: text("^/x"), negate: true };
    assert_eq!(Condition::parse(b"$a != /^/x/"), Ok(matches));
    for wrong in ["$a < b", "$a = /x", "a b"] {
        assert_eq!(Condition::parse(wrong.as_bytes()), Err(format!("invalid expression in \"{wrong}\"")));
    }
}

#[test]
fn links_stay_below_the_root() {
    let found = |path: &str, args: &str| Ok((path.as_bytes().to_vec(), args.as_bytes().to_vec()));
    assert_eq!(link(b"/a%20b?c=%20", b"/x/y"), found("/a b", "c=%20"));
    assert_eq!(link(b"a%3fb", b"/x/y"), found("/x/a?b", ""));
    assert_eq!(link(b"?a", b"/x/y"), found("/x/", "a"));
    for unsafe_link in ["", "/..", "../x", "/a/../b", "/%2e%2e/b", "/a%2f..", "/a%00"] {
        assert!(link(unsafe_link.as_bytes(), b"/x/y").is_err(), "{unsafe_link}");
    }
}

#[test]
fn html_shows_what_is_escaped() {
    let mut out = Vec::new();
    entities(b"<a href=\"x&y\">'", &mut out);
    assert_eq!(out, b"&lt;a href=&quot;x&amp;y&quot;&gt;'");
}
