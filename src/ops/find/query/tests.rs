use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

fn here() -> Here {
    Here { now_us: 1_795_165_200_000_000, zone: TimeZone::UTC }
}

fn parse(text: &str) -> Result<Query, QueryError> {
    Query::parse(text, &here())
}

fn word(text: &str) -> Query {
    Query::Term(Term::Word(text.into()))
}

#[test]
fn terms_stand_side_by_side_and_or_binds_closer() {
    assert_eq!(parse("a OR b c").unwrap(), Query::All(vec![Query::Any(vec![word("a"), word("b")]), word("c")]));
    assert_eq!(
        parse("-(a b) OR -c").unwrap(),
        Query::Any(vec![Query::Not(Box::new(Query::All(vec![word("a"), word("b")]))), Query::Not(Box::new(word("c")))])
    );
}

#[test]
fn words_may_hold_what_names_hold() {
    for text in ["12:30", "https://contoso.com/x", "Report(1).docx", "f(x(y))z", "a-b", "O'Neil", "ORDER", "or", "50%"]
    {
        assert_eq!(parse(text).unwrap(), word(text), "{text}");
    }
    assert_eq!(parse(r#""say \"hi\" \\ or \n""#).unwrap(), word(r#"say "hi" \ or \n"#));
    assert_eq!(
        parse(r#"Subject:"annual report""#).unwrap(),
        Query::Term(Term::Text(Field::Subject, "annual report".into()))
    );
}

#[test]
fn what_is_wrong_is_pointed_at() {
    for (text, at, says) in [
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ("from:dana (invoice", 10, "never closed"),
        ("a (", 2, "never closed"),
        ("invoice)", 7, "Nothing was opened"),
        ("a ()", 2, "Nothing is in"),
        ("a OR", 2, "after this OR"),
        ("OR a", 0, "before this OR"),
        ("a OR OR b", 5, "before this OR"),
        ("a (b OR ) c", 5, "after this OR"),
        ("a -", 2, "after this minus"),
        ("form:dana", 0, "no filter 'form:'"),
        ("x from:", 7, "after 'from:'"),
        ("ü has:legs", 6, "'has:' does not take 'legs'"),
        ("kind:elephant", 5, "does not take"),
        ("before:soon", 7, "does not take"),
        ("size:>tiny", 5, "does not take"),
        ("in:/", 3, "does not take"),
        ("name:\"x", 5, "never closed"),
        ("\"a\"b", 3, "A blank is missing"),
        ("\"\"", 0, "empty"),
        ("from:\"\"", 5, "empty"),
        ("foo(", 3, "never closed"),
        ("a name:foo(bar baz)", 10, "never closed"),
        ("(a b(c)", 0, "never closed"),
        ("x((y)", 1, "never closed"),
        ("invoice\" b", 7, "within a word"),
        ("name:a\"b\"", 6, "within a word"),
    ] {
        let wrong = parse(text).unwrap_err();
        assert_eq!(wrong.at, at, "{text}: {}", wrong.message);
        assert!(wrong.message.contains(says), "{text}: {}", wrong.message);
        assert!(!wrong.hint.is_empty());
    }
    assert!(parse(&"(".repeat(10_000)).is_err() && parse(&format!("{}a", "-".repeat(10_000))).is_err());
}

#[test]
fn every_kind_has_its_word() {
    for kind in ItemKind::ALL {
        assert!(kinds_of(kind.word()).contains(kind), "{kind:?}");
    }
    assert_eq!(kinds_of("Mail"), [ItemKind::Message]);
    assert_eq!(kinds_of("list-item"), [ItemKind::ListItem]);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "[ -~]{1,12}", any::<String>().prop_filter("not empty", |text| !text.is_empty())]
}

fn term() -> impl Strategy<Value = Term> {
    let field = prop_oneof![Just(Field::From), Just(Field::To), Just(Field::Subject), Just(Field::Name),];
    prop_oneof![
        text().prop_map(Term::Word),
        (field, text()).prop_map(|(field, text)| Term::Text(field, text)),
        "[a-z/*]{1,9}x".prop_map(|text| Term::Text(Field::In, text)),
        proptest::sample::select(ItemKind::ALL).prop_map(|kind| Term::Kind(kind.word().into())),
        Just(Term::HasAttachment),
        (1970i16..2100, 1i8..=12).prop_map(|(year, month)| {
            let text = format!("{year}-{month:02}");
            let us = values::moment(&text, &here()).unwrap();
            Term::Before(text, us)
        }),
        (1u64..1 << 40).prop_map(|size| Term::Size(format!(">={size}"), (size, u64::MAX))),
    ]
}

pub(crate) fn query() -> impl Strategy<Value = Query> {
    term().prop_map(Query::Term).prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Query::All),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Query::Any),
            inner.prop_map(|one| Query::Not(Box::new(one))),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_at_a_spot_in_it(text in prop_oneof![any::<String>(), "[-()\"\\\\ :ORa-z>]{0,30}"]) {
        if let Err(wrong) = parse(&text) {
            prop_assert!(wrong.at <= text.chars().count());
        }
    }

    #[test]
    fn what_is_written_reads_as_it_was(query in query()) {
        prop_assert_eq!(parse(&query.to_string()), Ok(query));
    }
}
