//! Reading a configuration: the layers merged, every section read, and every problem told at once.

use super::layers::MergedConfig;
use super::reader::Reader;
use super::secret_files::read_secret;
use super::{Config, ConfigError, ConfigInputs, limits, sections};

impl Config {
    /// Lays the inputs over the defaults and reads every setting, and the files that secrets are in.
    ///
    /// # Errors
    /// Everything that is wrong, by key.
    pub fn read(inputs: ConfigInputs) -> Result<Self, ConfigError> {
        let merged = MergedConfig::defaults();
        let merged = inputs.files.iter().fold(merged, |merged, (name, text)| merged.with_file(name, text));
        let merged = merged.with_environment(inputs.environment);
        let merged = inputs.flags.iter().fold(merged, |merged, (key, text)| merged.with_flag(key, text));
        let reader = Reader::new(merged.with_secrets(read_secret).finish()?);
        let config = sections::read_all(&reader);
        // Only then: a wrong value reads as zero, which breaks every limit.
        reader.finish()?;
        limits::check_limits(&reader, &config);
        reader.finish()?;
        Ok(config)
    }

    /// Keys of the defaults that nothing reads: a defect, which a test looks for.
    pub fn unread_default_keys() -> Vec<String> {
        let reader =
            Reader::new(MergedConfig::defaults().finish().expect("the defaults have the types of the defaults"));
        let _ = sections::read_all(&reader);
        reader.unread_keys()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::read(ConfigInputs::default()).expect("the embedded defaults are valid: a test reads them")
    }
}
