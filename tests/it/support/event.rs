//! An event as the suites send it: of its columns each pipeline declares some.

use bytes::Bytes;
use serde_json::json;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Event {
    pub id: Option<u32>,
    /// Microseconds since 1970 UTC.
    pub time: i64,
    pub page: Option<String>,
    pub user: Option<String>,
    /// What is summed up: each pipeline has a name of its own for it.
    pub amount: Option<i64>,
}

impl Event {
    /// The record's bytes, for a pipeline that calls the amount so.
    pub fn payload(&self, amount: &str) -> Bytes {
        let time = chrono::DateTime::from_timestamp_micros(self.time).unwrap();
        let time = time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let id = self.id.map(|id| format!("e{id}"));
        let mut json = json!({"id": id, "time": time, "page": self.page, amount: self.amount});
        if let Some(user) = &self.user {
            json["user"] = user.as_str().into();
        }
        json.to_string().into()
    }

    /// The record's key: copies of an event go to one partition.
    pub fn key(&self) -> Option<Bytes> {
        self.id.map(|id| id.to_string().into())
    }

    /// The page, empty where there is none.
    pub fn page(&self) -> &str {
        self.page.as_deref().unwrap_or_default()
    }

    /// The amount, 0 where there is none.
    pub fn amount(&self) -> i64 {
        self.amount.unwrap_or_default()
    }
}
