//! Where names of marks can stand in a plot: on no mark, on no other name, inside the drawing.

use maud::{html, Markup};

use super::super::axes::{round, text_width, Axes};

/// Above and below the line that a text stands on, user units.
const ASCENT: f64 = 10.5;
const DESCENT: f64 = 3.0;
/// Between a mark and its name, and between names, user units.
const GAP: f64 = 2.5;
/// Half the width of a line, user units.
const LINE: f64 = 0.5;
/// How much further a name is tried at each turn, and how often.
const STEP: f64 = 9.0;
const TURNS: usize = 14;
/// Directions from a mark, the better ones first; to the left a text ends, to the right it begins.
const DIRECTIONS: [(f64, f64); 8] = [
    (1.0, 0.0),
    (-1.0, 0.0),
    (0.0, -1.0),
    (0.0, 1.0),
    (0.7, -0.7),
    (-0.7, -0.7),
    (0.7, 0.7),
    (-0.7, 0.7),
];

/// A rectangle in user units.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Room {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Room {
    fn overlaps(&self, other: &Room) -> bool {
        let across = self.left < other.right && other.left < self.right;
        across && self.top < other.bottom && other.top < self.bottom
    }

    fn holds(&self, other: &Room) -> bool {
        let across = self.left <= other.left && other.right <= self.right;
        across && self.top <= other.top && other.bottom <= self.bottom
    }

    /// What a text takes that stands on `y` and begins at `left`.
    fn of(text: &str, left: f64, y: f64) -> Room {
        Room { left, right: left + text_width(text), top: y - ASCENT, bottom: y + DESCENT }
    }

    fn wider(&self, by: f64) -> Room {
        Room {
            left: self.left - by,
            right: self.right + by,
            top: self.top - by,
            bottom: self.bottom + by,
        }
    }
}

/// The marks and names of a plot.
pub(super) struct Labels {
    within: Room,
    taken: Vec<Room>,
}

impl Labels {
    /// Nothing yet, in the drawing of `axes`.
    pub fn new(axes: &Axes) -> Self {
        let (left, right) = (axes.left() + GAP, axes.right());
        let within = Room { left, right, top: axes.top(), bottom: axes.foot() - GAP };
        Labels { within, taken: Vec::new() }
    }

    /// A mark of that radius, on which no name may stand.
    pub fn mark(&mut self, (x, y): (f64, f64), radius: f64) {
        let room = Room { left: x, right: x, top: y, bottom: y };
        self.taken.push(room.wider(radius));
    }

    /// A level or upright line, on which no name may stand either.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64)) {
        let (left, right) = (from.0.min(to.0), from.0.max(to.0));
        let room = Room { left, right, top: from.1.min(to.1), bottom: from.1.max(to.1) };
        self.taken.push(room.wider(LINE));
    }

    /// A name beside the mark of that radius at (x, y), joined to it where it stands away; nothing
    /// where there is no room.
    pub fn beside(&mut self, text: &str, (x, y): (f64, f64), radius: f64) -> Markup {
        let width = text_width(text);
        let spots = (0..TURNS).flat_map(|turn| {
            let far = radius + GAP + STEP * turn as f64;
            DIRECTIONS.into_iter().map(move |(right, down)| (turn, far, right, down))
        });
        for (turn, far, right, down) in spots {
            let (end_x, end_y) = (x + right * far, y + down * far);
            let left = match right {
                right if right > 0.0 => end_x,
                right if right < 0.0 => end_x - width,
                _ => end_x - width / 2.0,
            };
            let foot = match (right, down) {
                (0.0, down) if down < 0.0 => end_y - DESCENT,
                (0.0, _) => end_y + ASCENT,
                _ => end_y + (ASCENT - DESCENT) / 2.0,
            };
            if let Some(name) = self.put(text, left, foot) {
                let from = (round(x + right * radius), round(y + down * radius));
                return html! {
                    @if turn > 0 { line.joint x1=(from.0) y1=(from.1) x2=(round(end_x)) y2=(round(end_y)) {} }
                    (name)
                };
            }
        }
        html! {}
    }

    /// A name on or under the level line at `y`, as far to the right as there is room.
    pub fn along(&mut self, text: &str, y: f64) -> Markup {
        let most = self.within.right - text_width(text);
        let steps = ((most - self.within.left) / STEP).max(0.0) as usize;
        for i in 0..=steps {
            for foot in [y - DESCENT - GAP - LINE, y + ASCENT + LINE] {
                if let Some(name) = self.put(text, most - STEP * i as f64, foot) {
                    return name;
                }
            }
        }
        html! {}
    }

    /// The name, where it has its room.
    fn put(&mut self, text: &str, left: f64, foot: f64) -> Option<Markup> {
        let room = Room::of(text, left, foot);
        if !self.within.holds(&room) || self.taken.iter().any(|taken| taken.overlaps(&room)) {
            return None;
        }
        self.taken.push(room.wider(GAP));
        Some(html! { text.label x=(round(left)) y=(round(foot)) { (text) } })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::axes::{Scale, HEIGHT};
    use super::*;

    fn labels() -> Labels {
        let scale = Scale::Linear(0.0, 1.0);
        Labels::new(&Axes { x: scale, y: scale, height: HEIGHT })
    }

    #[test]
    fn names_at_one_place_stand_apart_and_inside() {
        let mut labels = labels();
        let (x, y) = (labels.within.right, labels.within.top);
        labels.mark((x, y), 4.0);
        for name in ["default", "winner", "two trials", "winner", "winner"] {
            assert!(labels.beside(name, (x, y), 4.0).into_string().contains(name), "{name}");
        }
        let names = &labels.taken[1..];
        for (i, name) in names.iter().enumerate() {
            assert!(labels.within.holds(&name.wider(-GAP)));
            assert!(labels.taken[..=i].iter().all(|taken| !taken.overlaps(&name.wider(-GAP))));
        }
    }

    #[test]
    fn a_name_without_room_is_left_out() {
        let mut labels = labels();
        labels.taken.push(labels.within);
        assert_eq!(labels.beside("winner", (100.0, 100.0), 4.0).into_string(), "");
        assert_eq!(labels.along("at least 0.9", 100.0).into_string(), "");
    }

    #[test]
    fn the_name_of_a_line_gives_way_to_marks() {
        let mut labels = labels();
        let y = 100.0;
        labels.mark((labels.within.right, y), 30.0);
        let name = labels.along("at least 0.9", y).into_string();
        assert!(name.contains("at least 0.9"));
        assert!(!labels.taken[1].wider(-GAP).overlaps(&labels.taken[0]));
    }
}
