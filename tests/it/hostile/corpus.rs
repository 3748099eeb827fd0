//! Statements and requests of one client that means harm: each family makes much of little, in its own way.
//!
//! A family is a bracket that nests, a piece that is repeated, a number at the end of what there is (`extremes.rs`), or
//! one text; all are listed, and nothing is random.

use super::extremes;

/// Texts that stand for themselves, one a line; `{{piece|times}}` is a piece so many times.
const LINES: &str = include_str!("../../corpus/hostile.txt");

/// Opening, what stands in the middle, closing, and what is around all of it (`{}` is its place).
static NESTED: [(&str, &str, &str, &str); 52] = [
    ("(", "hits", ")", "SELECT {} FROM v"),
    ("abs(", "hits", ")", "SELECT {} FROM v"),
    ("coalesce(", "hits", ", 1)", "SELECT {} AS x FROM v"),
    ("nullif(", "hits", ", 1)", "SELECT {} AS x FROM v"),
    ("nvl(", "hits", ", 1)", "SELECT {} AS x FROM v"),
    ("nvl2(", "hits", ", 1, 2)", "SELECT {} AS x FROM v"),
    ("greatest(", "hits", ", 1)", "SELECT {} AS x FROM v"),
    ("concat(", "page", ", page)", "SELECT {} AS x FROM v"),
    ("replace(", "page", ", 'p', 'pppppppp')", "SELECT {} AS x FROM v"),
    ("repeat(", "page", ", 4096)", "SELECT {} AS x FROM v"),
    ("make_array(", "page", ", page)", "SELECT {} AS x FROM v"),
    ("named_struct('a', ", "page", ")", "SELECT {} AS x FROM v"),
    ("struct(", "page", ", page)", "SELECT {} AS x FROM v"),
    ("(", "hits", " BETWEEN 1 AND 2)::INT", "SELECT {} AS x FROM v"),
    ("(", "hits", " IN (1, 2, 3))::INT", "SELECT {} AS x FROM v"),
    ("CAST(", "hits", " AS INT)", "SELECT {} AS x FROM v"),
    ("TRY_CAST(", "hits", " AS INT)", "SELECT {} AS x FROM v"),
    ("ARRAY[", "hits", "]", "SELECT {} AS x FROM v"),
    ("[", "hits", "]", "SELECT {} AS x FROM v"),
    ("{'a': ", "hits", "}", "SELECT {} AS x FROM v"),
    ("CASE WHEN true THEN ", "hits", " END", "SELECT {} AS x FROM v"),
    ("CASE ", "hits", " WHEN 1 THEN 1 END", "SELECT {} AS x FROM v"),
    ("CEIL(", "hits", ")", "SELECT {} AS x FROM v"),
    ("EXTRACT(DAY FROM ", "now()", ")", "SELECT {} AS x FROM v"),
    ("POSITION(", "page", " IN 'a')", "SELECT {} AS x FROM v"),
    ("SUBSTRING(", "page", " FROM 1)", "SELECT {} AS x FROM v"),
    ("OVERLAY(", "page", " PLACING 'a' FROM 1)", "SELECT {} AS x FROM v"),
    ("TRIM(", "page", ")", "SELECT {} AS x FROM v"),
    ("INTERVAL ", "'1 day'", "", "SELECT {} AS x"),
    ("INTERVAL (", "1", ")", "SELECT {} AS x"),
    ("NOT ", "true", "", "SELECT {} AS x"),
    ("NOT (", "true", ")", "SELECT {} AS x"),
    ("- ", "1", "", "SELECT {} AS x"),
    ("EXISTS (SELECT ", "1", ")", "SELECT {} AS x"),
    ("(SELECT ", "1", ")", "SELECT {} AS x"),
    ("(SELECT max(hits) FROM v WHERE hits > ", "1", ")", "SELECT {} AS x"),
    ("1 IN (SELECT ", "1", ")", "SELECT {} AS x"),
    ("(SELECT * FROM ", "v", ") t", "SELECT count(*) AS n FROM {}"),
    ("(", "v", ")", "SELECT count(*) AS n FROM {}"),
    ("v JOIN (", "v", ") ON true", "SELECT count(*) AS n FROM {}"),
    ("LATERAL (SELECT * FROM ", "v", ") t", "SELECT count(*) AS n FROM {}"),
    ("UNNEST(", "make_array(1)", ")", "SELECT * FROM {}"),
    ("WITH a AS (", "SELECT 1 AS x", ") SELECT * FROM a", "{}"),
    ("(SELECT 1 UNION ALL ", "SELECT 1", ")", "{}"),
    ("EXPLAIN ", "SELECT 1", "", "{}"),
    ("ARRAY<", "INT", ">", "SELECT CAST(NULL AS {}) AS x"),
    ("STRUCT<a ", "INT", ">", "SELECT CAST(NULL AS {}) AS x"),
    ("Nullable(", "INT", ")", "SELECT CAST(NULL AS {}) AS x"),
    ("MAP(INT, ", "INT", ")", "SELECT CAST(NULL AS {}) AS x"),
    ("", "INT", "[]", "SELECT CAST(NULL AS {}) AS x"),
    ("(", "A", ")", "SELECT * FROM v MATCH_RECOGNIZE(PATTERN ({}) DEFINE A AS true)"),
    ("GROUPING SETS((", "page", "))", "SELECT 1 AS x FROM v GROUP BY {}"),
];

