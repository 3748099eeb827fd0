//! Which key means which setting of process, log and stores: one function per section of `config/default.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use edge::{Audit, ConnectionSettings};
use event_log::embedded::EmbeddedSettings;
use event_log::kafka::{Compression, KafkaSettings};
use url::Url;

use super::address::{is_broker, is_header_text, is_http_url, is_plain_name};
use super::ballista::read_ballista;
use super::layer_sections::{read_archive, read_batch, read_collector, read_gateway, read_speed};
use super::notify::read_notify;
use super::reader::{LARGEST_COUNT, Reader, SHORTEST_SPAN, Section};
use super::realtime::read_realtime;
use super::schedules::read_schedules;
use super::secret::{Secret, without_password, without_user};
use super::workflow_section::read_workflow;
use super::{
    AccessMode, AccessSettings, Config, LakeLocation, LakeSection, LogSettings, S3Settings, SchemaRegistrySettings,
    SystemSettings, TlsSettings,
};

/// Reads every section; problems stay in the reader.
pub fn read_all(reader: &Reader) -> Config {
    let mut config = Config {
        system: read_system(reader.section("system")),
        access: read_access(reader.section("access")),
        log: read_log(reader),
        lake: read_lake(reader.section("lake")),
        realtime: read_realtime(reader.section("realtime")),
        schema_registry: read_schema_registry(reader.section("schema_registry")),
        collector: read_collector(reader.section("collector")),
        archive: read_archive(reader.section("archive")),
        batch: read_batch(reader.section("batch")),
        ballista: read_ballista(reader),
        schedules: read_schedules(reader),
        workflow: read_workflow(reader.section("workflow")),
        notify: read_notify(reader.section("notify")),
        speed: read_speed(reader.section("speed")),
        gateway: read_gateway(reader.section("gateway")),
    };
    let (memory, task) = (&mut config.workflow.takes_part.memory, config.batch.recompute.memory_bytes as u64);
    memory.task = task;
    memory.all.get_or_insert(task);
    config
}

fn read_system(section: Section<'_>) -> SystemSettings {
    let listen: Option<SocketAddr> = section.parsed("listen", |text| {
        text.parse()
            .map(Some)
            .map_err(|_| format!("must be an address and port such as `127.0.0.1:8080`, got `{text}`"))
    });
    SystemSettings {
        data_dir: PathBuf::from(section.text("data_dir")),
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        connections: ConnectionSettings {
            max_connections: section.length("max_connections", 1..=LARGEST_COUNT),
            head_timeout: section.duration("head_timeout", SHORTEST_SPAN),
            answer_timeout: section.duration("answer_timeout", SHORTEST_SPAN),
        },
        tls: read_tls(section),
        shutdown_deadline: section.duration("shutdown_deadline", SHORTEST_SPAN),
        keep_replaced: section.duration("keep_replaced", Duration::ZERO),
    }
}

fn read_tls(section: Section<'_>) -> Option<TlsSettings> {
    let file = |key: &str| section.optional_text(key).map(PathBuf::from);
    let (certificate, key, client_ca) = (file("tls_certificate"), file("tls_key"), file("tls_client_ca"));
    let is_client_required = section.is_on("tls_client_required");
    if is_client_required && client_ca.is_none() {
        let why = "says whose certificates are believed";
        section.refuse("tls_client_required", format!("needs `{}`, which {why}", section.key("tls_client_ca")));
    }
    let missing = |key: &str, other: &str| {
        section.refuse(key, format!("must be set together with `{}`", section.key(other)));
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) => return Some(TlsSettings { certificate, key, client_ca, is_client_required }),
        (Some(_), None) => missing("tls_certificate", "tls_key"),
        (None, Some(_)) => missing("tls_key", "tls_certificate"),
        (None, None) if client_ca.is_some() => missing("tls_client_ca", "tls_certificate"),
        (None, None) => (),
    }
    None
}

