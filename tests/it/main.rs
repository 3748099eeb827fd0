//! Every test of Twofold in one binary. The list below is its table of contents.
#![expect(clippy::unwrap_used, clippy::unimplemented, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "tests wait with deadlines, and their tasks end with them")]

mod support;

/// Every aggregate of the catalogue against a plain computation; the page printed from it; sums and windows in queries.
mod aggregates;
/// The event log's contract, on every implementation; the embedded log's restarts and kills.
mod event_log;
/// The law on definitions: states of any split, merged in any tree, finish to the direct answer.
mod law;
/// Pipeline files: good ones, every problem of bad ones, what a definition hash depends on.
mod pipeline;

/// Rules about the source itself: crate edges, circles of files, module docs, sizes, where tasks start.
mod tidy;

/// Realtime stores, in memory and in Redis: stamps, life of blobs, gaps, fullness, races, outages.
mod realtime_store;

/// State blobs: whole, or named as corrupt.
mod blob;
/// Record bytes to columns: row by row, unstoppable.
mod decode;

/// Schedules: when they are due, where clocks change among it, and what starts, waits or is left out.
mod schedule;

/// Notices of runs: what is told, signed, sent again, and given up; events of OpenLineage.
mod notify;

/// Position tokens: what a client sends back, and what it should not.
mod tokens;

/// Events over HTTP: what is stored, what is answered, what is refused, how overload is told.
mod collector;

/// Loading files: what each kind of file gives, every event answered for once, honest words where it ends early.
mod load;

/// Importing files into the master dataset beside a running system: every kind, once, whichever step is killed.
mod import;

/// Generated traffic towards a collector that refuses: it waits as told, and every line counts once.
mod generate;

/// The batch layer: every record archived once, every batch view equal to a fold over the log below its cut.
mod batch;
/// Configuration: defaults, layers, and errors that name the key.
mod config;
/// Generated SQL over merged views, against DataFusion and DuckDB over plain tables of the same events.
mod differential;
/// Reports of how a publication differs from what was answered before: zero, copies, damage, cost; `verify`. Receipts
/// of single answers.
mod exactness;
/// The query gateway: pins, rows, SQL, HTTP, and publication during queries.
mod gateway;
/// The speed layer: runs against the fold of the log, with workers and stores that fail.
mod speed;

/// Batch views: what a publication replaces, who may publish, what is kept.
mod batch_views;
/// What is kept on disk is for its user alone: modes, owners, links.
mod private_files;
/// Secrets from files, and that no secret is told anywhere.
mod secrets;

/// TLS of the port: who is answered and refused, certificates that change, handshakes that stand still.
mod tls;

/// Tables: versions, facts, types, scans, vacuum, broken logs, an independent reader.
mod lake;
/// Tables: checkpoints against the commits they sum up, and against another reader's opinion.
mod lake_checkpoint;
/// Tables whose log was damaged: what was whole, or the name of what is broken.
mod lake_damage;
/// Tables that other tools commit to, and what a repair mends.
mod lake_foreign;
/// Tables: who commits on the same version, and stores that break their promises.
mod lake_races;
/// The master dataset: appends on exactly one predecessor, the ledger, reading back.
mod master;
/// Rejected records: their reasons over HTTP and in SQL, newest first, read from no more files than needed.
mod rejected;
/// Sequences of small objects: one entry under each number, whoever races, sleeps or crashes.
mod sequence;

/// Roles as processes on real parts: killed, stopped, doubled, their stores away, wiped, older; every answer right.
mod chaos;
/// Whole systems in virtual time under seeded faults: every answer is right for its head; planted bugs are found.
mod simulation;

/// Who may reach a port: hosts and pages, keys, tokens, certificates, the file that says so, read again while it runs.
mod access;
/// What watches from outside: metrics from the start, their catalogue, alert rules, the dashboard.
mod alerts;
/// The binary as a black box: output and exit codes.
mod cli;
/// What `docker compose up` would run, as processes on real parts; the dashboard's metrics.
mod compose;
/// The demo's judgement: what it calls a difference.
mod demo;
/// What is shipped: each package brings a binary that runs.
mod dist;
/// `doctor`: what a start needs, tried and told with the way out, in the words that the start has, too.
mod doctor;
/// Events taken out of every store, as an operator asks for it: a scan of all bytes, kills on the way, exact answers.
mod erasing;
/// Feeds as the world sends them, from examples: loaded once and twice, the same answers from either layer.
mod feeds;
/// One client that means harm: a corpus of requests against a process with a limit on memory; clients that hold on to
/// connections.
mod hostile;
/// What an operator meets: which test holds which case, and those that no other suite has.
mod operator;
/// A collector, as a process, at twice its capacity: refusals that say when to come back, flat memory, exact counts.
mod overload;
/// What only real Kafka, Redis and S3 can do to a system: move, grow, vanish, refuse, fall silent, come back older, and
/// hold a million events that nobody has read.
mod real;
/// Real events through the whole system, against an independent fold, on embedded parts, on Redis, and on real parts.
mod real_input;
/// SIGKILL of the whole process at random moments: exact after a restart, on embedded and on real parts.
mod recovery;
/// The numbers of definition sets, under races and on local files.
mod registry;
/// Runs as they are shown, asked for, and commanded over HTTP.
mod runs;
/// The thin thread through everything, in this process: HTTP in, both layers, HTTP out, on embedded and on real parts.
mod system;
/// Unit tests of views, as users write them: through both layers, with a readable difference where one fails.
mod view_tests;
/// The workflow: what the journal takes and refuses; processes that share, lose and take over under every interleaving.
mod workflow;
/// The same as processes on one folder: killed, paused, doubled, on a store that fails, with executors that are killed;
/// one version each, exact.
mod workflow_processes;

/// What runs in a process: sources and views that stop, start and change while others are answered.
mod topology;
/// Data directories of former releases, opened by this build; what a later one wrote, refused by name.
mod upgrade;
