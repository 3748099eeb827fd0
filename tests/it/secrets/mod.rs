//! Secrets: given as the path of a file, and told by no message, whatever is wrong.

mod process;

use std::path::PathBuf;

use twofold::config::{Config, ConfigInputs, LakeLocation, RealtimeSettings};

/// What no text may hold.
const SECRET: &str = "correct-horse-battery-staple";

/// A folder with files that hold secrets.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn read(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let owned = |(one, two): &(&str, &str)| ((*one).to_owned(), (*two).to_owned());
    let inputs = ConfigInputs {
        files: vec![("test.toml".to_owned(), file.to_owned())],
        environment: environment.iter().map(owned).collect(),
        flags: Vec::new(),
    };
    let read = Config::read(inputs).map_err(|error| error.to_string());
    let told = read.as_ref().map_or_else(Clone::clone, |config| format!("{config:?} {config:#?}"));
    assert!(!told.contains(SECRET), "{told}");
    read
}

#[test]
fn every_secret_may_be_in_a_file() {
    let files = Files::new();
    let plain = files.write("secret", SECRET);
    let url = files.write("url", &format!("redis://:{SECRET}@127.0.0.1:6379/0\n"));
    let windows = files.write("windows", &format!("{SECRET}\r\n"));
    let lines = files.write("lines", &format!("{SECRET}\n\n"));
    let text = format!(
        "[lake]\nlocation = \"s3://bucket/lake\"\naccess_key_id = \"key\"\nsecret_access_key_file = \"{plain}\"\n\
         [schema_registry]\nurl = \"http://127.0.0.1:1\"\nuser = \"me\"\n\
         [log.properties]\n\"sasl.password_file\" = \"{windows}\"\n"
    );
    let environment = [
        ("TWOFOLD_SCHEMA_REGISTRY__PASSWORD_FILE", windows.as_str()),
        ("TWOFOLD_REALTIME__STORE_FILE", url.as_str()),
        ("TWOFOLD_LOG__PROPERTIES__SSL_KEY_PASSWORD_FILE", lines.as_str()),
    ];
    let config = read(&text, &environment).unwrap();
    let LakeLocation::S3(s3) = &config.lake.location else { panic!("{:?}", config.lake) };
    assert_eq!(s3.credentials.as_ref().map(|(key, secret)| (key.as_str(), secret.0.as_str())), Some(("key", SECRET)));
    let registry = config.schema_registry.as_ref().unwrap().credentials.as_ref().unwrap();
    assert_eq!((registry.0.as_str(), registry.1.0.as_str()), ("me", SECRET));
    let RealtimeSettings::Redis(redis) = &config.realtime else { panic!("{:?}", config.realtime) };
    assert_eq!(redis.url, format!("redis://:{SECRET}@127.0.0.1:6379/0"));
    assert_eq!(config.log.kafka.properties["sasl.password"], SECRET);
    // The end of the last line alone is none of it.
    assert_eq!(config.log.kafka.properties["ssl.key.password"], format!("{SECRET}\n"));
    assert_eq!(config.log.kafka.properties.len(), 2, "{:?}", config.log.kafka.properties.keys());
}

#[test]
fn every_secret_of_the_kafka_client_may_be_in_a_file() {
    let files = Files::new();
    let path = files.write("secret", SECRET);
    for property in [
        "sasl.username",
        "sasl.password",
        "sasl.oauthbearer.config",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
    ] {
        let in_file = read(&format!("[log.properties]\n\"{property}_file\" = \"{path}\"\n"), &[]).unwrap();
        let variable = format!("TWOFOLD_LOG__PROPERTIES__{}_FILE", property.replace('.', "_").to_uppercase());
        let in_environment = read("", &[(variable.as_str(), path.as_str())]).unwrap();
        for config in [in_file, in_environment] {
            assert_eq!(config.log.kafka.properties.get(property).map(String::as_str), Some(SECRET), "{property}");
        }
    }
}

#[test]
fn a_secret_that_is_given_twice_is_refused() {
    let files = Files::new();
    let path = files.write("secret", SECRET);
    let text = format!("[schema_registry]\nuser = \"me\"\npassword_file = \"{path}\"\n");
    let error = read(&text, &[("TWOFOLD_SCHEMA_REGISTRY__PASSWORD", SECRET)]).unwrap_err();
    let set_as_well =
        "`schema_registry.password` is set as well (environment variable TWOFOLD_SCHEMA_REGISTRY__PASSWORD)";
    assert!(error.contains("`schema_registry.password_file` (test.toml)"), "{error}");
    assert!(error.contains(set_as_well) && error.contains("keep one of the two"), "{error}");
    // What nobody wrote, and what is empty, is not given.
    assert!(read(&text, &[("TWOFOLD_SCHEMA_REGISTRY__PASSWORD", "")]).is_ok());
    let taken_back = read(&text, &[("TWOFOLD_SCHEMA_REGISTRY__PASSWORD_FILE", "")]).unwrap_err();
    assert!(taken_back.contains("must be set together with `schema_registry.password`"), "{taken_back}");
}

