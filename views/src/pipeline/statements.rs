//! Cutting a file into statements and parsing each by itself, so that one syntax error does not hide the next.
//!
//! Not here: what a statement means.

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::findings::Findings;
use crate::dialect::mend;
use crate::nesting::check_nesting;

/// Files beyond this are refused unread.
const MAX_FILE_BYTES: usize = 1 << 20;

/// Types beyond this are refused unparsed: the parser counts the depth of expressions, but not that of types, and would
/// run out of stack.
const MAX_BRACKETS: usize = 100;

/// The option that stands for NOT NULL inside STRUCT, where the parser does not know it.
pub(super) const NOT_NULL_OPTION: &str = "_not_null";

/// A parsed statement and where it stands.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) parsed: Statement,
    /// The line of its first word.
    pub(super) line: usize,
    tokens: Vec<TokenWithSpan>,
}

impl Located {
    /// The line on which a word or quoted text first stands in the statement; the statement's own line otherwise.
    pub(super) fn line_of(&self, text: &str) -> usize {
        self.line_after(text, 0)
    }

    /// The same, behind a number of other occurrences.
    pub(super) fn line_after(&self, text: &str, skipped: usize) -> usize {
        let is_text = |token: &&TokenWithSpan| match &token.token {
            Token::Word(word) => word.value.eq_ignore_ascii_case(text),
            Token::SingleQuotedString(quoted) | Token::DoubleQuotedString(quoted) => quoted == text,
            Token::Number(number, _) => number == text,
            _ => false,
        };
        self.tokens.iter().filter(is_text).nth(skipped).map_or(self.line, |token| line(token.span))
    }

    /// The query of a view in one spelling: words in lower case unless quoted, one space between tokens.
    ///
    /// Made of tokens, not of the printed syntax tree: another version of the parser does not change it.
    pub(super) fn canonical_query(&self) -> String {
        let mut depth = 0_usize;
        let starts_query = |token: &TokenWithSpan| {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(&token.token, Token::Word(word) if word.keyword == Keyword::AS)
        };
        let start = self.tokens.iter().position(starts_query).map_or(0, |position| position + 1);
        let spelled = self.tokens[start..].iter().map(|token| match &token.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
            other => other.to_string(),
        });
        spelled.collect::<Vec<_>>().join(" ")
    }

    /// Where its first word begins, and where its last one ends.
    pub(super) fn span(&self) -> Option<(Location, Location)> {
        Some((self.tokens.first()?.span.start, self.tokens.last()?.span.end))
    }

    /// The first words of the statement.
    pub(super) fn head(&self) -> String {
        let words: Vec<String> = self.tokens.iter().take(4).map(|token| token.token.to_string()).collect();
        words.join(" ")
    }

    /// The line of a span of the syntax tree; the statement's where the parser kept none.
    pub(super) fn line_of_span(&self, span: Span) -> usize {
        if span.start.line == 0 { self.line } else { line(span) }
    }
}

/// Parses every statement of a file.
pub(super) fn read_statements(sql: &str, findings: &mut Findings) -> Vec<Located> {
    if sql.len() > MAX_FILE_BYTES {
        findings.add(
            1,
            "",
            format!("the file has more than {MAX_FILE_BYTES} bytes"),
            "split it into several pipelines",
        );
        return Vec::new();
    }
    let tokens = match Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(error) => {
            let at = usize::try_from(error.location.line).unwrap_or(1);
            findings.add(at, line_text(sql, at), error.message, "check the quotes and comments of this line");
            return Vec::new();
        }
    };
    let mut statements = Vec::new();
    for tokens in tokens.split(|token| token.token == Token::SemiColon) {
        let tokens: Vec<TokenWithSpan> = tokens.iter().filter(|token| !is_space(&token.token)).cloned().collect();
        if let Some(first) = tokens.first() {
            let line = line(first.span);
            match parse(&tokens) {
                Ok(parsed) => statements.push(Located { parsed, line, tokens }),
                Err(message) => {
                    let at = error_line(&message).unwrap_or(line);
                    let message = format!("syntax error: {}", without_position(&message));
                    findings.add(at, line_text(sql, at), message, "see the pipeline files in `examples/`");
                }
            }
        }
    }
    statements
}

fn parse(tokens: &[TokenWithSpan]) -> Result<Statement, String> {
    check_nesting(tokens.iter().map(|token| &token.token)).map_err(|error| error.to_string())?;
    let tokens = column_options(&known_types(tokens)?);
    let mut parser = DFParserBuilder::new(tokens).build().map_err(|error| error.to_string())?;
    let mut statement = parser.parse_statement().map_err(|error| error.strip_backtrace())?;
    if let Statement::Statement(sql) = &mut statement {
        mend(&mut **sql);
    }
    match parser.parser.peek_token() {
        rest if rest.token == Token::EOF => Ok(statement),
        rest => Err(format!("unexpected {} at Line: {}, Column: 1", rest.token, rest.span.start.line)),
    }
}

