//! Configuration: defaults, layers, and errors that name the key.

mod kappa;
mod schedules;

use std::path::PathBuf;
use std::time::Duration;

use edge::{AllowedOrigins, Origins};
use positions::format_span;
use twofold::config::quantity::{format_size, parse_duration, parse_size};
use twofold::config::{Config, ConfigInputs, Engine, RealtimeSettings};

fn read(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
    let owned =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(one, two)| ((*one).to_owned(), (*two).to_owned())).collect();
    let inputs =
        ConfigInputs { files: owned(&[("test.toml", file)]), environment: owned(environment), flags: owned(flags) };
    Config::read(inputs).map_err(|error| error.to_string())
}

/// Settings whose `Debug` hides fields that may hold passwords are compared field by field.
#[test]
fn defaults_in_the_file_are_those_of_the_crates() {
    let config = Config::default();
    let same = |ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
        assert_eq!(format!("{ours:#?}"), format!("{theirs:#?}"), "config/default.toml against the crate's Default");
    };
    same(&config.collector, &collector::CollectorSettings::default());
    same(&config.archive, &batch_layer::archive::ArchiveSettings::default());
    same(&config.batch, &batch_layer::BatchSettings::default());
    same(&config.workflow.takes_part, &workflow::WorkflowSettings::default());
    assert_eq!(config.workflow.retries, 2);
    let memory = |text: &str| read(text, &[], &[]).unwrap().workflow.takes_part.memory;
    let small = memory("[batch]\nmemory = \"64MiB\"\n");
    assert_eq!((small.all, small.task), (Some(64 << 20), 64 << 20), "one task of full size, unless more is said");
    let large = memory("[workflow]\nmemory = \"2GiB\"\n");
    assert_eq!((large.all, large.task), (Some(2 << 30), 512 << 20));
    same(&config.speed, &speed_layer::SpeedSettings::default());
    same(&config.gateway, &query_gateway::GatewaySettings::default());
    same(&config.system.connections, &edge::ConnectionSettings::default());
    same(&config.lake.tables, &lake::LakeSettings::default());
    same(&kafka_fields(&config.log.kafka), &kafka_fields(&event_log::kafka::KafkaSettings::default()));
    assert!(config.log.is_embedded && config.log.kafka.properties.is_empty());
    assert!(matches!(config.realtime, RealtimeSettings::Memory { limit_bytes } if limit_bytes == 512 << 20));
}

#[test]
fn defaults_of_redis_are_those_of_the_crate() {
    let RealtimeSettings::Redis(ours) =
        read("[realtime]\nstore = \"redis://127.0.0.1:6379\"\n", &[], &[]).unwrap().realtime
    else {
        panic!("a redis URL means redis");
    };
    let theirs = serving_layer::redis::RedisSettings::default();
    let spans =
        |one: &serving_layer::redis::RedisSettings| (one.connect_timeout, one.response_timeout, one.reconnect_pause);
    assert_eq!(spans(&ours), spans(&theirs));
    assert_eq!((ours.url, ours.prefix, ours.pipeline_commands), (theirs.url, theirs.prefix, theirs.pipeline_commands));
}

fn kafka_fields(settings: &event_log::kafka::KafkaSettings) -> impl std::fmt::Debug {
    let spans = [
        settings.connect_timeout,
        settings.request_timeout,
        settings.delivery_timeout,
        settings.linger,
        settings.fetch_wait,
        settings.session_timeout,
    ];
    let sizes = (settings.queue_records, settings.queue_bytes, settings.max_record_bytes, settings.prefetch_bytes);
    (
        settings.bootstrap_servers.clone(),
        settings.client_id.clone(),
        spans,
        sizes,
        settings.compression,
        settings.replication,
    )
}

#[test]
fn every_key_of_the_defaults_is_read() {
    assert_eq!(Config::unread_default_keys(), Vec::<String>::new());
}

