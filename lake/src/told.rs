//! What an error of the object store means to an operator: what is refused, why, and the way out.
//!
//! In: the error of the client, with the answer of an S3 server in it. Out: one line. Pure.
//! Guarantee: the code and the words of the server stay in the line. An error that is not known is told as it is.
//! Not here: what a caller should do (`error.rs`); servers that do not answer (`connecting.rs`).
//!
//! # Source
//! Amazon Simple Storage Service, API Reference, "Error responses".

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use object_store::Error;

use crate::chain::chain;
use crate::connecting::connection_way_out;

/// The setting with the address of an S3 server.
const ENDPOINT: &str = "lake.endpoint";

/// What a redirect without an address is called by the client, which forgets the answer.
const BARE_REDIRECT: &str = "redirect without LOCATION";

/// Where the client asks for credentials that nobody gave it, on machines of a cloud.
const CREDENTIAL_SERVERS: [&str; 2] = ["/latest/api/token", "/latest/meta-data/"];

/// How the client begins to tell of a request.
const PERFORMING: &str = "Error performing ";

/// What went wrong, in words, and the way out.
struct Told {
    words: String,
    way_out: String,
}

/// What an error says, for a log line or an operator.
pub(crate) fn told(error: &Error) -> String {
    let said = chain(error);
    if CREDENTIAL_SERVERS.iter().any(|path| said.contains(path)) {
        return format!(
            "no credentials for the object store are given, and none are to be had of this machine ({said}): set \
             `lake.access_key_id` and `lake.secret_access_key`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        );
    }
    let code = code_of(error, &said);
    if let Some(told) = code.and_then(|code| explain(code, &said)) {
        let reason = match (code, field(&said, "Message")) {
            (Some(code), Some(message)) => format!(" ({code}: {message})"),
            (Some(code), None) => format!(" ({code})"),
            (None, _) => String::new(),
        };
        return format!("{}{reason}: {}", told.words, told.way_out);
    }
    match connection_way_out(&said, ENDPOINT) {
        Some(way_out) if code.is_none() && is_of_http(&said) => format!("{said}; {way_out}"),
        _ => said,
    }
}

/// Whether trying again does not mend it, although the client gives it no kind: a listing that is not allowed, a bucket
/// in another region.
pub(crate) fn is_misconfiguration(error: &Error) -> bool {
    let codes = ["AccessDenied", "PermanentRedirect", "AuthorizationHeaderMalformed", "InvalidBucketName"];
    let said = chain(error);
    code_of(error, &said).is_some_and(|code| codes.contains(&code) || is_bucket_taken_for_a_key(code, &said))
}

/// The code by which the server names an error. Answers to HEAD have none.
fn code_of<'a>(error: &Error, said: &'a str) -> Option<&'a str> {
    let of_deletion = || Some(said.split_once("(code: ")?.1.split_once(')')?.0);
    field(said, "Code").or_else(of_deletion).or_else(|| match error {
        Error::PermissionDenied { .. } if is_of_http(said) => Some("AccessDenied"),
        _ if said.contains(BARE_REDIRECT) => Some("PermanentRedirect"),
        _ => None,
    })
}

/// A bucket that is listed is no key, unless the address of the store leads into one already.
fn is_bucket_taken_for_a_key(code: &str, said: &str) -> bool {
    code == "NoSuchKey" && said.contains("list request")
}

/// Errors of local folders speak of other things in like words.
fn is_of_http(said: &str) -> bool {
    said.contains(PERFORMING)
}

fn explain(code: &str, said: &str) -> Option<Told> {
    let told = |words: &str, way_out: &str| Some(Told { words: words.to_owned(), way_out: way_out.to_owned() });
    match code {
        "AccessDenied" | "AllAccessDisabled" | "AccessForbidden" => Some(explain_denial(said)),
        "InvalidAccessKeyId" | "InvalidClientTokenId" => told(
            "the store does not know the key id",
            "correct `lake.access_key_id`, or, where that is empty, AWS_ACCESS_KEY_ID of the environment",
        ),
        "SignatureDoesNotMatch" => told(
            "the secret does not belong to the key id",
            "correct `lake.secret_access_key`, or, where that is empty, AWS_SECRET_ACCESS_KEY of the environment",
        ),
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => told(
            "the session of the credentials is over",
            "give the process new ones (AWS_SESSION_TOKEN and the keys that belong to it), or a key that lasts",
        ),
        "RequestTimeTooSkewed" => Some(Told {
            words: explain_skew(said),
            way_out: "set the clock of this machine, and keep it right (NTP)".to_owned(),
        }),
        "NoSuchBucket" => Some(Told {
            words: format!("bucket {} does not exist", bucket_of(said).unwrap_or("of `lake.location`")),
            way_out: "make it, or correct `lake.location`".to_owned(),
        }),
        "NoSuchKey" if is_bucket_taken_for_a_key(code, said) => told(
            "it was asked for a bucket and takes it for an object",
            "`lake.endpoint` ends behind the port, bucket and prefix are part of `lake.location` alone",
        ),
        "InvalidBucketName" => told("the bucket cannot have this name", "correct `lake.location`"),
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => Some(explain_region(said)),
        "SlowDown" | "ServiceUnavailable" | "Busy" | "RequestLimitExceeded" => told(
            "the store asks for fewer requests",
            "nothing to set: it is tried again; if it stays so, raise what the store allows, or lower its other load",
        ),
        "NotImplemented" => told(
            "the store does not know this request",
            "use one that knows conditional puts (`If-None-Match`): the commits of tables rest on them",
        ),
        _ => None,
    }
}

