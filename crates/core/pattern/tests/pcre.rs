//! Patterns as nginx's users write them, with the answers PCRE gives.

use weir_pattern::{Captures, Pattern};

fn pattern(source: &str) -> Pattern {
    Pattern::new(source, false).unwrap_or_else(|error| panic!("{error}"))
}

fn matches(source: &str, text: &str) -> bool {
    pattern(source).is_match(text.as_bytes())
}

fn groups(source: &str, text: &str) -> Vec<String> {
    let pattern = pattern(source);
    let mut captures = Captures::new();
    if !pattern.captures(text.as_bytes(), &mut captures) {
        return Vec::new();
    }
    assert_eq!(captures.len(), pattern.groups() + 1);
    (0..captures.len())
        .map(|group| String::from_utf8_lossy(captures.text(text.as_bytes(), group)).into_owned())
        .collect()
}

fn error(source: &str) -> String {
    Pattern::new(source, false).expect_err("the pattern has a flaw").to_string()
}

#[test]
fn common_locations() {
    assert!(matches(r"\.(gif|jpe?g|png)$", "/a/b.jpg"));
    assert!(!matches(r"\.(gif|jpe?g|png)$", "/a/b.jpg/"));
    assert!(matches(r"^/api/v\d+/", "/api/v12/x"));
    assert!(matches(r"^\/a\-b\_c", "/a-b_c"));
    assert!(matches("^/a{", "/a{b"));
    assert!(matches("/a}", "/a}"));
    assert!(matches("^/x{2}$", "/xx"));
    assert!(matches("^/x{2,y}$", "/x{2,y}"));
    assert!(matches("a]", "a]"));
    assert!(matches("", ""));
    assert_eq!(groups(r"^/u/(\w+)/(.*)$", "/u/ann/b/c"), ["/u/ann/b/c", "ann", "b/c"]);
    assert_eq!(groups("(a)|(b)", "b"), ["b", "", "b"]);
    assert!(pattern(r"^/u/(\w+)/(.*)$").linear());
    assert!(Pattern::new(r"\.PHP$", true).expect("it is sound").is_match(b"/x.php"));
}

#[test]
fn names_in_all_spellings() {
    for source in ["(?<user>a)(?<rest>.)", "(?'user'a)(?'rest'.)", "(?P<user>a)(?P<rest>.)"] {
        let pattern = pattern(source);
        assert_eq!(pattern.names().collect::<Vec<_>>(), [(1, "user"), (2, "rest")]);
    }
    let both = pattern("(?<x>a)(?=b)(.)(?<y>c)");
    assert!(!both.linear());
    assert_eq!(both.names().collect::<Vec<_>>(), [(1, "x"), (3, "y")]);
    assert_eq!(groups("(?<x>a)(?=b)(.)(?<y>c)", "abc"), ["abc", "a", "b", "c"]);
}

