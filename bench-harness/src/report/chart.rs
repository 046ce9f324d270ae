use super::axis::Axis;
use super::svg::{Anchor, Svg};
use super::text::wrapped;

/// A figure, before it is drawn at some width.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// Stem of its file.
    pub(crate) stem: String,
    /// What it shows.
    pub(crate) title: String,
    /// What was measured.
    pub(crate) subtitle: String,
    /// What its lines and shapes stand for.
    pub(crate) legend: Vec<(Key, String)>,
    /// What is drawn.
    pub(crate) body: Body,
}

/// The kinds of figures.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Panels below one another.
    Panels(Vec<Panel>),
    /// Horizontal bars on one axis.
    Bars(Axis, Vec<Bar>),
}

/// Marks between two axes.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// Along the bottom.
    pub(crate) x: Axis,
    /// Along the left.
    pub(crate) y: Axis,
    /// What is drawn, in this order.
    pub(crate) marks: Vec<Mark>,
}

/// Something drawn in a panel, in the values of its axes.
#[derive(Clone, Debug)]
pub(crate) enum Mark {
    /// A line through values.
    Line(Stroke, Vec<(f64, f64)>),
    /// One measurement, with what is told of it.
    Dot(Shape, (f64, f64), String),
    /// A moment, with what happened.
    Rule(f64, String),
}

/// How a line looks; the number is a colour's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stroke {
    /// Whole.
    Solid(usize),
    /// Broken.
    Dashed(usize),
    /// What would be if nothing were lost.
    Ideal,
}

/// How a dot looks; the number is a colour's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// A filled dot.
    Full(usize),
    /// A ring in its colour.
    Open(usize),
    /// A hollow grey one: not a result.
    Marked,
    /// A wide ring around others.
    Knee,
}

/// What a legend's entry shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    /// A line.
    Line(Stroke),
    /// A dot.
    Dot(Shape),
    /// A bar of a colour.
    Bar(usize),
    /// A dot on a bar.
    OnBar,
    /// An event.
    Rule,
}

/// A bar: segments from 0 on.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// What it stands for.
    pub(crate) label: String,
    /// Its length, in words.
    pub(crate) value: String,
    /// Colours, lengths, and what is told of each.
    pub(crate) segments: Vec<(usize, f64, String)>,
    /// Single measurements.
    pub(crate) dots: Vec<f64>,
}

/// The colours there are; more lines than these go into a second figure.
pub(crate) const COLOURS: usize = 8;
/// The colour of what a legend says of all lines.
pub(crate) const OF_ALL: usize = usize::MAX;

/// How wide a figure is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Width {
    /// For a screen.
    Wide,
    /// For a phone held upright.
    Narrow,
}

/// Sizes that follow from the width, in pixels.
struct Layout {
    width: f64,
    left: f64,
    right: f64,
    panel: f64,
}

/// A character's usual width over its size; bold ones are wider.
const CHARACTER: f64 = 0.56;
const BOLD: f64 = 1.15;
const LINE: f64 = 18.0;

impl Figure {
    /// The picture, as SVG.
    pub(crate) fn draw(&self, width: Width) -> String {
        let layout = match width {
            Width::Wide => Layout { width: 640.0, left: 58.0, right: 18.0, panel: 270.0 },
            Width::Narrow => Layout { width: 360.0, left: 48.0, right: 10.0, panel: 230.0 },
        };
        let title = wrapped(&self.title, layout.characters(17.0 * BOLD));
        let subtitle = wrapped(&self.subtitle, layout.characters(12.0));
        let legend = legend_rows(&self.legend, &layout);
        let head = 16.0
            + lines(title.len()) * 22.0
            + lines(subtitle.len()) * 16.0
            + 8.0
            + lines(legend.len()) * LINE;
        let body = match &self.body {
            Body::Panels(panels) => lines(panels.len()) * (layout.panel + PANEL_AROUND),
            Body::Bars(_, bars) => lines(bars.len()) * BAR_ROW + PANEL_AROUND,
        };
        let mut svg =
            Svg::new(layout.width, head + body + 6.0, &format!("{}. {}", self.title, self.subtitle));
        let mut y = 8.0;
        for line in &title {
            y += 22.0;
            svg.text((MARGIN, y - 4.0), "title", Anchor::Start, line);
        }
        for line in &subtitle {
            y += 16.0;
            svg.text((MARGIN, y), "subtitle", Anchor::Start, line);
        }
        y += 8.0;
        for row in &legend {
            y += LINE;
            draw_legend(&mut svg, row, y);
        }
        match &self.body {
            Body::Panels(panels) => {
                for (index, panel) in panels.iter().enumerate() {
                    let top = head + lines(index) * (layout.panel + PANEL_AROUND) + PANEL_TOP;
                    Frame { layout: &layout, panel, top }.draw(&mut svg);
                }
            }
            Body::Bars(axis, bars) => draw_bars(&mut svg, &layout, axis, bars, head + PANEL_TOP),
        }
        svg.finish()
    }
}

