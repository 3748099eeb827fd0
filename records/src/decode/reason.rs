//! What kind of reason a stored sentence gives, and of which column: `_error` holds the sentence alone.
//!
//! In: a sentence, as [`Rejection`](super::Rejection) words it. Out: a [`Reason`]. Guarantee: pure, and for whatever
//! sentence; for one of a `Rejection` it says what that says of itself, unless the name of a column reads like the
//! words around it.
//! Why so: master datasets hold sentences of every version so far, and each of them stays a fact that nobody rewrites.

/// How the sentence of each kind of reason begins.
const BEGINNINGS: [(&str, &str); 18] = [
    ("empty payload", "empty"),
    ("erased", "erased"),
    ("too large: ", "too_large"),
    ("no schema: ", "no_schema"),
    ("unknown schema: ", "unknown_schema"),
    ("bad schema: ", "bad_schema"),
    ("bad payload at byte ", "bad_payload"),
    ("bad JSON at byte ", "bad_json"),
    ("too deep: ", "too_deep"),
    ("wrong type: ", "wrong_type"),
    ("no value: ", "no_value"),
    ("ambiguous: ", "ambiguous"),
    ("no event time: ", "no_event_time"),
    ("too far in the future: ", "in_future"),
    ("envelope: ", "envelope"),
    ("too many: ", "too_many"),
    ("clock shift of ", "clock_shift"),
    ("decoder failed: ", "decoder_failed"),
];

/// The kind of a sentence that this version does not word.
const OTHER: &str = "other";

/// All kinds of reasons: short names that never change, for programs, metrics and questions.
pub const REASON_KINDS: [&str; 19] = [
    "empty",
    "erased",
    "too_large",
    "no_schema",
    "unknown_schema",
    "bad_schema",
    "bad_payload",
    "bad_json",
    "too_deep",
    "wrong_type",
    "no_value",
    "ambiguous",
    "no_event_time",
    "in_future",
    "envelope",
    "too_many",
    "clock_shift",
    "decoder_failed",
    OTHER,
];

/// Why a record was rejected, as a program tells reasons apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason<'a> {
    /// One of [`REASON_KINDS`].
    pub kind: &'static str,
    /// The column, with the path inside it, where the reason lies in one.
    pub column: Option<&'a str>,
}

impl<'a> Reason<'a> {
    /// The reason that a sentence of `_error` gives.
    pub fn of(sentence: &'a str) -> Self {
        let known = BEGINNINGS.iter().find(|(beginning, _)| sentence.starts_with(beginning));
        let kind = known.map_or(OTHER, |(_, kind)| *kind);
        Self { kind, column: column_of(kind, sentence) }
    }
}

/// What stands between the word `column` and the words that follow a column in sentences of this kind.
fn column_of<'a>(kind: &str, sentence: &'a str) -> Option<&'a str> {
    let (_, rest) = sentence.split_once("column ")?;
    match kind {
        "no_value" => rest.strip_suffix(" is NOT NULL"),
        "ambiguous" => rest.strip_suffix(" is given twice"),
        "no_event_time" => rest.strip_suffix(" is null or missing"),
        "clock_shift" => rest.strip_suffix(" out of range"),
        "in_future" => {
            let (before, _) = rest.rsplit_once(" after the record, ")?;
            before.rsplit_once(" is ").map(|(column, _)| column)
        }
        // What follows quotes the record, which may say anything.
        "wrong_type" => {
            let ends = [" is ", " holds "].into_iter().filter_map(|words| rest.find(words));
            ends.min().map(|end| &rest[..end])
        }
        _ => None,
    }
}