fn read_access(section: Section<'_>) -> AccessSettings {
    let mode = section.parsed("mode", |text| match text {
        "local" => Ok(AccessMode::Local),
        "keys" => Ok(AccessMode::Keys),
        "none" => Ok(AccessMode::Open),
        _ => Err(format!("must be `local`, `keys` or `none`, got `{text}`")),
    });
    let audit = section.parsed("audit", |text| match text {
        "none" => Ok(Audit::Off),
        "refused" => Ok(Audit::Refused),
        "all" => Ok(Audit::All),
        _ => Err(format!("must be `none`, `refused` or `all`, got `{text}`")),
    });
    AccessSettings { mode, file: section.optional_text("file").map(PathBuf::from), audit }
}

fn read_log(reader: &Reader) -> LogSettings {
    let section = reader.section("log");
    let brokers = read_brokers(section);
    let kafka = read_kafka(&section);
    LogSettings {
        is_embedded: brokers.is_none(),
        embedded: read_embedded(&section, &kafka),
        kafka: KafkaSettings {
            bootstrap_servers: brokers.unwrap_or_else(|| KafkaSettings::default().bootstrap_servers),
            properties: reader.below("log.properties"),
            ..kafka
        },
    }
}

/// Addresses as the client reads them, each behind a protocol if need be: others it would leave out without a word.
fn read_brokers(section: Section<'_>) -> Option<String> {
    let brokers = section.optional_text("brokers")?;
    let mut named = brokers.split(',').map(str::trim).filter(|broker| !broker.is_empty()).peekable();
    if named.peek().is_none() || !named.all(is_broker) {
        let shown = without_user(&brokers);
        section.refuse("brokers", format!("must be `host:port`, several with commas between, got `{shown}`"));
    }
    Some(brokers)
}

/// What bounds one client of Kafka bounds the log inside this process as well.
fn read_embedded(section: &Section<'_>, kafka: &KafkaSettings) -> EmbeddedSettings {
    EmbeddedSettings {
        is_synced: section.is_on("embedded_sync"),
        retention: section.duration("embedded_retention", SHORTEST_SPAN),
        max_bytes: section.size("embedded_max_size"),
        queue_records: kafka.queue_records.into(),
        queue_bytes: kafka.queue_bytes,
        batch_records: section.count("embedded_batch_records", 1..=LARGEST_COUNT),
        batch_bytes: section.size("embedded_batch_size"),
        max_record_bytes: kafka.max_record_bytes,
        ..EmbeddedSettings::new(PathBuf::new())
    }
}

fn read_kafka(section: &Section<'_>) -> KafkaSettings {
    let replication = i32::try_from(section.count("replication", 0..=1_000)).unwrap_or(0);
    KafkaSettings {
        client_id: section.text("client_id"),
        connect_timeout: section.duration("connect_timeout", SHORTEST_SPAN),
        request_timeout: section.duration("request_timeout", SHORTEST_SPAN),
        delivery_timeout: section.duration("delivery_timeout", SHORTEST_SPAN),
        linger: section.duration("linger", Duration::ZERO),
        compression: section.parsed("compression", |text| match text {
            "none" => Ok(Compression::None),
            "lz4" => Ok(Compression::Lz4),
            "zstd" => Ok(Compression::Zstd),
            _ => Err(format!("must be `none`, `lz4` or `zstd`, got `{text}`")),
        }),
        queue_records: u32::try_from(section.count("queue_records", 1..=LARGEST_COUNT)).unwrap_or(u32::MAX),
        queue_bytes: section.size("queue_size"),
        max_record_bytes: section.length("max_record_bytes", 1..=LARGEST_COUNT),
        prefetch_bytes: section.size("prefetch_size"),
        fetch_wait: section.duration("fetch_wait", SHORTEST_SPAN),
        session_timeout: section.duration("session_timeout", Duration::from_secs(1)),
        replication: (replication != 0).then_some(replication),
        ..KafkaSettings::default()
    }
}

fn read_lake(section: Section<'_>) -> LakeSection {
    LakeSection {
        location: read_location(section),
        tables: lake::LakeSettings {
            checkpoint_interval: u32::try_from(section.count("checkpoint_interval", 1..=LARGEST_COUNT))
                .unwrap_or(u32::MAX),
            row_group_rows: section.length("row_group_rows", 1..=LARGEST_COUNT),
            compression_level: i32::try_from(section.count("compression_level", 1..=19)).unwrap_or(1),
        },
    }
}