const MARGIN: f64 = 12.0;
/// Above a panel: the title of its y axis.
const PANEL_TOP: f64 = 30.0;
/// Above and below: with the labels and the title of its x axis.
const PANEL_AROUND: f64 = PANEL_TOP + 46.0;
const BAR_ROW: f64 = 46.0;

impl Layout {
    fn characters(&self, size: f64) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
        let characters = ((self.width - 2.0 * MARGIN) / (size * CHARACTER)) as usize;
        characters
    }

    fn plot_width(&self) -> f64 {
        self.width - self.left - self.right
    }
}

/// A panel and where it stands.
struct Frame<'a> {
    layout: &'a Layout,
    panel: &'a Panel,
    top: f64,
}

impl Frame<'_> {
    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            self.layout.left + self.panel.x.share(x) * self.layout.plot_width(),
            self.top + (1.0 - self.panel.y.share(y)) * self.layout.panel,
        )
    }

    fn draw(&self, svg: &mut Svg) {
        let (left, right) = (self.layout.left, self.layout.width - self.layout.right);
        let bottom = self.top + self.layout.panel;
        svg.text((MARGIN, self.top - 12.0), "axis-title", Anchor::Start, &self.panel.y.title);
        for (value, label) in &self.panel.y.ticks {
            let y = self.top + (1.0 - self.panel.y.share(*value)) * self.layout.panel;
            svg.line((left, y), (right, y), "grid");
            svg.text((left - 7.0, y + 4.0), "tick y", Anchor::End, label);
        }
        draw_x_axis(svg, self.layout, &self.panel.x, bottom);
        let mut rules = 0;
        for mark in &self.panel.marks {
            match mark {
                Mark::Line(stroke, points) => {
                    let points: Vec<(f64, f64)> = points.iter().map(|point| self.at(*point)).collect();
                    svg.polyline(&points, &stroke.class());
                }
                Mark::Dot(shape, place, tip) => {
                    svg.circle(self.at(*place), shape.radius(), &shape.class(), tip)
                }
                Mark::Rule(x, label) => {
                    self.draw_rule(svg, *x, label, rules);
                    rules += 1;
                }
            }
        }
    }

    /// Labels of events step down, so that those close to one another stay readable.
    fn draw_rule(&self, svg: &mut Svg, x: f64, label: &str, index: u32) {
        let (x, _) = self.at((x, 0.0));
        svg.line((x, self.top), (x, self.top + self.layout.panel), "rule");
        let y = self.top + 14.0 + f64::from(index % 4) * 15.0;
        let (left, right) = (self.layout.left, self.layout.width - self.layout.right);
        let to_the_right = x < (left + right) / 2.0;
        let (x, anchor, room) = if to_the_right {
            (x + 5.0, Anchor::Start, right - x - 5.0)
        } else {
            (x - 5.0, Anchor::End, x - 5.0 - left)
        };
        if !label.is_empty() {
            svg.text((x, y), "rule-label", anchor, &fitted(label, 12.0 * BOLD, room));
        }
    }
}

fn draw_x_axis(svg: &mut Svg, layout: &Layout, axis: &Axis, bottom: f64) {
    let (left, right) = (layout.left, layout.width - layout.right);
    svg.line((left, bottom), (right, bottom), "axis");
    let mut free = f64::MIN;
    for (value, label) in &axis.ticks {
        let x = left + axis.share(*value) * layout.plot_width();
        svg.line((x, bottom), (x, bottom + 4.0), "axis");
        let half = text_width(label, 12.0) / 2.0;
        // A label that would run into the one before, or out of the picture, gives way.
        if !label.is_empty() && x - half >= free && x + half <= layout.width {
            svg.text((x, bottom + 18.0), "tick x", Anchor::Middle, label);
            free = x + half + 6.0;
        }
    }
    svg.text((right, bottom + 36.0), "axis-title", Anchor::End, &axis.title);
}

