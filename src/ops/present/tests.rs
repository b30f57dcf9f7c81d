//! What is made of stored JSON: whole examples, and any JSON at all.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::html::Pictures;
use super::{contact, event, page, table, task, thread};

fn unfolded(text: &str) -> String {
    text.replace("\r\n ", "")
}

fn lines(text: &str) -> Vec<String> {
    unfolded(text).lines().map(str::to_owned).collect()
}

fn series() -> Value {
    json!({
        "id": "AAMk", "iCalUId": "040000008200", "type": "seriesMaster", "subject": "Stand-up, daily; short",
        "createdDateTime": "2026-10-01T08:00:00Z", "lastModifiedDateTime": "2026-10-02T08:00:00.5Z",
        "body": {"contentType": "html", "content": "<p>Bring <b>news</b></p><script>x</script>"},
        "start": {"dateTime": "2026-10-19T07:30:00.0000000", "timeZone": "UTC"},
        "end": {"dateTime": "2026-10-19T08:00:00.0000000", "timeZone": "UTC"},
        "originalStartTimeZone": "W. Europe Standard Time",
        "recurrence": {
            "pattern": {"type": "weekly", "interval": 1, "daysOfWeek": ["monday"], "firstDayOfWeek": "monday"},
            "range": {"type": "endDate", "startDate": "2026-10-19", "endDate": "2026-12-31", "recurrenceTimeZone": "W. Europe Standard Time"},
        },
        "cancelledOccurrences": ["OID.AAMk.2026-11-02", "odd"],
        "importance": "high", "sensitivity": "private", "showAs": "oof", "isReminderOn": true, "reminderMinutesBeforeStart": 15,
        "categories": ["Blue, light", "Team"], "location": {"displayName": "Room 1", "coordinates": {"latitude": 52.5, "longitude": 13.4}},
        "organizer": {"emailAddress": {"name": "Alice", "address": "alice@contoso.com"}}, "responseRequested": true,
        "attendees": [
            {"type": "required", "status": {"response": "tentativelyAccepted"}, "emailAddress": {"name": "Bob \"B\" Ltd; Co", "address": "bob@contoso.com"}},
            {"type": "resource", "status": {"response": "accepted"}, "emailAddress": {"name": "Room", "address": "room1@contoso.com"}},
        ],
        "onlineMeeting": {"joinUrl": "https://teams.microsoft.com/l/meetup?x=1"},
    })
}

#[test]
fn a_series_is_on_its_days_by_the_clock_of_its_zone() {
    let between = ("2026-10-12T00:00:00Z".parse().unwrap(), "2026-11-20T00:00:00Z".parse().unwrap());
    let of = |json: &Value| event::planned(json, between).iter().map(ToString::to_string).collect::<Vec<_>>();
    // Half past nine before and after the clock was changed; the second of November is cancelled.
    let days = ["2026-10-19T07:30:00Z", "2026-10-26T08:30:00Z", "2026-11-09T08:30:00Z", "2026-11-16T08:30:00Z"];
    assert_eq!(of(&series()), days);
    let mut whole_days = series();
    whole_days["isAllDay"] = json!(true);
    let days = ["2026-10-19T00:00:00Z", "2026-10-26T00:00:00Z", "2026-11-09T00:00:00Z", "2026-11-16T00:00:00Z"];
    assert_eq!(of(&whole_days), days);
}

#[test]
fn a_series_repeats_by_the_clock_of_its_zone() {
    let exception = json!({
        "type": "exception", "subject": "Stand-up, later", "originalStart": "2026-11-09T08:30:00Z", "iCalUId": "another",
        "start": {"dateTime": "2026-11-09T10:00:00.0000000", "timeZone": "UTC"},
        "end": {"dateTime": "2026-11-09T10:30:00.0000000", "timeZone": "UTC"}, "isCancelled": true,
    });
    let text = event::written(&series(), &[exception]);
    let lines = lines(&text);
    for line in [
        "TZID:Europe/Berlin",
        "UID:040000008200",
        "DTSTAMP:20261002T080000Z",
        "SUMMARY:Stand-up\\, daily\\; short",
        "PRIORITY:1",
        "CATEGORIES:Blue\\, light,Team",
        // In summer time; a week later the clock has changed, and half past nine stays half past nine.
        "DTSTART;TZID=Europe/Berlin:20261019T093000",
        "DTEND;TZID=Europe/Berlin:20261019T100000",
        "RRULE:FREQ=WEEKLY;BYDAY=MO;WKST=MO;UNTIL=20261231T225959Z",
        "EXDATE;TZID=Europe/Berlin:20261102T093000",
        "RECURRENCE-ID;TZID=Europe/Berlin:20261109T093000",
        "DTSTART;TZID=Europe/Berlin:20261109T110000",
        "STATUS:CONFIRMED",
        "STATUS:CANCELLED",
        "CLASS:PRIVATE",
        "X-MICROSOFT-CDO-BUSYSTATUS:OOF",
        "LOCATION:Room 1",
        "GEO:52.500000;13.400000",
        "CONFERENCE;VALUE=URI;FEATURE=\"AUDIO,VIDEO\":https://teams.microsoft.com/l/meetup?x=1",
        "ORGANIZER;CN=Alice:mailto:alice@contoso.com",
        "ATTENDEE;CN=\"Bob 'B' Ltd; Co\";CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT;PARTSTAT=TENTATIVE;RSVP=TRUE:mailto:bob@contoso.com",
        "ATTENDEE;CN=Room;CUTYPE=RESOURCE;ROLE=NON-PARTICIPANT;PARTSTAT=ACCEPTED;RSVP=TRUE:mailto:room1@contoso.com",
        "DESCRIPTION:Bring news",
        "X-ALT-DESC;FMTTYPE=text/html:<p>Bring <b>news</b></p>",
        "TRIGGER:-PT15M",
    ] {
        assert!(lines.iter().any(|found| found == line), "no {line} in\n{text}");
    }
    assert_eq!(lines.iter().filter(|line| *line == "UID:040000008200").count(), 2, "an exception is of its series");
    let unfolded = icalendar::parser::unfold(&text);
    let parsed = icalendar::parser::read_calendar(&unfolded).expect("a parser of others reads it");
    assert_eq!(parsed.components.iter().filter(|part| part.name == "VEVENT").count(), 2);
}

