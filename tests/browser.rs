//! The HTML report in a real browser: light and dark themes, phone width, print.
//!
//! Needs Chromium and its driver: `chromium` and `chromedriver` on the PATH, or what
//! `AUDIT_TEST_CHROMIUM` and `AUDIT_TEST_CHROMEDRIVER` name. Without them the tests say that they
//! were skipped. `AUDIT_TEST_SCREENSHOTS` names a folder for pictures of every page.

mod common;
mod browser {
    mod broken;
    pub mod checks;
    pub mod driver;
    pub mod pages;
    pub mod screenshots;
    pub mod site;
    pub mod tunes;
}

use browser::checks::*;
use browser::driver::Browser;
use browser::pages::{
    hostile_labels, hostile_task, hostile_texts, page, pages, shown, Page, PLOTS,
};
use browser::screenshots::{keep, photograph};
use browser::site::Site;
use browser::tunes::{tune, tunes};
use serde_json::json;

/// The sections of a task of which something was run.
const SECTIONS: [&str; 8] = [
    "How the budget was spent",
    "Teacher against student",
    "The difference d(x)",
    "Reliability",
    "σ by part",
    "Metrics",
    "Inputs furthest apart",
    "Recalibrated",
];

/// The sections that every page ends with.
const CLOSING: [&str; 4] = ["Manifest", "Run it again", "What decided the numbers", "Conventions"];

/// The headings of the page of a tune; the task's name is the first one's end.
const OF_A_TUNE: [&str; 10] = [
    "Tune of ",
    "σ against accuracy",
    "Winner and default",
    "What mattered",
    "Every trial",
    "Manifest",
    "Make it again",
    "Files beside this page",
    "What was asked for",
    "What decided the numbers",
];

/// The headings of a page, in order.
fn headings(page: &Page) -> Vec<String> {
    let tasks = page.tasks();
    let mut headings = vec![match &tasks[..] {
        [(task, _)] => format!("Confidence audit of {}", shown(task)),
        tasks => format!("Confidence audit of {} tasks", tasks.len()),
    }];
    for (task, rows) in &tasks {
        if tasks.len() > 1 {
            headings.push((*task).to_owned());
        }
        if rows.iter().any(|row| row["examples_run"] != 0) {
            headings.extend(SECTIONS.map(str::to_owned));
        }
    }
    headings.extend(CLOSING.map(str::to_owned));
    headings
}

/// The headings are there and in order, others perhaps between them, and so are the plots.
#[track_caller]
fn is_whole(browser: &Browser, page: &Page) {
    let found = listed(browser, "headings");
    let mut rest = found.iter();
    for heading in headings(page) {
        assert!(rest.any(|found| *found == heading), "{}: {heading} in {found:?}", page.name);
    }
    let figures = check(browser, "figures", json!([])).as_u64().unwrap() as usize;
    assert!(figures >= PLOTS * page.rows_that_ran(), "{}: {figures} figures", page.name);
}

#[test]
fn every_section_and_every_plot_is_there_in_its_order() {
    let Some(browser) = Browser::start() else { return };
    let views =
        ["wide-light", "wide-dark", "narrow-light", "narrow-dark", "paper", "paper-from-dark"];
    for page in pages() {
        let site = Site::of(&page.html);
        for ((window, medium), name) in VIEWS.into_iter().zip(views) {
            browser.show_in(window, medium);
            browser.visit(&site.url());
            photograph(&browser, &format!("{}-{name}", page.name));
            is_whole(&browser, page);
        }
    }
}

#[test]
fn every_plot_has_its_words_and_a_sensible_size() {
    every_page_passes(&["pictures"], &[WIDE, NARROW, PAPER]);
}

#[test]
fn the_page_loads_nothing_and_logs_nothing() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    for page in pages() {
        let site = Site::of(&page.html);
        let visit = browser.visit(&site.url());
        assert!(visit.requests.contains(&site.url()), "{:?}", visit.requests);
        assert_eq!(noises(&visit, &site.url()), [""; 0], "{}", page.name);
        assert_eq!(site.asked_besides(), [""; 0], "{}", page.name);
        let file = folder.path().join("report.html");
        std::fs::write(&file, &page.html).unwrap();
        let url = format!("file://{}", file.display());
        assert_eq!(noises(&browser.visit(&url), &url), [""; 0], "{}", page.name);
        is_whole(&browser, page);
    }
}

#[test]
fn without_scripts_the_text_is_the_same() {
    let Some(browser) = Browser::start() else { return };
    for page in pages() {
        let (with, without) = with_and_without_scripts(&browser, &page.html);
        assert!(with.contains("Conventions") && with == without, "{}: {without}", page.name);
    }
}

