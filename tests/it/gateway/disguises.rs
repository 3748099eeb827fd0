//! Values that must not be added up, under every disguise: written by hand, and put together at random with an oracle
//! that knows what each column is made of.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::world::{World, event};
use crate::support::seeds::seeds;

async fn world() -> World {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3), event(70, "B", "bob", 5), event(75, "A", "bob", 2)]);
    world.append_run(0).await;
    world.publish("by_page", &[3, 0]).await;
    world.send(1, [event(80, "C", "cat", 1)]);
    world.append_run(1).await;
    world
}

/// Whether the query was refused because it adds up what is not additive; the refusal names the way out.
async fn is_refused(world: &World, sql: &str) -> Option<bool> {
    let Err(error) = world.sql(sql).await else { return Some(false) };
    let problem = error.problem();
    let hint = problem.hint().unwrap_or_default();
    let is_told = hint.contains("MEASURE(") || hint.contains("add up both sides first");
    if is_told {
        assert!(error.to_string().contains("of view by_page"), "{sql}: {error}");
    }
    is_told.then_some(true)
}

#[tokio::test]
async fn no_disguise_of_a_sum_passes() {
    let world = world().await;
    for sql in [
        "SELECT sum(editors + 0) FROM by_page",
        "SELECT sum(CAST(editors AS DOUBLE)) FROM by_page",
        "SELECT sum(CASE WHEN page = 'A' THEN editors END) FROM by_page",
        "SELECT sum(coalesce(NULL, editors)) FROM by_page",
        "SELECT avg(weight) FROM by_page",
        "SELECT stddev(weight) FROM by_page",
        "SELECT sum(editors) OVER (PARTITION BY page) FROM by_page",
        "SELECT avg(editors) FILTER (WHERE page = 'A') FROM by_page",
        "SELECT sum(DISTINCT editors) FROM by_page",
        "SELECT sum(x) FROM (SELECT editors AS x FROM by_page) t",
        "WITH t AS (SELECT page, editors AS x FROM by_page) SELECT page, sum(x) FROM t GROUP BY page",
        "SELECT sum(x) FROM (SELECT editors AS x FROM by_page UNION ALL SELECT 0) t",
        "SELECT sum(x) FROM (SELECT 0 AS x UNION ALL SELECT editors FROM by_page) t",
        "SELECT sum(e) FROM (SELECT MEASURE(editors) AS e FROM by_page GROUP BY page) t",
        "SELECT sum(MEASURE(editors)) OVER () FROM by_page GROUP BY page",
        "SELECT sum(x) FROM (SELECT max(editors) AS x FROM by_page GROUP BY page) t",
        "SELECT sum(x) FROM (SELECT max_by(editors, edits) AS x FROM by_page GROUP BY page) t",
        "SELECT sum(x) FROM (SELECT mode(editors) AS x FROM by_page GROUP BY page) t",
        "SELECT sum(x) FROM (SELECT lag(editors) OVER (ORDER BY hour) AS x FROM by_page) t",
        "SELECT sum(x) FROM (SELECT DISTINCT editors AS x FROM by_page) t",
        "SELECT sum(v.editors) FROM by_page v JOIN totals t ON v.page = t.page",
        "SELECT sum(x) FROM (SELECT unnest(l) AS x FROM (SELECT array_agg(editors) AS l FROM by_page)) t",
        "SELECT sum((SELECT max(editors) FROM by_page)) FROM totals",
        "SELECT sum((SELECT max(v.editors) FROM by_page v WHERE v.page = t.page)) FROM totals t",
        "SELECT page FROM by_page GROUP BY page HAVING sum(editors) > 3",
        "SELECT page FROM by_page GROUP BY page ORDER BY sum(editors)",
        "SELECT page FROM totals WHERE edits IN (SELECT sum(editors) FROM by_page)",
        "SELECT page FROM totals WHERE EXISTS (SELECT sum(editors) FROM by_page HAVING sum(editors) > 1)",
        "SELECT array_sum(array_agg(editors)) FROM by_page",
        "SELECT sum(edits / editors) FROM by_page",
        "SELECT sum(added / edits) FROM by_page",
    ] {
        assert_eq!(is_refused(&world, sql).await, Some(true), "{sql}");
    }
}

