use proptest::prelude::*;

use super::*;

/// Checks a name against the rules of all three systems, in other words than the code.
fn assert_safe(name: &str) {
    assert!(!name.is_empty() && name != "." && name != "..", "{name:?}");
    assert!(name.len() <= 255 && name.encode_utf16().count() <= 255, "{name:?}");
    assert!(!name.contains(['<', '>', ':', '"', '/', '\\', '|', '?', '*']), "{name:?}");
    assert!(name.chars().all(|c| u32::from(c) >= 32 && !(0x7f..0xa0).contains(&u32::from(c))), "{name:?}");
    assert!(!name.contains(['\u{202e}', '\u{202a}', '\u{2066}', '\u{200f}', '\u{feff}']), "{name:?}");
    assert!(!name.ends_with(['.', ' ']), "{name:?}");
    let stem = name.split('.').next().expect("one part").trim_end().to_ascii_lowercase();
    let devices = ["con", "prn", "aux", "nul", "com1", "com9", "com0", "lpt1", "lpt9", "com¹", "conin$"];
    assert!(!devices.contains(&stem.as_str()), "{name:?}");
    let components: Vec<_> = std::path::Path::new(name).components().collect();
    assert!(matches!(components.as_slice(), [std::path::Component::Normal(only)] if *only == name), "{name:?}");
}