#[test]
fn hostile_text_is_shown_as_text() {
    let Some(browser) = Browser::start() else { return };
    let site = Site::of(&page("hostile").html);
    for (window, medium) in [WIDE, NARROW, PAPER] {
        browser.show_in(window, medium);
        browser.visit(&site.url());
        let seen = text(&browser);
        // Every input is shown, and is the first and the second text of its pair.
        for text in hostile_texts().iter().map(|text| shown(text)) {
            assert!(seen.matches(&text).count() >= 2, "{text} in {seen}");
        }
        // Every input has a label.
        for label in hostile_labels() {
            assert!(seen.matches(&shown(label)).count() >= 10, "{label} in {seen}");
        }
        assert!(listed(&browser, "headings")[0].contains(hostile_task()));
        assert!(!seen.contains(['\u{202e}', '\u{202c}']));
        // Prose and commands are wrapped, however long a word is.
        assert_eq!(strings(&check(&browser, "unwrapped", json!([".text, pre"]))), [""; 0]);
    }
}

#[test]
fn no_page_has_an_unexpected_element() {
    every_page_passes(&["foreign"], &[WIDE]);
}

#[test]
fn nothing_sticks_out_of_a_window_or_of_the_paper() {
    every_page_passes(&["overflow"], &[WIDE, NARROW, PAPER]);
}

#[test]
fn all_text_stands_out_from_its_background() {
    every_page_passes(&["contrast"], &VIEWS);
}

#[test]
fn no_word_is_torn() {
    every_page_passes(&["torn"], &[WIDE, NARROW, PAPER]);
}

#[test]
fn text_is_large_enough_and_in_plots_apart() {
    every_page_passes(&["plots", "small"], &[WIDE, NARROW, PAPER]);
}

#[test]
fn the_page_is_printed_on_several_sheets() {
    let Some(browser) = Browser::start() else { return };
    for page in pages() {
        let site = Site::of(&page.html);
        browser.visit(&site.url());
        let pdf = browser.pdf();
        let sheets = sheets(&pdf);
        // Without a plot there is the verdict and the manifest, which may fit on one.
        let least = if page.rows_that_ran() > 0 { 4 } else { 1 };
        assert!(sheets >= least, "{}: {sheets} sheets", page.name);
        keep(&format!("{}.pdf", page.name), &pdf);
    }
}

#[test]
fn the_page_of_a_tune_has_its_sections_and_its_plots() {
    let Some(browser) = Browser::start() else { return };
    let views =
        ["wide-light", "wide-dark", "narrow-light", "narrow-dark", "paper", "paper-from-dark"];
    for page in tunes() {
        let site = Site::of(&page.html);
        for ((window, medium), name) in VIEWS.into_iter().zip(views) {
            browser.show_in(window, medium);
            let visit = browser.visit(&site.url());
            assert_eq!(noises(&visit, &site.url()), [""; 0], "{}", page.name);
            photograph(&browser, &format!("{}-{name}", page.name));
            let found = listed(&browser, "headings");
            let mut rest = found.iter();
            for heading in OF_A_TUNE {
                assert!(rest.any(|found| found.starts_with(heading)), "{heading} in {found:?}");
            }
            let shown = page.tune["trials"].as_array().unwrap().iter();
            let plots = if shown.clone().all(|trial| trial["figures"].is_null()) { 0 } else { 2 };
            assert_eq!(check(&browser, "figures", json!([])), plots, "{}", page.name);
        }
        assert_eq!(site.asked_besides(), [""; 0], "{}", page.name);
    }
}

#[test]
fn the_page_of_a_tune_can_be_read_everywhere() {
    let checks = ["pictures", "foreign", "overflow", "torn", "plots", "small"];
    every_tune_passes(&checks, &[WIDE, NARROW, PAPER]);
    every_tune_passes(&["contrast"], &VIEWS);
}

#[test]
fn the_page_of_a_tune_shows_hostile_text_as_text() {
    let Some(browser) = Browser::start() else { return };
    let site = Site::of(&tune("tune-hostile").html);
    browser.show_in(WIDE.0, WIDE.1);
    browser.visit(&site.url());
    let seen = text(&browser);
    // Each is the name of a setting and its value, of winner and default.
    for text in hostile_texts()[..9].iter().map(|text| shown(text)) {
        assert!(seen.matches(&text).count() >= 4, "{text} in {seen}");
    }
    assert!(!seen.contains(['\u{202e}', '\u{202c}']));
    let (with, without) = with_and_without_scripts(&browser, &tune("tune").html);
    assert!(with.contains("Conventions") && with == without, "{without}");
}

/// The sheets of a PDF: its page objects.
fn sheets(pdf: &[u8]) -> usize {
    assert!(pdf.starts_with(b"%PDF-"));
    let text = String::from_utf8_lossy(pdf);
    text.matches("/Type /Page").count() - text.matches("/Type /Pages").count()
}
