//! Changes of the partitions that librdkafka fetches.
//!
//! Guarantee: a change is over in librdkafka before the next one begins.
//! Why so: a change asks librdkafka's main thread to stop the fetchers, and returns before they have. A second change
//! in between stops the same fetchers again, and the second of their answers ends the process at an assertion
//! (librdkafka issue 5573: `rktp_started`). The main thread works off one queue in order: when it has answered a
//! question that was asked after the change, every fetcher was stopped and its answer stands in the queue before
//! whatever comes next.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;

/// Fetches these partitions from these offsets, and nothing else.
pub(super) fn assign<C: ConsumerContext>(
    consumer: &impl Consumer<C>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    consumer.assign(partitions)?;
    wait_for_main_thread(consumer)
}

/// Fetches nothing any more.
pub(super) fn unassign<C: ConsumerContext>(consumer: &impl Consumer<C>) -> KafkaResult<()> {
    consumer.unassign()?;
    wait_for_main_thread(consumer)
}

fn wait_for_main_thread<C: ConsumerContext>(consumer: &impl Consumer<C>) -> KafkaResult<()> {
    consumer.assignment().map(drop)
}
