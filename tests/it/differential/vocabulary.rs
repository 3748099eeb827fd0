//! The views that are asked (`views.txt`), as a pipeline, and what each query over them is in another engine.
//!
//! Why so: the other engines know no views. A view that is rolled up is there its events with the dimensions beside
//! them, and `MEASURE` the aggregate over those; its rows are the events grouped by its dimensions.

use std::collections::BTreeMap;

use views::Pipeline;

pub const SOURCE: &str = include_str!("source.sql");

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Twofold,
    DataFusion,
    DuckDb,
}

/// A measure or a dimension.
pub struct Term {
    pub name: &'static str,
    known_as: Vec<&'static str>,
    // In the view; over plain events; over those in DuckDB.
    view: &'static str,
    plain: &'static str,
    duckdb: &'static str,
}

impl Term {
    /// `name | what it is known as | in the view | over plain events | in DuckDB`; the last two where they differ.
    fn read(line: &'static str) -> Self {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [name, known_as, view, ..] = cells[..] else { panic!("no term: {line}") };
        let cell =
            |place: usize, or: &'static str| cells.get(place).copied().filter(|cell| !cell.is_empty()).unwrap_or(or);
        let plain = cell(3, view);
        Self { name, known_as: known_as.split_whitespace().collect(), view, plain, duckdb: cell(4, plain) }
    }

    pub fn is(&self, kind: &str) -> bool {
        self.known_as.contains(&kind)
    }

    fn in_view(&self) -> String {
        format!("{} AS {}", self.view.replace("v.", "").replace('~', ""), self.name)
    }

    /// Over plain events, with FILTER or OVER behind each call.
    fn over_events(&self, engine: Engine, suffix: &str) -> String {
        let text = if engine == Engine::DuckDb { self.duckdb } else { self.plain };
        text.replace('~', &if suffix.is_empty() { String::new() } else { format!(" {suffix}") })
    }
}

/// One view.
pub struct View {
    pub name: &'static str,
    pub dimensions: Vec<Term>,
    options: &'static str,
    condition: &'static str,
}

impl View {
    /// `name`, its `WITH (...)` and its `WHERE ...`, where it has them.
    fn read(line: &'static str) -> Self {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (options, condition) = rest.find("WHERE").map_or((rest, ""), |at| rest.split_at(at));
        Self { name, dimensions: Vec::new(), options, condition }
    }

    /// Its dimensions as columns of `v`.
    fn keys(&self) -> String {
        self.dimensions.iter().map(|dimension| format!("v.{}", dimension.name)).collect::<Vec<_>>().join(", ")
    }

    /// The events that are in it, with its dimensions beside them.
    fn events(&self) -> String {
        let is_made = |dimension: &&Term| dimension.plain != format!("v.{}", dimension.name);
        let made = self.dimensions.iter().filter(is_made);
        let made: String = made.map(|dimension| format!(", {} AS {}", dimension.plain, dimension.name)).collect();
        format!("(SELECT v.*{made} FROM events v {})", self.condition)
    }
}

/// All views, and the measures that each of them has.
pub struct Vocabulary {
    pub measures: Vec<Term>,
    pub views: Vec<View>,
}

impl Vocabulary {
    pub fn read() -> Self {
        let mut read = Self { measures: Vec::new(), views: Vec::new() };
        for line in include_str!("views.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.split_once(' ').unwrap() {
                ("measure", term) => read.measures.push(Term::read(term)),
                ("view", view) => read.views.push(View::read(view)),
                (_, term) => read.views.last_mut().unwrap().dimensions.push(Term::read(term)),
            }
        }
        read
    }

    pub fn view(&self, name: &str) -> &View {
        self.views.iter().find(|view| view.name == name).unwrap_or_else(|| panic!("there is no view {name}"))
    }

    pub fn pipeline(&self) -> Pipeline {
        let view = |view: &View| {
            let terms: Vec<String> = view.dimensions.iter().chain(&self.measures).map(Term::in_view).collect();
            let keys: Vec<String> = (1..=view.dimensions.len()).map(|place| place.to_string()).collect();
            format!(
                "CREATE MATERIALIZED VIEW {} {} AS SELECT {} FROM events {} GROUP BY {};\n",
                view.name,
                view.options,
                terms.join(", "),
                view.condition.replace("v.", ""),
                keys.join(", ")
            )
        };
        let sql = format!("{SOURCE}\n{}", self.views.iter().map(view).collect::<String>());
        Pipeline::read(&sql, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}\n{sql}"))
    }

    /// A template as one engine takes it.
    pub fn text(&self, template: &str, engine: Engine) -> String {
        let (mut text, mut rest) = (String::new(), template);
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, tail) = after.split_once('}').expect("braces are closed");
            text.push_str(before);
            text.push_str(&match inside.split_once(':') {
                Some((kind @ ("raw" | "finished" | "both"), view)) => {
                    self.relation(kind, self.view(view), engine, template)
                }
                _ => self.measure(inside, engine),
            });
            rest = tail;
        }
        text + rest
    }

    fn measure(&self, inside: &str, engine: Engine) -> String {
        let (name, suffix) = inside.split_once('|').unwrap_or((inside, ""));
        let measure = self.measures.iter().find(|measure| measure.name == name);
        let measure = measure.unwrap_or_else(|| panic!("there is no measure {name}"));
        match engine {
            Engine::Twofold => format!("MEASURE(v.{name}) {suffix}"),
            Engine::DataFusion | Engine::DuckDb => measure.over_events(engine, suffix),
        }
    }

    /// A view as it may stand in FROM, with the finished measures that the template names as columns.
    fn relation(&self, kind: &str, view: &View, engine: Engine, template: &str) -> String {
        if engine == Engine::Twofold {
            return view.name.to_owned();
        }
        let (events, keys) = (view.events(), view.keys());
        let named = self.measures.iter().filter(|measure| template.contains(&format!(".{}", measure.name)));
        let columns = |suffix: &str, is_wanted: fn(&Term) -> bool| -> String {
            let wanted = named.clone().filter(|measure| is_wanted(measure));
            wanted.map(|measure| format!(", {} AS {}", measure.over_events(engine, suffix), measure.name)).collect()
        };
        match kind {
            "raw" => events,
            "finished" => format!("(SELECT {keys}{} FROM {events} v GROUP BY {keys})", columns("", |_| true)),
            _ => {
                let over = format!("OVER (PARTITION BY {keys})");
                format!("(SELECT v.*{} FROM {events} v)", columns(&over, |measure| measure.is("window")))
            }
        }
    }
}