fn draw_bars(svg: &mut Svg, layout: &Layout, axis: &Axis, bars: &[Bar], top: f64) {
    let value_room = bars.iter().map(|bar| text_width(&bar.value, 13.0)).fold(0.0, f64::max) + 9.0;
    let at = |value: f64| MARGIN + axis.share(value) * (layout.width - MARGIN - layout.right - value_room);
    let bottom = top + lines(bars.len()) * BAR_ROW - 12.0;
    for (value, label) in &axis.ticks {
        svg.line((at(*value), top - 8.0), (at(*value), bottom), "grid");
        svg.text((at(*value), bottom + 18.0), "tick x", Anchor::Middle, label);
    }
    for (index, bar) in bars.iter().enumerate() {
        let y = top + lines(index) * BAR_ROW;
        let label = fitted(&bar.label, 13.0, layout.width - 2.0 * MARGIN);
        svg.text((MARGIN, y + 4.0), "bar-label", Anchor::Start, &label);
        let mut from = 0.0;
        for (colour, length, tip) in &bar.segments {
            let (start, end) = (at(from), at(from + length));
            svg.rect(
                (start, y + 10.0),
                (end - start).max(0.5),
                16.0,
                &format!("bar {}", colour_class(*colour)),
                tip,
            );
            from += length;
        }
        let furthest = bar.dots.iter().copied().fold(from, f64::max);
        for dot in &bar.dots {
            svg.circle((at(*dot), y + 18.0), 3.0, "on-bar", "");
        }
        svg.text((at(furthest) + 9.0, y + 22.5), "bar-value", Anchor::Start, &bar.value);
    }
    svg.text((layout.width - layout.right, bottom + 36.0), "axis-title", Anchor::End, &axis.title);
}

fn colour_class(colour: usize) -> String {
    if colour == OF_ALL { "of-all".to_owned() } else { format!("c{}", colour % COLOURS) }
}

impl Stroke {
    fn class(self) -> String {
        match self {
            Self::Solid(colour) => format!("series {}", colour_class(colour)),
            Self::Dashed(colour) => format!("series dashed {}", colour_class(colour)),
            Self::Ideal => "ideal".to_owned(),
        }
    }
}

impl Shape {
    fn class(self) -> String {
        match self {
            Self::Full(colour) => format!("dot {}", colour_class(colour)),
            Self::Open(colour) => format!("open {}", colour_class(colour)),
            Self::Marked => "marked".to_owned(),
            Self::Knee => "knee".to_owned(),
        }
    }

    fn radius(self) -> f64 {
        match self {
            Self::Full(_) => 4.0,
            Self::Open(_) | Self::Marked => 3.5,
            Self::Knee => 8.0,
        }
    }
}

/// A legend's entry and where it begins.
type Placed = (f64, Key, String);

fn legend_rows(legend: &[(Key, String)], layout: &Layout) -> Vec<Vec<Placed>> {
    let mut rows: Vec<Vec<Placed>> = Vec::new();
    let mut x = MARGIN;
    for entry in legend {
        let label = fitted(&entry.1, 13.0, layout.width - MARGIN - KEY_WIDTH);
        let width = KEY_WIDTH + text_width(&label, 13.0) + 18.0;
        let fits = x + width <= layout.width && !rows.is_empty();
        if !fits {
            rows.push(Vec::new());
            x = MARGIN;
        }
        rows.last_mut().expect("a row was just made").push((x, entry.0, label));
        x += width;
    }
    rows
}

const KEY_WIDTH: f64 = 30.0;

fn draw_legend(svg: &mut Svg, row: &[Placed], y: f64) {
    for (x, key, label) in row {
        let (x, middle) = (*x, y - 4.5);
        match key {
            Key::Line(stroke) => {
                svg.polyline(&[(x, middle), (x + 24.0, middle)], &format!("{} key", stroke.class()))
            }
            Key::Dot(shape) => {
                svg.circle(
                    (x + 12.0, middle),
                    shape.radius().min(6.5),
                    &format!("{} key", shape.class()),
                    "",
                );
            }
            Key::Bar(colour) => {
                svg.rect(
                    (x + 4.0, middle - 6.0),
                    16.0,
                    12.0,
                    &format!("bar {} key", colour_class(*colour)),
                    "",
                );
            }
            Key::OnBar => svg.circle((x + 12.0, middle), 3.0, "on-bar key", ""),
            Key::Rule => svg.line((x + 12.0, middle - 8.0), (x + 12.0, middle + 8.0), "rule key"),
        }
        svg.text((x + KEY_WIDTH, y), "key-label", Anchor::Start, label);
    }
}

/// The text, cut where there is no room for all of it.
fn fitted(text: &str, size: f64, room: f64) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if text_width(&out, size) + 2.0 * size * CHARACTER > room && text_width(text, size) > room {
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

fn text_width(text: &str, size: f64) -> f64 {
    lines(text.chars().count()) * size * CHARACTER
}

#[allow(clippy::cast_precision_loss, reason = "a few lines, characters or bars")]
fn lines(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_only_where_there_is_no_room() {
        let room = text_width("twelve chars", 10.0);
        assert_eq!(fitted("twelve chars", 10.0, room), "twelve chars");
        let cut = fitted("thirteen char", 10.0, room);
        assert!(cut.ends_with('…') && text_width(&cut, 10.0) <= room, "{cut}");
    }
}
