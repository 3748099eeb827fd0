//! Operators are read in PostgreSQL's order, or refused: every pair, against a table of this file's own. And what in a
//! right file is doubted, and how strictly static files are read.

use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr, Statement, UnaryOperator};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use views::{Pipeline, mend, misreadings};

use super::{EDITS, files, read};

/// Operators between operands, the loosest first, and whether those of a line may stand in a row.
const TABLE: [(&[&str], bool); 9] = [
    (&["OR"], true),
    (&["AND"], true),
    (&["NOT"], true),
    (&["IS DISTINCT FROM", "IS NOT DISTINCT FROM"], false),
    (&["=", "<>", "<", "<=", ">", ">="], false),
    (&["LIKE", "NOT LIKE", "ILIKE"], false),
    (&["||", "|", "&", "~", "!~"], true),
    (&["+", "-"], true),
    (&["*", "/", "%"], true),
];

const IS: usize = 3;

fn binary() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|(operators, _)| operators.iter().copied()).filter(|operator| *operator != "NOT")
}

fn level(operator: &str) -> usize {
    TABLE.iter().position(|(operators, _)| operators.contains(&operator)).unwrap()
}

/// The expression of a SELECT, mended, and whether it is refused.
fn parse(sql: &str) -> (Expr, bool) {
    let mut statements = Parser::parse_sql(&GenericDialect {}, &format!("SELECT {sql}")).unwrap();
    let mut statement = statements.remove(0);
    mend(&mut statement);
    let is_refused = !misreadings(&statement).is_empty();
    let Statement::Query(query) = statement else { panic!("{sql}") };
    let SetExpr::Select(mut select) = *query.body else { panic!("{sql}") };
    let SelectItem::UnnamedExpr(expr) = select.projection.remove(0) else { panic!("{sql}") };
    (expr, is_refused)
}

/// The tree with all of its parentheses.
fn drawn(expr: &Expr) -> String {
    let between = |left: &Expr, operator: &str, right: &Expr| format!("({} {operator} {})", drawn(left), drawn(right));
    let like = |negated: bool, word: &str| if negated { format!("NOT {word}") } else { word.to_owned() };
    match expr {
        Expr::Nested(inner) => drawn(inner),
        Expr::BinaryOp { left, op, right } => between(left, &op.to_string(), right),
        Expr::IsDistinctFrom(left, right) => between(left, "IS DISTINCT FROM", right),
        Expr::IsNotDistinctFrom(left, right) => between(left, "IS NOT DISTINCT FROM", right),
        Expr::Like { negated, expr, pattern, .. } => between(expr, &like(*negated, "LIKE"), pattern),
        Expr::ILike { negated, expr, pattern, .. } => between(expr, &like(*negated, "ILIKE"), pattern),
        Expr::IsNull(inner) => format!("({} IS NULL)", drawn(inner)),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => format!("(NOT {})", drawn(expr)),
        Expr::UnaryOp { op, expr } => format!("({op} {})", drawn(expr)),
        other => other.to_string(),
    }
}

/// Accepted means read as the oracle says, refused means that it would not be; what is accepted may be printed.
fn check(sql: &str, expected: Option<String>) -> bool {
    let (tree, is_refused) = parse(sql);
    if is_refused {
        assert_ne!(Some(drawn(&tree)), expected, "{sql} is refused for nothing");
        return false;
    }
    assert_eq!(Some(drawn(&tree)), expected, "{sql}");
    let (again, _) = parse(&tree.to_string());
    assert_eq!(drawn(&again), drawn(&tree), "{sql}, printed as {tree}");
    true
}

#[test]
fn every_pair_of_operators_is_read_in_the_order_of_sql_or_refused() {
    let mut accepted = 0;
    for first in binary() {
        for second in binary() {
            let (left, right) = (level(first), level(second));
            let expected = match left.cmp(&right) {
                std::cmp::Ordering::Less => Some(format!("(a {first} (b {second} c))")),
                std::cmp::Ordering::Equal if !TABLE[left].1 => None,
                _ => Some(format!("((a {first} b) {second} c)")),
            };
            accepted += usize::from(check(&format!("a {first} b {second} c"), expected));
        }
    }
    assert!(accepted > 300, "{accepted} pairs are accepted");
}