#[test]
fn later_layers_win() {
    let file = "[system]\nlisten = \"127.0.0.1:1\"\nshutdown_deadline = \"1s\"\n";
    let environment = [("TWOFOLD_SYSTEM__LISTEN", "127.0.0.1:2"), ("TWOFOLD_SYSTEM__DATA_DIR", "from-environment")];
    let config = read(file, &environment, &[("system.data_dir", "from-flag")]).unwrap();
    assert_eq!(config.system.shutdown_deadline, Duration::from_secs(1));
    assert_eq!(config.system.listen.port(), 2);
    assert_eq!(config.system.data_dir, PathBuf::from("from-flag"));
}

#[test]
fn variables_without_a_double_underscore_are_not_ours() {
    assert!(read("", &[("TWOFOLD_SEED", "7"), ("HOME", "/")], &[]).is_ok());
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    let error = read("[speed]\ntik = \"100ms\"\n", &[], &[]).unwrap_err();
    assert!(error.contains("`speed.tik` (test.toml)") && error.contains("did you mean `speed.tick`?"), "{error}");
    let error = read("", &[("TWOFOLD_SYSTEM__LISTENN", "x")], &[]).unwrap_err();
    assert!(error.contains("environment variable TWOFOLD_SYSTEM__LISTENN"), "{error}");
    assert!(error.contains("did you mean `system.listen`?"), "{error}");
}

#[test]
fn wrong_values_are_told_all_at_once_by_key() {
    let file = "[speed]\ntick = \"fast\"\nmax_records = 0\n[gateway]\nview_memory = \"12 parsecs\"\n";
    let error = read(file, &[], &[]).unwrap_err();
    for expected in [
        "`speed.tick` (test.toml): must be a span of time such as",
        "or '2 days', got `fast`",
        "`speed.max_records` (test.toml): must be at least 1, got `0`",
        "`gateway.view_memory` (test.toml): must be a size such as `512KiB`, `64MiB` or `1GiB`, got `12 parsecs`",
    ] {
        assert!(error.contains(expected), "{expected} is missing in:\n{error}");
    }
}

#[test]
fn a_refusal_says_what_must_be_and_what_it_got() {
    for (file, expected) in [
        ("[speed]\ntick = \"0ms\"", "`speed.tick` (test.toml): must be at least 1ms, got `0ms`"),
        ("[speed]\nmax_records = 4294967296", "must be 1 to 2147483648, got `4294967296`"),
        ("[system]\nlisten = \"here\"", "must be an address and port such as `127.0.0.1:8080`, got `here`"),
        (
            "[collector]\nallowed_origins = \"https://shop.example/\"",
            "`collector.allowed_origins` (test.toml): must hold origins such as `https://shop.example`, \
             got `https://shop.example/`: browsers write `https://shop.example`",
        ),
        ("[collector]\nallowed_origins = \"shop.example\"", "must hold origins such as"),
        ("[collector]\nallowed_origins = \"localhost:3000\"", "must hold origins such as"),
        ("[collector]\nallowed_origins = \"null\"", "must hold origins such as"),
        ("[collector]\nallowed_origins = \"https://*.shop.example\"", "each origin is written out"),
        ("[collector]\nallowed_origins = \"https://a.example,HTTPS://B.example\"", "write `https://b.example`"),
        ("[collector]\nallowed_origins = \"https://a.example:443\"", "write `https://a.example`"),
        ("[collector]\nallowed_origins = \"https://a.example/shop\"", "write `https://a.example`"),
        ("[collector]\nallowed_origins = \"*, https://a.example\"", "must be `*` alone"),
        ("[collector]\nallowed_origins = \"clicks=a.example\"", "must hold origins such as"),
        ("[collector]\nallowed_origins = \"=https://a.example\"", "must name a source in front of `=`"),
        ("[collector]\nallowed_origins = \"clicks=*,clicks=https://a.example\"", "must be `*` alone"),
        ("[gateway]\nallowed_origins = \"clicks=https://a.example\"", "must hold origins such as"),
        ("[log]\ncompression = \"gzip\"", "must be `none`, `lz4` or `zstd`, got `gzip`"),
        ("[log]\nbrokers = \"http://a:9092\"", "`log.brokers` (test.toml): must be `host:port`, several with commas"),
        ("[log]\nbrokers = \"a:9092,b:port\"", "got `a:9092,b:port`"),
        ("[log]\nbrokers = \"a:9092 b:9092\"", "must be `host:port`, several with commas between"),
        ("[log]\nbrokers = \"u:hush@a:9092\"", "must be `host:port`, several with commas between, got `...`"),
        ("[lake]\nlocation = \"s3://k:hush@a/b\"", "`lake.access_key_id` and `lake.secret_access_key` are for them"),
        ("[log]\nbrokers = \",\"", "must be `host:port`, several with commas between"),
        ("[lake]\nlocation = \"s3:/a/b\"", "must be a folder or `s3://bucket/prefix`, got `s3:/a/b`"),
        ("[lake]\nlocation = \"S3:a\"", "must be a folder or `s3://bucket/prefix`, got `S3:a`"),
        ("[lake]\nlocation = \"gs://a/b\"", "must be a folder or `s3://bucket/prefix`, got `gs://a/b`"),
        ("[schema_registry]\nurl = \"registry:8081\"", "`schema_registry.url` (test.toml): must be `http://host:port`"),
        ("[schema_registry]\nurl = \"http://u:hush@host:8081\"", "user and password are settings of their own"),
        ("[schema_registry]\nuser = \"u\"", "must be set together with `schema_registry.password`"),
        (
            "[realtime]\nstore = \"memroy\"",
            "must be `memory`, `redis://...` or, over TLS, `rediss://...`, got `memroy`",
        ),
        (
            "[realtime]\nstore = \"http://:hush@host\"",
            "must be `memory`, `redis://...` or, over TLS, `rediss://...`, got `http://...`",
        ),
        (
            "[realtime]\nstore = \":hush@host:6379\"",
            "must be `memory`, `redis://...` or, over TLS, `rediss://...`, got `...`",
        ),
    ] {
        let error = read(file, &[], &[]).unwrap_err();
        assert!(error.contains(expected) && !error.contains("hush"), "{file}: {expected} is missing in:\n{error}");
    }
}