#[test]
fn hostile_names_become_harmless() {
    for (name, expected) in [
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        ("   ", "_"),
        (". . .", "_"),
        ("a/b\\c", "a_b_c"),
        ("C:\\Windows", "C__Windows"),
        ("file.txt::$DATA", "file.txt__$DATA"),
        ("a<b>c\"d|e?f*g", "a_b_c_d_e_f_g"),
        ("tab\there\0null\x7f\u{85}", "tab_here_null__"),
        ("trailing. . ", "trailing"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("Nul .tar.gz", "_Nul .tar.gz"),
        ("COM1", "_COM1"),
        ("lpt9.x", "_lpt9.x"),
        ("COM¹", "_COM¹"),
        ("conout$", "_conout$"),
        ("aux.", "_aux"),
        ("invoice\u{202e}fdp.exe", "invoice_fdp.exe"),
        ("\u{feff}bom", "_bom"),
    ] {
        assert_eq!(safe_name(name), expected, "{name:?}");
        assert_safe(&safe_name(name));
    }
}

#[test]
fn good_names_stay_as_they_are() {
    for name in [
        "Plan.docx",
        ".bashrc",
        "CONTRACT.pdf",
        "COM10",
        "COM",
        "console",
        "Grüße aus Köln.eml",
        "日本語",
        "👩‍👧.png",
        "a b  c",
        "~$x.doc",
        "-rf",
    ] {
        assert_eq!(safe_name(name), name);
    }
}

#[test]
fn long_names_are_cut_with_their_extension_kept() {
    let long = format!("{}.docx", "x".repeat(300));
    let name = safe_name(&long);
    assert_eq!(name.len(), MAX_NAME_BYTES);
    assert!(name.starts_with("xxx") && name.ends_with(".docx") && name.contains('~'));
    // Names that differ only after the cut stay apart.
    assert_ne!(safe_name(&"x".repeat(300)), safe_name(&"x".repeat(301)));
    // Never within a character.
    for shift in 0..4 {
        let name = safe_name(&format!("{}{}", "x".repeat(shift), "日".repeat(150)));
        assert!(name.len() <= MAX_NAME_BYTES && name.len() > MAX_NAME_BYTES - 4);
        assert_safe(&name);
    }
    let mail = safe_file_name(&"Subject ".repeat(60), "eml");
    assert!(mail.ends_with(".eml") && mail.len() <= MAX_NAME_BYTES);
    // What follows a dot far from the end is no extension.
    assert!(safe_name(&format!("a.{}", "b".repeat(400))).len() <= MAX_NAME_BYTES);
}

#[test]
fn a_subject_becomes_a_file_name() {
    assert_eq!(safe_file_name("Re: budget 2026?", "eml"), "Re_ budget 2026_.eml");
    assert_eq!(safe_file_name("", "eml"), "_.eml");
    assert_eq!(safe_file_name("...", "eml"), "_.eml");
    assert_eq!(safe_file_name("NUL", "eml"), "_NUL.eml");
    assert_eq!(safe_file_name("see you...", "eml"), "see you.eml");
}

#[test]
fn names_that_some_system_takes_for_the_same_are_kept_apart() {
    let mut names = FolderNames::new();
    assert_eq!(names.allocate("Report.docx"), "Report.docx");
    assert_eq!(names.allocate("REPORT.DOCX"), "REPORT (2).DOCX");
    assert_eq!(names.allocate("report.docx"), "report (3).docx");
    assert_eq!(names.allocate("Report (2).docx"), "Report (2) (2).docx");
    // One accent, two ways to write it.
    assert_eq!(names.allocate("Caf\u{e9}"), "Caf\u{e9}");
    assert_eq!(names.allocate("Cafe\u{301}"), "Caf\u{e9} (2)");
    assert_eq!(names.allocate("CAFE\u{301}"), "CAF\u{c9} (3)");
    // Letters that fold in unusual ways: sharp s, the Kelvin sign, final sigma.
    assert_eq!(names.allocate("straße"), "straße");
    assert_eq!(names.allocate("STRASSE"), "STRASSE (2)");
    assert_eq!(names.allocate("\u{212a}"), "K");
    assert_eq!(names.allocate("k"), "k (2)");
    assert_eq!(names.allocate("ΣΑΣ"), "ΣΑΣ");
    assert_eq!(names.allocate("σας"), "σας (2)");
    // What became the same by being made safe.
    assert_eq!(names.allocate("a/b"), "a_b");
    assert_eq!(names.allocate("a:b"), "a_b (2)");
    assert_eq!(names.allocate(".bashrc"), ".bashrc");
    assert_eq!(names.allocate(".bashrc"), ".bashrc (2)");
    assert_eq!(names.allocate_file("x", "eml"), "x.eml");
    assert_eq!(names.allocate_file("X", "eml"), "X (2).eml");
}

#[test]
fn a_folder_of_many_equal_names_is_named_quickly() {
    let mut names = FolderNames::new();
    let given: HashSet<String> = (0..3_000).map(|_| names.allocate(&"No subject".repeat(30))).collect();
    assert_eq!(given.len(), 3_000);
    given.iter().for_each(|name| assert_safe(name));
}

/// Names near what is dangerous.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "(con|NUL|com[0-9]|LPT¹|[. ]){1,4}[. a]{0,3}",
        "[./\\\\:*\u{0}-\u{1f}\u{202e} a-cA-C]{0,12}",
        "[a-zé日\u{301}. ]{200,400}(\\.[a-z]{1,20})?",
        "[aA][e\u{301}éÉE]{1,2}(\\.[tT])?",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_name_becomes_one_safe_component(name in name()) {
        let safe = safe_name(&name);
        assert_safe(&safe);
        prop_assert!(safe.len() <= MAX_NAME_BYTES);
        prop_assert_eq!(safe_name(&safe), safe);
        let file = safe_file_name(&name, "eml");
        assert_safe(&file);
        prop_assert!(file.ends_with(".eml"));
        prop_assert_eq!(safe_name(&file), file);
    }
}

proptest! {
    #[test]
    fn names_in_a_folder_are_unique_and_repeatable(list in proptest::collection::vec(name(), 0..30)) {
        let (mut one, mut two) = (FolderNames::new(), FolderNames::new());
        let mut seen = HashSet::new();
        for name in &list {
            let given = one.allocate(name);
            assert_safe(&given);
            prop_assert_eq!(&two.allocate(name), &given);
            prop_assert!(seen.insert(given.to_uppercase().to_lowercase()), "{}", given);
        }
    }
}