#[tokio::test]
async fn what_is_made_of_tests_and_counts_is_added_up() {
    let world = world().await;
    for sql in [
        "SELECT sum(edits) AS x FROM by_page",
        "SELECT sum(edits) AS x FROM by_page WHERE editors > 1",
        "SELECT sum(edits) FILTER (WHERE editors > 1) AS x FROM by_page",
        "SELECT sum(CASE WHEN editors > 1 THEN edits ELSE 0 END) AS x FROM by_page",
        "SELECT sum(CASE WHEN editors > 1 THEN 1 ELSE 0 END) AS x FROM by_page",
        "SELECT sum(CAST(editors > 1 AS INT)) AS x FROM by_page",
        "SELECT sum(nullif(edits, editors)) AS x FROM by_page",
        "SELECT sum(x) AS x FROM (SELECT count(editors) AS x FROM by_page GROUP BY page) t",
        "SELECT sum(x) AS x FROM (SELECT max_by(edits, editors) AS x FROM by_page GROUP BY page) t",
        "SELECT sum(x) AS x FROM (SELECT CAST(rank() OVER (ORDER BY editors) AS BIGINT) AS x FROM by_page) t",
        "SELECT sum(e) AS x FROM (SELECT MEASURE(edits) AS e, MEASURE(editors) AS f FROM by_page GROUP BY page) t",
        "SELECT sum(edits) AS x FROM by_page WHERE page IN (SELECT page FROM by_page WHERE editors > 1)",
        "SELECT sum(added / 2) AS x FROM by_page",
        "SELECT sum(added / (SELECT sum(edits) FROM by_page)) AS x FROM by_page",
        "SELECT sum(added) / sum(edits) AS x FROM by_page",
        "SELECT max(editors) AS x, min(weight) AS y, median(weight) AS z, count(DISTINCT editors) AS n FROM by_page",
    ] {
        assert_eq!(is_refused(&world, sql).await, Some(false), "{sql}");
    }
}

/// A query of a key `k` and numbers, and of each number whether it is made of a measure that is not additive.
#[derive(Clone)]
struct Query {
    sql: String,
    columns: Vec<(String, bool)>,
}

/// Puts queries together.
struct Disguises {
    random: StdRng,
    names: usize,
}

