//! Names, columns and types as a pipeline file declares them.
//!
//! Every TIMESTAMP is microseconds in UTC; items of lists and values of maps are nullable, and have the names that
//! Delta gives them.
//! Not here: the value of a DEFAULT (`default_value.rs`).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, ColumnDef, ColumnOption, DataType as SqlType, ExactNumberInfo, Expr, Ident, ObjectName,
    SqlOption, StructField, Value,
};

use super::default_value::default_json;
use super::findings::Findings;
use super::path::{path_of_key, read_path};
use super::statements::{Located, NOT_NULL_OPTION};
use crate::declared::{as_json, with_default};
use crate::source::{ColumnMapping, TimeFormat};
use crate::storable::{map_of, utc_micros};

const FORMATS: &str = "write 'epoch_s', 'epoch_ms', 'epoch_us', 'epoch_ns' or a pattern such as '%d.%m.%Y %H:%M:%S'";

const KNOWN_TYPES: &str = "known types: BOOLEAN, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), VARCHAR, DATE, \
                           TIMESTAMP, JSON, STRUCT<name TYPE, ...>, ARRAY<TYPE>, MAP<VARCHAR, TYPE>";

/// Deeper types are refused: every level costs a level of recursion in each reader.
const MAX_DEPTH: usize = 16;

/// An identifier as SQL means it: lower case unless quoted.
pub(super) fn normalized(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The name of a table or view: one identifier that is safe in a path and in a URL.
pub(super) fn object_name(name: &ObjectName, statement: &Located, findings: &mut Findings) -> Option<String> {
    let text = name.to_string();
    let [part] = name.0.as_slice() else {
        findings.add(statement.line, &text, "a name has one part", "leave out the schema");
        return None;
    };
    let ident = part.as_ident()?;
    let name = normalized(ident);
    let line = statement.line_of_span(ident.span);
    if name.starts_with('_') {
        findings.add(line, &text, RESERVED, "choose another name");
        return None;
    }
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-');
    if !is_plain || !name.starts_with(|letter: char| letter.is_ascii_alphabetic()) || name.len() > 100 {
        let hint = "use up to 100 letters, digits, `_` and `-`, and start with a letter";
        findings.add(line, &text, "this cannot be the name of a table or view", hint);
        return None;
    }
    Some(name)
}

/// Whether a name can be that of a view's column; notes a problem otherwise.
pub(super) fn check_column_name(name: &str, line: usize, findings: &mut Findings) -> bool {
    // SQL reads a dot as a path, and so does a request that names the column.
    if name.contains('.') {
        findings.add(line, name, "this cannot be the name of a column", "use letters, digits and `_`; add AS name");
        return false;
    }
    check_declared_name(name, line, findings)
}

/// Whether a name can be that of a column in every store; notes a problem otherwise.
pub(super) fn check_declared_name(name: &str, line: usize, findings: &mut Findings) -> bool {
    let problem = problem_with_name(name);
    if let Some(problem) = problem {
        let hint = if problem == RESERVED { "choose another name" } else { "use letters, digits and `_`; add AS name" };
        findings.add(line, name, problem, hint);
    }
    problem.is_none()
}

const RESERVED: &str = "names that start with `_` are reserved";

/// Why a name cannot be that of a column in every store.
fn problem_with_name(name: &str) -> Option<&'static str> {
    if name.starts_with('_') {
        return Some(RESERVED);
    }
    // What Delta tables refuse in column names.
    let is_refused = |letter: char| " ,;{}()=\"`".contains(letter) || letter.is_control();
    let is_wrong = name.is_empty() || name.len() > 200 || name.contains(is_refused);
    is_wrong.then_some("this cannot be the name of a column")
}

/// How a column gets another name, and its value all the same.
fn name_of_its_own(name: &str) -> String {
    format!(
        "choose a name of letters, digits and `_`; OPTIONS (path = '{}') behind the type reads this key of events",
        path_of_key(name)
    )
}

/// The columns of a table, and where each of them stands in an event.
pub(super) struct Columns {
    pub(super) schema: Schema,
    /// One for each column.
    pub(super) mapping: Vec<ColumnMapping>,
}

