//! nginx's own command line: single letters, which may be joined, in any order.

/// What was asked for in nginx's way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// `-h`, `-?`
    pub(crate) help: bool,
    /// `-v`, and all that includes it
    pub(crate) version: bool,
    /// `-V`
    pub(crate) configure: bool,
    /// `-t`, `-T`
    pub(crate) test: bool,
    /// `-T`
    pub(crate) dump: bool,
    /// `-q`
    pub(crate) quiet: bool,
    /// `-s`
    pub(crate) signal: Option<Command>,
    /// `-p`
    pub(crate) prefix: Option<String>,
    /// `-e`; empty is standard error
    pub(crate) error_log: Option<String>,
    /// `-c`
    pub(crate) conf: Option<String>,
    /// `-g`
    pub(crate) globals: Option<String>,
}

/// The words of `-s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Stop,
    Quit,
    Reopen,
    Reload,
}

impl Command {
    fn parse(word: &str) -> Option<Command> {
        Some(match word {
            "stop" => Command::Stop,
            "quit" => Command::Quit,
            "reopen" => Command::Reopen,
            "reload" => Command::Reload,
            _ => return None,
        })
    }
}

/// Whether the words are meant in nginx's way: none at all, or the first is a group of its letters. Words with
/// two dashes and words without one are Weir's own.
pub(crate) fn is_nginx_style(words: &[String]) -> bool {
    words.first().is_none_or(|word| word.starts_with('-') && !word.starts_with("--"))
}

/// Reads the words behind the program's name; the error is nginx's text, without `nginx: `.
pub(crate) fn parse(words: &[String]) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-') else {
            return Err(format!("invalid option: \"{word}\""));
        };
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            match letter {
                '?' | 'h' => {
                    arguments.version = true;
                    arguments.help = true;
                }
                'v' => arguments.version = true,
                'V' => {
                    arguments.version = true;
                    arguments.configure = true;
                }
                't' => arguments.test = true,
                'T' => {
                    arguments.test = true;
                    arguments.dump = true;
                }
                'q' => arguments.quiet = true,
                'p' | 'e' | 'c' | 'g' | 's' => {
                    let value = match rest.as_str() {
                        "" => words.next().cloned(),
                        joined => Some(joined.to_owned()),
                    };
                    set(&mut arguments, letter, value)?;
                    break;
                }
                other => return Err(format!("invalid option: \"{other}\"")),
            }
        }
    }
    Ok(arguments)
}

fn set(arguments: &mut Arguments, letter: char, value: Option<String>) -> Result<(), String> {
    let wanted = match letter {
        'p' => "directory name",
        'e' | 'c' => "file name",
        _ => "parameter",
    };
    let value = value.ok_or_else(|| format!("option \"-{letter}\" requires {wanted}"))?;
    match letter {
        'p' => arguments.prefix = Some(value),
        'e' => arguments.error_log = Some(if value == "stderr" { String::new() } else { value }),
        'c' => arguments.conf = Some(value),
        'g' => arguments.globals = Some(value),
        _ => {
            let command = Command::parse(&value);
            arguments.signal = Some(command.ok_or_else(|| format!("invalid option: \"-s {value}\""))?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn letters_may_be_joined() {
        let got = parse(&words("-tqc x.conf -p/srv -e stderr")).expect("good");
        let expected = Arguments {
            test: true,
            quiet: true,
            conf: Some("x.conf".into()),
            prefix: Some("/srv".into()),
            error_log: Some(String::new()),
            ..Arguments::default()
        };
        assert_eq!(got, expected);
        assert_eq!(parse(&words("-s reload")).expect("good").signal, Some(Command::Reload));
        assert_eq!(parse(&words("-sstop")).expect("good").signal, Some(Command::Stop));
        let dump = parse(&words("-T")).expect("good");
        assert!(dump.test && dump.dump && !dump.version);
    }

    #[test]
    fn mistakes_have_nginx_words() {
        for (line, text) in [
            ("-x", "invalid option: \"x\""),
            ("-tz", "invalid option: \"z\""),
            ("-t file", "invalid option: \"file\""),
            ("-s now", "invalid option: \"-s now\""),
            ("-c", "option \"-c\" requires file name"),
            ("-p", "option \"-p\" requires directory name"),
            ("-e", "option \"-e\" requires file name"),
            ("-g", "option \"-g\" requires parameter"),
            ("-s", "option \"-s\" requires parameter"),
        ] {
            assert_eq!(parse(&words(line)).expect_err(line), text);
        }
    }

    #[test]
    fn whose_words() {
        assert!(is_nginx_style(&[]));
        assert!(is_nginx_style(&words("-t")));
        assert!(!is_nginx_style(&words("--help")));
        assert!(!is_nginx_style(&words("check -t")));
    }
}
