//! Random changes of definitions, one thing at a time: views, their measures, filters, dimensions and buckets, columns
//! and options of the source, rows of a static table.
//!
//! Guarantee: what is drawn is another pipeline than before, and one that `Pipeline` takes. What its views answer
//! follows from the events and amounts of each page, so that any of them can be held against a fold over the log.

use std::collections::BTreeMap;

use rand::Rng;
use views::Pipeline;

/// The pages that events are of: `p0`, `p1`...
pub const PAGES: usize = 7;
/// The view that no change touches but one of the source.
pub const LASTING_VIEW: &str = "hits_by_page";
const STATIC_FILE: &str = "pages.csv";
/// What the source may declare beside what its events have.
const COLUMNS: [&str; 4] =
    ["extra BIGINT", "extra BIGINT NOT NULL DEFAULT 0", "note VARCHAR DEFAULT 'none'", "note VARCHAR"];
const BUCKETS: [&str; 4] = ["hour", "day", "month", "none"];
const MOST_VIEWS: usize = 4;
/// The names that views may have beside the one that lasts.
pub const NAMES: [&str; 8] = ["v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7"];

/// One state of a pipeline file and its static table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definitions {
    column: Option<usize>,
    late_minutes: u32,
    grid: u32,
    /// The static table gives page `n` this weight plus `n`.
    weight: i64,
    /// By name, beside the one that lasts.
    pub views: BTreeMap<String, View>,
}

/// One view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Names of sums, each with its factor.
    measures: BTreeMap<String, i64>,
    /// The page whose events do not count.
    without: Option<usize>,
    has_letters: bool,
    bucket: usize,
    /// Whether it joins the static table.
    pub is_weighed: bool,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    AddView(String),
    DropView(String),
    RenameView {
        from: String,
        to: String,
    },
    /// Added, dropped or given another factor.
    Measure {
        view: String,
        measure: String,
    },
    Filter(String),
    /// The dimension `letters`, added or dropped.
    Letters(String),
    Bucket(String),
    Column,
    LateAfter,
    Grid,
    StaticRows,
}

impl View {
    fn plain(is_weighed: bool) -> Self {
        let measures = BTreeMap::from([("m0".to_owned(), 1)]);
        Self { measures, without: None, has_letters: false, bucket: 0, is_weighed }
    }

    fn draw(rng: &mut impl Rng) -> Self {
        Self {
            measures: BTreeMap::from([("m0".to_owned(), rng.random_range(1..9))]),
            without: rng.random_bool(0.3).then(|| rng.random_range(0..PAGES)),
            has_letters: rng.random_bool(0.3),
            bucket: rng.random_range(0..BUCKETS.len()),
            is_weighed: rng.random_bool(0.5),
        }
    }

    fn text(&self, name: &str) -> String {
        let (page, weight, join) = match self.is_weighed {
            true => ("pages.page", " * weight", " JOIN pages ON hits.page = pages.page"),
            false => ("page", "", ""),
        };
        let measure = |(measure, factor): (&String, &i64)| format!(", sum(amount{weight} * {factor}) AS {measure}");
        let measures: String = self.measures.iter().map(measure).collect();
        let (letters, by_letters) = match self.has_letters {
            true => (format!(", length({page}) AS letters"), ", letters"),
            false => (String::new(), ""),
        };
        let filter = self.without.map(|without| format!(" WHERE {page} <> 'p{without}'")).unwrap_or_default();
        let bucket = BUCKETS[self.bucket];
        format!(
            "CREATE MATERIALIZED VIEW {name} WITH (bucket = '{bucket}') AS
             SELECT {page}{letters}, count(*) AS hits{measures} FROM hits{join}{filter} GROUP BY {page}{by_letters};\n"
        )
    }

    /// Changes its sums; the name of the one that was changed.
    fn alter_measures(&mut self, rng: &mut impl Rng) -> String {
        let measure = format!("m{}", rng.random_range(0..4));
        let factor = match self.measures.remove(&measure) {
            Some(_) if rng.random_bool(0.5) => return measure,
            Some(factor) => factor + rng.random_range(1..5_i64),
            None => rng.random_range(1..9),
        };
        self.measures.insert(measure.clone(), factor);
        measure
    }
}

impl Definitions {
    /// What a test begins with: a view over the source alone, and one over the static table.
    pub fn first() -> Self {
        let views = [("v0", false), ("v1", true)].map(|(name, is_weighed)| (name.to_owned(), View::plain(is_weighed)));
        Self { column: None, late_minutes: 1, grid: 64, weight: 1, views: views.into() }
    }

    /// Another state, and what makes it another one.
    pub fn draw(&self, rng: &mut impl Rng) -> (Change, Self) {
        loop {
            let mut next = self.clone();
            if let Some(change) = next.alter(rng)
                && next != *self
                && next.read().is_ok()
            {
                return (change, next);
            }
        }
    }

