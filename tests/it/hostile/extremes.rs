//! Calls with numbers at the ends of what there is, in every place that takes one: each may wrap around, make room for
//! what never comes, or go on for ever.

/// Numbers that are hardly meant: constants, and one that is another in each row.
const NUMBERS: [&str; 3] =
    ["(-9223372036854775807 - 1)", "9223372036854775807", "(CASE WHEN hits > 0 THEN -9223372036854775807 ELSE 0 END)"];

/// Values with a number in them (`#`).
static CALLS: [&str; 60] = [
    "left(page, #)",
    "right(page, #)",
    "substr(page, #)",
    "split_part(page, 'p', #)",
    "chr(#)",
    "to_hex(#)",
    "abs(#)",
    "factorial(#)",
    "make_date(#, 1, 1)",
    "from_unixtime(#)",
    "to_timestamp(#)",
    "to_timestamp_seconds(#)",
    "to_timestamp_millis(#)",
    "to_timestamp_micros(#)",
    "to_timestamp_nanos(#)",
    "array_element([1,2], #)",
    "array_slice([1,2,3], #, 2)",
    "array_slice([1,2,3], 1, #)",
    "array_slice([1,2,3], 1, 3, #)",
    "round(1.5, #)",
    "trunc(1.5, #)",
    "substr_index(page, 'p', #)",
    "overlay(page placing 'x' from #)",
    "overlay(page placing 'x' from 1 for #)",
    "power(2, #)",
    "gcd(#, 0)",
    "lcm(#, 3)",
    "lcm(#, -1)",
    "# / -1",
    "# % -1",
    "- #",
    "1 << #",
    "1 >> #",
    "# % 5",
    "bit_length(repeat('a', #))",
    "date_part('epoch', to_timestamp(#))",
    "array_position([1,2], 1, #)",
    "array_replace_n([1,1], 1, 2, #)",
    "array_remove_n([1,1], 1, #)",
    "DATE '2020-01-01' + #",
    "CAST(# AS DATE)",
    "CAST(# AS TIME)",
    "CAST(# AS TIMESTAMP)",
    "CAST(CAST(# AS DECIMAL(38,0)) AS DECIMAL(5,2))",
    "make_time(#, 0, 0)",
    "regexp_instr(page, 'p', #)",
    "regexp_count(page, 'p', #)",
    "regexp_instr(page, 'p', 1, #)",
    "INTERVAL '1 month' * #",
    "to_char(CAST(# AS TIMESTAMP), '%Y')",
    "date_trunc('year', CAST(# AS TIMESTAMP))",
    "extract(year from CAST(# AS TIMESTAMP))",
    "date_bin(INTERVAL '1 day', CAST(# AS TIMESTAMP))",
    "date_bin(INTERVAL '1 month', CAST(# AS TIMESTAMP), CAST(0 AS TIMESTAMP))",
    "CAST(# AS TIMESTAMP) AT TIME ZONE 'Europe/Berlin'",
    "to_local_time(CAST(# AS TIMESTAMP))",
    "to_unixtime(CAST(# AS TIMESTAMP))",
    "to_date(#)",
    "CAST(# AS INTERVAL)",
    "string_to_array(page, NULL)[#]",
];

/// What stands in a frame, or is the distance of a row.
const DISTANCES: [&str; 8] =
    ["0", "-1", "9223372036854775807", "18446744073709551615", "-9223372036854775808", "1e30", "NULL", "'a'"];

/// Window functions with a distance in them (`#`).
static WINDOWS: [&str; 10] = [
    "lag(hits, #) OVER (ORDER BY minute)",
    "lead(hits, #) OVER (ORDER BY minute)",
    "nth_value(hits, #) OVER (ORDER BY minute)",
    "ntile(#) OVER (ORDER BY minute)",
    "sum(hits) OVER (ORDER BY hits ROWS BETWEEN # PRECEDING AND CURRENT ROW)",
    "sum(hits) OVER (ORDER BY hits RANGE BETWEEN # PRECEDING AND CURRENT ROW)",
    "sum(hits) OVER (ORDER BY hits RANGE BETWEEN CURRENT ROW AND # FOLLOWING)",
    "sum(hits) OVER (ORDER BY hits GROUPS BETWEEN # PRECEDING AND # FOLLOWING)",
    "count(*) OVER (ORDER BY minute RANGE BETWEEN INTERVAL '# months' PRECEDING AND CURRENT ROW)",
    "first_value(page) IGNORE NULLS OVER (ORDER BY minute ROWS BETWEEN # FOLLOWING AND UNBOUNDED FOLLOWING)",
];

