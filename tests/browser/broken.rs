//! Tests of the checks: each detects its defect and gives no false alarm.

use serde_json::json;

use super::checks::*;
use super::driver::Browser;
use super::site::Site;

/// A page without a defect: a figure, a table that scrolls, text on a clear ground.
const SOUND: &str = r##"
<figure id="a"><svg role="img" viewBox="0 0 360 240"><title>A plot</title><desc>Of a line.</desc>
  <rect x="100" y="60" width="50" height="50"></rect>
  <text x="20" y="40">here</text><text x="20" y="60">there</text></svg></figure>
<div style="overflow-x: auto"><table style="width: 700px"><tr><td>a wide table</td></tr></table></div>
<p style="background: rgb(0 0 0 / 10%)">on a <b style="opacity: .95">clear</b> ground</p>"##;

/// The page that `body` makes, with colours that follow the reader's.
fn html(body: &str) -> String {
    let style =
        "svg text { font: 14px sans-serif } body { background: #fff; color: #111; margin: 8px } \
                 @media (prefers-color-scheme: dark) { body { background: #111; color: #eee } \
                 svg { fill: #eee } rect { fill: #777 } }";
    format!(
        "<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>t</title>\
         <meta name=viewport content='width=device-width'><link rel=icon href='data:,'>\
         <style>{style}</style></head><body>{body}</body></html>"
    )
}

/// `check` complains of the page that `body` makes, in `words`.
#[track_caller]
fn sees(browser: &Browser, check: &str, body: &str, words: &str) {
    let site = Site::of(&html(body));
    browser.visit(&site.url());
    let found = listed(browser, check);
    assert!(found.len() == 1 && found[0].contains(words), "{check}, {words}: {found:?}");
}

#[test]
fn a_sound_page_draws_no_complaint() {
    let Some(browser) = Browser::start() else { return };
    let site = Site::of(&html(SOUND));
    for (window, medium) in VIEWS {
        browser.show_in(window, medium);
        let visit = browser.visit(&site.url());
        assert_eq!(noises(&visit, &site.url()), [""; 0]);
        for check in ["pictures", "foreign", "overflow", "torn", "contrast", "plots", "small"] {
            assert_eq!(listed(&browser, check), [""; 0], "{check}, {window:?}, {medium:?}");
        }
    }
    assert_eq!(site.asked_besides(), [""; 0]);
}

#[test]
fn text_that_does_not_stand_out_is_seen() {
    let Some(browser) = Browser::start() else { return };
    let pale = |body: &str, words: &str| sees(&browser, "contrast", body, words);
    browser.show_in(WIDE.0, WIDE.1);
    // Of 4.5 to one, #777 on white has 4.48 and #999 has 2.85 (WebAIM's contrast checker).
    pale("<p style='color: #777'>pale</p>", "\"pale\": contrast 4.48");
    pale("<p style='opacity: .5'>faint</p>", "\"faint\": contrast");
    pale("<p style='color: rgb(0 0 0 / 50%)'>clear</p>", "\"clear\": contrast");
    pale("<div style='background: rgb(0 0 0 / 60%)'><p>veiled</p></div>", "\"veiled\": contrast");
    pale("<p style='background: linear-gradient(#fff, #eee)'>mixed</p>", "no plain colour");
    pale("<svg><text y=20 fill='#999'>drawn</text></svg>", "\"drawn\": contrast 2.85");
    pale("<svg><text y=20 fill-opacity=.4>drawn</text></svg>", "\"drawn\": contrast");
    let dark = "<p style='color: #333'>dark</p>";
    let site = Site::of(&html(dark));
    browser.visit(&site.url());
    assert_eq!(listed(&browser, "contrast"), [""; 0]);
    browser.show_in(WIDE_DARK.0, WIDE_DARK.1);
    pale(dark, "\"dark\": contrast");
    let printed = "<style>@media print { p { color: #bbb } }</style><p>printed</p>";
    browser.show_in(PAPER.0, PAPER.1);
    pale(printed, "\"printed\": contrast");
}

#[test]
fn what_sticks_out_is_seen() {
    let Some(browser) = Browser::start() else { return };
    browser.show_in(NARROW.0, NARROW.1);
    let site = Site::of(&html("<div style='width: 400px'>wide</div>"));
    browser.visit(&site.url());
    let found = listed(&browser, "overflow");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("the page scrolls: 408 > 360"), "{found:?}");
    assert!(found[1].contains("<div> \"wide\": 8.0 to 408.0"), "{found:?}");
    let out = |body: &str, words: &str| sees(&browser, "overflow", body, words);
    out("<p style='position: absolute; left: -20px; width: 80px'>left</p>", ": -20.0 to 60.0");
    let word = "w".repeat(60);
    let cut = "<div style='overflow: hidden; width: 90px'>";
    let site = Site::of(&html(&format!("{cut}{word}</div>")));
    browser.visit(&site.url());
    let found = listed(&browser, "overflow");
    assert!(found[0].contains("cuts its content off"), "{found:?}");
    let narrow = "<div style='width: 30px'>wwwwwwww</div>";
    out(narrow, "is out of its div, 8.0 to 38.0");
    let site = Site::of(&html(&format!("<pre class=text style='overflow: auto'>{word}")));
    browser.visit(&site.url());
    assert_eq!(strings(&check(&browser, "unwrapped", json!([".text"]))).len(), 1);
}

