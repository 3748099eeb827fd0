//! Circles between the files of a crate: files that can be read, moved and changed only together.
//!
//! A file leads to another where it names something of it, directly or through re-exports. Nothing leads to a crate
//! root: it declares the modules and names what is public, and what it re-exports is of the file that it comes from. A
//! parent that calls `child::f()` without a `use` holds its folder together and does not count either.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{Mention, mentions};
use super::{EDGES, check, sources_of};

/// Circles that stay: values hold values, so decoding them is one recursion, a file to each kind.
const KEPT: [(&str, &[&str]); 1] =
    [("records", &["decode::arrays", "decode::cells", "decode::column_builder", "decode::object"])];

/// How many re-exports may lead on to others.
const MAX_HOPS: usize = 8;

/// A module by its names from the root of the crate, which has none.
type Module = Vec<String>;

/// The files of a crate, and what each names.
struct Files(BTreeMap<Module, Vec<Mention>>);

impl Files {
    /// From texts by their paths below the folder of the crate root.
    fn read<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut files: BTreeMap<Module, Vec<Mention>> = BTreeMap::new();
        for (path, text) in texts {
            files.entry(module_of(path)).or_default().extend(mentions(text));
        }
        Self(files)
    }

    /// The file that holds a module, which may be written out inside it.
    fn holding(&self, module: &[String]) -> Module {
        let mut module = module.to_vec();
        while !self.0.contains_key(&module) && module.pop().is_some() {}
        module
    }

    /// The file that a path leads to; none where it leads out of the crate.
    fn follow(&self, from: &[String], mention: &Mention, hops: usize) -> Option<Module> {
        let mut module = [from, &mention.inside].concat();
        let mut words = mention.path.as_slice();
        match words.split_first() {
            Some((first, rest)) if first == "crate" => (module, words) = (Module::new(), rest),
            Some((first, _)) if ["self", "super"].contains(&first.as_str()) => {}
            Some((first, _)) if self.0.contains_key(&[module.as_slice(), std::slice::from_ref(first)].concat()) => {}
            _ => return None,
        }
        for word in words {
            let child = [module.as_slice(), std::slice::from_ref(word)].concat();
            match word.as_str() {
                "self" => {}
                "super" => drop(module.pop()),
                _ if self.0.contains_key(&child) => module = child,
                name => return self.exported(&module, name, hops).or_else(|| Some(self.holding(&module))),
            }
        }
        Some(self.holding(&module))
    }

    /// The file from which a module re-exports a name.
    fn exported(&self, module: &Module, name: &str, hops: usize) -> Option<Module> {
        let mut named = self.0.get(module)?.iter().filter(|mention| mention.exported_as.as_deref() == Some(name));
        named.find_map(|mention| self.follow(module, mention, hops.checked_sub(1)?))
    }

    fn edges(&self) -> BTreeMap<&Module, BTreeSet<Module>> {
        let of = |file: &Module, mentions: &[Mention]| {
            let named = mentions.iter().filter_map(|mention| self.follow(file, mention, MAX_HOPS));
            named.filter(|other| other != file && !other.is_empty()).collect()
        };
        self.0.iter().filter(|(file, _)| !file.is_empty()).map(|(file, named)| (file, of(file, named))).collect()
    }
}

/// The module `a` is a file of that name, or the file `mod` in a folder of that name.
fn module_of(path: &str) -> Module {
    let mut words: Module = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    words.pop_if(|word| ["lib", "main", "mod"].contains(&word.as_str()));
    words
}

/// The files of each circle, with those of the same circle that each leads to.
fn circles(files: &Files) -> Vec<BTreeMap<String, Vec<String>>> {
    let edges = files.edges();
    let reached: BTreeMap<&Module, BTreeSet<Module>> = edges.keys().map(|file| (*file, reach(file, &edges))).collect();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for file in edges.keys().copied().filter(|file| reached[file].contains(*file)) {
        let circle: BTreeSet<&Module> = reached[file].iter().filter(|other| reached[other].contains(file)).collect();
        let inside =
            |from: &Module| edges[from].iter().filter(|to| circle.contains(to)).map(|to| to.join("::")).collect();
        if circle.iter().all(|file| seen.insert((*file).clone())) {
            found.push(circle.iter().map(|from| (from.join("::"), inside(from))).collect());
        }
    }
    found
}

fn reach(from: &Module, edges: &BTreeMap<&Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Module> = edges[from].iter().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file.clone()) {
            next.extend(&edges[file]);
        }
    }
    reached
}

#[test]
fn no_files_stand_in_a_circle() {
    let mut findings = Vec::new();
    // The tests themselves are free: a suite and its folder are read together.
    for (name, _) in EDGES.into_iter().filter(|(name, _)| *name != "tests") {
        let texts = sources_of(name);
        let inside = texts.iter().map(|(path, text)| (path.splitn(3, '/').last().unwrap(), text.as_str()));
        for circle in circles(&Files::read(inside)) {
            let kept = KEPT.iter().filter(|(of, _)| *of == name).flat_map(|(_, files)| *files);
            let kept: BTreeSet<&str> = kept.copied().collect();
            if !circle.keys().all(|file| kept.contains(file.as_str())) {
                let lines = circle.iter().map(|(file, others)| format!("    {file} -> {}", others.join(", ")));
                findings.push(format!("{name}:\n{}", lines.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    check("files that stand in a circle", findings);
}

/// A small crate in which `a`, `b` and `shapes::square` need each other: by a tree, by a path in code behind a
/// re-export under another name, and by `super`.
const CIRCLE: [(&str, &str); 5] = [
    ("lib.rs", "mod a; mod b; mod shapes; pub use a::A; pub const LIMIT: u32 = 1;"),
    ("a.rs", "use crate::{LIMIT, b::{self, B}}; pub struct A(B);"),
    ("b.rs", "pub struct B; fn f() -> crate::shapes::Form { todo!() }"),
    ("shapes/mod.rs", "mod square; pub use square::Square as Form;"),
    ("shapes/square.rs", "use super::super::a::A; pub struct Square(A);"),
];

#[test]
fn a_circle_is_found_whatever_way_its_files_name_each_other() {
    let expected = [("a", "b"), ("b", "shapes::square"), ("shapes::square", "a")];
    let expected = expected.map(|(from, to)| (from.to_owned(), vec![to.to_owned()])).into();
    assert_eq!(circles(&Files::read(CIRCLE)), [expected]);
    // Through the front door it is the same.
    let by_the_root = CIRCLE.map(|(path, text)| (path, text.replace("super::super::a::A", "crate::A")));
    let by_the_root = by_the_root.iter().map(|(path, text)| (*path, text.as_str()));
    assert_eq!(circles(&Files::read(by_the_root)).len(), 1);
}

#[test]
fn files_that_lead_one_way_stand_in_no_circle() {
    let one_way = CIRCLE.map(|(path, text)| match path {
        // Names the front door, itself, and `a` only in words.
        "shapes/square.rs" => {
            (path, "use crate::LIMIT; /// See [`crate::a::A`].\npub struct Square; fn f() -> self::Square { Square }")
        }
        _ => (path, text),
    });
    assert_eq!(circles(&Files::read(one_way)), []);
}
