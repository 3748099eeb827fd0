//! What a function takes, judged by its arguments before it runs: bytes, and steps. Pure.
//!
//! Guarantee: where a value could be much larger than its arguments, the bytes are near the truth; the steps are those
//! of functions that go over a text more than once.
//! Not here: what is done about it (`values.rs`).

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use crate::refusal::Refusal;

/// Functions that compare all of one text, or list, with all of the other.
const COMPARING: [&str; 3] = ["array_has_all", "array_has_any", "levenshtein"];
/// Functions that may be at each place of a pattern at each byte of a text.
const MATCHING: [&str; 5] = ["regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_replace"];
/// LIKE and ILIKE, as functions (`operators.rs`).
pub(crate) const LIKE_NAMES: [&str; 2] = ["like", "ilike"];
/// Functions that look at all letters of the second argument for each of the first.
const TRIMMING: [&str; 3] = ["btrim", "ltrim", "rtrim"];
/// A function that begins anew behind each byte of its first argument, where the second is another one in each row.
const SEEKING: &str = "strpos";
/// Bytes that two texts are compared by in one step.
const BYTES_AT_ONCE: usize = 16;
/// The most steps of one batch of those that compare, and of one row of those that match: some seconds.
const MAX_STEPS: usize = 1 << 31;
/// Steps between two looks whether anybody still waits: a part of a second.
const PAUSE_STEPS: usize = 1 << 27;
/// Bytes of a number.
const NUMBER_BYTES: usize = 8;
/// Bytes that two characters of a pattern of `to_char` may become, for each of them.
const MOST_OF_PATTERN: usize = 20;

/// Whether a function takes more steps than its arguments have bytes.
pub(crate) fn is_slow(function: &str) -> bool {
    let slow: [&[&str]; 4] = [&COMPARING, &MATCHING, &LIKE_NAMES, &TRIMMING];
    function == SEEKING || slow.iter().any(|slow| slow.contains(&function))
}

/// How many rows may be given to a function at one time.
///
/// # Errors
/// Texts or lists are too long to be compared, or matched, at all.
pub(crate) fn rows_at_once(function: &str, args: &ScalarFunctionArgs) -> Result<usize> {
    let rows = args.number_rows;
    if !is_slow(function) {
        return Ok(usize::MAX);
    }
    let steps = if COMPARING.contains(&function) {
        let is_of_lists = function != "levenshtein";
        let length = |arg: &ColumnarValue| if is_of_lists { longest_list(arg) } else { longest_text(arg) };
        let steps = args.args.iter().map(|arg| length(arg).max(1)).fold(1, usize::saturating_mul);
        if steps.saturating_mul(rows) > MAX_STEPS {
            let (what, hint) = if is_of_lists {
                ("lists", "join their rows instead, before they become lists")
            } else {
                ("texts", "compare their beginnings, as in left(x, 100)")
            };
            return refuse(format!("{function} would compare {rows} rows of {what} that are too long for it"), hint);
        }
        steps
    } else {
        let Some((steps, hint)) = steps_of_row(function, &args.args) else { return Ok(usize::MAX) };
        if steps > MAX_STEPS {
            return refuse(format!("{function} would have to look through texts that are too long for it"), hint);
        }
        steps
    };
    Ok((PAUSE_STEPS / steps).max(1))
}

/// The most steps of one row of a function that goes over one text, and what to do where those are too many.
fn steps_of_row(function: &str, args: &[ColumnarValue]) -> Option<(usize, &'static str)> {
    let (text, sought) = (longest_text(args.first()?).max(1), args.get(1)?);
    if MATCHING.contains(&function) {
        let steps = text.saturating_mul(heaviest(sought, pattern_weight));
        return Some((steps, "repeat less in the pattern, or look through left(x, 1000)"));
    }
    if LIKE_NAMES.contains(&function) {
        let steps = text.saturating_mul(heaviest(sought, like_weight));
        return Some((steps, "write fewer % and _ in the pattern, or look through left(x, 1000)"));
    }
    let steps = text.saturating_mul(longest_text(sought).max(1));
    if TRIMMING.contains(&function) {
        return Some((steps, "name fewer letters to trim, or trim left(x, 1000)"));
    }
    let is_sought_anew = function == SEEKING && matches!(sought, ColumnarValue::Array(_));
    is_sought_anew.then_some((steps / BYTES_AT_ONCE + 1, "look for shorter texts, or look through left(x, 1000)"))
}

