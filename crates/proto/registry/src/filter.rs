//! `?filter=`: Consul's expressions over the JSON of a row (go-bexpr's grammar).

use serde::Serialize;
use serde_json::Value;
use weir_pattern::Pattern;

/// An expression that was understood.
#[derive(Debug)]
pub struct Filter {
    root: Node,
}

/// An expression that was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failed to create boolean expression evaluator: {offset}: {reason}")]
pub struct FilterError {
    /// In bytes, from 1.
    pub offset: usize,
    pub reason: String,
}

#[derive(Debug)]
enum Node {
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Equal(Vec<String>, String),
    Empty(Vec<String>),
    /// The value is in what the selector names: an element of a list, a key of a map, a part of a text.
    In(Vec<String>, String),
    Matches(Vec<String>, Box<Pattern>),
}

/// How deep parentheses and `not` may nest.
const DEPTH: usize = 64;

impl Filter {
    /// Reads an expression: `Service.Meta.version == "2" and not ("old" in Service.Tags)`.
    ///
    /// # Errors
    /// Where it stops being one, and what was expected there.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, end: text.len() };
        let root = parser.or()?;
        if parser.at < parser.tokens.len() {
            return Err(parser.flaw("expected \"and\", \"or\" or the end"));
        }
        Ok(Self { root })
    }

    /// Whether a row is wanted. A selector that leads nowhere is empty and equals nothing.
    #[must_use]
    pub fn matches(&self, row: &Value) -> bool {
        self.root.matches(row)
    }

    /// Whether a row is wanted, by its JSON.
    #[must_use]
    pub fn wants(&self, row: &impl Serialize) -> bool {
        serde_json::to_value(row).is_ok_and(|row| self.matches(&row))
    }
}

impl Node {
    fn matches(&self, row: &Value) -> bool {
        match self {
            Self::And(left, right) => left.matches(row) && right.matches(row),
            Self::Or(left, right) => left.matches(row) || right.matches(row),
            Self::Not(inner) => !inner.matches(row),
            Self::Equal(path, value) => found(row, path).any(|v| word(v).is_some_and(|w| w == *value)),
            Self::Empty(path) => found(row, path).all(is_empty),
            Self::In(path, value) => found(row, path).any(|v| holds(v, value)),
            Self::Matches(path, pattern) => {
                found(row, path).any(|v| word(v).is_some_and(|word| pattern.is_match(word.as_bytes())))
            }
        }
    }
}

/// What a selector names; of a list of objects each one's.
fn found<'a>(row: &'a Value, path: &[String]) -> Box<dyn Iterator<Item = &'a Value> + 'a> {
    let Some((name, rest)) = path.split_first() else { return Box::new(std::iter::once(row)) };
    match row {
        Value::Object(map) => match map.get(name) {
            Some(value) => found(value, rest),
            None => Box::new(std::iter::empty()),
        },
        Value::Array(list) => {
            let path = path.to_vec();
            Box::new(list.iter().flat_map(move |row| found(row, &path)))
        }
        _ => Box::new(std::iter::empty()),
    }
}

fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn holds(value: &Value, part: &str) -> bool {
    match value {
        Value::String(text) => text.contains(part),
        Value::Array(list) => list.iter().any(|v| word(v).is_some_and(|word| word == part)),
        Value::Object(map) => map.contains_key(part),
        _ => false,
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A bare word: a keyword, a selector with its parts, or a value.
    Word(String),
    /// In quotes: always a value.
    Quoted(String),
    Sign(&'static str),
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let offset = text.len() - rest.len() + 1;
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let sign = ["==", "!=", "(", ")", "[", "]"].into_iter().find(|s| rest.starts_with(s));
        let (token, length) = if let Some(sign) = sign {
            (Token::Sign(sign), sign.len())
        } else if first == '"' || first == '`' {
            quoted(rest, first, offset)?
        } else {
            let stop = |c: char| c.is_whitespace() || "()[]\"`=!".contains(c);
            let length = rest.find(stop).unwrap_or(rest.len());
            if length == 0 {
                let reason = format!("unexpected {first:?}");
                return Err(FilterError { offset, reason });
            }
            (Token::Word(rest.get(..length).unwrap_or_default().to_owned()), length)
        };
        tokens.push((offset, token));
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// A value in quotes, and its length with them. Backslashes count in double quotes only.
fn quoted(rest: &str, quote: char, offset: usize) -> Result<(Token, usize), FilterError> {
    let mut value = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((Token::Quoted(value), at + 1)),
            '\\' if quote == '"' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err(FilterError { offset, reason: "the quoted text does not end".to_owned() })
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    depth: usize,
    end: usize,
}

impl Parser {
    fn flaw(&self, reason: &str) -> FilterError {
        let offset = self.tokens.get(self.at).map_or(self.end + 1, |(offset, _)| *offset);
        FilterError { offset, reason: reason.to_owned() }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    /// Takes a keyword or a sign if it is next.
    fn take(&mut self, wanted: &str) -> bool {
        let next = match self.peek() {
            Some(Token::Word(word)) => word == wanted,
            Some(Token::Sign(sign)) => *sign == wanted,
            _ => false,
        };
        self.at += usize::from(next);
        next
    }

    fn or(&mut self) -> Result<Node, FilterError> {
        let mut left = self.and()?;
        while self.take("or") {
            left = Node::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Node, FilterError> {
        let mut left = self.not()?;
        while self.take("and") {
            left = Node::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Node, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.flaw("nested too deeply"));
        }
        let node = if self.take("not") {
            Node::Not(Box::new(self.not()?))
        } else if self.take("(") {
            let inner = self.or()?;
            if !self.take(")") {
                return Err(self.flaw("expected \")\""));
            }
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node, FilterError> {
        if matches!(self.peek(), Some(Token::Quoted(_))) {
            return self.membership();
        }
        let start = self.at;
        let path = self.selector()?;
        if self.take("==") {
            return Ok(Node::Equal(path, self.value()?));
        }
        if self.take("!=") {
            return Ok(negated(Node::Equal(path, self.value()?)));
        }
        if self.take("is") {
            let not = self.take("not");
            if !self.take("empty") {
                return Err(self.flaw("expected \"empty\""));
            }
            return Ok(negated_if(not, Node::Empty(path)));
        }
        if self.take("contains") {
            return Ok(Node::In(path, self.value()?));
        }
        if self.take("matches") {
            return self.pattern(path);
        }
        if self.take("not") {
            if self.take("contains") {
                return Ok(negated(Node::In(path, self.value()?)));
            }
            if self.take("matches") {
                return self.pattern(path).map(negated);
            }
        }
        self.at = start;
        self.membership()
    }

    /// `VALUE in SELECTOR`, `VALUE not in SELECTOR`.
    fn membership(&mut self) -> Result<Node, FilterError> {
        let value = self.value()?;
        let not = self.take("not");
        if !self.take("in") {
            return Err(self.flaw(
                "expected \"==\", \"!=\", \"in\", \"not in\", \"contains\", \"is empty\" or \"matches\"",
            ));
        }
        Ok(negated_if(not, Node::In(self.selector()?, value)))
    }

    fn pattern(&mut self, path: Vec<String>) -> Result<Node, FilterError> {
        let flaw = self.flaw("");
        let text = self.value()?;
        match Pattern::new(&text, false) {
            Ok(pattern) => Ok(Node::Matches(path, Box::new(pattern))),
            Err(e) => Err(FilterError { reason: e.to_string(), ..flaw }),
        }
    }

    fn value(&mut self) -> Result<String, FilterError> {
        match self.peek() {
            Some(Token::Word(text) | Token::Quoted(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.flaw("expected a value")),
        }
    }

    /// Names with dots, and keys in brackets: `Service.Meta["a.b"]`.
    fn selector(&mut self) -> Result<Vec<String>, FilterError> {
        let Some(Token::Word(word)) = self.peek() else {
            return Err(self.flaw("expected a selector"));
        };
        let mut path: Vec<String> = word.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(self.flaw("a part of the selector is empty"));
        }
        self.at += 1;
        while self.take("[") {
            path.push(self.value()?);
            if !self.take("]") {
                return Err(self.flaw("expected \"]\""));
            }
            self.dotted(&mut path);
        }
        Ok(path)
    }

    /// The rest of a selector behind a bracket: `["a"].b`.
    fn dotted(&mut self, path: &mut Vec<String>) {
        if let Some(Token::Word(word)) = self.peek()
            && let Some(rest) = word.strip_prefix('.')
        {
            path.extend(rest.split('.').map(str::to_owned));
            self.at += 1;
        }
    }
}

fn negated(node: Node) -> Node {
    Node::Not(Box::new(node))
}

fn negated_if(not: bool, node: Node) -> Node {
    if not { negated(node) } else { node }
}
