//! How deep a text nests, judged on its tokens before it is parsed.
//!
//! Guarantee: what passes is parsed on the stack of one thread, in time that grows with the limits here, not with
//! powers of the text, also where it cannot be parsed. Pure.
//! Why so: the parser counts the depth of expressions, but not that of types and patterns; and a bracket that it cannot
//! read behind CAST or ARRAY it reads once more as a call of that name: in twenty of them a million times.
//! Not here: what was parsed (`complexity.rs`).

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::GatewayError;

/// Operators in the text: a chain of them is a tree as deep as it is long.
const MAX_OPERATORS: usize = 256;
/// Brackets of any kind within brackets.
const MAX_DEPTH: usize = 32;
/// Queries within queries: planning takes nearly twice as long for each.
const MAX_QUERY_DEPTH: usize = 10;
/// Brackets within each other that the parser reads twice: it reads the innermost 4,096 times, where it cannot be read.
const MAX_READ_AGAIN: usize = 12;
/// Keywords that make an expression or a query deeper.
const DEEPENING: [Keyword; 21] = [
    Keyword::AND,
    Keyword::OR,
    Keyword::XOR,
    Keyword::NOT,
    Keyword::IS,
    Keyword::IN,
    Keyword::LIKE,
    Keyword::ILIKE,
    Keyword::BETWEEN,
    Keyword::COLLATE,
    Keyword::AT,
    Keyword::DIV,
    Keyword::UNION,
    Keyword::EXCEPT,
    Keyword::INTERSECT,
    Keyword::JOIN,
    Keyword::EXPLAIN,
    Keyword::INTERVAL,
    Keyword::CASE,
    Keyword::PRIOR,
    Keyword::CONNECT_BY_ROOT,
];

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

/// Refuses a text whose tree would be too deep to walk.
pub(crate) fn check_text(sql: &str) -> Result<(), GatewayError> {
    // What cannot be read is told by the parser, in its own words.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    let operators = tokens.iter().filter(|token| is_deepening(token)).count();
    if operators > MAX_OPERATORS {
        let reason = format!("the SQL text has {operators} operators, the limit is {MAX_OPERATORS}");
        return Err(GatewayError::TooLarge { reason, hint: "write a long chain of OR as IN (...)".to_owned() });
    }
    check_depth(&tokens)
}

/// A bracket that is open, or a CASE.
#[derive(Default)]
struct Open {
    /// How many doublings it is.
    read_again: usize,
    holds_query: bool,
    is_case: bool,
}

/// Refuses brackets that nest too deep.
fn check_depth(tokens: &[Token]) -> Result<(), GatewayError> {
    let mut open: Vec<Open> = Vec::new();
    let mut before = &Token::EOF;
    for token in tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))) {
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

fn check_open(open: &[Open]) -> Result<(), GatewayError> {
    let refuse = |most: usize, what: &str, hint: &str| {
        let reason = format!("the SQL text has more than {most} {what} within each other");
        Err(GatewayError::TooLarge { reason, hint: hint.to_owned() })
    };
    let hint = "name inner parts one after another in a WITH clause";
    if open.len() > MAX_DEPTH {
        return refuse(MAX_DEPTH, "brackets", hint);
    }
    if open.iter().filter(|bracket| bracket.holds_query).count() > MAX_QUERY_DEPTH {
        return refuse(MAX_QUERY_DEPTH, "queries", hint);
    }
    if open.iter().map(|bracket| bracket.read_again).sum::<usize>() > MAX_READ_AGAIN {
        return refuse(MAX_READ_AGAIN, "CASE, CAST, ARRAY and the like", hint);
    }
    Ok(())
}

fn is_deepening(token: &Token) -> bool {
    match token {
        Token::Word(word) => DEEPENING.contains(&word.keyword),
        Token::EOF | Token::Whitespace(_) | Token::Comma | Token::Period | Token::SemiColon => false,
        // Parentheses nest, which `check_depth` limits.
        Token::LParen | Token::RParen => false,
        Token::Number(..) | Token::Char(_) => false,
        Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) | Token::EscapedStringLiteral(_) => false,
        _ => true,
    }
}