fn explain_denial(said: &str) -> Told {
    let action = action_of(said);
    let place = match (action, bucket_of(said)) {
        ("s3:ListBucket", Some(bucket)) => format!("on bucket {bucket}"),
        (_, Some(bucket)) => format!("on the objects of bucket {bucket} below `lake.location`"),
        (_, None) => "below `lake.location`".to_owned(),
    };
    // Whoever may not list is not told that an object is missing.
    let missing =
        if action == "s3:GetObject" { ", and s3:ListBucket, without which a missing object looks so" } else { "" };
    Told {
        words: format!("{action} is not allowed"),
        way_out: format!("allow {action} {place} to the key of `lake.access_key_id`{missing}"),
    }
}

/// The action of a policy that the request needs.
fn action_of(said: &str) -> &'static str {
    if said.contains("DeleteObjects") {
        return "s3:DeleteObject";
    }
    match request_of(said).unwrap_or_default() {
        ("PUT", _) => "s3:PutObject",
        ("POST", url) if url.ends_with("?delete") => "s3:DeleteObject",
        ("POST", _) => "s3:PutObject",
        ("DELETE", _) => "s3:DeleteObject",
        ("GET", url) if url.contains("list-type=") => "s3:ListBucket",
        _ => "s3:GetObject",
    }
}

/// Method and address of the request. A listing is told of before them in like words.
fn request_of(said: &str) -> Option<(&str, &str)> {
    let (_, request) = said.rsplit_once(PERFORMING)?;
    let mut parts = request.split(' ');
    parts.next().zip(parts.next())
}

/// The bucket, as the answer names it, or the address of the request.
fn bucket_of(said: &str) -> Option<&str> {
    let in_address = || {
        let (_, address) = request_of(said)?.1.split_once("://")?;
        address.split(['/', '?']).nth(1).filter(|bucket| !bucket.is_empty())
    };
    field(said, "BucketName").or_else(in_address)
}

fn explain_region(said: &str) -> Told {
    let words = "the bucket is in another region than `lake.region` says".to_owned();
    let way_out = match (field(said, "Region"), field(said, "Endpoint")) {
        (Some(region), _) => format!("set `lake.region` to {region}"),
        (None, Some(endpoint)) => format!("set `lake.region` to that of {endpoint}"),
        (None, None) => "set `lake.region` to that of the bucket".to_owned(),
    };
    Told { words, way_out: format!("{way_out}; a `lake.endpoint`, where one is set, must be of the same region") }
}

fn explain_skew(said: &str) -> String {
    let times = field(said, "RequestTime").and_then(read_time).zip(field(said, "ServerTime").and_then(read_time));
    match times {
        Some((ours, theirs)) => describe_skew(ours - theirs, "the object store"),
        None => "the clocks of this machine and of the object store are too far apart".to_owned(),
    }
}

/// How far the clock of this machine is from that of `whose`, in words. `ahead` is negative where it is behind.
pub fn describe_skew(ahead: TimeDelta, whose: &str) -> String {
    let seconds = ahead.num_seconds();
    let (by, which) = (seconds.unsigned_abs(), if seconds < 0 { "behind" } else { "ahead of" });
    let span = if by < 120 { format!("{by} s") } else { format!("{} min", by / 60) };
    format!("the clock of this machine is {span} {which} that of {whose}")
}

/// Servers write times in one of three ways.
fn read_time(text: &str) -> Option<DateTime<Utc>> {
    let compact = || NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok().map(|time| time.and_utc());
    let rfc3339 = || DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    let rfc2822 = || DateTime::parse_from_rfc2822(text).ok().map(|time| time.to_utc());
    compact().or_else(rfc3339).or_else(rfc2822)
}

/// A member of the XML document that is an error's answer.
fn field<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = said.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim()).filter(|text| !text.is_empty())
}