/// The declared columns of a table; `None` if any of them is wrong.
pub(super) fn read_columns(columns: &[ColumnDef], statement: &Located, findings: &mut Findings) -> Option<Columns> {
    let before = findings.len();
    let mut fields: Vec<Field> = Vec::new();
    let mut mapping = Vec::new();
    for column in columns {
        let name = normalized(&column.name);
        let line = statement.line_of_span(column.name.span);
        if let Some(problem) = problem_with_name(&name) {
            findings.add(line, &name, problem, name_of_its_own(&name));
        }
        if fields.iter().any(|field| field.name().eq_ignore_ascii_case(&name)) {
            let hint = "names that differ in case alone count as equal";
            findings.add(line, &name, "this column is declared twice", hint);
            continue;
        }
        let clauses = Clauses::read(column, line, findings);
        match declared_field(name, &column.data_type, !clauses.is_required, 0) {
            Ok(field) => {
                check_format(&clauses, &field, line, findings);
                fields.push(match clauses.default {
                    Some(value) => field_with_default(field, value, line, findings),
                    None => field,
                });
                mapping.push(clauses.mapping);
            }
            Err(message) => {
                findings.add(line, &format!("{} {}", column.name, column.data_type), message, KNOWN_TYPES);
            }
        }
    }
    if columns.is_empty() {
        findings.add(statement.line, &statement.head(), "no columns are declared", "declare `(name TYPE, ...)`");
    }
    (findings.len() == before).then(|| Columns { schema: Schema::new(fields), mapping })
}

/// What stands behind the type of a column.
#[derive(Default)]
struct Clauses<'a> {
    is_required: bool,
    default: Option<&'a Expr>,
    mapping: ColumnMapping,
}

impl<'a> Clauses<'a> {
    fn read(column: &'a ColumnDef, line: usize, findings: &mut Findings) -> Self {
        let mut clauses = Self::default();
        for option in &column.options {
            match &option.option {
                ColumnOption::NotNull => clauses.is_required = true,
                ColumnOption::Null => {}
                ColumnOption::Default(value) => clauses.default = Some(value),
                ColumnOption::Options(options) => {
                    options.iter().for_each(|option| clauses.take_option(option, line, findings));
                }
                other => {
                    let hint =
                        "write only NOT NULL, OPTIONS (path = '...'), and DEFAULT with a value for a missing key";
                    findings.add(line, &other.to_string(), "a column cannot have this clause", hint);
                }
            }
        }
        clauses
    }

    fn take_option(&mut self, option: &SqlOption, line: usize, findings: &mut Findings) {
        let known = match option {
            SqlOption::KeyValue { key, value: Expr::Value(value) } => match &value.value {
                Value::SingleQuotedString(value) => Some((key.value.to_lowercase(), value)),
                _ => None,
            },
            _ => None,
        };
        let problem = match known {
            Some((name, value)) if name == "path" => read_path(value).map(|path| self.mapping.path = path).err(),
            Some((name, value)) if name == "format" => {
                match TimeFormat::of(value) {
                    Ok(format) => self.mapping.format = Some(format),
                    Err(problem) => findings.add(line, &option.to_string(), problem, FORMATS),
                }
                None
            }
            _ => Some("this is no option of a column"),
        };
        if let Some(problem) = problem {
            let hint = "write OPTIONS (path = 'key.key', format = 'epoch_ms'), either of them or both";
            findings.add(line, &option.to_string(), problem, hint);
        }
    }
}

/// A format says how instants and days are written, and nothing of other types.
fn check_format(clauses: &Clauses<'_>, field: &Field, line: usize, findings: &mut Findings) {
    let fits = matches!(
        (&clauses.mapping.format, field.data_type()),
        (None, _) | (Some(_), DataType::Timestamp(..)) | (Some(TimeFormat::Pattern(_)), DataType::Date32)
    );
    if !fits {
        let hint = "declare the column TIMESTAMP, or leave the format out";
        findings.add(line, field.name(), "a format is for TIMESTAMP, a pattern for DATE too", hint);
    }
    if clauses.default.is_some() && matches!(clauses.mapping.format, Some(TimeFormat::Pattern(_))) {
        let hint = "give the value in a view: coalesce(column, value)";
        findings.add(line, field.name(), "a column that is read by a pattern has no DEFAULT", hint);
    }
}

