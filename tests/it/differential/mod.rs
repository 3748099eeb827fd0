//! Generated queries over merged views, against the same SQL over plain tables of the same events in two other engines.
//!
//! ```text
//!  grammar.txt --seed--> template --vocabulary--> SQL over views    --> Twofold    \
//!                                            \--> SQL over `events` --> DataFusion  > the same rows
//!                                             \-> SQL over `events` --> DuckDB     /
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `grammar.txt`, `grammar.rs` | which queries there are; what they leave out, and why |
//! | `views.txt`, `vocabulary.rs` | the views, and what each query is over plain events |
//! | `events.rs`, `world.rs` | what is sent; the phases in which views are asked |
//! | `plain.rs`, `duckdb.rs` | the other engines |
//! | `answer.rs` | when two answers are the same |
//!
//! Each seed is one query, asked in one of the phases: `TWOFOLD_SEED=17 make test FILTER=differential` repeats it.

mod answer;
mod duckdb;
mod events;
mod grammar;
mod plain;
mod vocabulary;
mod world;

use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use self::answer::{Row, difference, rows_of};
use self::duckdb::Question;
use self::events::events;
use self::grammar::Grammar;
use self::plain::Plain;
use self::vocabulary::{Engine, Vocabulary};
use self::world::{PHASES, World};
use crate::support::seeds::seeds;

const QUERIES: u64 = 2_500;
/// Questions that are under way at one time.
const AT_A_TIME: usize = 4;
/// Differences that are told in full.
const SHOWN: usize = 10;

/// A query, and what became of it.
struct Asked {
    seed: u64,
    template: String,
    is_ordered: bool,
    /// So many events are counted in it.
    events: usize,
    /// `None` where it was refused.
    ours: Option<Vec<Row>>,
    /// What is different from DataFusion.
    finding: Option<String>,
}

/// Everything that is the same for all queries.
struct Suite {
    grammar: Grammar,
    vocabulary: Vocabulary,
    events: Vec<Value>,
}

impl Suite {
    fn new() -> Self {
        let most = PHASES.iter().map(|phase| phase.events).max().unwrap();
        let events = events(most, &mut StdRng::seed_from_u64(0));
        Self { grammar: Grammar::read(), vocabulary: Vocabulary::read(), events }
    }

    /// The query of a seed: its template, and whether it says in what order rows come.
    fn query(&self, seed: u64) -> (String, bool) {
        let random = &mut StdRng::seed_from_u64(seed);
        let is_ordered = random.random_bool(0.25);
        let view = self.vocabulary.view(["fine", "daily", "some"][random.random_range(0..3)]);
        let rule = if is_ordered { "ordered" } else { "unordered" };
        (self.grammar.template(rule, &self.vocabulary, view, random), is_ordered)
    }

    /// Asks Twofold and DataFusion.
    async fn ask(&self, seed: u64, world: &World, plain: &Plain, events: usize) -> Asked {
        let (template, is_ordered) = self.query(seed);
        let ours = world.client.sql(&self.vocabulary.text(&template, Engine::Twofold)).await;
        let ours = ours.map(|answer| rows_of(&answer));
        let theirs = plain.ask(&self.vocabulary.text(&template, Engine::DataFusion)).await;
        let finding = match (&ours, theirs) {
            (Ok(ours), Ok(theirs)) => difference(ours, &theirs, is_ordered).map(|told| format!("DataFusion: {told}")),
            (Ok(_), Err(error)) => Some(format!("DataFusion alone fails: {error}")),
            (Err(error), Ok(_)) => Some(format!("Twofold alone refuses: {error:#}")),
            // What the engine cannot plan, no view can change; but it is to be said in words.
            (Err(error), Err(_)) => {
                let told = format!("{error:#}");
                told.contains("Internal error").then(|| format!("Twofold fails: {told}"))
            }
        };
        Asked { seed, template, is_ordered, events, ours: ours.ok(), finding }
    }

    /// Asks DuckDB what the others have answered, and notes where it differs.
    fn ask_duckdb(&self, asked: &mut [Asked]) {
        let mut asked: Vec<&mut Asked> = asked.iter_mut().filter(|asked| asked.ours.is_some()).collect();
        let question = |asked: &&mut Asked| Question {
            events: asked.events,
            sql: self.vocabulary.text(&asked.template, Engine::DuckDb),
        };
        let questions: Vec<Question> = asked.iter().map(question).collect();
        for (asked, theirs) in asked.iter_mut().zip(duckdb::ask(&self.events, &questions)) {
            let told = match (&asked.ours, theirs) {
                (Some(ours), Ok(theirs)) => difference(ours, &theirs, asked.is_ordered),
                (_, theirs) => theirs.err(),
            };
            let told = told.map(|told| format!("DuckDB: {told}"));
            asked.finding = asked.finding.take().or(told);
        }
    }

    fn told(&self, asked: &Asked, finding: &str) -> String {
        let sql = self.vocabulary.text(&asked.template, Engine::Twofold);
        format!("TWOFOLD_SEED={} over {} events: {sql}\n{finding}\n", asked.seed, asked.events)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_queries_over_views_answer_as_other_engines_over_plain_tables() {
    let has_duckdb = duckdb::is_there();
    let suite = Suite::new();
    let pipeline = suite.vocabulary.pipeline();
    let source = pipeline.sources[0].clone();
    let mut world = World::start(pipeline).await;
    let seeds = seeds(QUERIES);
    let mut asked = Vec::new();
    for (number, phase) in (0..).zip(&PHASES) {
        world.enter(phase, &suite.events).await;
        let plain = Plain::over(&source, &suite.events[..phase.events]);
        let of_phase = seeds.iter().filter(|seed| *seed % PHASES.len() as u64 == number);
        let asking = of_phase.map(|seed| suite.ask(*seed, &world, &plain, phase.events));
        asked.extend(futures::stream::iter(asking).buffered(AT_A_TIME).collect::<Vec<_>>().await);
    }
    world.stop().await;
    assert_eq!(asked.len(), seeds.len());
    if has_duckdb {
        suite.ask_duckdb(&mut asked);
    }
    let found = asked.iter().filter_map(|asked| Some(suite.told(asked, asked.finding.as_ref()?)));
    let found: Vec<String> = found.collect();
    let shown = found.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(found.is_empty(), "{} of {} queries differ:\n\n{shown}", found.len(), asked.len());
    let answered = asked.iter().filter(|asked| asked.ours.is_some()).count();
    assert!(answered + 1 + asked.len() / 50 >= asked.len(), "only {answered} of {} queries are answered", asked.len());
}