#[test]
fn a_file_that_holds_no_secret_is_refused_by_setting_and_path() {
    let files = Files::new();
    let (empty, line) = (files.write("empty", ""), files.write("line", "\n"));
    std::fs::write(files.path("bytes"), [0xff, 0xfe]).unwrap();
    let (missing, bytes) = (files.path("missing"), files.path("bytes"));
    let folder = files.path("");
    let paths =
        [missing.to_str().unwrap(), bytes.to_str().unwrap(), folder.to_str().unwrap(), empty.as_str(), line.as_str()];
    for path in paths {
        let error = read("", &[("TWOFOLD_LAKE__SECRET_ACCESS_KEY_FILE", path)]).unwrap_err();
        let named = "`lake.secret_access_key_file` (environment variable TWOFOLD_LAKE__SECRET_ACCESS_KEY_FILE)";
        assert!(error.contains(named) && error.contains(path), "{path}: {error}");
        assert!(error.contains("name a text file") || error.contains("write the secret into it"), "{path}: {error}");
    }
}

#[test]
fn what_is_no_secret_is_in_no_file() {
    let error = read("[lake]\nendpoint_file = \"/x\"\n", &[]).unwrap_err();
    assert!(error.contains("`lake.endpoint_file` (test.toml): there is no such setting"), "{error}");
    let config = read("[log.properties]\n\"client.rack_file\" = \"r\"\n", &[]);
    assert!(config.is_err(), "a property that the client does not know");
}

/// `read` itself looks for the secret in whatever is told.
#[test]
fn no_message_about_a_configuration_quotes_a_secret() {
    let broken = [
        format!("[lake]\nsecret_access_key = \"{SECRET}\n"),
        format!("[lake]\nsecret_access_key = {SECRET}\n"),
        format!("[lake]\nsecret_access_key = \"{SECRET}\"\nsecret_access_key = \"{SECRET}\"\n"),
        format!("[lake]\nsecret_access_key = [\"{SECRET}\"]\n"),
        format!("[lake]\nsecret_access_key = \"{SECRET}\"\n"),
        format!("[realtime]\nstore = \"{SECRET}\"\n"),
        format!("[realtime]\nstore = \"http://:{SECRET}@127.0.0.1\"\n"),
        format!("[schema_registry]\nurl = \"http://me:{SECRET}@127.0.0.1\"\n"),
        format!("[schema_registry]\npassword = \"{SECRET}\"\n"),
        format!("[log]\nbrokers = \"me:{SECRET}@127.0.0.1:9092\"\n"),
        format!("[lake]\nlocation = \"s3://key:{SECRET}@bucket/lake\"\n"),
        format!("[lake]\nlocation = \"gs://key:{SECRET}@bucket/lake\"\n"),
        format!("[lake]\nendpoint = \"http://key:{SECRET}@127.0.0.1\"\n"),
        format!("[schema_registry]\npassword_file = [\"{SECRET}\"]\n"),
        format!("[log.properties]\n\"sasl.password\" = \"{SECRET}\"\n\"no.such.property\" = \"x\"\n"),
        format!("[log.properties]\n\"sasl.pasword\" = \"{SECRET}\"\n"),
    ];
    for text in broken {
        read(&text, &[]).unwrap_err();
    }
    // A password alone, where the URL around it was left out.
    let alone = read("[realtime]\nstore = \"hunter2Hunter2\"\n", &[]).unwrap_err();
    assert!(alone.contains("got `...`"), "{alone}");
    let numbers = read("[lake]\nsecret_access_key = 271828182845904\n", &[]).unwrap_err();
    assert!(numbers.contains("must be a string, got an integer") && !numbers.contains("2718"), "{numbers}");
    let torn = read(&format!("[speed]\ntick = \"1s\"\n[lake]\nsecret_access_key = \"{SECRET}\n"), &[]).unwrap_err();
    assert!(torn.contains("test.toml: is not TOML: line "), "{torn}");
}
