//! What is shipped: an archive, a Debian package and a Python wheel, each of which brings a `twofold` that runs.
//!
//! Packed here is the binary of the tests; `make dist` packs that of the release profile by the same script.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tests::process::binary;

/// Runs a command to its end and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}:\n{out}\n{err}", output.status);
    out.into_owned()
}

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The bill of materials names what is linked with its checksum, and nothing that only tests use.
fn check_materials(text: &str) {
    let materials: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!((&materials["bomFormat"], &materials["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    assert_eq!(materials["metadata"]["component"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(materials["metadata"].get("timestamp"), None, "the same sources give the same document");
    let components = materials["components"].as_array().unwrap();
    let named = |name: &str| components.iter().find(|component| component["name"] == name);
    for name in ["datafusion", "rdkafka-sys", "zstd-sys", "axum"] {
        let component = named(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(component["hashes"][0]["content"].as_str().map(str::len), Some(64), "{component}");
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        assert!(component["purl"].as_str().unwrap().starts_with(&format!("pkg:cargo/{name}@")), "{component}");
    }
    assert!(named("deltalake-core").is_none() && named("tests").is_none(), "what is not shipped is listed");
    let edges = materials["dependencies"].as_array().unwrap();
    assert_eq!(edges.len(), components.len() + 1, "one for each component, and one for the program");
}

fn packed(folder: &Path) -> impl Fn(&str) -> PathBuf {
    let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    move |ending| files.iter().find(|path| path.to_str().unwrap().ends_with(ending)).unwrap().clone()
}

#[test]
fn every_package_brings_a_binary_that_runs() {
    let missing: Vec<&str> =
        ["python3", "dpkg-deb", "objdump", "strip"].into_iter().filter(|name| !is_there(name)).collect();
    if !missing.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "missing: {missing:?}");
        eprintln!("skipped: no {} here", missing.join(", "));
        return;
    }
    let scratch = TempDir::new().unwrap();
    let out = scratch.path().join("dist");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/dist.sh");
    // The binary of the tests uses the OpenSSL of this machine, the shipped one brings its own. It is large.
    let settings = [("TWOFOLD_DIST_ALLOW_SHARED", "1"), ("TWOFOLD_DIST_FAST", "1")];
    run(Command::new(script).arg(binary()).arg(&out).envs(settings));
    run(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(&out));
    let file = packed(&out);
    let version = format!("twofold {}", env!("CARGO_PKG_VERSION"));
    let check = |binary: PathBuf| assert_eq!(run(Command::new(binary).arg("--version")).trim(), version);

    let unpacked = scratch.path().join("archive");
    std::fs::create_dir(&unpacked).unwrap();
    run(Command::new("tar").arg("-xzf").arg(file(".tar.gz")).arg("--strip-components=1").arg("-C").arg(&unpacked));
    check(unpacked.join("bin/twofold"));
    let pipeline = unpacked.join("examples/demo/pipeline.sql");
    run(Command::new(unpacked.join("bin/twofold")).arg("validate").arg(pipeline));
    let licences = std::fs::read_to_string(unpacked.join("LICENCES-OF-DEPENDENCIES.txt")).unwrap();
    assert!(licences.contains("datafusion ") && licences.contains("Apache License"), "licence texts");
    let materials = std::fs::read_to_string(unpacked.join("twofold.cdx.json")).unwrap();
    check_materials(&materials);
    assert!(unpacked.join("config/default.toml").is_file() && unpacked.join("LICENSE").is_file());

    let installed = scratch.path().join("debian");
    run(Command::new("dpkg-deb").arg("-x").arg(file(".deb")).arg(&installed));
    check(installed.join("usr/bin/twofold"));
    let beside = std::fs::read_to_string(installed.join("usr/share/doc/twofold/twofold.cdx.json")).unwrap();
    assert_eq!(beside, materials);
    assert!(run(Command::new("dpkg-deb").arg("-f").arg(file(".deb")).arg("Depends")).contains("libc6 (>= 2."));

    let venv = scratch.path().join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "--no-index"]).arg(file(".whl")));
    check(venv.join("bin/twofold"));
    let python =
        "import importlib.metadata as m; print(m.distribution('twofold').read_text('sboms/twofold.cdx.json'), end='')";
    assert_eq!(run(Command::new(venv.join("bin/python")).args(["-c", python])), materials);
}
