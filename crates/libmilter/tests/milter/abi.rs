//! The library and its headers are those that programs were built with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::{Filter, Run, compile, library_folder, package};

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Where the stock library's headers are: installed, or unpacked beside the build.
fn stock() -> PathBuf {
    let unpacked = package().join("../../target/milters/usr/include");
    let found = [PathBuf::from("/usr/include"), unpacked]
        .into_iter()
        .find(|folder| folder.join("libmilter/mfapi.h").exists());
    found.expect("libmilter-dev is not installed: `cargo xtask setup` does that")
}

/// Sizes, offsets and types that one set of headers makes.
fn layout(headers: &Path, name: &str, standard: &str) -> String {
    let program = library_folder().join(name);
    let compiled = Command::new("cc")
        .args([standard, "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg("-I")
        .arg(headers)
        .arg(package().join("tests/milter/c/layout.c"))
        .arg("-L")
        .arg(library_folder())
        .args(["-l:libmilter.so.1.0.1"])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    output(Command::new(program).env("LD_LIBRARY_PATH", library_folder()))
}

#[test]
#[ignore = "needs libmilter-dev: cargo xtask test --only libmilter"]
fn both_headers_make_the_same_sizes_offsets_and_types() {
    for standard in ["-std=gnu89", "-std=c99", "-std=gnu11", "-std=gnu17"] {
        let ours = layout(&package().join("include"), "layout-ours", standard);
        assert_eq!(ours, layout(&stock(), "layout-stock", standard), "{standard}");
        assert!(ours.contains("sizeof smfiDesc 128") || size_of::<usize>() != 8);
    }
}

/// The macros that headers define, with what they stand for.
fn constants(headers: &Path) -> Vec<(String, String)> {
    let source = package().join("tests/milter/c/include.c");
    let text = output(Command::new("cc").args(["-dM", "-E", "-I"]).arg(headers).arg(&source));
    text.lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split_once(' '))
        .filter(|(name, _)| ["SMFI", "MI_", "MILTER_", "SM_"].iter().any(|start| name.starts_with(start)))
        .filter(|(name, _)| !name.contains('('))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
#[ignore = "needs libmilter-dev: cargo xtask test --only libmilter"]
fn every_constant_of_the_stock_headers_has_the_same_value_in_ours() {
    let names: BTreeSet<String> = constants(&stock()).into_iter().map(|(name, _)| name).collect();
    assert!(names.len() > 80, "{names:?}");
    let prints = names.iter().map(|name| {
        format!(
            "#ifdef {name}\nprintf(\"{name} %ld %d\\n\", (long) ({name}), (int) sizeof ({name}));\n#endif\n"
        )
    });
    let source = format!(
        "#include <libmilter/mfapi.h>\n#include <stdio.h>\nint main(void) {{\n{}return 0; }}\n",
        prints.collect::<String>()
    );
    let file = library_folder().join("constants.c");
    std::fs::write(&file, source).unwrap();
    let values = |headers: &Path, name: &str| {
        let program = library_folder().join(name);
        output(Command::new("cc").arg("-o").arg(&program).arg("-I").arg(headers).arg(&file));
        output(&mut Command::new(program))
    };
    let stock = values(&stock(), "constants-stock");
    assert_eq!(values(&package().join("include"), "constants-ours"), stock);
    assert!(stock.contains("SMFIF_SETSYMLIST 256 8"), "{stock}");
}

#[test]
fn the_headers_serve_c_plus_plus() {
    let source = package().join("tests/milter/c/include.c");
    output(
        Command::new("cc")
            .args(["-x", "c++", "-Wall", "-Werror", "-fsyntax-only", "-I"])
            .arg(package().join("include"))
            .arg(source),
    );
}

const FUNCTIONS: [&str; 26] = [
    "smfi_addheader",
    "smfi_addrcpt",
    "smfi_addrcpt_par",
    "smfi_chgfrom",
    "smfi_chgheader",
    "smfi_delrcpt",
    "smfi_getpriv",
    "smfi_getsymval",
    "smfi_insheader",
    "smfi_main",
    "smfi_opensocket",
    "smfi_progress",
    "smfi_quarantine",
    "smfi_register",
    "smfi_replacebody",
    "smfi_setbacklog",
    "smfi_setconn",
    "smfi_setdbg",
    "smfi_setmaxdatasize",
    "smfi_setmlreply",
    "smfi_setpriv",
    "smfi_setreply",
    "smfi_setsymlist",
    "smfi_settimeout",
    "smfi_stop",
    "smfi_version",
];

#[test]
fn the_library_exports_its_26_functions_and_nothing_else() {
    let library = library_folder().join("libmilter.so.1.0.1");
    let symbols = output(Command::new("nm").args(["-D", "--defined-only"]).arg(&library));
    let names: Vec<&str> = symbols.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(names, FUNCTIONS);
    assert!(symbols.lines().all(|line| line.contains(" T ")), "without versions: {symbols}");
}

#[test]
fn a_program_with_the_static_library_in_it_needs_no_other() {
    let program = compile("scripted", "libmilter.a");
    let dynamic = output(Command::new("readelf").args(["-d", "-W"]).arg(&program));
    assert!(!dynamic.contains("libmilter"), "{dynamic}");
    let filter = Filter::run(&Run {
        script: "eom|addheader|X-A|b\nmail|setmlreply|451|4.7.1|one|two\nmail|return|4",
        program: Some(&program),
        ..Run::default()
    });
    let mut mta = filter.connect();
    assert_eq!(mta.run("CH"), "cc");
    assert_eq!(mta.ask(b'M', b"<a@example.com>\0"), (b'y', b"451-4.7.1 one\r\n451 4.7.1 two\0".to_vec()));
    filter.stop();
}

#[test]
fn the_library_has_the_stock_library_s_name() {
    let library = library_folder().join("libmilter.so.1.0.1");
    let dynamic = output(Command::new("readelf").args(["-d", "-W"]).arg(&library));
    assert!(dynamic.contains("Library soname: [libmilter.so.1.0.1]"), "{dynamic}");
}
