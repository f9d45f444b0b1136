//! `$NAME=value`, multi-line values, the standard definitions, and their use in a line.

use std::collections::HashMap;
use std::rc::Rc;

use super::Settings;
use super::line::{Letter, Line, is_blank, text, trim};
use super::reports::Reports;
use crate::{Diagnostic, Span, encode};

/// Uses that one line may expand, each within the value of another or beside it.
const USES: usize = 1000;

/// Bytes that a line may have after expansion: keepalived's buffer of 1024.
const LONGEST: usize = 1023;

/// What a name stands for.
#[derive(Clone, Debug)]
enum Value {
    Line(Rc<[Letter]>),
    Lines(Rc<[Line]>),
    /// `${_PWD}`: the folder of the file that is read.
    Folder,
    /// `${_INSTANCE}`: what `@id` is compared with.
    Instance,
    /// `${_RANDOM [min [max]]}`
    Random,
    /// `${_ENV NAME}`
    Environment,
}

/// All names that are defined where the reading stands.
#[derive(Debug)]
pub(super) struct Definitions {
    values: HashMap<String, Value>,
    instance: String,
    environment: Vec<(String, String)>,
    random: u64,
}

/// The lines behind the first of a value, to be read next.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) lines: Rc<[Line]>,
    pub(super) place: Span,
}

/// What [`Definitions::expand`] did to a line.
#[derive(Debug, Default)]
pub(super) struct Expansion {
    /// Uses that were replaced.
    pub(super) uses: usize,
    /// A bound was passed, which was reported: the line cannot be used.
    pub(super) overflow: bool,
    /// To be read behind the line, the last one first.
    pub(super) bodies: Vec<Body>,
}

/// `$NAME=` and what stands behind it on its first line.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) lines: Vec<Line>,
    /// The line ended with a backslash.
    pub(super) open: bool,
}

impl Definitions {
    pub(super) fn new(settings: &Settings) -> Self {
        let instance = instance(settings).to_owned();
        let sign = |value| Value::Line(Rc::new([Letter { value, start: 0, end: 0, kept: true }]));
        let values = [
            ("_PWD", Value::Folder),
            ("_INSTANCE", Value::Instance),
            ("_RANDOM", Value::Random),
            ("_ENV", Value::Environment),
            ("_HASH", sign('#')),
            ("_BANG", sign('!')),
        ];
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        // The same node draws the same numbers again, so that a reload of the same file changes nothing.
        let random = instance.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { values, instance, environment: settings.environment.clone(), random }
    }

    /// `random_seed`: from here on `${_RANDOM}` draws what this number says.
    pub(super) fn seed(&mut self, seed: u64) {
        self.random = seed;
    }

    /// Sets the variable of a sequence or list.
    pub(super) fn set(&mut self, name: &str, value: &[Letter]) {
        self.values.insert(name.to_owned(), Value::Line(value.into()));
    }

    /// Takes a definition that is complete.
    pub(super) fn define(&mut self, definition: Definition) {
        let Definition { name, mut lines, .. } = definition;
        let value = if lines.len() > 1 {
            Value::Lines(lines.into())
        } else {
            Value::Line(lines.pop().unwrap_or_default().letters.into())
        };
        self.values.insert(name, value);
    }

    /// Replaces `$NAME` and `${NAME}`, inside quotes too, and again in what was put in their place. A value that
    /// starts with `~` ends it: what is behind belongs to the sequence. Names that are not defined stay.
    pub(super) fn expand(&mut self, line: &mut Line, folder: &str, reports: &mut Reports) -> Expansion {
        let mut expansion = Expansion::default();
        // The letters that are still to be looked at, the next one last.
        let mut ahead: Vec<Letter> = line.letters.drain(..).rev().collect();
        let mut size: usize = ahead.iter().map(width).sum();
        while let Some(letter) = ahead.pop() {
            let found = if letter.value == '$' { Use::read(letter, &ahead, line.file) } else { None };
            let value = found.as_ref().and_then(|found| self.value(found, folder, reports));
            let (Some(found), Some(value)) = (found, value) else {
                line.letters.push(letter);
                continue;
            };
            let (first, body) = match value {
                Value::Lines(lines) => (lines.first().map(|line| Rc::from(&*line.letters)), Some(lines)),
                Value::Line(letters) => (Some(letters), None),
                _ => (None, None),
            };
            let first: Rc<[Letter]> = first.unwrap_or_default();
            expansion.uses += 1;
            let taken = ahead.split_off(ahead.len() - found.len);
            size = size + first.iter().map(width).sum::<usize>() - taken.iter().map(width).sum::<usize>() - 1;
            if size > LONGEST || expansion.uses > USES {
                reports.add(overflow(&found, expansion.uses > USES));
                line.letters.push(letter);
                line.letters.extend(taken.iter().rev());
                expansion.overflow = true;
                break;
            }
            expansion.bodies.extend(body.map(|lines| Body { lines, place: found.span }));
            ahead.extend(first.iter().rev().map(|letter| letter.at(found.span)));
            if trim(&first).first().is_some_and(|letter| letter.value == '~') {
                break;
            }
        }
        line.letters.extend(ahead.into_iter().rev());
        expansion
    }

