//! Erased records: no event is left of them, or those that were not erased, and nothing else of them changes.

use std::sync::Arc;

use event_log::Record;
use positions::{Erased, ErasedItems, ErasedRecord, Offset, PartitionId, Stone};
use records::decode::wire::Schemas;
use records::decode::{Decoder, classes, erase, event_keys, leave_out, marks};
use views::SourceDefinition;

use super::{clicks, error, record};

fn decoder(source: &SourceDefinition) -> Decoder {
    Decoder::new(Arc::new(source.clone()))
}

fn reasons(source: &SourceDefinition, record: &Record) -> Vec<Option<String>> {
    let rows = decoder(source).decode(std::slice::from_ref(record)).unwrap();
    (0..rows.num_rows()).map(|row| error(&rows, row)).collect()
}

fn some(items: &[i32]) -> ErasedItems {
    ErasedItems::Some(items.iter().copied().collect())
}

/// A record of three events. None is good: numbers are those of rows, whatever became of them.
fn three() -> Record {
    record(7, r#"[{"secret":"alpha"},{"secret":"beta"},{"secret":"gamma"}]"#)
}

#[test]
fn a_record_that_was_erased_has_no_event_and_keeps_its_place_and_mark() {
    let (source, before) = (clicks(), record(5, r#"{"secret":"x"}"#));
    let after = erase(&decoder(&source), &Schemas::none(), &before, &ErasedItems::All);
    assert_eq!((after.partition, after.offset, after.timestamp), (before.partition, before.offset, before.timestamp));
    assert_eq!(after.mark(), before.mark());
    assert_eq!(reasons(&source, &after), [Some("erased".to_owned())]);
    let rows = decoder(&source).decode(std::slice::from_ref(&after)).unwrap();
    assert_eq!(marks(&rows).unwrap(), [before.mark()]);
    assert_eq!(event_keys(&rows).unwrap(), [None]);
    assert!(!classes(&rows).unwrap()[0].is_event());
    assert!(!String::from_utf8_lossy(&after.payload).contains("secret"));
    // Once more changes nothing.
    assert_eq!(erase(&decoder(&source), &Schemas::none(), &after, &ErasedItems::All), after);
}

#[test]
fn events_that_were_not_erased_keep_their_numbers() {
    let (source, before) = (clicks(), three());
    let untouched = reasons(&source, &before);
    assert_eq!(untouched.len(), 3);
    let after = erase(&decoder(&source), &Schemas::none(), &before, &some(&[2]));
    assert_eq!(after.mark(), before.mark());
    let text = String::from_utf8_lossy(&after.payload).into_owned();
    assert!(text.contains("alpha") && text.contains("gamma") && !text.contains("beta"), "{text}");
    let erased = Some("erased".to_owned());
    assert_eq!(reasons(&source, &after), [untouched[0].clone(), erased.clone(), untouched[2].clone()]);
    // Another one later, and the same again.
    let later = erase(&decoder(&source), &Schemas::none(), &after, &some(&[2, 3]));
    assert_eq!(reasons(&source, &later), [untouched[0].clone(), erased.clone(), erased]);
    assert_eq!(erase(&decoder(&source), &Schemas::none(), &later, &some(&[2, 3])), later);
    // The last one leaves nothing of the record.
    let whole = erase(&decoder(&source), &Schemas::none(), &later, &some(&[1, 2, 3]));
    assert!(Stone::of(&whole.payload).unwrap().rest.is_empty());
    assert_eq!(whole.mark(), before.mark());
}

#[test]
fn a_list_leaves_out_what_it_names_and_nothing_else() {
    let source = clicks();
    let mut erased = Erased::default();
    erased.add(ErasedRecord::whole(PartitionId(0), Offset(1)));
    let before = [record(0, "{}"), record(1, "{}"), record(2, "{}")];
    let mut after = before.clone();
    leave_out(&decoder(&source), &Schemas::none(), &erased, &mut after).unwrap();
    let named: Vec<bool> = before.iter().map(|record| erased.of(record.partition, record.offset).is_some()).collect();
    let changed: Vec<bool> = std::iter::zip(&before, &after).map(|(before, after)| before != after).collect();
    assert_eq!(changed, named);
    assert!(named.contains(&true) && named.contains(&false));
}

/// More rejected events than are rows of their own: numbers are those of rows.
#[test]
fn events_behind_many_rejected_ones_are_erased_by_their_numbers() {
    let source = clicks();
    let events: Vec<String> = (0..150).map(|number| format!(r#"{{"secret":"s{number}s"}}"#)).collect();
    let before = record(3, format!("[{}]", events.join(",")));
    let rows = reasons(&source, &before).len();
    let after = erase(&decoder(&source), &Schemas::none(), &before, &some(&[40]));
    let text = String::from_utf8_lossy(&after.payload).into_owned();
    assert!(!text.contains("s39s") && text.contains("s38s") && text.contains("s140s"), "{text}");
    assert_eq!(reasons(&source, &after).len(), rows);
}

/// Whatever is erased of a record first, the others keep their numbers: so the list erases the same of the record as it
/// was and of what was left of it.
#[test]
fn erasing_one_after_another_is_erasing_them_at_once() {
    let source = clicks();
    let good = |id: &str| format!(r#"{{"time":"2023-11-14T22:13:20Z","id":"{id}","page":"/"}}"#);
    let mut events: Vec<String> = (0..150).map(|number| format!(r#"{{"secret":"s{number}s"}}"#)).collect();
    events.insert(60, good("first"));
    events.push(good("last"));
    let before = record(3, format!("[{}]", events.join(",")));
    let untouched = reasons(&source, &before);
    let is_good = |(at, reason): (usize, &Option<String>)| reason.is_none().then_some(at as i32 + 1);
    let goods: Vec<i32> = untouched.iter().enumerate().filter_map(is_good).collect();
    assert_eq!(goods.len(), 2);
    let erase = |record: &Record, items: &[i32]| erase(&decoder(&source), &Schemas::none(), record, &some(items));
    let (first, last) = (erase(&before, &[40, goods[0]]), [40, goods[0], goods[1]]);
    assert_eq!(reasons(&source, &first).len(), untouched.len());
    assert_eq!(reasons(&source, &first)[goods[1] as usize - 1], None, "it keeps its number");
    assert_eq!(erase(&first, &last), erase(&before, &last));
    assert!(!String::from_utf8_lossy(&erase(&first, &last).payload).contains("last"));
}
