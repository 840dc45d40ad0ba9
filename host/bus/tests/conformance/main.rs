//! What a bus promises, asked of both: of a real Kafka, with both of its group protocols, and of a real PostgreSQL. What only one of them can show
//! stands in a module of its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by its panic, in its helpers too"
)]

mod days;
mod embedded_only;
mod harness;
mod kafka_only;
mod suite;

macro_rules! asked_of_both {
    ($($promise:ident,)*) => {
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                crate::suite::$promise(&crate::harness::Fixture::kafka().await).await;
            })*
        }
        mod kafka_assigning {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                crate::suite::$promise(&crate::harness::Fixture::kafka_assigning().await).await;
            })*
        }
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                crate::suite::$promise(&crate::harness::Fixture::embedded().await).await;
            })*
        }
    };
}

asked_of_both! {
    a_bus_answers_and_says_what_it_is,
    a_record_comes_back_as_it_went,
    a_key_keeps_its_partition_and_its_order,
    records_without_a_key_are_all_read,
    concurrent_publishers_of_one_key_lose_nothing,
    a_second_group_reads_everything_too,
    committed_offsets_survive_a_new_member,
    offsets_that_are_committed_at_once_all_stand,
    an_uncommitted_batch_comes_again_to_the_next_member,
    batches_follow_each_other_without_a_commit_and_one_covers_them_all,
    two_members_share_partitions_and_none_is_held_by_both,
    a_guard_keeps_a_partition_until_its_batch_is_committed,
    a_revoked_holders_commit_is_fenced,
    partitions_of_a_vanished_member_go_to_another,
    closing_hands_partitions_over_at_once,
    seeking_back_reads_again,
    the_end_is_where_the_next_record_goes,
    the_offset_of_a_time_is_that_of_the_first_record_since,
    seeking_right_after_the_assignment_skips,
    batches_keep_to_their_limits,
    a_slow_consumer_gets_everything_and_one_batch_at_a_time,
    an_oversized_record_is_refused_and_those_behind_it_fail,
    an_unknown_topic_is_refused,
    a_topic_is_made_once_whoever_asks,
}