fn read_location(section: Section<'_>) -> LakeLocation {
    let s3 = S3Settings {
        bucket: String::new(),
        prefix: String::new(),
        endpoint: read_endpoint(section),
        region: section.parsed("region", read_region),
        credentials: read_credentials(section, ("access_key_id", "secret_access_key")),
        allow_http: section.is_on("allow_http"),
    };
    let location = section.text("location");
    // `s3:/bucket` and `s3:bucket` are slips, and no folders.
    let is_slip = location.to_lowercase().starts_with("s3:");
    if !location.contains("://") && !is_slip {
        return LakeLocation::Folder(Some(location).filter(|path| !path.is_empty()).map(PathBuf::from));
    }
    let url = Url::parse(&location).ok().filter(|url| url.scheme() == "s3" && url.host_str().is_some());
    let Some(url) = url else {
        let shown = without_user(&location);
        section.refuse("location", format!("must be a folder or `s3://bucket/prefix`, got `{shown}`"));
        return LakeLocation::Folder(None);
    };
    let is_plain = s3.endpoint.as_ref().is_some_and(|endpoint| endpoint.to_lowercase().starts_with("http://"));
    if is_plain && !s3.allow_http {
        section.refuse("allow_http", "must be true where `lake.endpoint` is plain http, or use `https://`".to_owned());
    }
    if s3.credentials.as_ref().is_some_and(|(key, _)| !is_header_text(key)) {
        section.refuse("access_key_id", "must be letters, digits and signs without blanks".to_owned());
    }
    let bucket = url.host_str().unwrap_or_default().to_owned();
    if !url.username().is_empty() || url.password().is_some() {
        let message = "holds a user or a password: `lake.access_key_id` and `lake.secret_access_key` are for them";
        section.refuse("location", message.to_owned());
    } else if !is_plain_name(&bucket) {
        section.refuse("location", format!("bucket must be letters, digits, `-`, `.` and `_`, got `{location}`"));
    }
    LakeLocation::S3(S3Settings { bucket, prefix: url.path().trim_matches('/').to_owned(), ..s3 })
}

fn read_region(text: &str) -> Result<String, String> {
    let told = || format!("must be the name of a region such as `us-east-1`, got `{text}`");
    if is_plain_name(text) { Ok(text.to_owned()) } else { Err(told()) }
}

fn read_endpoint(section: Section<'_>) -> Option<String> {
    let text = section.optional_text("endpoint")?;
    if !is_http_url(&text) {
        let shown = without_user(&text);
        let message = format!("must be `http://host:port` or `https://host:port`, got `{shown}`");
        section.refuse("endpoint", message);
    }
    Some(text)
}

/// `keys`: that of the name and that of what is secret.
fn read_credentials(section: Section<'_>, (name, secret): (&str, &str)) -> Option<(String, Secret)> {
    let refuse =
        |key: &str, other: &str| section.refuse(key, format!("must be set together with `{}`", section.key(other)));
    match (section.optional_text(name), section.optional_text(secret)) {
        (Some(name), Some(secret)) => return Some((name, Secret(secret))),
        (Some(_), None) => refuse(name, secret),
        (None, Some(_)) => refuse(secret, name),
        (None, None) => (),
    }
    None
}

fn read_schema_registry(section: Section<'_>) -> Option<SchemaRegistrySettings> {
    let credentials = read_credentials(section, ("user", "password"));
    let timeout = section.duration("timeout", SHORTEST_SPAN);
    let text = section.optional_text("url")?;
    let is_usable =
        |url: &Url| ["http", "https"].contains(&url.scheme()) && url.host_str().is_some() && url.username().is_empty();
    let url = Url::parse(&text).ok().filter(|url| is_usable(url) && url.password().is_none());
    if url.is_none() {
        let expected = "must be `http://host:port` or `https://...`; user and password are settings of their own";
        let message = format!("{expected}; got `{}`", without_password(&text));
        section.refuse("url", message);
    }
    url.map(|url| SchemaRegistrySettings { url, credentials, timeout })
}
