//! What is said while all runs are paused, in the status and by `doctor` alike.

/// What is wrong.
pub(crate) const ALL_PAUSED: &str = "all runs are paused: no task is taken, in no process, and no batch view computed";
/// What ends that.
pub(crate) const END_OF_PAUSE: &str = "`twofold runs resume` lets them go on";
