//! Command lines, and the lines of `vrrp_script`.

use weir_model::Micros;
use weir_model::vrrp::{Script, ScriptUser};
use weir_syntax::Word;

use crate::draft::ScriptDraft;
use crate::keyword::Action::Script as Act;
use crate::keyword::{Blocks, Keyword};
use crate::line::{IGNORED, Line};
use crate::scope::Scope;
use crate::tracker;

const S: Blocks = Blocks::SCRIPT;

pub(crate) const KEYWORDS: &[Keyword] = &[
    Keyword::command("script", S, "What is run; success is exit code 0.", Act(command)),
    Keyword::line("interval", S, (1, 1), "SECONDS", "Time between two runs.", Act(interval)).default("1"),
    Keyword::line("timeout", S, (1, 1), "SECONDS", "A run that takes longer has failed.", Act(timeout))
        .default("interval"),
    Keyword::line(
        "weight",
        S,
        (1, 2),
        "-253-253 [reverse]",
        "What it adds to the priority; 0: a failure is a fault.",
        Act(weight),
    )
    .default("0"),
    Keyword::line("rise", S, (1, 1), "COUNT", "Successes in a row that make it up.", Act(rise)).default("1"),
    Keyword::line("fall", S, (1, 1), "COUNT", "Failures in a row that make it down.", Act(fall)).default("1"),
    Keyword::line("user", S, (1, 2), "USER [GROUP]", "Who runs it.", Act(run_by)).default("script_user"),
    Keyword::bare("init_fail", S, "It counts as failed until it succeeds.", Act(init_fail)),
];

/// The words of a shell's command line without its expansions: `'...'`, `"..."`, and a backslash with the letters of
/// C, octal or hexadecimal digits behind it.
///
/// # Errors
/// Names the quote that does not end, or the backslash at the end.
pub(crate) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', _) => word.get_or_insert_default().push(escaped(&mut letters)?),
            (_, Some(open)) if letter == open => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(letter),
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (' ' | '\t', None) => words.extend(word.take()),
            (_, None) => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a {open} is never closed"));
    }
    words.extend(word);
    Ok(words)
}

/// The letter that a backslash stands for with what follows it.
fn escaped(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, String> {
    let Some(letter) = letters.next() else { return Err("it ends with a backslash".to_owned()) };
    Ok(match letter {
        'a' => '\x07',
        'b' => '\x08',
        'E' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' if letters.peek().is_some_and(char::is_ascii_hexdigit) => digits(letters, 0, 16, usize::MAX),
        'c' => match letters.next() {
            Some(key) => char::from((u32::from(key) & 0x1f) as u8),
            None => 'c',
        },
        '0'..='7' => digits(letters, letter.to_digit(8).unwrap_or(0), 8, 2),
        other => other,
    })
}

/// A byte in digits of a base, as many as there are up to a limit; higher bits are lost.
fn digits(
    letters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    start: u32,
    base: u32,
    limit: usize,
) -> char {
    let mut value = start;
    for _ in 0..limit {
        let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(base)) else { break };
        value = (value * base + digit) & 0xff;
        letters.next();
    }
    char::from((value & 0xff) as u8)
}

/// `USER [GROUP]`
pub(crate) fn user(words: &[Word]) -> Option<ScriptUser> {
    let user = words.first()?.text.clone();
    Some(ScriptUser { user, group: words.get(1).map(|word| word.text.clone()) })
}