#[test]
fn redis_over_tls_and_as_a_cluster_is_read_or_refused_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("some.pem");
    std::fs::write(&file, "what a file holds is looked at when it is used").unwrap();
    let (file, absent) = (file.to_str().unwrap(), folder.path().join("absent.pem"));
    let absent = absent.to_str().unwrap();
    let read = |settings: &[(&str, &str)]| {
        let lines: Vec<String> = settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        read(&format!("[realtime]\n{}", lines.concat()), &[], &[])
    };
    let quoted = |text: &str| format!("\"{text}\"");
    let (pem, absent) = (quoted(file), quoted(absent));
    let (pem, absent) = (pem.as_str(), absent.as_str());

    let all = [
        ("store", "\"rediss://twofold:secret@a:6379,b:6379/\""),
        ("cluster", "true"),
        ("tls_ca", pem),
        ("tls_certificate", pem),
        ("tls_key", pem),
    ];
    let config = read(&all).unwrap();
    assert!(!format!("{config:?}").contains("secret"));
    let RealtimeSettings::Redis(redis) = config.realtime else { panic!("a redis URL means redis") };
    assert!(redis.is_cluster && redis.tls.authority.is_some() && redis.tls.identity.is_some());

    let cases: [(&[(&str, &str)], &str); 9] = [
        (
            &[("store", "\"redis://:secret@a,b\"")],
            "`realtime.store` (test.toml): several addresses are those of a cluster",
        ),
        (&[("store", "\"redis://:secret@a/1\""), ("cluster", "true")], "a cluster has the database 0 alone"),
        (&[("store", "\"rediss://:secret@a#insecure\"")], "certificates are always checked"),
        (&[("store", "\"redis://:secret@\"")], "is no `redis://USER:PASSWORD@HOST:PORT/0`"),
        (&[("cluster", "true")], "`realtime.cluster` (test.toml): is for a store in Redis"),
        (&[("store", "\"redis://:secret@a\""), ("tls_ca", pem)], "begin `realtime.store` with `rediss://`"),
        (&[("store", "\"rediss://:secret@a\""), ("tls_ca", absent)], "`realtime.tls_ca` (test.toml): cannot read `"),
        (&[("store", "\"rediss://a\""), ("tls_key", pem)], "must be set together with `realtime.tls_certificate`"),
        (&[("store", "\"rediss://a\""), ("tls_certificate", pem)], "must be set together with `realtime.tls_key`"),
    ];
    for (settings, expected) in cases {
        let error = read(settings).unwrap_err();
        assert!(error.contains(expected) && !error.contains("secret"), "{expected} is missing in:\n{error}");
    }
}

