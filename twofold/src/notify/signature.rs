//! The signature of a posted notice, by which its receiver knows that it is ours, whole, and new.
//!
//! It is HMAC-SHA256 with `notify.webhook_secret` over the timestamp of its header, a dot and the body, in hexadecimal
//! digits behind `v1=`. A receiver computes it anew, compares in constant time, and refuses timestamps that are minutes
//! old.
//!
//! # Source
//! RFC 2104; the form is that of Stripe's and Slack's webhooks.

use std::fmt::Write as _;

use ring::hmac;

/// The header of the signature.
pub const SIGNATURE_HEADER: &str = "x-twofold-signature";
/// The header of the time of this attempt, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "x-twofold-timestamp";

/// The value of the header.
pub fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    for part in [timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    context.sign().as_ref().iter().fold("v1=".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