/// Aggregates, some with arguments that ask for much.
static AGGREGATES: [&str; 49] = [
    "approx_percentile_cont(hits, 0.5, 2000000000)",
    "approx_percentile_cont(0.5, 2000000000) WITHIN GROUP (ORDER BY hits)",
    "approx_percentile_cont_with_weight(hits, 0.5) WITHIN GROUP (ORDER BY hits)",
    "approx_percentile_cont_with_weight(hits, 0.5, 2000000000) WITHIN GROUP (ORDER BY hits)",
    "approx_percentile_cont_with_weight(hits, hits, 0.5)",
    "approx_percentile_cont_with_weight(9223372036854775807, 0.5, 1000000000000) WITHIN GROUP (ORDER BY hits)",
    "approx_top_k(page, 2000000000)",
    "approx_top_k(page, -1)",
    "ddsketch_percentile(hits, 0.5, 1e-300)",
    "ddsketch_percentile(hits, 0.5)",
    "ddsketch_percentile(hits, 2)",
    "percentile_cont(0.5) WITHIN GROUP (ORDER BY hits)",
    "percentile_cont(NULL) WITHIN GROUP (ORDER BY hits)",
    "nth_value(hits, 9223372036854775807)",
    "nth_value(hits, -9223372036854775808 ORDER BY hits)",
    "nth_value(hits, 0)",
    "string_agg(page, NULL)",
    "string_agg(DISTINCT page, repeat('x', 4096))",
    "array_agg(DISTINCT page ORDER BY page DESC)",
    "array_agg(page ORDER BY random())",
    "bit_xor(DISTINCT hits)",
    "corr(hits, hits)",
    "regr_slope(hits, hits)",
    "max_by(page, hits)",
    "min_by(hits, page)",
    "mode(page)",
    "visits(page, minute, INTERVAL '1 month')",
    "bounces(minute, minute, INTERVAL '-1 microsecond')",
    "bounce_rate(page, minute, INTERVAL '106751 days')",
    "approx_median(hits)",
    "approx_distinct(page)",
    "first_value(page ORDER BY minute DESC, page, hits)",
    "grouping(page)",
    "median(DISTINCT hits)",
    "avg(INTERVAL '1 day')",
    "sum(minute)",
    "sum(page)",
    "sum(true)",
    "stddev(1e308)",
    "var_pop(1e308)",
    "count(*) FILTER (WHERE (SELECT true))",
    "MEASURE(hits)",
    "MEASURE(page)",
    "MEASURE(MEASURE(hits))",
    "MEASURE(hits + 1)",
    "MEASURE(DISTINCT hits)",
    "MEASURE(hits) FILTER (WHERE hits > 1)",
    "distinct_row(page, hits)",
    "count(DISTINCT page, hits, minute)",
];

/// Places of an aggregate (`#`).
const AGGREGATED: [&str; 3] = [
    "SELECT # AS x FROM v",
    "SELECT page, # AS x FROM v GROUP BY page",
    "SELECT # OVER (ORDER BY minute ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS x FROM v",
];

/// Limits of an answer, or of a part of it, that may make room for all its rows.
const LIMITED: [&str; 6] = [
    "SELECT page, max(hits) AS m FROM v GROUP BY page ORDER BY m DESC LIMIT #",
    "SELECT minute, min(hits) AS m FROM v GROUP BY minute ORDER BY m LIMIT # OFFSET 5",
    "SELECT page FROM v GROUP BY page ORDER BY page LIMIT #",
    "SELECT DISTINCT page FROM v ORDER BY page DESC LIMIT #",
    "SELECT count(*) AS n FROM (SELECT * FROM v ORDER BY hits, page LIMIT #) t",
    "SELECT page, (SELECT max(b.hits) AS m FROM v b GROUP BY b.page ORDER BY m LIMIT #) AS x FROM v LIMIT 1",
];

/// Rows that are more than there are.
const ROWS: [&str; 4] = ["100000000", "1000000000", "1000000000000", "9223372036854775807"];

/// Each with each.
pub fn statements() -> Vec<String> {
    let values = filled(&CALLS, &NUMBERS).into_iter().map(|value| format!("SELECT {value} AS x FROM v LIMIT 1"));
    let windows = filled(&WINDOWS, &DISTANCES).into_iter().map(|value| format!("SELECT {value} AS x FROM v LIMIT 3"));
    let others = [filled(&AGGREGATED, &AGGREGATES), filled(&LIMITED, &ROWS)].concat();
    values.chain(windows).chain(others).collect()
}

/// Every text with every piece in its places.
fn filled(texts: &[&str], pieces: &[&str]) -> Vec<String> {
    texts.iter().flat_map(|text| pieces.iter().map(move |piece| text.replace('#', piece))).collect()
}