#[test]
fn origins_are_listed_or_all_of_them() {
    let allowed = |text: &str| {
        let variables = [("TWOFOLD_COLLECTOR__ALLOWED_ORIGINS", text), ("TWOFOLD_GATEWAY__ALLOWED_ORIGINS", text)];
        let config = read("", &variables, &[]).unwrap();
        assert_eq!(config.collector.allowed_origins, config.gateway.allowed_origins);
        config.collector.allowed_origins
    };
    let list = |origins: &[&str]| Origins::These(origins.iter().map(|origin| (*origin).to_owned()).collect());
    let these = |origins: &[&str]| AllowedOrigins::everywhere(list(origins));
    assert_eq!(allowed(""), these(&[]));
    assert_eq!(allowed("*"), AllowedOrigins::everywhere(Origins::Any));
    assert_eq!(allowed("https://shop.example"), these(&["https://shop.example"]));
    let several = "http://localhost:3000, http://[::1]:8000,https://shop.example, capacitor://localhost";
    let each = ["http://localhost:3000", "http://[::1]:8000", "https://shop.example", "capacitor://localhost"];
    assert_eq!(allowed(several), these(&each));
    let of_sources = "https://shop.example, clicks=https://a.example,visits = *,clicks=http://b.example";
    let config = read("", &[("TWOFOLD_COLLECTOR__ALLOWED_ORIGINS", of_sources)], &[]).unwrap();
    let expected = these(&["https://shop.example"]).and_of("clicks", list(&["https://a.example", "http://b.example"]));
    assert_eq!(config.collector.allowed_origins, expected.and_of("visits", Origins::Any));
}

#[test]
fn compaction_can_be_switched_off_and_never_merges_one_file_into_one() {
    let config =
        read("[batch]\ncompact = false\ncompact_file_size = \"1MiB\"\ncompact_min_files = 2\n", &[], &[]).unwrap();
    let compact = config.batch.compact;
    assert_eq!((compact.is_on, compact.file_bytes, compact.min_files), (false, 1 << 20, 2));
    let error = read("[batch]\ncompact_min_files = 1\ncompact_file_size = \"0KiB\"\n", &[], &[]).unwrap_err();
    for expected in [
        "`batch.compact_min_files` (test.toml): must be 2 to 1000, got `1`",
        "`batch.compact_file_size` (test.toml): must be at least 1 byte, got `0KiB`",
    ] {
        assert!(error.contains(expected), "{expected} is missing in:\n{error}");
    }
}

#[test]
fn large_groups_are_computed_by_their_worker_unless_an_engine_is_named() {
    let ballista = read("", &[], &[]).unwrap().ballista;
    assert_eq!((ballista.engine, ballista.scheduler), (Engine::Local, ("127.0.0.1".to_owned(), 50_050)));
    assert!(ballista.executor_listen.ip().is_loopback() && ballista.scheduler_listen.ip().is_loopback());
    let file = "[batch]\nengine = \"ballista\"\n[ballista]\nscheduler = \"[::1]:7\"\nfrom = \"1B\"\n";
    let ballista = read(file, &[], &[]).unwrap().ballista;
    assert_eq!((ballista.engine, ballista.scheduler), (Engine::Ballista, ("[::1]".to_owned(), 7)));
    let error = read("[batch]\nengine = \"spark\"\n[ballista]\nscheduler = \"http://a:1\"\n", &[], &[]).unwrap_err();
    for expected in [
        "`batch.engine` (test.toml): must be `local` or `ballista`, got `spark`",
        "`ballista.scheduler` (test.toml): must be `host:port`, got `http://a:1`",
    ] {
        assert!(error.contains(expected), "{expected} is missing in:\n{error}");
    }
}

