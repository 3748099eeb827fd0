//! Tests of dimensions: from parameters of a rows request to filters. Pure.
//!
//! | parameter | meaning |
//! |---|---|
//! | `page=X`, `page.eq=X` | equals X; repeated: any of them; `.eq` where the name is also a parameter |
//! | `page.in=X,Y` | any of them, like `page=X&page=Y`; a value in quotes may hold commas, and a quote as two |
//! | `page.ne=X` | not X; repeated: none of them |
//! | `page.like=X%` | a text of this pattern: `%` any letters, `_` one, `\` before one of them takes it as it is |
//! | `hour.ge=`, `.gt=`, `.le=`, `.lt=` | range |
//! | `page.is=null`, `page.is=not_null` | null or not |
//!
//! Guarantee: as in SQL all of them hold of each row of the answer, and null passes no test but `.is=null`; tests that
//! no row can pass together are refused, as are too many values.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use views::{Dimension, ViewDefinition, did_you_mean, utc_micros};

use crate::GatewayError;
use crate::filter::{Filter, Test};
use crate::literal::parse_value;
use crate::local_time::Zone;

const TESTS: [(&str, Test); 8] = [
    ("eq", Test::AnyOf),
    ("in", Test::AnyOf),
    ("ne", Test::Not),
    ("like", Test::Like),
    ("ge", Test::AtLeast),
    ("gt", Test::Above),
    ("le", Test::AtMost),
    ("lt", Test::Below),
];
/// The parameters of a range, as messages name them.
const BOUNDS: &str = "`from` and `to`";
/// The test whose value is a word.
const IS: &str = "is";
/// Each costs a look at every row.
const MOST_VALUES: usize = 1_000;
/// A pattern becomes an automaton that grows with it.
const MOST_PATTERN_BYTES: usize = 1_000;

/// The tests of one request so far.
pub(crate) struct Conditions<'a> {
    view: &'a ViewDefinition,
    /// That of local times.
    zone: &'a Zone,
    /// What `from` and `to` bound, where something chose it.
    time: Option<usize>,
    /// Parameters that are no dimensions.
    known: Vec<&'static str>,
    filters: Vec<Filter>,
    /// What bounds it, in microseconds.
    from: Option<i64>,
    to: Option<i64>,
}

/// The dimension that `from` and `to` bound; none where the view has none or several.
pub(crate) fn only_time_dimension(view: &ViewDefinition) -> Option<usize> {
    match time_dimensions(view).as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}