/// How deep: what passes, what a limit stops, and what would end a process that has none.
const DEPTHS: [usize; 3] = [8, 24, 400];

/// A piece, what stands between two of them, and what is around all of them (`{}` is their place, `#` the number).
static REPEATED: [(&str, &str, &str); 24] = [
    ("1", " + ", "SELECT {} AS x"),
    ("hits", " + ", "SELECT {} AS x FROM v"),
    ("page", " || ", "SELECT {} AS x FROM v"),
    ("hits = #", " OR ", "SELECT count(*) AS n FROM v WHERE {}"),
    ("#", ", ", "SELECT count(*) AS n FROM v WHERE hits IN ({})"),
    ("hits AS c#", ", ", "SELECT {} FROM v"),
    ("#", ", ", "SELECT {}"),
    ("hits + #", ", ", "SELECT count(*) AS n FROM v GROUP BY CUBE({})"),
    ("hits + #", ", ", "SELECT count(*) AS n FROM v GROUP BY ROLLUP({})"),
    ("(hits + #)", ", ", "SELECT count(*) AS n FROM v GROUP BY GROUPING SETS({})"),
    ("ROLLUP(hits + #, page)", ", ", "SELECT count(*) AS n FROM v GROUP BY {}"),
    ("hits + #", ", ", "SELECT count(*) AS n FROM v GROUP BY {}"),
    ("hits + #", ", ", "SELECT page FROM v ORDER BY {} LIMIT 1"),
    ("v AS t#", ", ", "SELECT count(*) AS n FROM {}"),
    ("v", " NATURAL JOIN ", "SELECT count(*) AS n FROM {}"),
    ("SELECT # AS x", " UNION ALL ", "{}"),
    ("SELECT # AS x", " INTERSECT ", "{}"),
    ("WHEN hits = # THEN #", " ", "SELECT CASE {} END AS x FROM v"),
    ("sum(hits) OVER (ORDER BY hits + #) AS c#", ", ", "SELECT {} FROM v LIMIT 1"),
    ("count(DISTINCT hits + #) AS c#", ", ", "SELECT {} FROM v"),
    ("a# AS (SELECT * FROM v)", ", ", "WITH {} SELECT count(*) AS n FROM a0"),
    ("(#)", ", ", "VALUES {}"),
    ("%a", "", "SELECT count(*) AS n FROM v WHERE page LIKE '{}'"),
    ("(a|b)*", "", "SELECT count(*) AS n FROM v WHERE regexp_like(page, '{}')"),
];

const TIMES: [usize; 3] = [6, 60, 700];