#[test]
fn nothing_is_folded_unless_an_age_is_written() {
    assert_eq!(read("", &[], &[]).unwrap().batch.fold_after, None);
    let config = read("[batch]\nfold_after = \"90d\"\n", &[], &[]).unwrap();
    assert_eq!(config.batch.fold_after, Some(Duration::from_secs(90 * 24 * 3600)));
}

#[test]
fn wrong_types_and_broken_files_are_refused() {
    let error = read("[speed]\ntick = 200\n", &[], &[]).unwrap_err();
    assert!(error.contains("`speed.tick` (test.toml): must be a string, got the integer `200`"), "{error}");
    let error = read("", &[("TWOFOLD_SPEED__MAX_RECORDS", "many")], &[]).unwrap_err();
    assert!(error.contains("must be an integer, got the string `many`"), "{error}");
    assert!(read("[speed\n", &[], &[]).unwrap_err().contains("\n  test.toml: is not TOML"));
}

#[test]
fn limits_that_can_never_work_together_are_refused_by_both_keys() {
    let cases: [(&str, &[&str]); 17] = [
        (
            "[collector]\nmax_in_flight = \"39MiB\"",
            &["`collector.max_in_flight` (test.toml): `39MiB`", "`collector.max_body`", "8MiB + 32MiB"],
        ),
        ("[collector]\nmax_inflated = \"1GiB\"", &["`collector.max_in_flight` (default)", "8MiB + 1GiB"]),
        ("[collector]\nmax_event_bytes = 1048577", &["`collector.max_event_bytes`", "1 to 1048576"]),
        (
            "[log]\nlinger = \"30s\"",
            &["`collector.acknowledge_timeout`", "`log.delivery_timeout`", "`log.linger` (30s)"],
        ),
        (
            "[collector]\nclock_tolerance = \"31d\"",
            &["`collector.max_clock_shift` (default): `30d`", "`collector.clock_tolerance` (31d)"],
        ),
        ("[log]\nqueue_size = \"512KiB\"", &["`log.queue_size`", "`log.max_record_bytes` (1000000)"]),
        ("[workflow]\nbeat = \"2s\"", &["`workflow.leader_patience` (default): `5s`", "`workflow.beat` (2s)"]),
        ("[workflow]\nmemory = \"1MiB\"", &["`workflow.memory`", "`1MiB`", "`batch.memory` (512MiB)"]),
        ("[workflow]\nhistory_runs = 19", &["`workflow.history_runs`", "`workflow.recent_runs` (20)"]),
        ("[archive]\nretry_min = \"31s\"", &["`archive.retry_max` (default): `30s`", "`archive.retry_min` (31s)"]),
        ("[gateway]\ndefault_rows = 20000", &["`gateway.max_rows`", "`gateway.default_rows` (20000)"]),
        ("[gateway]\ndefault_wait = \"31s\"", &["`gateway.max_wait`", "`gateway.default_wait` (31s)"]),
        ("[speed]\ntouch = \"15s\"", &["`gateway.stale_after`", "`speed.touch` (15s)"]),
        (
            "[ballista]\nmax_plan = \"64MiB\"",
            &["`ballista.max_message` (default): `64MiB`", "`ballista.max_plan` (64MiB)"],
        ),
        ("[ballista]\ndeadline = \"12h\"", &["`ballista.keep` (default): `12h`", "`ballista.deadline` (12h)"]),
        (
            "[ballista]\nexecutor_listen = \"0.0.0.0:50051\"",
            &["`ballista.advertised_host`", "`ballista.executor_listen`"],
        ),
        // What only the client library knows, also of the clients that are made later.
        ("[log]\nprefetch_size = \"4TiB\"", &["section [log]", "queued.max.messages.kbytes"]),
    ];
    for (file, parts) in cases {
        let error = read(file, &[], &[]).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{file}: {parts:?} are not all in:\n{error}");
    }
    assert!(read("[collector]\nmax_in_flight = \"40MiB\"", &[], &[]).is_ok());
    let unknown = read("[log.properties]\n\"no.such\" = \"1\"", &[], &[]).unwrap_err();
    assert!(unknown.contains("no.such"), "{unknown}");
}