fn refuse(reason: String, hint: &str) -> Result<usize> {
    Err(Refusal::TooLarge { reason, hint: hint.to_owned() }.into())
}

/// The weight of a pattern, or the length of the longest where it is no constant.
fn heaviest(arg: &ColumnarValue, weight: fn(&str) -> usize) -> usize {
    match arg {
        ColumnarValue::Scalar(pattern) => pattern.try_as_str().flatten().map_or(1, weight),
        patterns => longest_text(patterns).max(1),
    }
}

/// At how many places of a pattern of LIKE a search may be at one time: at each wildcard.
pub(crate) fn like_weight(pattern: &str) -> usize {
    pattern.bytes().filter(|byte| matches!(byte, b'%' | b'_')).count().max(1)
}

/// At how many places of a pattern a search may be at one time, about: what is repeated `{1,9}` times stands there as
/// often.
fn pattern_weight(pattern: &str) -> usize {
    // The weight of each bracket that is open, and that of the last thing in it.
    let mut open: Vec<(usize, usize)> = vec![(1, 0)];
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        let weight = match char {
            '(' => {
                open.push((1, 0));
                continue;
            }
            ')' if open.len() > 1 => open.pop().map_or(1, |(inside, _)| inside),
            '{' => {
                let written: String = chars.by_ref().take_while(|char| *char != '}').collect();
                let most =
                    written.split(',').filter_map(|number| number.trim().parse::<usize>().ok()).max().unwrap_or(1);
                if let Some((weight, last)) = open.last_mut() {
                    let repeated = last.saturating_mul(most);
                    *weight = weight.saturating_sub(*last).saturating_add(repeated);
                    *last = repeated;
                }
                continue;
            }
            '*' | '+' | '?' => continue,
            '[' => {
                // A class is one place, however it is written.
                let _ = chars.by_ref().find(|char| *char == ']');
                1
            }
            '\\' => {
                let _ = chars.next();
                1
            }
            _ => 1,
        };
        if let Some((inside, last)) = open.last_mut() {
            *inside = inside.saturating_add(weight);
            *last = weight;
        }
    }
    // Brackets that are not closed are refused by whoever reads the pattern.
    open.into_iter().map(|(weight, _)| weight).fold(0, usize::saturating_add)
}

/// At least what the value will take, from the arguments alone; near the truth where it could be much.
pub(crate) fn estimate(function: &str, args: &ScalarFunctionArgs, rows: usize) -> usize {
    let all: usize = args.args.iter().map(|arg| total_size(arg, rows)).fold(0, usize::saturating_add);
    let first = args.args.first().map_or(0, |arg| total_size(arg, rows));
    let longest = |index: usize| args.args.get(index).map_or(0, longest_text);
    let times = |count: usize, size: usize| all.saturating_add(count.saturating_mul(size));
    match function {
        // At most one replacement for each occurrence, and one more at the end of each text.
        "replace" => times(first / shortest_search(args) + rows, longest(2)),
        "regexp_replace" => times(first + rows, longest(2)),
        // The second argument is a constant (`complexity.rs`), a character has at most four bytes.
        "repeat" => times(count(args), first),
        "lpad" | "rpad" => times(rows.saturating_mul(count(args)), 4),
        // A separator between any two.
        "concat_ws" => times(rows.saturating_mul(args.args.len()), longest(0)),
        // Between any two items, or in the place of each.
        "array_to_string" => times(first.max(items(args, rows)), longest(1).max(longest(2))),
        "array_replace_all" | "array_replace_n" => times(items(args, rows), longest(2)),
        // An offset for each item, of which there may be one at each byte.
        "string_to_array" => times(first, 4),
        // A number of each row, or whether it is so.
        "array_has_all" | "array_has_any" | "ilike" | "levenshtein" | "like" | "regexp_count" | "regexp_instr"
        | "regexp_like" | "strpos" => rows.saturating_mul(NUMBER_BYTES),
        "to_char" => times(rows.saturating_mul(longest(1)), MOST_OF_PATTERN),
        _ => all,
    }
}

