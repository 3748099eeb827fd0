//! Reading a configuration: the layers merged, every section read, and every problem told at once.

use super::layers::Layers;
use super::reader::Reader;
use super::{Config, ConfigError, Sources, limits, sections};

impl Config {
    /// Lays the sources over the defaults and reads every setting.
    ///
    /// # Errors
    /// Everything that is wrong, by key.
    pub fn read(sources: Sources) -> Result<Self, ConfigError> {
        let layers = Layers::defaults();
        let layers = sources.files.iter().fold(layers, |layers, (name, text)| layers.with_file(name, text));
        let layers = layers.with_environment(sources.environment);
        let layers = sources.flags.iter().fold(layers, |layers, (key, text)| layers.with_flag(key, text));
        let reader = Reader::new(layers.finish()?);
        let config = sections::read_all(&reader);
        // Only then: a wrong value reads as zero, which breaks every limit.
        reader.finish()?;
        limits::check_limits(&reader, &config);
        reader.finish()?;
        Ok(config)
    }

    /// Keys of the defaults that nothing reads: a defect, which a test looks for.
    pub fn unread_default_keys() -> Vec<String> {
        let reader = Reader::new(Layers::defaults().finish().expect("the defaults have the types of the defaults"));
        let _ = sections::read_all(&reader);
        reader.unread_keys()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::read(Sources::default()).expect("the embedded defaults are valid: a test reads them")
    }
}