#[test]
fn half_of_the_s3_credentials_is_refused() {
    for (set, missing) in [("access_key_id", "secret_access_key"), ("secret_access_key", "access_key_id")] {
        let error = read(&format!("[lake]\n{set} = \"half\"\n"), &[], &[]).unwrap_err();
        let expected = format!("`lake.{set}` (test.toml): must be set together with `lake.{missing}`");
        assert!(error.contains(&expected) && !error.contains("half"), "{error}");
    }
    assert!(read("[lake]\naccess_key_id = \"name\"\nsecret_access_key = \"secret\"\n", &[], &[]).is_ok());
}

#[test]
fn properties_of_the_kafka_client_pass_through() {
    let file = "[log]\nbrokers = \"127.0.0.1:9092\"\n[log.properties]\n\"batch.size\" = \"7000\"\n";
    let config = read(file, &[("TWOFOLD_LOG__PROPERTIES__SECURITY_PROTOCOL", "ssl")], &[]).unwrap();
    assert_eq!(config.log.kafka.properties["batch.size"], "7000");
    assert_eq!(config.log.kafka.properties["security.protocol"], "ssl");
}

#[test]
fn a_property_of_the_kafka_client_that_a_setting_stands_for_is_refused_with_it() {
    let error = read("", &[("TWOFOLD_LOG__PROPERTIES__LINGER_MS", "7")], &[]).unwrap_err();
    let expected = "kafka property `linger.ms` is set by twofold: use `log.linger`";
    assert!(error.contains("section [log]") && error.contains(expected), "{error}");
}

/// The client of the store ends the process at each of these.
#[test]
fn what_no_request_can_be_made_of_is_refused_by_its_setting() {
    let location = ("TWOFOLD_LAKE__LOCATION", "s3://bucket/lake");
    for (key, value, expected) in [
        ("ENDPOINT", "http:/127.0.0.1:1", "`lake.endpoint`"),
        ("ENDPOINT", "https:127.0.0.1:1", "`lake.endpoint`"),
        ("ENDPOINT", "https://127.0.0.1:1/a b", "`lake.endpoint`"),
        ("ENDPOINT", " https://127.0.0.1:1", "`lake.endpoint`"),
        ("ENDPOINT", "https://b\u{fc}cher.localhost:1", "`lake.endpoint`"),
        ("ENDPOINT", "https://127.0.0.1:1?x=1", "`lake.endpoint`"),
        ("ENDPOINT", "https://user:hidden@127.0.0.1:1", "`lake.endpoint`"),
        ("REGION", "eu west", "must be the name of a region such as `us-east-1`, got `eu west`"),
        ("REGION", "", "`lake.region`"),
        ("LOCATION", "s3://b\u{fc}cket/lake", "`lake.location`"),
        ("ACCESS_KEY_ID", "two\nlines", "`lake.access_key_id`"),
    ] {
        let key = format!("TWOFOLD_LAKE__{key}");
        let secret = ("TWOFOLD_LAKE__SECRET_ACCESS_KEY", "secret");
        let id = ("TWOFOLD_LAKE__ACCESS_KEY_ID", "key");
        let error = read("", &[location, id, secret, (key.as_str(), value)], &[]).unwrap_err();
        assert!(error.contains(expected) && !error.contains("hidden"), "{key} = {value}: {error}");
    }
}

#[test]
fn a_span_that_no_clock_can_add_is_refused() {
    let error = read("[speed]\ntick = \"36501d\"", &[], &[]).unwrap_err();
    assert!(error.contains("`speed.tick` (test.toml): must be at most 36500d, got `36501d`"), "{error}");
    assert!(parse_duration("36500d").is_ok());
}

#[test]
fn spans_and_sizes_read_back_what_they_write() {
    for text in ["0ms", "200ms", "30s", "90s", "5m", "2h", "1d", "36h"] {
        assert_eq!(format_span(parse_duration(text).unwrap()), text);
    }
    for text in ["0B", "1B", "1000B", "512KiB", "64MiB", "1GiB", "3TiB"] {
        assert_eq!(format_size(parse_size(text).unwrap()), text);
    }
    for text in ["", "5", "ms", "-1s", "1.5s", "10 parsecs", "99999999999999999999s"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
    assert!(parse_size("99999999999TiB").is_err());
}
