//! Why no connection to an HTTP server came about, and what its operator can do.
//!
//! In: what the client said. Out: the way out. Pure.
//! Not here: what the server of an object store answers (`told.rs`).

/// What a client says, in any of its words, and the way out; `{}` stands for the setting that holds the address.
const WAYS_OUT: [(&[&str], &str); 9] = [
    (
        &["dns error", "failed to lookup address", "Name or service not known"],
        "no such host is known here: correct `{}`, or the name service of this machine",
    ),
    (&["Connection refused"], "nothing listens there: start the server, or correct host and port in `{}`"),
    (
        &["UnknownIssuer", "unknown issuer", "self-signed certificate", "self signed certificate"],
        "the certificate is of an authority that this machine does not trust: install it where the system keeps its \
         authorities, or name its file in the variable SSL_CERT_FILE",
    ),
    (
        &["NotValidForName", "not valid for name", "certificate is not valid for"],
        "the certificate is for another name: write in `{}` a name that it is for",
    ),
    (&["invalid peer certificate: Expired", "certificate expired"], "the certificate has expired: renew it there"),
    (
        &["NotValidYet", "not valid yet"],
        "the certificate is not valid yet: compare the clock of this machine with that of the server",
    ),
    (
        &["InvalidContentType", "wrong version number", "packet length too long"],
        "the server speaks plain http there: write `http://` in `{}`, or the port where it speaks TLS",
    ),
    (&["HTTP request to an HTTPS server"], "the server speaks TLS there: write `https://` in `{}`"),
    (
        &["timed out", "unreachable", "No route to host"],
        "no answer: is `{}` right, does the server run, does a firewall lie between?",
    ),
];

/// The way out of a failed connection, by what the client said of it (see [`crate::chain()`]); `setting` holds the
/// address. `None` where the words are not known.
pub fn connection_way_out(said: &str, setting: &str) -> Option<String> {
    let known = WAYS_OUT.iter().find(|(words, _)| words.iter().any(|words| said.contains(words)));
    known.map(|(_, way_out)| way_out.replace("{}", setting))
}
