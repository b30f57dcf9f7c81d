//! The names of columns in the cells of tables: on a narrow screen a row stands as a card, and each cell says what it is.
//!
//! It reads pages that `maud` made: what people wrote has no `<` and no `"` there, and stands in no tag.

/// The longest name of a column that its cells carry, in bytes: tables of people have many cells.
const LONGEST: usize = 64;

/// A page's contents in which the cells of tables carry the name of their column (`data-label`), as the table's head has it. The
/// grid of a month stays one.
pub(super) fn named(page: &str) -> String {
    let mut named = String::with_capacity(page.len() + page.len() / 8);
    let (mut names, mut column, mut is_grid) = (Vec::<String>::new(), 0_usize, false);
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let (text, from) = rest.split_at(at);
        let (tag, after) = from.split_at(from.find('>').map_or(from.len(), |end| end + 1));
        named.push_str(text);
        rest = after;
        match word(tag) {
            "table" => (names, is_grid) = (Vec::new(), tag.contains("class=\"month\"")),
            "tr" => column = 0,
            "th" if tag.contains("scope=\"col\"") => names.push(if is_grid { String::new() } else { name(after) }),
            "th" => column += 1,
            "td" => {
                let name = names.get(column).map_or("", String::as_str);
                column += 1;
                if !name.is_empty() {
                    named.push_str("<td data-label=\"");
                    named.push_str(name);
                    named.push('"');
                    named.push_str(tag.trim_start_matches("<td"));
                    continue;
                }
            }
            _ => {}
        }
        named.push_str(tag);
    }
    named.push_str(rest);
    named
}

/// The word of a tag that opens; of one that closes none.
fn word(tag: &str) -> &str {
    let inner = tag.trim_start_matches('<');
    inner.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()
}

/// The name in the head of a column; none where it is not seen, or long.
fn name(after: &str) -> String {
    let inner = after.split("</th>").next().unwrap_or_default();
    if inner.starts_with("<span class=\"unseen\"") || inner.len() > LONGEST {
        return String::new();
    }
    let mut parts = inner.split('<');
    let first = parts.next().unwrap_or_default();
    let others = parts.filter_map(|part| part.split_once('>')).map(|(_, text)| text);
    std::iter::once(first).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    #[test]
    fn cells_carry_the_names_of_their_columns() {
        let foreign = "<td>\"&";
        let page = html! {
            p { "before" }
            table {
                thead { tr {
                    th scope="col" { span.unseen { "Pick" } } th scope="col" { "Name" }
                    th.number scope="col" { "Size " span.quiet { "in bytes" } } th scope="col" { (foreign) }
                } }
                tbody { @for _ in 0..2 { tr {
                    td { input type="checkbox"; } th scope="row" { (foreign) } td.number title=(foreign) { "7" } td { a href="/x" { "y" } } td { "more" }
                } } }
            }
            table.month { thead { tr { th scope="col" { "Mon" } } } tbody { tr { td { "1" } } } }
            table { tbody { tr { td { "no head" } } } }
        };
        let named = named(&page.0);
        let row = "<tr><td><input type=\"checkbox\"></td><th scope=\"row\">&lt;td&gt;&quot;&amp;</th><td data-label=\"Size in bytes\" \
                   class=\"number\" title=\"&lt;td&gt;&quot;&amp;\">7</td><td data-label=\"&lt;td&gt;&quot;&amp;\"><a href=\"/x\">y</a></td>\
                   <td>more</td></tr>";
        assert_eq!(named.matches(row).count(), 2, "{named}");
        assert!(named.contains("<td>1</td>") && named.contains("<td>no head</td>"), "{named}");
        assert_eq!(named.matches("data-label").count(), 4, "{named}");
    }

    #[test]
    fn nothing_else_of_a_page_is_changed() {
        for page in
            ["", "text", "<p>a < b</p>", "<td", "<th scope=\"col\">", "<table><tr><td>x</td></tr></table>\u{fc}<"]
        {
            assert_eq!(named(page), page);
        }
        let long = "x".repeat(65);
        let page = format!("<table><th scope=\"col\">{long}</th><tr><td></td></tr></table>");
        assert_eq!(named(&page), page, "a name that is long is not carried by all its cells");
    }
}
