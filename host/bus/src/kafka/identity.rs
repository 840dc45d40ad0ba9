//! Which log a topic is: its cluster's id and its own. A topic that is deleted and made again has another one (KIP-516),
//! though its name and even its offsets may be the same. The crate has no call for it, and what it has for the cluster's
//! id leaks; so these are librdkafka's own calls.

#![expect(unsafe_code, reason = "the crate does not wrap these calls")]

use std::{
    ffi::{CStr, CString, c_char, c_int},
    ptr,
    time::Duration,
};

use rdkafka::{bindings as kafka, client::NativeClient, types::RDKafkaErrorCode};

use crate::Error;

/// Ask for it, and block until it is known or the time is over. Kafka before 2.8 has no ids of topics: there all have the
/// same, and the cluster's alone tells logs apart.
pub(super) fn log_id(
    client: &NativeClient,
    topic: &str,
    patience: Duration,
) -> Result<String, Error> {
    let topic_id = topic_id(client, topic, patience)?;
    // After the topic's, whose answer brings it: a cluster that was replaced behind its address is noticed.
    let cluster = cluster_id(client, patience)?;
    Ok(format!("kafka {cluster} {topic_id}"))
}

fn topic_id(client: &NativeClient, topic: &str, patience: Duration) -> Result<String, Error> {
    let name = CString::new(topic).map_err(|error| Error::Refused(error.to_string()))?;
    let mut names = [name.as_ptr()];
    let patience = millis(patience);
    let operation = kafka::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: what `new` made lives until it is dropped, after its last use; the client outlives the call; what is read of
    // the event is copied while the event is there; each pointer that may be null is looked at.
    unsafe {
        let queue = Owned::new(
            kafka::rd_kafka_queue_new(client.ptr()),
            kafka::rd_kafka_queue_destroy,
        )?;
        let options = Owned::new(
            kafka::rd_kafka_AdminOptions_new(client.ptr(), operation),
            kafka::rd_kafka_AdminOptions_destroy,
        )?;
        let mut why = [0; 256];
        kafka::rd_kafka_AdminOptions_set_request_timeout(
            options.pointer,
            patience,
            why.as_mut_ptr(),
            why.len(),
        );
        let topics = Owned::new(
            kafka::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()),
            kafka::rd_kafka_TopicCollection_destroy,
        )?;
        kafka::rd_kafka_DescribeTopics(
            client.ptr(),
            topics.pointer,
            options.pointer,
            queue.pointer,
        );
        let event = Owned::new(
            kafka::rd_kafka_queue_poll(queue.pointer, patience),
            kafka::rd_kafka_event_destroy,
        )?;
        failed(kafka::rd_kafka_event_error(event.pointer))?;
        let result = kafka::rd_kafka_event_DescribeTopics_result(event.pointer);
        if result.is_null() {
            return Err(unknown());
        }
        let mut amount = 0;
        let found = kafka::rd_kafka_DescribeTopics_result_topics(result, &raw mut amount);
        if found.is_null() || amount == 0 {
            return Err(unknown());
        }
        let found = *found;
        failed(kafka::rd_kafka_error_code(
            kafka::rd_kafka_TopicDescription_error(found),
        ))?;
        let id = kafka::rd_kafka_TopicDescription_topic_id(found);
        text(kafka::rd_kafka_Uuid_base64str(id))
    }
}

fn cluster_id(client: &NativeClient, patience: Duration) -> Result<String, Error> {
    // SAFETY: the client outlives the call; the text is ours, copied, and given back once.
    unsafe {
        let id = Owned::new(
            kafka::rd_kafka_clusterid(client.ptr(), millis(patience)),
            give_back,
        )?;
        text(id.pointer)
    }
}

unsafe extern "C" fn give_back(text: *mut c_char) {
    // SAFETY: as the caller says. No client: librdkafka's own allocator.
    unsafe { kafka::rd_kafka_mem_free(ptr::null_mut(), text.cast()) }
}

/// Something of librdkafka's, destroyed once when it is dropped.
struct Owned<T> {
    pointer: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self, Error> {
        if pointer.is_null() {
            return Err(unknown());
        }
        Ok(Self { pointer, destroy })
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it is not null, was made for this function, and nobody else destroys it.
        unsafe { (self.destroy)(self.pointer) }
    }
}

/// # Safety
/// Null, or text that ends with a zero.
unsafe fn text(of: *const c_char) -> Result<String, Error> {
    if of.is_null() {
        return Err(unknown());
    }
    // SAFETY: as the caller says.
    let text = unsafe { CStr::from_ptr(of) };
    Ok(text.to_string_lossy().into_owned())
}

fn failed(code: kafka::rd_kafka_resp_err_t) -> Result<(), Error> {
    match RDKafkaErrorCode::from(code) {
        RDKafkaErrorCode::NoError => Ok(()),
        code => Err(Error::Unavailable(code.to_string())),
    }
}

/// To be asked again: a position must not be believed before.
fn unknown() -> Error {
    Error::Unavailable("the cluster does not say yet which log the topic is".to_owned())
}

fn millis(of: Duration) -> c_int {
    c_int::try_from(of.as_millis()).unwrap_or(c_int::MAX)
}
