//! The access file: what it may say, and what is said of one that is wrong.

use std::collections::BTreeMap;

use edge::{KEY_PREFIX, Sha256Sum};
use twofold::access::file::AccessFile;

use super::key_of;
use crate::support::principals::rules_of;

#[test]
fn a_file_says_who_may_do_what() {
    let (_, hash) = key_of(1);
    let text = format!(
        "[grants.shop]\nread = ['orders', 'baskets']\nwrite = ['*', 'orders']\nrows = {{ country = ['de', 'fr'] }}\n\
         requests_per_second = 5\nsql_per_minute = 6\nevents_per_second = 7\nbytes_per_second = 8\n\
         [[keys]]\nname = 'shop-1'\nhash = '{hash}'\ngrant = 'shop'\n"
    );
    let rules = AccessFile::read(&text).unwrap().rules(&BTreeMap::new());
    let principal = &rules.keys[&Sha256Sum::read(&hash).unwrap()].principal;
    assert_eq!(principal.name(), "shop-1");
    assert!(principal.may_read("orders") && !principal.may_read("others") && principal.may_write("others"));
    assert!(!principal.may_operate());
    assert_eq!(principal.row_rules(), &rules_of(&[("country", &["de", "fr"])]));
    let quotas = principal.quotas();
    let told = [quotas.requests_per_second, quotas.sql_per_minute, quotas.events_per_second, quotas.bytes_per_second];
    assert_eq!(told, [5, 6, 7, 8].map(Some));
    assert!(AccessFile::read("").unwrap().rules(&BTreeMap::new()).keys.is_empty(), "a file that lets in nobody");
}

#[test]
fn everything_that_is_wrong_is_told_by_its_place() {
    let hash = key_of(1).1;
    let key = |name: &str, hash: &str, grant: &str| {
        format!("[[keys]]\nname = '{name}'\nhash = '{hash}'\ngrant = '{grant}'\n")
    };
    let tokens = |issuer: &str, jwks: &str| {
        format!("[[tokens]]\nissuer = '{issuer}'\naudience = 'a'\njwks = '{jwks}'\nclaim = 'c'\n")
    };
    for (text, told) in [
        ("[".to_owned(), "line 1"),
        ("\n\nkeys = 5\n".to_owned(), "a value has another type: expected a sequence"),
        ("[grants.g]\noperates = true\n".to_owned(), "unknown field `operates`"),
        ("[grants.g]\nrequests_per_second = 0\n".to_owned(), "`requests_per_second = 0`"),
        ("[grants.g]\nrows = { country = [] }\n".to_owned(), "no value of `country`"),
        ("[grants.g]\noperate = true\nrows = { country = ['de'] }\n".to_owned(), "`operate` and `rows`"),
        (key("a", &hash, "writer"), "names the grant `writer`"),
        (format!("[grants.writers]\n{}", key("a", &hash, "writer")), "did you mean `writers`?"),
        (format!("[grants.g]\n{}", key("a b", &hash, "g")), "1 to 64 letters"),
        (format!("[grants.g]\n{}", key("a", "abc", "g")), "no SHA-256"),
        (format!("[grants.g]\n{}{}", key("a", &hash, "g"), key("a", &key_of(2).1, "g")), "two keys of the name `a`"),
        (format!("[grants.g]\n{}{}", key("a", &hash, "g"), key("b", &hash, "g")), "the same hash as `a`"),
        (format!("[grants.g]\n{}expires = 2027-01-01\n", key("a", &hash, "g")), "write an instant such as"),
        ("[[certificates]]\ngrant = 'g'\n".to_owned(), "names the grant `g`"),
        ("[grants.g]\n[[certificates]]\ngrant = 'g'\n".to_owned(), "certificate 1 needs one of"),
        ("[grants.g]\n[[certificates]]\ngrant = 'g'\nfingerprint = 'x'\n".to_owned(), "no SHA-256"),
        (tokens("", "k.json"), "empty `issuer`"),
        (tokens("i", ""), "need `jwks`"),
        (tokens("i", "ftp://host/keys"), "need `jwks`"),
        (tokens("i", "https://user:hidden@host/keys"), "no place for them"),
        (tokens("i", "http://login.example/keys"), "whoever is on the way"),
        (tokens("i", "http://127.0.0.1.example/keys"), "whoever is on the way"),
    ] {
        let problem = AccessFile::read(&text).unwrap_err().to_string();
        assert!(problem.contains(told), "{text}\n{problem}");
        assert!(!problem.contains("hidden"), "{problem}");
    }
    for there in ["https://login.example/keys", "http://127.0.0.1:1/keys", "http://[::1]:1/keys", "keys.json"] {
        assert!(AccessFile::read(&tokens("i", there)).is_ok(), "{there}");
    }
    let all = format!("{}{}", key("a", &hash, "x"), key("b c", "y", "z"));
    assert_eq!(AccessFile::read(&all).unwrap_err().0.len(), 2, "all at once");
}

#[test]
fn a_key_that_was_written_down_by_mistake_is_not_told_on() {
    let (key, hash) = key_of(7);
    for text in [
        format!("[grants.g]\n[[keys]]\nname = 'a'\nhash = '{key}'\ngrant = 'g'\n"),
        format!("[grants.g]\n[[keys]]\nname = '{key}{key}'\nhash = '{hash}'\ngrant = 'g'\n").replace("name", "nam"),
        format!("[grants.g]\noperate = '{key}'\n"),
        format!("[grants.g]\n[[keys]]\nname = '{key}'\nhash = '{hash}'\ngrant = 'g'\n"),
        format!("[grants.g]\n[[keys]]\nname = 'a'\nhash = '{hash}'\ngrant = '{key}'\n"),
        format!("[grants.g]\n[[keys]]\nname = 'a'\nhash = '{hash}'\ngrant = 'g'\n{key} = 1\n"),
        format!("[grants.g]\n{key} = 1\n"),
        format!("[grants.g]\n[grants.g]\n[grants.{key}]\n[grants.{key}]\n"),
        format!("[grants.{key}]\noperate = true\nrows = {{ page = ['a'] }}\n"),
        format!("[[tokens]]\nissuer = '{key}'\naudience = ''\njwks = 'x'\nclaim = 'c'\n"),
        format!("keys = '{key}'\n"),
    ] {
        let problem = AccessFile::read(&text).unwrap_err().to_string();
        assert!(!problem.contains(KEY_PREFIX), "{problem}");
    }
    let problem = AccessFile::read(&format!("[grants.g]\n[[keys]]\nname = 'a'\nhash = '{key}'\ngrant = 'g'\n"));
    assert!(problem.unwrap_err().to_string().contains("`twofold key new`"));
}