/// The field with what a missing key stands for, if that is a value of its type.
fn field_with_default(field: Field, value: &Expr, line: usize, findings: &mut Findings) -> Field {
    match default_json(value, &field) {
        Ok(Some(json)) => with_default(field, &json),
        Ok(None) => field,
        Err((message, hint)) => {
            findings.add(line, &format!("{} DEFAULT {value}", field.name()), message, hint);
            field
        }
    }
}

/// A column, the field of a STRUCT, the items of an ARRAY or the values of a MAP.
fn declared_field(
    name: impl Into<String>,
    declared: &SqlType,
    is_nullable: bool,
    depth: usize,
) -> Result<Field, String> {
    let field = Field::new(name, data_type(declared, depth)?, is_nullable);
    Ok(if matches!(declared, SqlType::JSON) { as_json(field) } else { field })
}

fn data_type(declared: &SqlType, depth: usize) -> Result<DataType, String> {
    if depth > MAX_DEPTH {
        return Err(format!("types nest more than {MAX_DEPTH} levels deep"));
    }
    Ok(match declared {
        SqlType::Boolean | SqlType::Bool => DataType::Boolean,
        SqlType::SmallInt(None) | SqlType::Int2(None) => DataType::Int16,
        SqlType::Int(None) | SqlType::Integer(None) | SqlType::Int4(None) => DataType::Int32,
        SqlType::BigInt(None) | SqlType::Int8(None) => DataType::Int64,
        SqlType::Float(ExactNumberInfo::None) | SqlType::Real => DataType::Float32,
        SqlType::Double(ExactNumberInfo::None) | SqlType::DoublePrecision => DataType::Float64,
        SqlType::Decimal(size) | SqlType::Numeric(size) | SqlType::Dec(size) => decimal(size)?,
        SqlType::Varchar(_) | SqlType::Text | SqlType::String(_) | SqlType::Char(_) | SqlType::CharacterVarying(_) => {
            DataType::Utf8
        }
        SqlType::JSON => DataType::Utf8,
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp(None | Some(0..=6), _) => utc_micros(),
        SqlType::Array(
            ArrayElemTypeDef::AngleBracket(item)
            | ArrayElemTypeDef::SquareBracket(item, None)
            | ArrayElemTypeDef::Parenthesis(item),
        ) => DataType::List(Arc::new(declared_field("element", item, true, depth + 1)?)),
        SqlType::Map(key, _) if matches!(**key, SqlType::JSON) || data_type(key, depth + 1)? != DataType::Utf8 => {
            return Err("the keys of a MAP are VARCHAR, as those of JSON are".to_owned());
        }
        SqlType::Map(_, value) => map_of(declared_field("value", value, true, depth + 1)?),
        SqlType::Struct(fields, _) if !fields.is_empty() => DataType::Struct(struct_fields(fields, depth + 1)?),
        other => return Err(format!("the type {other} is not supported")),
    })
}

fn decimal(size: &ExactNumberInfo) -> Result<DataType, String> {
    let (precision, scale) = match size {
        ExactNumberInfo::None => (38, 10),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let scale = i8::try_from(scale).ok().filter(|scale| *scale >= 0);
    match (u8::try_from(precision), scale) {
        (Ok(precision @ 1..=38), Some(scale)) if u64::from(precision) >= scale.unsigned_abs().into() => {
            Ok(DataType::Decimal128(precision, scale))
        }
        _ => Err("a DECIMAL has 1 to 38 digits, at most all of them behind the point".to_owned()),
    }
}

fn struct_fields(declared: &[StructField], depth: usize) -> Result<Fields, String> {
    let mut fields: Vec<Field> = Vec::new();
    for field in declared {
        let Some(name) = &field.field_name else {
            return Err(format!("a field of the STRUCT has no name: {}", field.field_type));
        };
        let name = normalized(name);
        if fields.iter().any(|known| known.name().eq_ignore_ascii_case(&name)) {
            return Err(format!("the STRUCT has two fields {name}"));
        }
        let is_required = match field.options.as_deref() {
            None | Some([]) => false,
            Some([SqlOption::KeyValue { key, .. }]) if key.value == NOT_NULL_OPTION => true,
            Some(_) => return Err("a field of a STRUCT takes no options".to_owned()),
        };
        fields.push(declared_field(name, &field.field_type, !is_required, depth)?);
    }
    Ok(fields.into())
}