#[test]
fn an_event_of_whole_days_has_no_zone() {
    let json = json!({
        "subject": "Holidays", "isAllDay": true, "originalStartTimeZone": "W. Europe Standard Time",
        "start": {"dateTime": "2026-12-24T00:00:00.0000000", "timeZone": "UTC"},
        "end": {"dateTime": "2026-12-27T00:00:00.0000000", "timeZone": "UTC"},
        "recurrence": {"pattern": {"type": "absoluteYearly", "month": 12, "dayOfMonth": 24}, "range": {"type": "endDate", "endDate": "2030-12-31"}},
        "cancelledOccurrences": ["OID.x.2028-12-24"],
    });
    let text = event::written(
        &json,
        &[json!({"isAllDay": true, "occurrenceId": "OID.x.2027-12-24", "originalStart": "2027-12-23T23:00:00Z",
        "start": {"dateTime": "2027-12-23T00:00:00", "timeZone": "UTC"}})],
    );
    let lines = lines(&text);
    for line in [
        "DTSTART;VALUE=DATE:20261224",
        "DTEND;VALUE=DATE:20261227",
        "RRULE:FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24;UNTIL=20301231",
        "EXDATE;VALUE=DATE:20281224",
        "RECURRENCE-ID;VALUE=DATE:20271224",
        "DTSTART;VALUE=DATE:20271223",
        "DTEND;VALUE=DATE:20271224",
    ] {
        assert!(lines.iter().any(|found| found == line), "no {line} in\n{text}");
    }
    assert!(!text.contains("VTIMEZONE") && !text.contains("TZID"), "{text}");
}

#[test]
fn a_task_has_its_steps_links_and_days() {
    let json = json!({
        "title": "Buy paper", "status": "completed", "importance": "low", "categories": ["Office"],
        "body": {"contentType": "text", "content": "White\n"},
        "dueDateTime": {"dateTime": "2026-11-20T00:00:00.0000000", "timeZone": "UTC"},
        "completedDateTime": {"dateTime": "2026-11-19T00:00:00.0000000", "timeZone": "UTC"},
        "reminderDateTime": {"dateTime": "2026-11-19T08:00:00.0000000", "timeZone": "UTC"}, "isReminderOn": true,
        "recurrence": {"pattern": {"type": "daily", "interval": 2}, "range": {"type": "noEnd"}},
        "checklistItems": [{"displayName": "A4", "isChecked": true}, {"displayName": "A3"}],
        "linkedResources": [{"webUrl": "https://shop.example/paper", "applicationName": "Shop", "displayName": "Paper"}],
    });
    let text = task::written(&json);
    let lines = lines(&text);
    for line in [
        "SUMMARY:Buy paper",
        "DTSTART;VALUE=DATE:20261120",
        "DUE;VALUE=DATE:20261120",
        "RRULE:FREQ=DAILY;INTERVAL=2",
        "STATUS:COMPLETED",
        "PERCENT-COMPLETE:100",
        "COMPLETED:20261119T000000Z",
        "PRIORITY:9",
        "CATEGORIES:Office",
        "URL:https://shop.example/paper",
        "DESCRIPTION:White\\n\\n[x] A4\\n[ ] A3\\nShop Paper https://shop.example/paper",
        "TRIGGER;VALUE=DATE-TIME:20261119T080000Z",
    ] {
        assert!(lines.iter().any(|found| found == line), "no {line} in\n{text}");
    }
}

