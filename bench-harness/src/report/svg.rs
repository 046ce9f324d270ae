use std::fmt::Write as _;

/// An SVG being written, top down. All text that comes from outside passes [`escaped`].
#[derive(Debug)]
pub(crate) struct Svg {
    out: String,
}

/// How a text lies to its place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    /// Begins there.
    Start,
    /// In the middle.
    Middle,
    /// Ends there.
    End,
}

/// Colours and type, for light and dark. The names are those of classes that [`crate::report`]'s figures use.
const STYLE: &str = include_str!("figure.css");

impl Svg {
    /// Begins a picture; `title` is for those who can't see it.
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Self {
        let mut out = String::new();
        let (width, height) = (coordinate(width), coordinate(height));
        let _ = write!(
            out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="figure" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{}">
<style>{STYLE}</style>
<rect class="paper" width="{width}" height="{height}"/>
"#,
            escaped(title)
        );
        Self { out }
    }

    /// The whole picture.
    pub(crate) fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    /// A line of text whose baseline is at `y`.
    pub(crate) fn text(&mut self, (x, y): (f64, f64), class: &str, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.out,
            r#"<text x="{}" y="{}" class="{class}" text-anchor="{anchor}">{}</text>"#,
            coordinate(x),
            coordinate(y),
            escaped(text)
        );
    }

    /// A line from one place to another.
    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(coordinate);
        let _ = writeln!(self.out, r#"<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{class}"/>"#);
    }

    /// A line through places.
    pub(crate) fn polyline(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<String> =
            points.iter().map(|(x, y)| format!("{},{}", coordinate(*x), coordinate(*y))).collect();
        let _ = writeln!(self.out, r#"<polyline points="{}" class="{class}"/>"#, points.join(" "));
    }

    /// A circle; `tip` is shown to who points at it.
    pub(crate) fn circle(&mut self, (x, y): (f64, f64), radius: f64, class: &str, tip: &str) {
        let _ = write!(
            self.out,
            r#"<circle cx="{}" cy="{}" r="{}" class="{class}""#,
            coordinate(x),
            coordinate(y),
            coordinate(radius)
        );
        self.end_with_tip("circle", tip);
    }

    /// A rectangle from its upper left corner; `tip` is shown to who points at it.
    pub(crate) fn rect(&mut self, (x, y): (f64, f64), width: f64, height: f64, class: &str, tip: &str) {
        let [x, y, width, height] = [x, y, width, height].map(coordinate);
        let _ =
            write!(self.out, r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" class="{class}""#);
        self.end_with_tip("rect", tip);
    }

    fn end_with_tip(&mut self, element: &str, tip: &str) {
        let _ = match tip {
            "" => writeln!(self.out, "/>"),
            tip => writeln!(self.out, "><title>{}</title></{element}>", escaped(tip)),
        };
    }
}

/// Text as it stands in XML: its markup taken away, and characters that XML doesn't allow.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn coordinate(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_is_xml_whatever_goes_in() {
        let hostile = "</text><script>alert(1)</script>\u{0}\u{1b}]]>&\"'";
        let mut svg = Svg::new(10.0, 5.5, hostile);
        svg.text((1.0, 2.0), "tick", Anchor::End, hostile);
        svg.circle((1.0, 2.0), 3.0, "dot", hostile);
        svg.rect((0.0, 0.0), 1.0, 1.0, "bar", "");
        let text = svg.finish();
        let document = roxmltree::Document::parse(&text).expect("well-formed");
        assert!(document.descendants().all(|node| node.tag_name().name() != "script"));
        let circle = document
            .descendants()
            .find(|node| node.has_tag_name("circle"))
            .or_else(|| document.descendants().find(|node| node.tag_name().name() == "circle"));
        assert!(
            circle
                .expect("a circle")
                .descendants()
                .any(|node| node.text().is_some_and(|t| t.contains("alert(1)")))
        );
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!([10.0, 0.1234, 7.5, -0.001].map(coordinate), ["10", "0.12", "7.5", "-0"]);
    }
}