/// Texts that stand for themselves. `~` is a thousand letters.
static SINGLE: [&str; 57] = [
    "SELECT max(length(x)) AS x FROM (SELECT string_agg(a.page || repeat('x', 200), ',') OVER \
     (ORDER BY a.minute, b.minute, b.page) AS x FROM v a, v b) t",
    "SELECT count(*) AS n FROM (SELECT array_agg(a.minute) OVER (ORDER BY a.minute, b.minute, b.page) AS x \
     FROM v a, v b) t WHERE x IS NULL",
    "SELECT max(x) AS x FROM (SELECT first_value(a.page || repeat('x', 4000)) OVER (ORDER BY a.hits) AS x \
     FROM v a, v b, v c) t",
    "SELECT max(x) AS x FROM (SELECT lag(a.page, 1000000, repeat('x', 4000)) OVER (ORDER BY a.hits) AS x \
     FROM v a, v b, v c) t",
    "SELECT max(x) AS x FROM (SELECT max(a.page || repeat('x', 4000)) FILTER (WHERE a.hits > 0) OVER () AS x \
     FROM v a, v b, v c) t",
    "SELECT max(x) AS x FROM (SELECT median(a.hits) OVER (ORDER BY a.minute, b.minute, b.page, c.page ROWS BETWEEN \
     UNBOUNDED PRECEDING AND CURRENT ROW) AS x FROM v a, v b, v c) t",
    "SELECT max(length(array_to_string(string_to_array(a.page || repeat('a,', 2000), ',', 'a'), ',', \
     repeat('x', 4096)))) AS x FROM v a, v b",
    "SELECT max(array_length(array_replace_all(string_to_array(a.page || repeat('a,', 2000), ','), 'a', \
     repeat('x', 4096)))) AS x FROM v a, v b",
    "SELECT max(length(to_char(a.minute, repeat('%+', 4000)))) AS x FROM v a, v b",
    "SELECT count(*) AS n FROM v a, v b WHERE a.page LIKE repeat('%a', 3000) || b.page || a.minute || '%'",
    "SELECT count(*) AS n FROM v a, v b WHERE regexp_like(a.page, concat('(a{1,90}){1,9}', b.page))",
    "SELECT count(*) AS n FROM v a, v b WHERE regexp_like(repeat(a.page, 500), '((p{1,100}[0-9]?){1,100}){1,5}c')",
    "SELECT array_has_all(x, y) AS x FROM (SELECT array_agg(a.hits) AS x, array_agg(b.hits + 1) AS y FROM v a, v b, \
     (VALUES (1), (2), (3)) AS c(z)) t",
    "SELECT hits AS a~~~~~~~~~~~~~~~ FROM v",
    "SELECT hits AS \"~~~~~~~~~~~~~~\", page FROM v, (SELECT 1 AS y UNION ALL SELECT 2) t",
    "SELECT '~~~~~~~~~~~~~~~' AS x FROM v",
    "SELECT '~~~~~~~~~~~~~~~' FROM v",
    "SELECT named_struct('~~~~~~~~', page) AS x FROM v",
    "SELECT array_agg(named_struct('~~~~', page)) AS x FROM v",
    "SELECT array_agg(page) AS x FROM v a, v b, v c",
    "SELECT string_agg(page, '~~~~~~~~') AS x FROM v a, v b, v c",
    "SELECT count(*) AS n FROM v a JOIN v b ON a.hits + b.hits < 0",
    "SELECT a.page AS x, b.page AS y, c.page AS z FROM v a, v b, v c ORDER BY x, y, z",
    "SELECT max(x) AS x FROM (SELECT rank() OVER (ORDER BY a.page) AS x FROM v a, v b, v c) t",
    "SELECT count(DISTINCT concat(a.page, b.page, c.page)) AS n FROM v a, v b, v c",
    "SELECT * FROM generate_series(1, 9223372036854775807)",
    "SELECT * FROM generate_series(TIMESTAMP '0001-01-01', TIMESTAMP '9999-01-01', INTERVAL '1 microsecond')",
    "SELECT * FROM range(1, 1000000000000)",
    "SELECT range(1000000000) AS x",
    "SELECT array_repeat(page, 1000000000) AS x FROM v",
    "SELECT repeat('x', 2147483647) AS x",
    "SELECT lpad('x', 2147483647, '~') AS x",
    "SELECT regexp_replace('~~~~', '(.*)', '\\1\\1\\1\\1\\1\\1\\1\\1', 'g') AS x",
    "SELECT regexp_like('~~~~', '(((a{1,1000}){1,1000}){1,1000}){1,1000}') AS x",
    "SELECT regexp_like(page, '(a*)*(a*)*(a*)*(a*)*b') AS x FROM v",
    "SELECT power(10, 100000000) AS x, factorial(1000000) AS y",
    "SELECT CAST('1e999999999' AS DECIMAL(38, 10)) AS x",
    "SELECT CAST(NULL AS INT[2000000000]) AS x",
    "SELECT CAST(NULL AS DECIMAL(99999999, 99999999)) AS x",
    "SELECT arrow_cast('x', 'FixedSizeBinary(2000000000)') AS x",
    "SELECT date_bin(INTERVAL '0 seconds', now()) AS x",
    "SELECT date_bin(INTERVAL '1 nanosecond', TIMESTAMP '0001-01-01') AS x",
    "SELECT now() + INTERVAL '999999999 years' AS x",
    "SELECT 9223372036854775807 + 1 AS x, 1 / 0 AS y",
    "SELECT hits OFFSET 9223372036854775807 FROM v LIMIT 18446744073709551615",
    "SELECT * FROM v TABLESAMPLE (1000000000000 ROWS)",
    "WITH RECURSIVE a AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM a) SELECT max(x) FROM a",
    "COPY (SELECT 1) TO '/tmp/x'",
    "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SET datafusion.execution.target_partitions = 1000000",
    "EXPLAIN ANALYZE SELECT 1",
    "SELECT 1; SELECT 2",
    "SELECT 1 /* ",
    "SELECT '",
    "\u{0}\u{10ffff}\u{feff}",
];