impl Disguises {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("c{}", self.names)
    }

    fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.random.random_range(0..items.len())].clone()
    }

    /// A SELECT of the key and of these expressions, each under a new name.
    fn select(&mut self, from: &str, key: &str, exprs: Vec<(String, bool)>, end: &str) -> Query {
        let columns: Vec<(String, bool)> = exprs.iter().map(|(_, marked)| (self.name(), *marked)).collect();
        let named = exprs.iter().zip(&columns).map(|((expr, _), (name, _))| format!(", {expr} AS {name}"));
        let list: String = named.collect();
        Query { sql: format!("SELECT {key} AS k{list} FROM {from}{end}"), columns }
    }

    fn base(&mut self) -> Query {
        let measures = [("edits", false), ("editors", true), ("added", false), ("weight", true), ("mean_added", true)];
        if self.random.random_bool(0.3) {
            let merged = measures.map(|(measure, marked)| (format!("MEASURE({measure})"), marked));
            return self.select("by_page", "page", merged.to_vec(), " GROUP BY page");
        }
        let plain = measures.map(|(measure, marked)| (measure.to_owned(), marked));
        self.select("by_page", "page", plain.to_vec(), "")
    }

    /// A number made of one or two columns.
    fn scalar(&mut self, query: &Query) -> (String, bool) {
        let (one, two) = (self.pick(&query.columns), self.pick(&query.columns));
        let (a, b) = (&one.0, &two.0);
        match self.random.random_range(0..11) {
            0 => (format!("{a} + 0"), one.1),
            1 => (format!("CAST({a} AS DOUBLE)"), one.1),
            2 => (format!("CASE WHEN {b} > 1 THEN {a} ELSE 0 END"), one.1),
            3 => (format!("CASE WHEN {a} > 1 THEN 1 ELSE 0 END"), false),
            4 => (format!("CAST({a} > {b} AS INT)"), false),
            5 => (format!("coalesce({a}, {b})"), one.1 || two.1),
            6 => (format!("{a} + {b}"), one.1 || two.1),
            7 => (format!("nullif({a}, {b})"), one.1),
            8 => (format!("abs(-{a})"), one.1),
            9 => (format!("greatest({a}, {b})"), one.1 || two.1),
            _ => (a.clone(), one.1),
        }
    }

    fn aggregate(&mut self, query: &Query) -> (String, bool) {
        let (column, marked) = self.pick(&query.columns);
        match self.random.random_range(0..5) {
            0 => (format!("max({column})"), marked),
            1 => (format!("count({column})"), false),
            2 => (format!("median({column})"), marked),
            3 if !marked => (format!("sum({column})"), false),
            _ => (format!("min({column})"), marked),
        }
    }

    fn window(&mut self, query: &Query) -> (String, bool) {
        let (column, marked) = self.pick(&query.columns);
        match self.random.random_range(0..4) {
            0 => (format!("max({column}) OVER (PARTITION BY k)"), marked),
            1 => (format!("lag({column}) OVER (ORDER BY k)"), marked),
            2 => (format!("CAST(row_number() OVER (ORDER BY {column}) AS BIGINT)"), false),
            _ => (format!("count({column}) OVER ()"), false),
        }
    }

    fn wrapped(&mut self, query: &Query) -> Query {
        let from = format!("({}) q", query.sql);
        let with = format!("WITH q AS ({}) ", query.sql);
        let plain = |query: &Query| query.columns.clone();
        let mut exprs: Vec<(String, bool)> = (0..3).map(|_| self.scalar(query)).collect();
        match self.random.random_range(0..9) {
            0 => self.select(&from, "k", exprs, " WHERE k <> 'Z'"),
            1 => {
                exprs.push(self.window(query));
                self.select(&from, "k", exprs, "")
            }
            2 => {
                let exprs = (0..3).map(|_| self.aggregate(query)).collect();
                self.select(&from, "k", exprs, " GROUP BY k")
            }
            3 => {
                let mut all = self.select(&from, "k", plain(query), "");
                let constants = ", 1".repeat(all.columns.len());
                all.sql = format!("{} UNION ALL SELECT 'x'{constants}", all.sql);
                all
            }
            4 => {
                let (one, two) = (self.pick(&query.columns), self.pick(&query.columns));
                let name = self.name();
                let sql = format!("{with}SELECT k, {} AS {name} FROM q UNION ALL SELECT k, {} FROM q", one.0, two.0);
                Query { sql, columns: vec![(name, one.1 || two.1)] }
            }
            5 => {
                let (one, two) = (self.pick(&query.columns), self.pick(&query.columns));
                let exprs = vec![(format!("a.{}", one.0), one.1), (format!("b.{}", two.0), two.1)];
                let joined = self.select("q a JOIN q b ON a.k = b.k", "a.k", exprs, "");
                Query { sql: format!("{with}{}", joined.sql), ..joined }
            }
            6 => {
                let (column, marked) = self.pick(&query.columns);
                exprs.push((format!("(SELECT max({column}) FROM q)"), marked));
                let read = self.select("q", "k", exprs, "");
                Query { sql: format!("{with}{}", read.sql), ..read }
            }
            7 => {
                let (column, marked) = self.pick(&query.columns);
                let list = format!("(SELECT k, array_agg({column}) AS l FROM {from} GROUP BY k) q");
                self.select(&list, "k", vec![("unnest(l)".to_owned(), marked)], "")
            }
            _ => {
                let distinct = self.select(&from, "DISTINCT k", plain(query), "");
                Query { sql: format!("{} ORDER BY k LIMIT 5", distinct.sql), ..distinct }
            }
        }
    }

    /// A sum over a column of a nested query, and whether it must be refused.
    fn sum(&mut self) -> (String, bool) {
        let mut query = self.base();
        for _ in 0..self.random.random_range(1..4) {
            query = self.wrapped(&query);
        }
        let (column, marked) = self.pick(&query.columns);
        let call = self.pick(&["sum($)", "avg($)", "sum($ + 1)", "sum($) OVER ()", "sum(DISTINCT $)", "stddev($)"]);
        (format!("SELECT {} AS x FROM ({}) t", call.replace('$', &column), query.sql), marked)
    }
}

#[tokio::test]
async fn a_sum_is_refused_if_and_only_if_its_values_are_not_additive() {
    let world = world().await;
    let (mut answered, mut additive) = (0, 0);
    for seed in seeds(50) {
        let (sql, marked) = Disguises { random: StdRng::seed_from_u64(seed), names: 0 }.sum();
        let refused = is_refused(&world, &sql).await;
        assert_eq!(refused == Some(true), marked, "TWOFOLD_SEED={seed}: {sql}");
        additive += usize::from(!marked);
        answered += usize::from(refused == Some(false));
    }
    assert!(2 * answered >= additive, "of {additive} additive sums {answered} were answered: the queries are not SQL");
}
