//! The headers of a record, by librdkafka's own functions: the crate's panic where a name is not UTF-8.

use std::ffi::CStr;

use bytes::Bytes;
use rdkafka::{bindings, message::BorrowedMessage, types::RDKafkaRespErr};

use super::foreign;

/// In order. A null value is empty.
#[expect(
    unsafe_code,
    reason = "librdkafka hands out pointers that live as long as the message"
)]
pub(super) fn of(message: &BorrowedMessage<'_>) -> Vec<(String, Bytes)> {
    let mut found = Vec::new();
    let mut headers = std::ptr::null_mut();
    // SAFETY: the message is alive, and keeps its headers until it is dropped.
    let answer = unsafe { bindings::rd_kafka_message_headers(message.ptr(), &raw mut headers) };
    if answer != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return found;
    }
    for index in 0.. {
        let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: as above; an index beyond the last one is an answer of its own.
        let answer = unsafe {
            bindings::rd_kafka_header_get_all(
                headers,
                index,
                &raw mut name,
                &raw mut value,
                &raw mut size,
            )
        };
        if answer != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            break;
        }
        // SAFETY: the name ends with a NUL; both live as long as the message, and are copied here.
        let (name, value) = unsafe {
            let value = if value.is_null() {
                Bytes::new()
            } else {
                Bytes::copy_from_slice(std::slice::from_raw_parts(value.cast(), size))
            };
            (CStr::from_ptr(name), value)
        };
        found.push((foreign::text(name.to_bytes()), value));
    }
    found
}