/// The longest text that is sent, above the limit of a gateway.
const MAX_TEXT: usize = 40_000;

/// Every statement of the corpus.
pub fn statements() -> Vec<String> {
    let nested = NESTED.iter().flat_map(|(left, inner, right, around)| {
        let of = move |depth: usize, inner: &str| {
            let text = format!("{}{inner}{}", left.repeat(depth), right.repeat(depth));
            around.replace("{}", &text)
        };
        // In whole, and with a mistake in the middle.
        DEPTHS.into_iter().flat_map(move |depth| [of(depth, inner), of(depth, "1 1")])
    });
    let repeated = REPEATED.iter().flat_map(|(piece, between, around)| {
        TIMES.into_iter().map(move |times| {
            let pieces: Vec<String> = (0..times).map(|number| piece.replace('#', &number.to_string())).collect();
            around.replace("{}", &pieces.join(between))
        })
    });
    let single = SINGLE.iter().map(|text| text.replace('~', &"a".repeat(1_000)));
    let lines = LINES.lines().map(written_out);
    let all = nested.chain(repeated).chain(single).chain(lines).chain(extremes::statements());
    all.filter(|text| text.len() <= MAX_TEXT).collect()
}

fn written_out(line: &str) -> String {
    let (mut text, mut rest) = (String::new(), line);
    while let Some((before, behind)) = rest.split_once("{{") {
        let (piece, behind) = behind.split_once("}}").expect("a piece ends");
        let (piece, times) = piece.rsplit_once('|').expect("a piece says how often it comes");
        text.push_str(before);
        text.push_str(&piece.repeat(times.parse().expect("a number")));
        rest = behind;
    }
    text + rest
}

