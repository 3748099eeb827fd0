//! How far a file is read, on the terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// Bytes of a file that were read, of `size` where that is known; `number` says which of how many files it is.
pub fn progress_bar(name: &str, size: Option<u64>, (number, of): (usize, usize)) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{prefix} {bar:30} {bytes}/{total_bytes} {msg} ({elapsed}, {eta} left)"),
        None => (ProgressBar::no_length(), "{prefix} {bytes} {msg} ({elapsed})"),
    };
    let name = if of == 1 { name.to_owned() } else { format!("{name} ({number} of {of})") };
    let style = ProgressStyle::with_template(template).expect("the template is written by hand: a test loads a file");
    bar.with_style(style).with_prefix(name)
}