impl<'a> Conditions<'a> {
    /// None yet. `range_of` names the dimension that `from` and `to` bound, `known` the parameters that are no
    /// dimensions; times without an offset are those of `zone`.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] where `range_of` names no time dimension, with those that there are.
    pub(crate) fn new(
        view: &'a ViewDefinition,
        range_of: Option<&str>,
        known: &[&'static str],
        zone: &'a Zone,
    ) -> Result<Self, GatewayError> {
        let time = match range_of {
            None => only_time_dimension(view),
            Some(name) => {
                let times = time_dimensions(view);
                let chosen = times.iter().find(|index| view.dimensions[**index].name == name).copied();
                let reason = || format!("`range_of` must be a time dimension of view {}, got `{name}`", view.name);
                Some(chosen.ok_or_else(|| GatewayError::bad_name(reason(), names(view, &times)))?)
            }
        };
        Ok(Self { view, zone, time, known: known.to_vec(), filters: Vec::new(), from: None, to: None })
    }

    /// Adds `from` or `to`.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] where it is not told which dimension is bounded, or the value is no instant.
    pub(crate) fn add_bound(&mut self, name: &str, value: &str, test: Test) -> Result<(), GatewayError> {
        let dimension = self.time(BOUNDS)?;
        let value = parse_value(name, value, &self.view.dimensions[dimension].data_type, self.zone)?;
        let bound = if test == Test::AtLeast { &mut self.from } else { &mut self.to };
        *bound = value.as_primitive_opt::<TimestampMicrosecondType>().map(|instant| instant.value(0));
        self.filters.push(Filter { dimension, test, values: vec![value] });
        Ok(())
    }

    /// The time dimension that these parameters are about.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] where it is not told which, or there is none.
    pub(crate) fn time(&self, parameters: &str) -> Result<usize, GatewayError> {
        self.time.ok_or_else(|| no_time(self.view, parameters))
    }

    /// The time dimension that is bounded, and the half-open range `[from, to)` in microseconds.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] where the range is open, or something else bounds the dimension, too.
    pub(crate) fn range(&self) -> Result<(usize, i64, i64), GatewayError> {
        let (Some(dimension), Some(from), Some(to)) = (self.time, self.from, self.to) else {
            return Err(GatewayError::bad_with_hint("`fill` needs a range of time", "add `from` and `to`"));
        };
        if self.filters.iter().filter(|filter| filter.dimension == dimension).count() > 2 {
            let name = &self.view.dimensions[dimension].name;
            let reason = format!("`fill` goes from `from` to `to`, and other tests bound `{name}`, too");
            return Err(GatewayError::bad_with_hint(reason, format!("leave out the tests of `{name}`")));
        }
        Ok((dimension, from, to))
    }

    /// Adds the test that a parameter stands for.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`], naming what exists.
    pub(crate) fn add(&mut self, name: &str, value: &str) -> Result<(), GatewayError> {
        let position = |wanted: &str| self.view.dimensions.iter().position(|dimension| dimension.name == wanted);
        let (index, word) = match (position(name), name.rsplit_once('.')) {
            (Some(index), _) => (index, "eq"),
            (None, Some((lead, word))) => (position(lead).ok_or_else(|| self.unknown(name))?, word),
            (None, None) => return Err(self.unknown(name)),
        };
        if word == IS {
            let test = null_test(name, value)?;
            self.filters.push(Filter { dimension: index, test, values: Vec::new() });
            return Ok(());
        }
        let Some((_, test)) = TESTS.iter().find(|(known, _)| *known == word) else {
            let known: Vec<&str> = TESTS.iter().map(|(known, _)| *known).chain([IS]).collect();
            let reason = format!("`{name}`: there is no test `.{word}`");
            let hint = did_you_mean(word, &known);
            let known = known.into_iter().map(str::to_owned).collect();
            return Err(GatewayError::BadRequest { reason, hint, known });
        };
        let dimension = &self.view.dimensions[index];
        let values = values_of((name, word), value, dimension, (*test, self.zone))?;
        self.push(Filter { dimension: index, test: *test, values }, name)
    }

    /// All of them.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`] where a dimension is to be null and something else.
    pub(crate) fn finish(self) -> Result<Vec<Filter>, GatewayError> {
        let excluded = |filter: &&Filter| {
            let clashes = |other: &Filter| other.dimension == filter.dimension && other.test != Test::Null;
            filter.test == Test::Null && self.filters.iter().any(clashes)
        };
        if let Some(filter) = self.filters.iter().find(excluded) {
            let name = &self.view.dimensions[filter.dimension].name;
            let reason = format!("`{name}.is=null` and the other tests of `{name}` exclude each other");
            let hint = "all tests must hold of a row, and null passes no other: send a request for each";
            return Err(GatewayError::bad_with_hint(reason, hint));
        }
        Ok(self.filters)
    }

    /// Adds a filter; further values to equal join those that there are.
    fn push(&mut self, filter: Filter, name: &str) -> Result<(), GatewayError> {
        let same = |other: &&mut Filter| other.dimension == filter.dimension && other.test == filter.test;
        match self.filters.iter_mut().find(same).filter(|_| filter.test == Test::AnyOf) {
            Some(other) => other.values.extend(filter.values),
            None => self.filters.push(filter),
        }
        check_number(name, self.filters.iter().map(|filter| filter.values.len()).sum())
    }

    fn unknown(&self, name: &str) -> GatewayError {
        let view = self.view;
        let dimensions = view.dimensions.iter().map(|dimension| dimension.name.as_str());
        let known: Vec<&str> = dimensions.chain(self.known.iter().copied()).collect();
        let lead = name.split('.').next().unwrap_or(name);
        let (reason, hint) = if view.measures.iter().any(|measure| measure.name == lead) {
            let reason = format!("`{name}` is a measure of view {}; rows are filtered by dimensions", view.name);
            (reason, "use SQL to filter by a measure".to_owned())
        } else {
            let tests: Vec<&str> = TESTS.iter().map(|(test, _)| *test).chain([IS]).collect();
            let hint = did_you_mean(lead, &known).unwrap_or_else(|| {
                format!("a filter is a dimension, or a dimension and one of .{}", tests.join(", ."))
            });
            (format!("view {} has no dimension or parameter `{name}`", view.name), hint)
        };
        let known = known.into_iter().map(str::to_owned).collect();
        GatewayError::BadRequest { reason, hint: Some(hint), known }
    }
}

fn null_test(name: &str, value: &str) -> Result<Test, GatewayError> {
    match value {
        "null" => Ok(Test::Null),
        "not_null" => Ok(Test::NotNull),
        _ => {
            let reason = format!("`{name}` must be null or not_null, got `{value}`");
            Err(GatewayError::bad_name(reason, vec!["null".to_owned(), "not_null".to_owned()]))
        }
    }
}

fn values_of(
    (name, word): (&str, &str),
    text: &str,
    dimension: &Dimension,
    (test, zone): (Test, &Zone),
) -> Result<Vec<ArrayRef>, GatewayError> {
    let data_type = &dimension.data_type;
    if test == Test::Like {
        if !data_type.is_string() {
            let reason = format!("`{name}`: patterns are for texts, and `{}` is none", dimension.name);
            return Err(GatewayError::bad_with_hint(reason, "use .eq, .in, .ne, .ge, .gt, .le, .lt or .is"));
        }
        if text.len() > MOST_PATTERN_BYTES {
            return Err(GatewayError::bad(format!("`{name}` may have {MOST_PATTERN_BYTES} bytes at most")));
        }
    }
    if word != "in" {
        return Ok(vec![parse_value(name, text, data_type, zone)?]);
    }
    let items = split_list(text).ok_or_else(|| {
        let reason = format!("`{name}`: a quote that opens a value is closed before the next comma or the end");
        GatewayError::bad_with_hint(reason, r#"write "a,b",c for two values, and a quote in quotes as two"#)
    })?;
    check_number(name, items.len())?;
    items.iter().map(|item| parse_value(name, item, data_type, zone)).collect()
}

fn check_number(name: &str, values: usize) -> Result<(), GatewayError> {
    if values <= MOST_VALUES {
        return Ok(());
    }
    let reason = format!("`{name}`: a request may compare with {MOST_VALUES} values at most");
    Err(GatewayError::bad_with_hint(reason, "send the rest in another request, or ask in SQL"))
}

/// Values behind commas; one in quotes may hold commas, and a quote as two. None where a quote is not closed.
fn split_list(text: &str) -> Option<Vec<String>> {
    let (mut items, mut rest) = (Vec::new(), text);
    loop {
        let (item, behind) = match rest.strip_prefix('"') {
            Some(quoted) => read_quoted(quoted)?,
            None => {
                let (item, behind) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                (item.to_owned(), behind)
            }
        };
        items.push(item);
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None => return behind.is_empty().then_some(items),
        }
    }
}

/// What stands before the quote that closes, and what stands behind it.
fn read_quoted(text: &str) -> Option<(String, &str)> {
    let (mut item, mut rest) = (String::new(), text);
    loop {
        let (part, behind) = rest.split_once('"')?;
        item.push_str(part);
        match behind.strip_prefix('"') {
            Some(next) => {
                item.push('"');
                rest = next;
            }
            None => return Some((item, behind)),
        }
    }
}

fn no_time(view: &ViewDefinition, parameters: &str) -> GatewayError {
    let times = names(view, &time_dimensions(view));
    let Some(last) = times.last() else {
        let reason = format!("view {} has no time dimension, as {parameters} would need", view.name);
        return GatewayError::bad_name(
            reason,
            view.dimensions.iter().map(|dimension| dimension.name.clone()).collect(),
        );
    };
    let reason = format!(
        "view {} has several time dimensions, `{}`: it is not said which {parameters} would be about",
        view.name,
        times.join("` and `")
    );
    let hint = if parameters == BOUNDS {
        format!("add `range_of={last}`, or write `{last}.ge=` and `{last}.lt=` in their place")
    } else {
        format!("add `range_of={last}`")
    };
    GatewayError::BadRequest { reason, hint: Some(hint), known: times }
}

fn time_dimensions(view: &ViewDefinition) -> Vec<usize> {
    let is_time = |index: &usize| view.dimensions[*index].data_type == utc_micros();
    (0..view.dimensions.len()).filter(is_time).collect()
}

fn names(view: &ViewDefinition, dimensions: &[usize]) -> Vec<String> {
    dimensions.iter().map(|index| view.dimensions[*index].name.clone()).collect()
}