/// A line's command and the words behind it. keepalived takes the first word, splits it once more, and reads what
/// follows as user and group; a command with arguments is therefore quoted as a whole.
fn parts(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<(Vec<String>, Vec<String>)> {
    let read = split(&line.statement.rest).and_then(|words| {
        let (command, rest) = words.split_first().ok_or_else(|| "it is empty".to_owned())?;
        Ok((split(command)?, rest.to_vec()))
    });
    let problem = match read {
        Ok((argv, rest)) if !argv.is_empty() => return Some((argv, rest)),
        Ok(_) => "it is empty".to_owned(),
        Err(problem) => problem,
    };
    scope.warn(line.span(), format!("the command of {} cannot be used: {problem}; {IGNORED}", line.name()));
    None
}

/// `COMMAND [USER [GROUP]]`
pub(crate) fn script(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<Script> {
    let (argv, mut rest) = parts(line, scope)?;
    if rest.len() > 2 {
        let words = rest.join(" ");
        let message = format!("{words:?} is more than a user and a group; {IGNORED}");
        scope.advise(line.span(), message, "put a command with arguments in quotes");
        return None;
    }
    let group = if rest.len() == 2 { rest.pop() } else { None };
    let user = rest.pop().map(|user| ScriptUser { user, group });
    Some(Script { argv, user })
}

/// The same for a keyword of which the first line counts.
pub(crate) fn once(slot: &mut Option<Script>, line: &Line<'_>, scope: &mut Scope<'_>) {
    if slot.is_some() {
        scope.warn(line.span(), format!("{} stands here for the second time; {IGNORED}", line.name()));
    } else {
        *slot = script(line, scope);
    }
}

fn command(draft: &mut ScriptDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    let Some((argv, rest)) = parts(line, scope) else { return };
    if let Some(word) = rest.first() {
        let message = format!("{word:?} and what follows it are no part of the command; they are ignored");
        scope.advise(line.span(), message, "put a command with arguments in quotes");
    }
    draft.script.script.argv = argv;
}

/// Seconds of at least one where keepalived takes 0 as 1.
fn period(line: &Line<'_>, scope: &mut Scope<'_>) -> Option<Micros> {
    let time = line.timer(0, 0..=4_294_000_000, IGNORED, scope)?;
    // Milliseconds are the finest that is run at.
    if time < Micros(1000) {
        scope.warn(line.span_of(0), format!("{} is more than 0; 1 s is used", line.name()));
        return Some(Micros::from_secs(1));
    }
    Some(time)
}

fn interval(draft: &mut ScriptDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some(interval) = period(line, scope) {
        draft.script.interval = interval;
    }
}

fn timeout(draft: &mut ScriptDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.timeout = period(line, scope).or(draft.timeout);
}

fn weight(draft: &mut ScriptDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    if let Some((weight, reverse)) = tracker::weight(line, 253, scope) {
        draft.script.weight = weight;
        draft.script.reverse = reverse;
    }
}

fn rise(draft: &mut ScriptDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.script.rise = line.loose_number(0, 1..=i64::from(i32::MAX), "1 is used", scope).unwrap_or(1);
}

fn fall(draft: &mut ScriptDraft, line: &Line<'_>, scope: &mut Scope<'_>) {
    draft.script.fall = line.loose_number(0, 1..=i64::from(i32::MAX), "1 is used", scope).unwrap_or(1);
}

fn run_by(draft: &mut ScriptDraft, line: &Line<'_>, _: &mut Scope<'_>) {
    draft.user = user(line.words());
}

fn init_fail(draft: &mut ScriptDraft, _: &Line<'_>, _: &mut Scope<'_>) {
    draft.script.init_fail = true;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        split(text).expect("the text is well formed")
    }

    #[test]
    fn words_are_those_of_a_shell() {
        assert_eq!(words("/bin/check -a  b"), ["/bin/check", "-a", "b"]);
        assert_eq!(words(r#""/bin/check it" root"#), ["/bin/check it", "root"]);
        assert_eq!(words(r#"/bin/sh -c 'echo "a b"'"#), ["/bin/sh", "-c", r#"echo "a b""#]);
        assert_eq!(words(r#"a\ b "c\"d" '' e"f"g"#), ["a b", "c\"d", "", "efg"]);
        assert_eq!(words(r"\x41\102\cA\t\q"), ["AB\u{1}\tq"]);
        assert!(words("").is_empty());
    }

    #[test]
    fn an_open_quote_is_named() {
        assert_eq!(split("a 'b"), Err("a ' is never closed".to_owned()));
        assert_eq!(split(r"a \"), Err("it ends with a backslash".to_owned()));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = split(&text);
        }

        #[test]
        fn quoted_words_come_back(words in proptest::collection::vec("[a-z \"\\\\]{0,6}", 1..5)) {
            let line: Vec<String> = words
                .iter()
                .map(|word| format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\"")))
                .collect();
            prop_assert_eq!(split(&line.join(" ")), Ok(words));
        }
    }
}
