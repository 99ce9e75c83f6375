//! A local web server with one page.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tiny_http::{Header, Response, Server};

/// Where the page is.
const PAGE: &str = "/report.html";

/// A server of one page, until it is dropped; whatever else is asked for is not there.
pub struct Site {
    server: Arc<Server>,
    asked: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    pub fn of(html: &str) -> Site {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (serving, log, html) = (server.clone(), asked.clone(), html.to_owned());
        let thread = std::thread::spawn(move || {
            for request in serving.incoming_requests() {
                log.lock().unwrap().push(request.url().to_owned());
                let answer = if request.url() == PAGE {
                    // Without a charset, which the page must say itself.
                    let html_type = Header::from_bytes("Content-Type", "text/html").unwrap();
                    Response::from_string(&html).with_header(html_type)
                } else {
                    Response::from_string("").with_status_code(404)
                };
                // A browser that hangs up early is no failure of the test.
                request.respond(answer).ok();
            }
        });
        Site { server, asked, thread: Some(thread) }
    }

    /// The page's address.
    pub fn url(&self) -> String {
        format!("http://{}{PAGE}", self.server.server_addr())
    }

    /// What was asked for besides the page.
    pub fn asked_besides(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|path| *path != PAGE).cloned().collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.unblock();
        self.thread.take().map(JoinHandle::join);
    }
}
