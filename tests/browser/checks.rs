//! The checks that run in the page.

use serde_json::{json, Value};

use super::driver::{Browser, Medium, Visit, Window};
use super::pages::pages;
use super::site::Site;
use super::tunes::tunes;

/// What runs in the page.
const CHECKS: &str = include_str!("checks.js");

/// How a page is looked at.
pub type View = (Window, Medium);
pub const WIDE: View = (Window::Wide, Medium::Light);
pub const WIDE_DARK: View = (Window::Wide, Medium::Dark);
pub const NARROW: View = (Window::Narrow, Medium::Light);
pub const NARROW_DARK: View = (Window::Narrow, Medium::Dark);
pub const PAPER: View = (Window::Paper, Medium::Print);
pub const PAPER_FROM_DARK: View = (Window::Paper, Medium::PrintFromDark);
pub const VIEWS: [View; 6] = [WIDE, WIDE_DARK, NARROW, NARROW_DARK, PAPER, PAPER_FROM_DARK];

/// What a check gives.
pub fn check(browser: &Browser, name: &str, arguments: Value) -> Value {
    browser.run(&format!("{CHECKS}\nreturn checks.{name}(...arguments);"), arguments)
}

/// What a check that takes nothing complains of, or lists.
pub fn listed(browser: &Browser, name: &str) -> Vec<String> {
    strings(&check(browser, name, json!([])))
}

pub fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The text that a reader sees.
pub fn text(browser: &Browser) -> String {
    check(browser, "text", json!([])).as_str().unwrap().to_owned()
}

/// Every page, looked at in every one of `views`, is without a complaint of `checks`.
pub fn every_page_passes(checks: &[&str], views: &[View]) {
    pass(pages().iter().map(|page| (page.name, page.html.as_str())), checks, views);
}

/// Every page of a tune too.
pub fn every_tune_passes(checks: &[&str], views: &[View]) {
    pass(tunes().iter().map(|page| (page.name, page.html.as_str())), checks, views);
}

fn pass<'a>(pages: impl Iterator<Item = (&'a str, &'a str)>, checks: &[&str], views: &[View]) {
    let Some(browser) = Browser::start() else { return };
    let mut all = Vec::new();
    for (name_of_page, html) in pages {
        let site = Site::of(html);
        for (window, medium) in views {
            browser.show_in(*window, *medium);
            browser.visit(&site.url());
            for name in checks {
                let found = listed(&browser, name).into_iter();
                let place = format!("{name_of_page} {window:?} {medium:?} {name}");
                all.extend(found.map(|complaint| format!("{place}: {complaint}")));
            }
        }
    }
    assert!(all.is_empty(), "{} complaints:\n{}", all.len(), all.join("\n"));
}

/// What the page did that a page which only shows itself does not do.
pub fn noises(visit: &Visit, url: &str) -> Vec<String> {
    let elsewhere = visit.requests.iter().filter(|to| *to != url && !to.starts_with("data:"));
    let asked = elsewhere.map(|to| format!("asked for {to}"));
    let said = visit.console.iter().map(|text| format!("console: {text}"));
    asked.chain(said).chain(visit.dialogs.iter().map(|text| format!("dialog: {text}"))).collect()
}

/// The page's text where scripts may run, and where they may not.
pub fn with_and_without_scripts(browser: &Browser, html: &str) -> (String, String) {
    let site = Site::of(html);
    browser.visit(&site.url());
    let with = text(browser);
    browser.allow_scripts(false);
    browser.load(&site.url());
    // Read before scripts are allowed again: a <noscript> not laid out by then never is.
    let without = browser.evaluate(&format!("{CHECKS}\nchecks.text();"));
    browser.allow_scripts(true);
    (with, without.as_str().unwrap().to_owned())
}
