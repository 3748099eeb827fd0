//! How much work it would be to parse a text, judged on its tokens before.
//!
//! Guarantee: what passes is parsed on the stack of one thread, in time that grows with the limits, not with powers of
//! the text, also where it cannot be parsed. Pure.
//! Not here: brackets within each other (`views/src/nesting.rs`), what was parsed (`complexity.rs`).

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use views::{TooDeep, check_nesting};

use crate::GatewayError;

/// Operators in the text: a chain of them is a tree as deep as it is long.
const MAX_OPERATORS: usize = 256;
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

/// Refuses a text whose tree would be too deep to walk.
pub(crate) fn check_text(sql: &str) -> Result<(), GatewayError> {
    // What cannot be read is told by the parser, in its own words.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    let operators = tokens.iter().filter(|token| is_deepening(token)).count();
    if operators > MAX_OPERATORS {
        let reason = format!("the SQL text has {operators} operators, the limit is {MAX_OPERATORS}");
        return Err(GatewayError::TooLarge { reason, hint: "write a long chain of OR as IN (...)".to_owned() });
    }
    let too_deep = |deep: TooDeep| GatewayError::TooLarge { reason: deep.to_string(), hint: TooDeep::HINT.to_owned() };
    check_nesting(&tokens).map_err(too_deep)
}

fn is_deepening(token: &Token) -> bool {
    match token {
        Token::Word(word) => DEEPENING.contains(&word.keyword),
        Token::EOF | Token::Whitespace(_) | Token::Comma | Token::Period | Token::SemiColon => false,
        // Parentheses nest, which `check_nesting` limits.
        Token::LParen | Token::RParen => false,
        Token::Number(..) | Token::Char(_) => false,
        Token::SingleQuotedString(_) | Token::DoubleQuotedString(_) | Token::EscapedStringLiteral(_) => false,
        _ => true,
    }
}