/// Bytes of the text that `replace` looks for, where it is a constant.
fn shortest_search(args: &ScalarFunctionArgs) -> usize {
    match args.args.get(1) {
        Some(ColumnarValue::Scalar(text)) => text.try_as_str().flatten().map_or(1, |text| text.len().max(1)),
        _ => 1,
    }
}

/// The second argument, where it is a constant count.
fn count(args: &ScalarFunctionArgs) -> usize {
    match args.args.get(1) {
        Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(count)))) => usize::try_from(*count).unwrap_or(0),
        _ => 1,
    }
}

fn total_size(arg: &ColumnarValue, rows: usize) -> usize {
    match arg {
        ColumnarValue::Scalar(value) => scalar_size(value).saturating_mul(rows),
        ColumnarValue::Array(values) => size_of(values.as_ref()),
    }
}

pub(crate) fn longest_text(arg: &ColumnarValue) -> usize {
    fn longest<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> usize {
        texts.flatten().map(str::len).max().unwrap_or(0)
    }
    match arg {
        ColumnarValue::Scalar(value) => scalar_size(value),
        ColumnarValue::Array(values) => match values.data_type() {
            DataType::Utf8 => longest(values.as_string::<i32>().iter()),
            DataType::LargeUtf8 => longest(values.as_string::<i64>().iter()),
            DataType::Utf8View => longest(values.as_string_view().iter()),
            _ => size_of(values.as_ref()),
        },
    }
}

/// Bytes of a value, or those of the text alone, without the frame around it.
pub(crate) fn scalar_size(value: &ScalarValue) -> usize {
    match value.try_as_str() {
        Some(text) => text.map_or(0, str::len),
        None => value.size(),
    }
}

/// Bytes that belong to these rows: a slice of a large array counts as what it shows.
pub(crate) fn size_of(values: &dyn Array) -> usize {
    values.to_data().get_slice_memory_size().unwrap_or_else(|_| values.get_buffer_memory_size())
}

/// Items of the list that is the first argument, in all rows.
fn items(args: &ScalarFunctionArgs, rows: usize) -> usize {
    match args.args.first() {
        Some(list @ ColumnarValue::Scalar(_)) => longest_list(list).saturating_mul(rows),
        Some(ColumnarValue::Array(lists)) => list_lengths(lists.as_ref()).fold(0, usize::saturating_add),
        None => 0,
    }
}

fn longest_list(arg: &ColumnarValue) -> usize {
    match arg {
        ColumnarValue::Scalar(list) => list.to_array().map_or(0, |list| list_lengths(list.as_ref()).max().unwrap_or(0)),
        ColumnarValue::Array(lists) => list_lengths(lists.as_ref()).max().unwrap_or(0),
    }
}

/// The number of items of each list; nothing where there are none.
pub(crate) fn list_lengths(lists: &dyn Array) -> Box<dyn Iterator<Item = usize> + '_> {
    match lists.data_type() {
        DataType::List(_) => Box::new(lists.as_list::<i32>().offsets().lengths()),
        DataType::LargeList(_) => Box::new(lists.as_list::<i64>().offsets().lengths()),
        DataType::FixedSizeList(_, length) => {
            Box::new(std::iter::repeat_n(usize::try_from(*length).unwrap_or(0), lists.len()))
        }
        _ => Box::new(std::iter::empty()),
    }
}