#[test]
fn a_word_that_is_torn_is_seen() {
    let Some(browser) = Browser::start() else { return };
    let torn = |text: &str, words: &str| {
        let narrow = "overflow-wrap: anywhere; width: 50px; font: 14px monospace"; // 5 letters
        sees(&browser, "torn", &format!("<p style='{narrow}'>{text}</p>"), words);
    };
    torn("a confidence b", "\"confidence\" is torn");
    torn("one 12.3456", "\"12.3456\" is torn");
    torn(
        "well-known cross-entropy 日本語日本語 d8e8fca2dc0f896fd7cb4cb0031ba249",
        "\"entropy\" is torn",
    );
}

#[test]
fn a_defect_of_a_plot_is_seen() {
    let Some(browser) = Browser::start() else { return };
    browser.show_in(WIDE.0, WIDE.1);
    let plot = |inside: &str| {
        let words = "<title>t</title><desc>d</desc>";
        format!("<figure><svg role=img width=360 height=240>{words}{inside}</svg></figure>")
    };
    let bad = |inside: &str, words: &str| sees(&browser, "plots", &plot(inside), words);
    bad("<text x=20 y=50>one</text><text x=30 y=55>two</text>", "\"two\" lies on");
    bad("<rect x=10 y=40 width=60 height=9></rect><text x=20 y=50>on it</text>", "lies on");
    bad("<text x=350 y=50>beyond</text>", "\"beyond\": out of its picture");
    bad("<text x=20 y=5>above</text>", "\"above\": out of its picture");
    bad("<text transform='translate(10 20) rotate(-90)'>upwards, far</text>", "out of its picture");
    let small = |body: &str, words: &str| sees(&browser, "small", body, words);
    small("<p style='font-size: 10.5px'>fine print</p>", "10.5 px");
    // In a picture that is drawn at two thirds of its size.
    small("<svg width=240 viewBox='0 0 360 240'><text y=20 style='font-size: 12px'>ticks</text></svg>", "8.0 px");
    let pictures = |body: &str, words: &str| sees(&browser, "pictures", body, words);
    pictures("<svg role=img width=360 height=240><desc>d</desc></svg>", "no <title>");
    pictures(
        "<svg role=img width=360 height=240><title>t</title><desc> </desc></svg>",
        "no <desc>",
    );
    let words = "<title>t</title><desc>d</desc>";
    pictures(&format!("<svg role=img width=300 height=20>{words}</svg>"), "300.0 by 20.0 px");
    pictures("<figure>nothing</figure>", "no picture");
}

#[test]
fn what_a_page_does_is_seen() {
    let Some(browser) = Browser::start() else { return };
    let visited = |body: &str| {
        let site = Site::of(&html(body));
        let visit = browser.visit(&site.url());
        (noises(&visit, &site.url()), site.asked_besides())
    };
    for (body, noise) in [
        ("<script>console.error('oh')</script>", "console: "),
        ("<script>console.warn('hm')</script>", "console: "),
        ("<script>throw 1</script>", "console: "),
        ("<script>alert('stop')</script>", "dialog: stop"),
        ("<script>setTimeout(() => alert('stop'))</script>", "dialog: stop"),
    ] {
        let (found, _) = visited(body);
        assert!(found.len() == 1 && found[0].starts_with(noise), "{body}: {found:?}");
    }
    let (found, asked) = visited("<img src='/elsewhere.png'>");
    assert!(found[0].starts_with("asked for http://127.0.0.1:"), "{found:?}");
    assert_eq!(asked, ["/elsewhere.png"]);
    let (found, asked) = visited("<img src='http://report.example/a.png'>");
    assert!(found.contains(&"asked for http://report.example/a.png".to_owned()), "{found:?}");
    assert_eq!(asked, [""; 0]);
}

#[test]
fn what_data_made_of_a_page_is_seen() {
    let Some(browser) = Browser::start() else { return };
    let foreign = |body: &str, words: &str| sees(&browser, "foreign", body, words);
    foreign("<p>a<script>1</script></p>", "<script> \"1\": foreign");
    foreign("<p>a<img src='data:,'></p>", "<img> \"\": foreign");
    foreign("<p>a<x-b>b</x-b></p>", "<x-b> \"b\": foreign");
    foreign("<a href='https://report.example'>b</a>", "<a> \"b\": foreign");
    foreign("<p onclick='1'>a</p>", "attribute onclick");
    let written =
        "<p>a</p><script>document.body.append('by a script')</script><noscript>n</noscript>";
    let (with, without) = with_and_without_scripts(&browser, &html(written));
    assert!(with.contains("by a script") && !with.contains('n'), "{with}");
    assert!(!without.contains("by a script") && without.contains('n'), "{without}");
}