#[test]
fn classes() {
    assert!(matches("^[[:alpha:]_-]+$", "a_-Z"));
    assert!(matches("^[^[:^digit:]]+$", "123"));
    assert!(!matches("^[^[:^digit:]]+$", "12a"));
    assert!(matches("^[]a]+$", "]a"));
    assert!(matches("^[^]a]$", "b"));
    assert!(matches("^[[]$", "["));
    assert!(matches("^[a&&b]+$", "&ab"));
    assert!(matches("^[+--]+$", "+,-"));
    assert!(matches("^[a~~b]+$", "~a"));
    assert!(matches(r"^[\w.\-~]+$", "a.b-c~"));
    assert!(matches(r"^[\d-x]+$", "1-x"));
    assert!(matches(r"^[\]\\]+$", r"]\"));
    assert!(matches(r"^[\x41-\x43]+$", "ABC"));
    assert!(matches(r"^[\b]$", "\x08"));
    assert!(matches(r"^[\H]+$", "ab"));
    assert!(!matches(r"^[\H]+$", "a b"));
    assert!(matches("^[#/ ]+$", "# /"));
    assert!(matches("^[a-]+$", "a-"));
    assert!(matches("^[:a]+$", ":a"));
}

#[test]
fn escapes() {
    assert!(matches(r"^\h\H\v$", "\tx\n"));
    assert!(matches(r"^\Qa.b*\E+$", "a.b**"));
    assert!(matches(r"^\x2fa\x{2F}$", "/a/"));
    assert!(matches(r"^\057\0$", "/\0"));
    assert!(matches(r"^\e\cA$", "\x1b\x01"));
    assert!(matches(r"^a\Rb$", "a\r\nb"));
    assert!(matches(r"^\N+$", "abc"));
    assert!(matches(r"\bfoo\b", "a foo b"));
    assert!(matches(r"^\<\>\!\@\#\%\&\:\;\,\`\'\~\=\ $", "<>!@#%&:;,`'~= "));
    assert!(matches("^<a>'\"`$", "<a>'\"`"));
}

#[test]
fn properties() {
    assert!(matches(r"^www\p{N}+\pL[\p{Lu}_]$", "www12aB"));
    assert!(!matches(r"^\p{^N}$", "1"));
    assert!(matches(r"^\P{N}$", "a"));
    assert!(pattern(r"^\p{L}$").is_match(b"\xe9"));
    assert!(matches(r"(*UTF8)^\p{Greek}+$", "\u{3b1}"));
    assert!(error(r"\p{Nope}").contains("unknown property after"));
}

#[test]
fn bytes_above_ascii() {
    let any = pattern("^/.$");
    assert!(any.is_match(b"/\xff"));
    assert!(!any.is_match("/\u{e9}".as_bytes()));
    assert!(matches("^/\u{e9}$", "/\u{e9}"));
    assert!(pattern("^\u{e9}+$").is_match(b"\xc3\xa9\xa9"));
    assert!(pattern("^[\u{e9}]$").is_match(b"\xc3"));
    assert!(matches("(*UTF8)^/.$", "/\u{e9}"));
    assert!(matches("(*UTF8)^[\u{e0}-\u{ef}]$", "\u{e9}"));
    assert!(!pattern("(*UTF8)^/.$").is_match(b"/\xff"));
    assert!(pattern(r"(?=/\xff)").is_match(b"a/\xff"));
}

#[test]
fn a_dollar_stands_before_a_last_line_feed_too() {
    assert!(matches("^/a$", "/a\n"));
    assert!(!matches("^/a$", "/a\n\n"));
    assert!(!matches(r"^/a\z", "/a\n"));
    assert!(matches(r"^/a\Z", "/a\n"));
    assert_eq!(groups("^(.*)$", "/a\n"), ["/a", "/a"]);
    assert_eq!(groups("^(?<x>[^b]*)$", "/a\n"), ["/a\n", "/a\n"]);
    assert!(matches("(?m)^a$", "x\na\ny"));
    assert!(!matches("^a$", "x\na\ny"));
}

#[test]
fn backtracking_where_nothing_else_will_do() {
    assert!(matches("^(?!/admin)", "/x"));
    assert!(!matches("^(?!/admin)", "/admin/x"));
    assert!(matches(r"(?<!a)b", "cb"));
    assert!(matches(r"^(\w)\1$", "aa"));
    assert!(!matches(r"^(\w)\1$", "ab"));
    assert!(matches(r"^(?<c>\w)\k<c>\g{-1}\g1(?P=c)$", "aaaaa"));
    assert!(!matches("^a++a", "aaa"));
    assert!(!matches("^[ab]*+b", "aab"));
    assert!(!matches("^(?:a|ab)?+c", "abc"));
    assert!(!matches("^a{1,3}+a", "aaa"));
    assert!(!matches("^(?>a+)a", "aaa"));
    assert!(matches(r"^(\((?:[^()]|(?1))*\))$", "(a(b)c)"));
    assert!(matches("^(a)?(?(1)b|c)$", "ab"));
    assert!(matches("^(a)?(?(1)b|c)$", "c"));
}

#[test]
fn a_match_that_takes_too_many_steps_is_none() {
    let pattern = pattern(r"^(?=x?)(a|b|ab)*\1c$");
    assert!(!pattern.is_match("ab".repeat(40).as_bytes()));
}

#[test]
fn flags_and_comments() {
    assert!(matches("(?i)ABC", "abc"));
    assert!(matches("a(?i:B)c", "abc"));
    assert!(!matches("a(?i:B)c", "abC"));
    assert!(matches("(?i)a(?-i)b", "Ab"));
    assert!(!matches("(?i)a(?-i)b", "AB"));
    assert!(matches("(?x) a  b # note\n c", "abc"));
    assert!(matches("(?x)[ ]a", " a"));
    assert!(matches("a(?#note)b", "ab"));
    assert!(matches("(?s)^.$", "\n"));
    assert_eq!(groups("(?U)(a+)", "aaa"), ["a", "a"]);
    assert_eq!(groups("(a+?)", "aaa"), ["a", "a"]);
}

#[test]
fn flaws_in_the_words_of_pcre() {
    assert_eq!(error("a("), "pcre2_compile() failed: missing closing parenthesis in \"a(\"");
    assert_eq!(error("a)b"), "pcre2_compile() failed: unmatched closing parenthesis in \"a)b\" at \")b\"");
    assert_eq!(error("[a"), "pcre2_compile() failed: missing terminating ] for character class in \"[a\"");
    assert_eq!(
        error("*a"),
        "pcre2_compile() failed: quantifier does not follow a repeatable item in \"*a\" at \"*a\""
    );
    assert_eq!(error("a\\"), "pcre2_compile() failed: \\ at end of pattern in \"a\\\"");
    assert_eq!(
        error("[z-a]"),
        "pcre2_compile() failed: range out of order in character class in \"[z-a]\" at \"a]\""
    );
    assert!(error(r"(a)\2").contains("reference to non-existent subpattern"));
    assert!(error("a{3,2}").contains("numbers out of order in {} quantifier"));
    assert!(error("(?<n").contains("syntax error in subpattern name (missing terminator?)"));
    assert!(error("(?<n>a)(?<n>b)").contains("duplicate"));
}

#[test]
fn groups_above_nine() {
    let source = "(a)".repeat(12);
    let text = "a".repeat(12);
    assert_eq!(groups(&source, &text).len(), 13);
    assert_eq!(groups(&source, &text)[12], "a");
    assert!(matches(&format!(r"{source}\12$"), &"a".repeat(13)));
}

proptest::proptest! {
    #[test]
    fn no_pattern_panics(source in r"[a-c(\[\]){}*+?|^$\\.,:<>=!'P0-9#dwhQER&é-]{0,24}", text in ".{0,16}") {
        if let Ok(pattern) = Pattern::new(&source, false) {
            let mut captures = Captures::new();
            assert_eq!(pattern.captures(text.as_bytes(), &mut captures), pattern.is_match(text.as_bytes()));
        }
    }
}