#[test]
fn operators_before_and_behind_are_read_in_the_order_of_sql() {
    for operator in binary() {
        let is_tighter = level(operator) > level("NOT");
        let negated = if is_tighter { format!("(NOT (a {operator} b))") } else { format!("((NOT a) {operator} b)") };
        assert!(check(&format!("NOT a {operator} b"), Some(negated)), "NOT before {operator}");
        assert!(check(&format!("- a {operator} b"), Some(format!("((- a) {operator} b)"))), "- before {operator}");
        let tested = match level(operator).cmp(&IS) {
            std::cmp::Ordering::Less => Some(format!("(a {operator} (b IS NULL))")),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(format!("((a {operator} b) IS NULL)")),
        };
        check(&format!("a {operator} b IS NULL"), tested);
    }
}

#[test]
fn distinct_from_ends_before_and_and_or() {
    for (sql, expected) in [
        ("a IS DISTINCT FROM b AND c OR d", "(((a IS DISTINCT FROM b) AND c) OR d)"),
        ("x OR a IS DISTINCT FROM b AND c", "(x OR ((a IS DISTINCT FROM b) AND c))"),
        ("x AND a IS NOT DISTINCT FROM b OR c", "((x AND (a IS NOT DISTINCT FROM b)) OR c)"),
        (
            "a IS DISTINCT FROM b AND c IS DISTINCT FROM d OR e",
            "(((a IS DISTINCT FROM b) AND (c IS DISTINCT FROM d)) OR e)",
        ),
        ("NOT a IS DISTINCT FROM b AND c", "((NOT (a IS DISTINCT FROM b)) AND c)"),
        ("a IS DISTINCT FROM (b AND c)", "(a IS DISTINCT FROM (b AND c))"),
    ] {
        assert!(check(sql, Some(expected.to_owned())), "{sql}");
    }
}

#[test]
fn operators_that_mean_something_else_are_refused_in_views_with_a_way_out() {
    let view = |condition: &str| {
        let sql = format!(
            "{EDITS}CREATE MATERIALIZED VIEW v AS SELECT page, count(*) AS n FROM edits WHERE {condition} GROUP BY page"
        );
        Pipeline::read(&sql, &files(&[])).err().map(|error| error.0)
    };
    for (condition, hint, way_out) in [
        ("page SIMILAR TO '/shop%'", "write `page LIKE '/shop%'`", "page LIKE '/shop%'"),
        ("page NOT SIMILAR TO '/shop%'", "or `page !~ '/shop%'`", "page !~ '/shop%'"),
        ("added ^ 2 > 100", "power(added, 2)", "power(added, 2) > 100"),
        ("added ^ 2 > 100", "(added | 2) - (added & 2)", "(added | 2) - (added & 2) > 100"),
        ("page = channel LIKE 'a%'", "`(page = channel) LIKE 'a%'`", "page = channel AND page LIKE 'a%'"),
        ("page ->> 'a' = 'x'", "write `json_as_text(page, 'a')`", "json_as_text(page, 'a') = 'x'"),
        ("page -> 'a' ->> 0 = 'x'", "write `json_as_text(page, 'a', 0)`", "json_as_text(page, 'a', 0) = 'x'"),
        ("page -> 'a' IS NULL", "write `json_get_json(page, 'a')`", "json_get_json(page, 'a') IS NULL"),
        ("added < 1 < 2", "write the parentheses", "(added < 1) = true"),
        (
            "added < 12345678901234567890123",
            "CAST('12345678901234567890123' AS DECIMAL(38, 0))",
            "added < CAST('12345678901234567890123' AS DECIMAL(38, 0))",
        ),
    ] {
        let found = view(condition).unwrap_or_else(|| panic!("{condition} is taken"));
        assert!(found.iter().any(|finding| finding.hint.contains(hint)), "{condition}: {found:#?}");
        assert_eq!(view(way_out), None, "{way_out}");
    }
}