/// The parameters of requests for rows.
pub fn parameters() -> Vec<String> {
    let long = |text: &str, times: usize| text.repeat(times);
    vec![
        format!("page={}", long("a", 30_000)),
        format!("page.in={}", long("a,", 10_000)),
        format!("page.like={}b", long("%a", 5_000)),
        format!("page.in={}", long("\"", 10_000)),
        format!("by={}", long("page,", 5_000)),
        format!("order={}", long("-hits,", 5_000)),
        format!("cursor={}", long("7b", 10_000)),
        format!("after={}", long("5b", 10_000)),
        format!("after={}", long("7b2261223a", 3_000)),
        long("page=a&", 4_000),
        long("a=b&", 8_000),
        long(&format!("page.like=%25p{}z&", "_".repeat(900)), 30),
        long("page.ne=x&", 900),
        format!("page.in={}", long(",", 50_000)),
        format!("{}=1", long("a", 50_000)),
        "bucket=hour&fill=0&by=minute&from=2026-01-01&to=2027-02-15&tz=Europe/Berlin".to_owned(),
        "bucket=day&fill=previous&from=-9223372036854775808&to=9223372036854775807&tz=Pacific/Apia".to_owned(),
        "minute.ge=-9223372036854775808&minute.lt=9999-12-31T23:59:59Z&tz=America/St_Johns".to_owned(),
        "limit=18446744073709551616".to_owned(),
        "offset=18446744073709551615&limit=10000".to_owned(),
        "timeout=9999999999999999999s".to_owned(),
        "timeout=30s&after=7b2273223a7b2268697473223a7b2230223a317d7d7d".to_owned(),
        "version=18446744073709551615".to_owned(),
        "from=0001-01-01T00:00:00Z&to=9999-01-01T00:00:00Z&fill=0".to_owned(),
        "bucket=1us&from=0&to=9223372036854775807".to_owned(),
        "%00=%00&%ff=%fe".to_owned(),
        "parts=true&limit=10000&by=page".to_owned(),
    ]
}

/// Bodies of questions in SQL and of events, none of them in order.
pub fn bodies() -> Vec<String> {
    let nested = |left: &str, right: &str, depth: usize| format!("{}1{}", left.repeat(depth), right.repeat(depth));
    let mut bodies = vec![
        nested("[", "]", 100),
        nested("[", "]", 40_000),
        nested(r#"{"a":"#, "}", 100),
        nested(r#"{"a":"#, "}", 15_000),
        "[".repeat(90_000),
        r#"{"a":"#.repeat(15_000),
        format!("{{\"sql\": \"{}\"}}", "\\u0000".repeat(5_000)),
        format!("{{\"sql\": \"SELECT 1\", \"params\": [{}1]}}", "1,".repeat(20_000)),
        format!("{{\"sql\": \"SELECT $1\", \"params\": {}}}", nested("[", "]", 200)),
        format!("{{\"sql\": \"SELECT $1\", \"params\": [\"{}\"]}}", "a".repeat(60_000)),
        format!("{{{}\"sql\": \"SELECT 1\"}}", "\"sql\": \"SELECT 1\",".repeat(3_000)),
        format!("[{}]", "{},".repeat(9_000)),
        format!("{{\"id\": {}}}", "9".repeat(50_000)),
        "1e999999999".to_owned(),
        "\u{feff}[]".to_owned(),
        String::new(),
    ];
    let event = |more: &str| format!(r#"{{"id": "x", "time": "2026-01-05T10:00:00Z", "page": "p", {more}}}"#);
    bodies.push(format!("[{}]", vec![event(&format!("\"n\": [{}1]", "1,".repeat(1_500))); 250].join(",")));
    bodies.push(event(&(0..40_000).map(|key| format!("\"k{key}\": 1")).collect::<Vec<_>>().join(",")));
    bodies.push(event(&format!("\"n\": {}", nested("[", "]", 126))));
    bodies.push(event(r#""page": "q", "id": 1e999999"#));
    bodies.push(event(&format!("\"time\": \"2026-01-05T10:00:00.{}Z\"", "9".repeat(5_000))));
    bodies.extend((1..=8).map(|times| format!("{{\"page\": \"{}\"}}", "\\ud800".repeat(times * 100))));
    bodies
}