#[test]
fn a_contact_is_a_card_with_its_photo() {
    let json = json!({
        "displayName": "Garth Fort", "givenName": "Garth", "surname": "Fort", "middleName": null, "title": "Dr.", "nickName": "G;F",
        "companyName": "Contoso, Inc.", "department": "Sales", "jobTitle": "Manager", "birthday": "1604-07-22T12:00:00Z",
        "emailAddresses": [{"address": "garth@contoso.com"}, {"address": "g@x.org"}], "mobilePhone": "+1 2", "businessPhones": ["+1 918"],
        "businessAddress": {"street": "10 Way\r\nFloor 2", "city": "Redmond", "state": "WA", "postalCode": "98075", "countryOrRegion": "USA"},
        "homeAddress": {}, "imAddresses": ["sip:garth@contoso.com", "garth f"], "businessHomePage": "www.contoso.com",
        "spouseName": "Ann", "children": ["Bo"], "personalNotes": "a\\b", "categories": ["VIP"], "lastModifiedDateTime": "2026-10-19T23:08:24Z",
    });
    let text = contact::written(&json, Some(b"\xff\xd8\xff\xe0"));
    let lines = lines(&text);
    for line in [
        "VERSION:4.0",
        "FN:Garth Fort",
        "N:Fort;Garth;;Dr.;",
        "NICKNAME:G\\;F",
        "ORG:Contoso\\, Inc.;Sales",
        "TITLE:Manager",
        "BDAY:--0722",
        "EMAIL;PREF=1:garth@contoso.com",
        "EMAIL;PREF=2:g@x.org",
        "TEL;TYPE=work:+1 918",
        "TEL;TYPE=cell:+1 2",
        "ADR;TYPE=work:;;10 Way\\nFloor 2;Redmond;WA;98075;USA",
        "IMPP:sip:garth@contoso.com",
        "IMPP:x-im:garth%20f",
        "URL;TYPE=work:http://www.contoso.com",
        "RELATED;TYPE=spouse;VALUE=text:Ann",
        "RELATED;TYPE=child;VALUE=text:Bo",
        "NOTE:a\\\\b",
        "CATEGORIES:VIP",
        "REV:20261019T230824Z",
        "PHOTO:data:image/jpeg;base64,/9j/4A==",
    ] {
        assert!(lines.iter().any(|found| found == line), "no {line} in\n{text}");
    }
    assert!(contact::written(&json!(null), None).contains("FN:(no name)\r\n"), "RFC 6350 wants a name");
}

/// Any JSON, often with the keys that are looked for and values that nearly fit.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "UTC",
        "W. Europe Standard Time",
        "exception",
        "weekly",
        "relativeYearly",
        "monday",
        "last",
        "endDate",
        "numbered",
        "html",
        "2026-11-02",
        "2026-11-02T10:00:00",
        "2026-11-02T10:00:00Z",
        "-009999-01-01T00:00:00",
        "9999-12-31T23:59:59Z",
        "OID.x.9999-12-31",
        "completed",
        "busy",
        "high",
        "a@b",
        "https://x/hostedContents/1/$value",
        "<p>x</p><script>",
        "=1+1",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    let keys = prop::sample::select(vec![
        "subject",
        "title",
        "start",
        "end",
        "dateTime",
        "timeZone",
        "recurrence",
        "pattern",
        "range",
        "type",
        "interval",
        "month",
        "dayOfMonth",
        "daysOfWeek",
        "index",
        "endDate",
        "numberOfOccurrences",
        "recurrenceTimeZone",
        "originalStartTimeZone",
        "isAllDay",
        "cancelledOccurrences",
        "originalStart",
        "occurrenceId",
        "attendees",
        "emailAddress",
        "address",
        "name",
        "status",
        "response",
        "organizer",
        "body",
        "content",
        "contentType",
        "location",
        "coordinates",
        "latitude",
        "longitude",
        "reminderMinutesBeforeStart",
        "isReminderOn",
        "dueDateTime",
        "startDateTime",
        "completedDateTime",
        "checklistItems",
        "displayName",
        "birthday",
        "emailAddresses",
        "businessAddress",
        "street",
        "imAddresses",
        "categories",
        "reactions",
        "from",
        "user",
        "attachments",
        "contentUrl",
        "innerHtml",
        "data",
        "serverProcessedContent",
        "htmlStrings",
        "value",
        "createdDateTime",
        "deletedDateTime",
        "onlineMeeting",
        "joinUrl",
    ]);
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..12).prop_map(|pairs| {
                Value::from(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
            }),
        ]
    })
}

/// Every line is short, and begins as one of ours does.
fn holds_the_form(text: &str) {
    for line in text.split("\r\n") {
        assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{line:?}");
        assert!(line.is_empty() || line.starts_with(|c: char| c == ' ' || c.is_ascii_uppercase()), "{line:?}");
    }
    let count = |word: &str| unfolded(text).split("\r\n").filter(|line| line.starts_with(word)).count();
    assert_eq!(count("BEGIN:"), count("END:"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_json_breaks_what_is_made_of_it(json in any_json(), other in any_json()) {
        holds_the_form(&event::written(&json, std::slice::from_ref(&other)));
        holds_the_form(&task::written(&json));
        holds_the_form(&contact::written(&json, None));
        let page = [thread::shown(&json, &Pictures::default(), &[]), page::web_part(&json)].concat();
        prop_assert!(!page.contains("<script"), "{page}");
        table::cell(&json);
    }
}