#[test]
fn a_field_behind_a_bracket_is_its_name() {
    for (written, read) in [
        ("items[1].sku", "items[1]['sku']"),
        ("st['deep'].Up", "st['deep']['up']"),
        ("st['deep'].\"Up\"", "st['deep']['Up']"),
        ("(st).b", "(st)['b']"),
        ("ev.items[1].sku", "ev.items[1]['sku']"),
        ("ev.st.deep['c'].d", "ev.st.deep['c']['d']"),
        ("st.deep['c']", "st.deep['c']"),
    ] {
        let (tree, is_refused) = parse(written);
        assert_eq!((tree.to_string().as_str(), is_refused), (read, false), "{written}");
    }
    let source = "CREATE UNBOUNDED EXTERNAL TABLE ev (time TIMESTAMP NOT NULL, items ARRAY<STRUCT<sku VARCHAR, qty INT>>, \
                  st STRUCT<b VARCHAR>) STORED AS JSON LOCATION 'kafka://ev' OPTIONS (event_time 'time');\n";
    read(&format!(
        "{source}CREATE MATERIALIZED VIEW v AS SELECT items[1].sku AS sku, (st).b AS b, sum(ev.items[1].qty) AS n \
         FROM ev GROUP BY ev.items[1].sku, (st).b"
    ));
}

#[test]
fn what_the_engine_would_pass_over_is_refused_with_a_way_out() {
    let view = |query: &str| {
        let sql = format!("{EDITS}CREATE MATERIALIZED VIEW v AS SELECT page, {query}");
        Pipeline::read(&sql, &files(&[])).err().map(|error| error.0)
    };
    for (query, hint, way_out) in [
        (
            "count(*) AS n FROM edits TABLESAMPLE (10) GROUP BY page",
            "leave it out: all rows",
            "count(*) AS n FROM edits GROUP BY page",
        ),
        (
            "count(*) AS n FROM edits GROUP BY page WITH ROLLUP",
            "a view groups by plain keys",
            "count(*) AS n FROM edits GROUP BY page",
        ),
        ("avg(*) AS n FROM edits GROUP BY page", "name the column", "avg(added) AS n FROM edits GROUP BY page"),
        (
            "count(DISTINCT *) AS n FROM edits GROUP BY page",
            "write `count(*)`",
            "count(*) AS n FROM edits GROUP BY page",
        ),
        (
            "count(DISTINCT *) AS n FROM edits GROUP BY page",
            "`count(DISTINCT a, b)`",
            "count(DISTINCT channel, added) AS n FROM edits GROUP BY page",
        ),
    ] {
        let found = view(query).unwrap_or_else(|| panic!("{query} is taken"));
        assert!(found.iter().any(|finding| finding.hint.contains(hint)), "{query}: {found:#?}");
        assert_eq!(view(way_out), None, "{way_out}");
    }
}

#[test]
fn a_column_in_camel_case_without_quotes_is_doubted() {
    let source = |columns: &str| {
        read(&format!(
            "CREATE UNBOUNDED EXTERNAL TABLE ev (time TIMESTAMP NOT NULL, {columns}) STORED AS JSON \
             LOCATION 'kafka://ev' OPTIONS (event_time 'time');\n\
             CREATE MATERIALIZED VIEW v AS SELECT time, count(*) AS n FROM ev GROUP BY time"
        ))
    };
    let doubts = source("userName VARCHAR").doubts;
    assert_eq!(doubts.len(), 1);
    assert!(doubts[0].message.contains("read as username"), "{doubts:?}");
    assert!(doubts[0].hint.contains("\"userName\""), "{doubts:?}");
    let mapped = "userName VARCHAR OPTIONS (path 'userName')";
    for columns in ["\"userName\" VARCHAR", "user_name VARCHAR", "USER_NAME VARCHAR", mapped] {
        let doubts = source(columns).doubts;
        assert!(doubts.is_empty(), "{columns}: {doubts:?}");
    }
}

#[test]
fn keys_that_stand_twice_in_a_joined_table_are_doubted() {
    let doubts = |csv: &'static str| {
        let sql = format!(
            "{EDITS}CREATE EXTERNAL TABLE c (channel VARCHAR, language VARCHAR) STORED AS CSV LOCATION 'c.csv';\n\
             CREATE MATERIALIZED VIEW v AS SELECT c.language AS language, count(*) AS n FROM edits \
             JOIN c ON edits.channel = c.channel GROUP BY c.language"
        );
        Pipeline::read(&sql, &files(&[("c.csv", csv)])).unwrap_or_else(|error| panic!("{error}")).doubts
    };
    assert!(doubts("channel,language\n#en,English\n#de,German\n,none\n,none\n").is_empty());
    let found = doubts("channel,language\n#en,English\n#de,German\n#en,British\n#en,American\n");
    assert_eq!(found.len(), 1);
    let message = "1 key stands in several rows of static table c, among them #en in 3";
    assert!(found[0].message.contains(message), "{found:?}");
}

