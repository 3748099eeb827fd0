//! The events: every type of column, NULLs, -0.0 and extremes, as JSON. All engines read the same text.
//!
//! Why so: what is summed up is a multiple of an eighth and not large, so that every order of additions gives the same
//! double; engines may then be compared behind `floor` and `<`, too. Extremes are in columns of their own.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// 2026-01-05T00:00:00Z.
const START: i64 = 1_767_571_200_000_000;
const SECOND: i64 = 1_000_000;

/// So many events; each at an instant of its own, so that a first and a last one can be told.
pub fn events(count: usize, random: &mut StdRng) -> Vec<Value> {
    (0..count).map(|number| event(number, random)).collect()
}

fn event(number: usize, random: &mut StdRng) -> Value {
    let micros = random.random_range(0..3 * 86_400) * SECOND + number as i64;
    let member = random.random_range(0..12);
    let eighths = 7 * random.random_range(-12..58);
    let day = random.random_range(1..12);
    let half_hours = random.random_range(0..40);
    json!({
        "id": format!("e{number}"),
        "time": instant(START + micros),
        "kind": any(random, ["a", "b", "c", "Ä", "x y", ""].map(Value::from)),
        "member": or_null(random, format!("user-{member}").into()),
        "flag": any(random, [true, false].map(Value::from)),
        "level": any(random, [-2, -1, 0, 1, 2, 3, 4, 5].map(Value::from)),
        "small": any(random, [0, 1, -7, 1_000, i32::MAX, i32::MIN].map(Value::from)),
        "added": added(random),
        "big": any(random, [0, -1, i64::MAX, i64::MIN, 12_345_678_901_234_567].map(Value::from)),
        "ratio": any(random, [-0.0, 0.0, 0.5, 1.5, -2.25].map(Value::from)),
        "weight": or_null(random, (f64::from(eighths) / 8.0).into()),
        "wide": any(random, [1.5e300, -1.5e300, 5e-324, 2.5].map(Value::from)),
        "price": any(random, ["0.00", "0.01", "-5.25", "99.99", "12345678.90"].map(Value::from)),
        "large": any(random, ["0.0001", "-12345678901234567890.1234", "7.5000"].map(Value::from)),
        "day": or_null(random, if day == 11 { "1969-12-31".into() } else { format!("2026-01-{day:02}").into() }),
        "seen": or_null(random, instant(START + half_hours * 1_800 * SECOND + 123_456).into()),
    })
}

fn added(random: &mut StdRng) -> Value {
    let added = random.random_range(-20..200);
    or_null(random, added.into())
}

fn any<const COUNT: usize>(random: &mut StdRng, values: [Value; COUNT]) -> Value {
    let chosen = values[random.random_range(0..COUNT)].clone();
    or_null(random, chosen)
}

fn or_null(random: &mut StdRng, value: Value) -> Value {
    if random.random_bool(0.12) { Value::Null } else { value }
}

fn instant(micros: i64) -> String {
    let at = chrono::DateTime::from_timestamp_micros(micros).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
