//! Which key means which setting: one function per section of `config/default.toml`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::reader::{Reader, Section};
use super::{Config, LakeSettings, LogSettings, RealtimeSettings, S3Settings, SystemSettings};

const MILLISECOND: Duration = Duration::from_millis(1);

/// A text that does not appear in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Reads every section; problems stay in the reader.
pub fn read_all(reader: &Reader) -> Config {
    Config {
        system: read_system(reader.section("system")),
        log: read_log(reader),
        lake: read_lake(reader.section("lake")),
        realtime: read_realtime(reader.section("realtime")),
    }
}

fn read_system(section: Section<'_>) -> SystemSettings {
    let listen: Option<SocketAddr> = section.parsed("listen", |text| {
        text.parse().map(Some).map_err(|_| format!("`{text}` is not an address and port such as `127.0.0.1:8080`"))
    });
    SystemSettings {
        data_dir: PathBuf::from(section.text("data_dir")),
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
        shutdown_deadline: section.duration("shutdown_deadline", MILLISECOND),
    }
}

fn read_log(reader: &Reader) -> LogSettings {
    let section = reader.section("log");
    let port = u16::try_from(section.count("embedded_port", 0..=65_535)).unwrap_or(0);
    LogSettings {
        brokers: section.optional_text("brokers"),
        embedded_port: (port != 0).then_some(port),
        properties: reader.below("log.properties"),
    }
}

fn read_lake(section: Section<'_>) -> LakeSettings {
    let s3 = S3Settings {
        bucket: String::new(),
        prefix: String::new(),
        endpoint: section.optional_text("endpoint"),
        region: section.text("region"),
        credentials: section.optional_text("access_key_id").zip(section.optional_text("secret_access_key").map(Secret)),
        allow_http: section.is_on("allow_http"),
    };
    let location = section.text("location");
    if !location.contains("://") {
        return LakeSettings::Folder(Some(location).filter(|path| !path.is_empty()).map(PathBuf::from));
    }
    let url = Url::parse(&location).ok().filter(|url| url.scheme() == "s3" && url.host_str().is_some());
    let Some(url) = url else {
        section.refuse("location", format!("`{location}` is neither a folder nor `s3://bucket/prefix`"));
        return LakeSettings::Folder(None);
    };
    let bucket = url.host_str().unwrap_or_default().to_owned();
    LakeSettings::S3(S3Settings { bucket, prefix: url.path().trim_matches('/').to_owned(), ..s3 })
}

fn read_realtime(section: Section<'_>) -> RealtimeSettings {
    RealtimeSettings::Memory(section.size("memory_limit"))
}