#[test]
fn a_static_file_may_begin_with_a_mark_and_must_not_lack_what_is_not_null() {
    let sql = format!(
        "{EDITS}CREATE EXTERNAL TABLE c (channel VARCHAR NOT NULL, language VARCHAR) STORED AS CSV LOCATION 'c.csv';\n\
         CREATE MATERIALIZED VIEW v AS SELECT c.language AS language, count(*) AS n FROM edits \
         JOIN c ON edits.channel = c.channel GROUP BY c.language"
    );
    let read = |csv: &'static str| Pipeline::read(&sql, &files(&[("c.csv", csv)])).map(|_| ());
    assert_eq!(read("\u{feff}channel,language\n#en,English\n"), Ok(()));
    let error = read("channel,language\n#en,English\n,German\n").unwrap_err().to_string();
    assert!(error.contains("row 2 has no value for channel, which is NOT NULL"), "{error}");
}

#[test]
fn a_fraction_in_a_static_file_is_not_cut_off() {
    let sql = format!(
        "{EDITS}CREATE EXTERNAL TABLE c (channel VARCHAR, rank INT) STORED AS JSON LOCATION 'c.json';\n\
         CREATE MATERIALIZED VIEW v AS SELECT c.rank AS rank, count(*) AS n FROM edits \
         JOIN c ON edits.channel = c.channel GROUP BY c.rank"
    );
    let read = |json: &'static str| Pipeline::read(&sql, &files(&[("c.json", json)])).map(|_| ());
    assert_eq!(read("{\"channel\": \"#en\", \"rank\": 1}\n{\"channel\": \"#de\", \"rank\": null}\n"), Ok(()));
    let error = read("{\"channel\": \"#en\", \"rank\": 1}\n{\"channel\": \"#de\", \"rank\": 1.5}\n").unwrap_err();
    assert!(error.to_string().contains("row 2: rank is no whole number that fits its type"), "{error}");
}

#[test]
fn a_decimal_in_a_static_file_is_not_cut_off() {
    let read = |format: &str, text: &str| {
        let sql = format!(
            "{EDITS}CREATE EXTERNAL TABLE c (channel VARCHAR, price DECIMAL(6, 2)) STORED AS {format} LOCATION 'c';\n\
             CREATE MATERIALIZED VIEW v AS SELECT c.price AS price, count(*) AS n FROM edits \
             JOIN c ON edits.channel = c.channel GROUP BY c.price"
        );
        let files = [("c".to_owned(), bytes::Bytes::from(text.to_owned()))].into();
        Pipeline::read(&sql, &files).map(|_| ()).map_err(|error| error.to_string())
    };
    for number in ["1.25", "1.250", "-0.5", "12", "1200", "0", "0.00", ""] {
        assert_eq!(read("CSV", &format!("channel,price\n#en,{number}\n")), Ok(()), "{number}");
        let number = if number.is_empty() { "null" } else { number };
        assert_eq!(read("JSON", &format!("{{\"channel\": \"#en\", \"price\": {number}}}\n")), Ok(()), "{number}");
        if number != "null" {
            assert_eq!(read("JSON", &format!("{{\"price\": \"{number}\"}}\n")), Ok(()), "{number} as text");
        }
    }
    for number in ["1.255", "-0.001", "0.0001"] {
        let csv = read("CSV", &format!("channel,price\n#de,1\n#en,{number}\n")).unwrap_err();
        assert!(csv.contains("row 2: price has more than 2 digits behind the point"), "{number}: {csv}");
        let json = read("JSON", &format!("{{\"price\": {number}}}\n")).unwrap_err();
        assert!(json.contains("row 1: price has more than 2 digits behind the point"), "{number}: {json}");
    }
}