    /// `None`: that cannot be done here.
    fn alter(&mut self, rng: &mut impl Rng) -> Option<Change> {
        let new = NAMES[rng.random_range(0..NAMES.len())].to_owned();
        let is_new = !self.views.contains_key(&new);
        let place = rng.random_range(0..self.views.len().max(1));
        let some = self.views.keys().nth(place).cloned();
        let change = match rng.random_range(0..14) {
            0 | 1 if is_new && self.views.len() < MOST_VIEWS => {
                self.views.insert(new.clone(), View::draw(rng));
                Change::AddView(new)
            }
            2 => {
                let name = some.filter(|_| self.views.len() > 1)?;
                self.views.remove(&name);
                Change::DropView(name)
            }
            3 if is_new => {
                let from = some?;
                let view = self.views.remove(&from)?;
                self.views.insert(new.clone(), view);
                Change::RenameView { from, to: new }
            }
            4..7 => {
                let view = some?;
                let measure = self.views.get_mut(&view)?.alter_measures(rng);
                Change::Measure { view, measure }
            }
            7 => {
                let view = some?;
                self.views.get_mut(&view)?.without = rng.random_bool(0.8).then(|| rng.random_range(0..PAGES));
                Change::Filter(view)
            }
            8 => {
                let view = some?;
                let altered = self.views.get_mut(&view)?;
                altered.has_letters = !altered.has_letters;
                Change::Letters(view)
            }
            9 => {
                let view = some?;
                self.views.get_mut(&view)?.bucket = rng.random_range(0..BUCKETS.len());
                Change::Bucket(view)
            }
            10 => {
                self.column = rng.random_bool(0.8).then(|| rng.random_range(0..COLUMNS.len()));
                Change::Column
            }
            11 => {
                self.late_minutes = rng.random_range(1..9);
                Change::LateAfter
            }
            12 => {
                self.grid = 1_u32 << rng.random_range(5..8_u32);
                Change::Grid
            }
            13 => {
                self.weight = rng.random_range(1..9);
                Change::StaticRows
            }
            _ => return None,
        };
        Some(change)
    }

    /// The pipeline file.
    pub fn text(&self) -> String {
        let column = self.column.map(|column| format!(", {}", COLUMNS[column])).unwrap_or_default();
        let Self { late_minutes, grid, .. } = self;
        let views: String = self.views.iter().map(|(name, view)| view.text(name)).collect();
        format!(
            "CREATE UNBOUNDED EXTERNAL TABLE hits (
               id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, amount BIGINT NOT NULL{column}
             ) STORED AS JSON LOCATION 'kafka://hits'
               OPTIONS (event_time 'time', event_id 'id', grid '{grid}', gap '3s', partitions '4',
                        late_after '{late_minutes}m');
             CREATE EXTERNAL TABLE pages (page VARCHAR, weight BIGINT) STORED AS CSV LOCATION '{STATIC_FILE}'
               OPTIONS (has_header 'true');
             CREATE MATERIALIZED VIEW {LASTING_VIEW} AS
             SELECT page, count(*) AS hits, sum(amount) AS amount FROM hits GROUP BY page;
             {views}"
        )
    }

    /// The static files by name.
    pub fn static_files(&self) -> BTreeMap<String, String> {
        let rows = (0..PAGES as i64).map(|page| format!("p{page},{}\n", self.weight + page));
        BTreeMap::from([(STATIC_FILE.to_owned(), format!("page,weight\n{}", rows.collect::<String>()))])
    }

    /// The pipeline, if it is one; `text` as a system has it, with names of its own.
    pub fn read_as(&self, text: &str) -> Result<Pipeline, String> {
        let files = self.static_files().into_iter().map(|(name, text)| (name, text.into())).collect();
        Pipeline::read(text, &files).map_err(|error| error.to_string())
    }

    /// The pipeline, if it is one.
    pub fn read(&self) -> Result<Pipeline, String> {
        self.read_as(&self.text())
    }

    /// What a view answers by page, given events and amounts of each: the number of events, then the sums by name.
    pub fn right(&self, view: &str, pages: &[(i64, i64); PAGES]) -> BTreeMap<String, Vec<(String, i64)>> {
        let lasting = View { measures: BTreeMap::from([("amount".to_owned(), 1)]), ..View::plain(false) };
        let view = if view == LASTING_VIEW { &lasting } else { &self.views[view] };
        let counted = pages.iter().enumerate().filter(|(page, (hits, _))| *hits > 0 && view.without != Some(*page));
        let row = |(page, (hits, amount)): (usize, &(i64, i64))| {
            let weight = if view.is_weighed { self.weight + page as i64 } else { 1 };
            let sums = view.measures.iter().map(|(name, factor)| (name.clone(), amount * weight * factor));
            let hits = [("hits".to_owned(), *hits)];
            (format!("p{page}"), hits.into_iter().chain(sums).collect())
        };
        counted.map(row).collect()
    }
}
