//! How deep a text nests, judged on its tokens before it is parsed.
//!
//! Guarantee: what passes is parsed on the stack of one thread, in time that grows with the limits here, not with
//! powers of the text, also where it cannot be parsed. Pure.
//! Why so: the parser counts the depth of expressions, but not that of types and patterns; and a bracket that it cannot
//! read behind CAST or ARRAY it reads once more as a call of that name: in twenty of them a million times.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

/// Brackets of any kind within brackets.
const MAX_DEPTH: usize = 32;
/// Queries within queries: planning takes nearly twice as long for each.
const MAX_QUERY_DEPTH: usize = 10;
/// Brackets within each other that the parser reads twice: it reads the innermost 4,096 times, where it cannot be read.
const MAX_READ_AGAIN: usize = 12;

/// Keywords behind which the parser reads a bracket once more where the first reading fails.
const READ_AGAIN: [Keyword; 18] = [
    Keyword::ARRAY,
    Keyword::CAST,
    Keyword::CEIL,
    Keyword::CONVERT,
    Keyword::FLOOR,
    Keyword::INTERVAL,
    Keyword::LAMBDA,
    Keyword::MAP,
    Keyword::NOT,
    Keyword::OVERLAY,
    Keyword::PRIOR,
    Keyword::SAFE_CAST,
    Keyword::STRUCT,
    Keyword::SUBSTR,
    Keyword::SUBSTRING,
    Keyword::TRIM,
    Keyword::TRY_CAST,
    Keyword::TRY_CONVERT,
];

/// A text nests too deep to be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text has more than {most} {what} within each other")]
pub struct TooDeep {
    most: usize,
    what: &'static str,
}

impl TooDeep {
    /// The way out.
    pub const HINT: &'static str = "name inner parts one after another in a WITH clause";
}

/// A bracket that is open, or a CASE.
#[derive(Default)]
struct Open {
    /// How many doublings it is.
    read_again: usize,
    holds_query: bool,
    is_case: bool,
}

/// Refuses brackets, queries and CASE that nest too deep.
///
/// # Errors
/// What nests too deep: it cannot be parsed in bounded time.
pub fn check_nesting<'a>(tokens: impl IntoIterator<Item = &'a Token>) -> Result<(), TooDeep> {
    let mut open: Vec<Open> = Vec::new();
    let mut before = &Token::EOF;
    for token in tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))) {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                open.push(Open { read_again: doublings_behind(before), ..Open::default() });
                check_open(&open)?;
            }
            Token::Word(word) if word.keyword == Keyword::CASE => {
                open.push(Open { read_again: 1, is_case: true, ..Open::default() });
                check_open(&open)?;
            }
            Token::Word(word) if word.keyword == Keyword::END => {
                open.pop_if(|bracket| bracket.is_case);
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                // A CASE that was not ended ends with what it stands in.
                while open.pop().is_some_and(|bracket| bracket.is_case) {}
            }
            Token::Word(word) if matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES) => {
                if let Some(bracket) = open.last_mut() {
                    bracket.holds_query = true;
                }
                check_open(&open)?;
            }
            _ => {}
        }
        before = token;
    }
    Ok(())
}

/// How often the work doubles at a bracket behind this token: the parser tries again, as a call of that name.
fn doublings_behind(token: &Token) -> usize {
    match token {
        Token::Word(word) if word.keyword == Keyword::POSITION => 2,
        Token::Word(word) if READ_AGAIN.contains(&word.keyword) => 1,
        _ => 0,
    }
}

fn check_open(open: &[Open]) -> Result<(), TooDeep> {
    if open.len() > MAX_DEPTH {
        return Err(TooDeep { most: MAX_DEPTH, what: "brackets" });
    }
    if open.iter().filter(|bracket| bracket.holds_query).count() > MAX_QUERY_DEPTH {
        return Err(TooDeep { most: MAX_QUERY_DEPTH, what: "queries" });
    }
    if open.iter().map(|bracket| bracket.read_again).sum::<usize>() > MAX_READ_AGAIN {
        return Err(TooDeep { most: MAX_READ_AGAIN, what: "CASE, CAST, ARRAY and the like" });
    }
    Ok(())
}