    /// What a use stands for: [`Value::Line`] or [`Value::Lines`].
    fn value(&mut self, found: &Use, folder: &str, reports: &mut Reports) -> Option<Value> {
        let value = self.values.get(&found.name)?;
        let parameters = !found.parameters.is_empty();
        let text = match value {
            Value::Lines(_) if !found.last || parameters => return None,
            Value::Line(_) if parameters => return None,
            Value::Line(_) | Value::Lines(_) => return Some(value.clone()),
            Value::Folder | Value::Instance if parameters => return None,
            Value::Folder => folder.to_owned(),
            Value::Instance => self.instance.clone(),
            Value::Random => match range(&found.parameters) {
                Some((least, most)) => self.draw(least, most).to_string(),
                None => {
                    let error = Diagnostic::error("${_RANDOM} has wrong parameters").at(found.span);
                    reports.add(error.help("write ${_RANDOM}, ${_RANDOM MIN} or ${_RANDOM MIN MAX}"));
                    return None;
                }
            },
            Value::Environment => {
                let [name] = &*found.parameters else {
                    let error = Diagnostic::error("${_ENV} has wrong parameters").at(found.span);
                    reports.add(error.help("write ${_ENV NAME} with the name of one environment variable"));
                    return None;
                };
                let known = self.environment.iter().find(|(known, _)| known == name);
                known.map(|(_, value)| value.clone()).unwrap_or_default()
            }
        };
        Some(Value::Line(Line::new(0, &text, 0).letters.into()))
    }

    /// A number between both, from a generator of the splitmix64 kind.
    fn draw(&mut self, least: u64, most: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let number = mixed ^ (mixed >> 31);
        match (most - least).checked_add(1) {
            Some(size) => least + number % size,
            None => number,
        }
    }
}

/// `-i`, or else the first label of the node's name.
pub(super) fn instance(settings: &Settings) -> &str {
    let node = settings.node.split('.').next().unwrap_or_default();
    settings.config_id.as_deref().unwrap_or(node)
}

impl Definition {
    /// Reads `$NAME=value`; no blank may stand in front of the `=`.
    pub(super) fn read(line: &Line) -> Option<Self> {
        let letters = &line.letters;
        let len = name(letters.iter().skip(1))?;
        if letters.first()?.value != '$' || letters.get(len + 1)?.value != '=' {
            return None;
        }
        let name = text(letters.get(1..=len)?);
        let mut definition = Self { name, lines: Vec::new(), open: false };
        definition.add(line.behind(len + 2));
        Some(definition)
    }

    /// Adds a line; one that ends with a backslash lets the definition go on. Empty lines are left out.
    pub(super) fn add(&mut self, mut line: Line) {
        self.open = line.letters.last().is_some_and(|letter| letter.value == '\\');
        if self.open {
            line.letters.pop();
            line.letters = trim(&line.letters).to_vec();
        }
        if !line.is_empty() {
            self.lines.push(line);
        }
    }
}

/// A `$NAME` or `${NAME PARAMETERS}` in a line.
#[derive(Debug)]
struct Use {
    name: String,
    parameters: Vec<String>,
    /// Letters behind the `$`.
    len: usize,
    /// Nothing stands behind it.
    last: bool,
    span: Span,
}

impl Use {
    /// `ahead` are the letters behind the `$`, the next one last.
    fn read(dollar: Letter, ahead: &[Letter], file: u32) -> Option<Self> {
        let value = |at: usize| ahead.iter().rev().nth(at).map(|letter| letter.value);
        let braces = value(0)? == '{';
        let start = usize::from(braces);
        let mut len = start + name(ahead.iter().rev().skip(start))?;
        let name = ahead.iter().rev().take(len).skip(start).map(|letter| letter.value).collect();
        let mut parameters = Vec::new();
        if braces {
            let behind = ahead.iter().rev().skip(len).map(|letter| letter.value);
            let words: String = behind.take_while(|value| is_parameter(*value)).collect();
            len += words.len();
            parameters = words.split_whitespace().map(str::to_owned).collect();
            if value(len)? != '}' || !parameters.is_empty() && words.ends_with(is_blank) {
                return None;
            }
            len += 1;
        } else if !matches!(value(len), None | Some(' ' | '\t' | ',' | ')')) {
            return None;
        }
        let end = ahead.iter().rev().nth(len - 1)?.end;
        let span = Span { file, start: dollar.start, end };
        Some(Self { name, parameters, len, last: value(len).is_none(), span })
    }
}

fn is_parameter(value: char) -> bool {
    value.is_ascii_alphanumeric() || value == '_' || is_blank(value)
}

/// The length of the name that the letters start with.
fn name<'a>(letters: impl Iterator<Item = &'a Letter> + Clone) -> Option<usize> {
    let first = letters.clone().next()?.value;
    let is_name = |letter: &&Letter| letter.value.is_ascii_alphanumeric() || letter.value == '_';
    (first.is_ascii_alphabetic() || first == '_').then(|| letters.take_while(is_name).count())
}

/// Bytes of a letter in the file.
fn width(letter: &Letter) -> usize {
    encode(letter.value.encode_utf8(&mut [0; 4])).len()
}

/// Least and most of `${_RANDOM}`.
fn range(parameters: &[String]) -> Option<(u64, u64)> {
    let (least, most) = match parameters {
        [] => (0, 32767),
        [least] => (least.parse().ok()?, 32767),
        [least, most] => (least.parse().ok()?, most.parse().ok()?),
        _ => return None,
    };
    (least <= most).then_some((least, most))
}

fn overflow(found: &Use, uses: bool) -> Diagnostic {
    let name = &found.name;
    if uses {
        Diagnostic::error(format!(
            "definition \"{name}\" is used within itself, or the line has more than {USES} uses"
        ))
        .at(found.span)
        .help("take the use of the name out of its own value")
    } else {
        Diagnostic::error(format!("with definition \"{name}\" the line has more than {LONGEST} bytes"))
            .at(found.span)
            .help("part the line: it is skipped")
    }
}
