use anyhow::Context as _;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};

use super::facts::Facts;

/// The page, whole: no other file is needed to see it.
///
/// # Errors
/// When the template is wrong, which its tests would have told.
pub(crate) fn html(facts: &Facts) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    // What comes from files is text, whatever it holds; only the figures, which escape it themselves, are markup.
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("link", link);
    environment.add_template("report.html", include_str!("template.html")).context("the page's template")?;
    let page = environment.get_template("report.html").context("the page's template")?;
    page.render(context! { facts => Serde(facts) }).context("the page's template")
}

/// A file's name as the address of a file beside the page.
fn link(name: &str) -> String {
    format!("./{}", encoded(name))
}

/// A file's name as a part of an address.
pub(crate) fn encoded(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::groups::tests::folder;
    use crate::report::measured::tests::old_row;

    #[test]
    fn the_page_says_what_the_facts_say_and_needs_no_other_file() {
        let mut folder = folder(&[old_row(1, 0, 1000.0, ""), old_row(2, 0, 3000.0, "noisy")]);
        folder.environment = vec![("cpu_model".into(), "Some CPU".into())];
        let page = html(&Facts::of(&folder)).expect("renders");
        for text in ["1,000 op/s", "8.60 &#x2f; 16.0 ms", "Some CPU", "marked: not a result", "noisy"] {
            assert!(page.contains(text), "{text} in {page}");
        }
        for outside in ["src=", "<link", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<svg").count() % 2, 0, "each figure wide and narrow");
    }

    #[test]
    fn hostile_text_stays_text() {
        let hostile = "</title><script>alert(1)</script>\" onload=\"x";
        let mut folder = folder(&[old_row(1, 0, 1.0, "<img src=x>"), old_row(1, 1, 2.0, "")]);
        folder.name = hostile.into();
        folder.points[1].facets[3] = hostile.into();
        folder.manifest.command = vec![hostile.into()];
        folder.manifest.error = Some(hostile.into());
        folder.environment = vec![(hostile.into(), hostile.into())];
        folder.files = vec!["javascript:alert(1).csv".into()];
        let page = html(&Facts::of(&folder)).expect("renders");
        assert!(!page.contains("<script>alert") && !page.contains("<img"), "{page}");
        assert!(!page.contains("\" onload"), "{page}");
        assert!(page.contains("href=\".&#x2f;javascript%3Aalert%281%29.csv\""), "{page}");
    }
}