/// Rewrites types to what the parser knows of them: NOT NULL inside the brackets of STRUCT and ARRAY to an option, LIST
/// to ARRAY, and the brackets of MAP to round ones.
fn known_types(tokens: &[TokenWithSpan]) -> Result<Vec<TokenWithSpan>, String> {
    let mut rewritten = Vec::with_capacity(tokens.len());
    // Of each bracket that is open, whether it is a MAP's. A view may compare a column of that name.
    let mut open: Vec<bool> = Vec::new();
    let has_maps = tokens.iter().take(4).any(|token| is_word(&token.token, Keyword::EXTERNAL));
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let next = tokens.get(at + 1);
        let opens = next.is_some_and(|next| next.token == Token::Lt);
        match &token.token {
            Token::Word(word) if opens && (is_type_with_brackets(&word.value) || (has_maps && is_map(&word.value))) => {
                let name = if word.value.eq_ignore_ascii_case("list") { "ARRAY" } else { word.value.as_str() };
                let bracket = if is_map(name) { Token::LParen } else { Token::Lt };
                let span = token.span;
                rewritten.extend([Token::make_keyword(name), bracket].map(|token| TokenWithSpan { token, span }));
                open.push(is_map(name));
                at += 1;
                if open.len() > MAX_BRACKETS {
                    return Err(format!("types nest more than {MAX_BRACKETS} levels deep"));
                }
            }
            Token::Gt => rewritten.push(closing(open.pop(), token)),
            Token::ShiftRight => match (open.pop(), open.pop()) {
                (inner, outer) if inner == Some(true) || outer == Some(true) => {
                    rewritten.extend([closing(inner, token), closing(outer, token)]);
                }
                _ => rewritten.push(token.clone()),
            },
            Token::Word(_)
                if !open.is_empty()
                    && is_word(&token.token, Keyword::NOT)
                    && next.is_some_and(|next| is_word(&next.token, Keyword::NULL)) =>
            {
                let span = token.span;
                let option = [
                    Token::make_keyword("OPTIONS"),
                    Token::LParen,
                    Token::make_word(NOT_NULL_OPTION, None),
                    Token::Eq,
                    Token::make_keyword("TRUE"),
                    Token::RParen,
                ];
                rewritten.extend(option.into_iter().map(|token| TokenWithSpan { token, span }));
                at += 1;
            }
            _ => rewritten.push(token.clone()),
        }
        at += 1;
    }
    Ok(rewritten)
}

/// Writes the equals sign into the options of columns, where the parser wants one: those of tables go without.
fn column_options(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut rewritten = Vec::with_capacity(tokens.len());
    // How many parentheses are open, and how many were outside of the options that are being read.
    let (mut depth, mut outside) = (0_usize, None);
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => {
                let before = at.checked_sub(1).map(|before| &tokens[before].token);
                let is_options = matches!(before, Some(Token::Word(word)) if word.keyword == Keyword::OPTIONS);
                if is_options && depth > 0 && outside.is_none() {
                    outside = Some(depth);
                }
                depth += 1;
            }
            Token::RParen => {
                depth = depth.saturating_sub(1);
                outside = outside.filter(|outside| *outside < depth);
            }
            _ => {}
        }
        rewritten.push(token.clone());
        let next = tokens.get(at + 1).map(|next| &next.token);
        if outside.is_some() && matches!((&token.token, next), (Token::Word(_), Some(Token::SingleQuotedString(_)))) {
            rewritten.push(TokenWithSpan { token: Token::Eq, span: token.span });
        }
    }
    rewritten
}

fn is_type_with_brackets(word: &str) -> bool {
    ["struct", "array", "list"].iter().any(|name| word.eq_ignore_ascii_case(name))
}

fn is_map(word: &str) -> bool {
    word.eq_ignore_ascii_case("map")
}

/// What closes a type: `is_map` tells of which.
fn closing(is_map: Option<bool>, at: &TokenWithSpan) -> TokenWithSpan {
    TokenWithSpan { token: if is_map == Some(true) { Token::RParen } else { Token::Gt }, span: at.span }
}

fn is_word(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.keyword == keyword)
}

fn is_space(token: &Token) -> bool {
    matches!(token, Token::Whitespace(_) | Token::EOF)
}

fn line(span: Span) -> usize {
    usize::try_from(span.start.line).unwrap_or(1)
}

fn line_text(sql: &str, line: usize) -> &str {
    sql.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim()
}

/// The parser writes places as `... at Line: 3, Column: 14`.
fn error_line(message: &str) -> Option<usize> {
    let (_, tail) = message.rsplit_once("Line: ")?;
    let digits: String = tail.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|line| *line > 0)
}

fn without_position(message: &str) -> String {
    let message = message.rsplit_once(" at Line: ").map_or(message, |(head, _)| head);
    let message = message.trim_start_matches("SQL error: ");
    let message = message.strip_prefix("ParserError(\"").unwrap_or(message);
    message.trim_end_matches("\")").to_owned()
}
