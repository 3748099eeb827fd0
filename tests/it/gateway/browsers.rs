//! What the gateway tells browsers and their like: pages of other origins, and types of answers.

use edge::{AllowedOrigins, Origins};
use query_gateway::GatewaySettings;
use reqwest::Method;
use serde_json::Value;

use super::http::{Served, serve, serve_with};

const SHOP: &str = "https://shop.example";
const SQL: &str = r#"{"sql": "SELECT page FROM by_page"}"#;

fn ask_sql(served: &Served, body: &'static str) -> reqwest::RequestBuilder {
    served.request(Method::POST, "/v1/sql").header("content-type", "application/json").body(body)
}

fn header<'a>(answer: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn pages_of_origins_that_the_setting_holds_may_ask() {
    let allowed_origins = AllowedOrigins::everywhere(Origins::These([SHOP.to_owned()].into()));
    let served = serve_with(GatewaySettings { allowed_origins, ..GatewaySettings::default() }).await;
    for (path, method) in [("/v1/sql", "POST"), ("/v1/views/by_page/rows", "GET"), ("/v1/views", "GET")] {
        let ask = |origin: &str| {
            let question = served.request(Method::OPTIONS, path).header("origin", origin.to_owned());
            question.header("access-control-request-method", method).header("access-control-request-headers", "x")
        };
        let leave = ask(SHOP).send().await.unwrap();
        assert_eq!(leave.status().as_u16(), 204, "{path}");
        assert_eq!(header(&leave, "access-control-allow-origin"), Some(SHOP));
        assert_eq!(header(&leave, "access-control-allow-methods"), Some(method));
        assert!(header(&leave, "access-control-allow-headers").unwrap().contains("content-type"));
        let refused = ask("https://other.example").send().await.unwrap();
        assert_eq!((refused.status().as_u16(), header(&refused, "access-control-allow-origin")), (403, None), "{path}");
        let told: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
        assert!(told["hint"].as_str().unwrap().contains("`gateway.allowed_origins`"), "{told}");
    }
    for (body, status) in [(SQL, 200), (r#"{"sql": "SELECT"}"#, 400)] {
        let answer = ask_sql(&served, body).header("origin", SHOP).send().await.unwrap();
        let origin = header(&answer, "access-control-allow-origin");
        assert_eq!((answer.status().as_u16(), origin), (status, Some(SHOP)), "{body}");
    }
    // The page for people is none for scripts.
    let page = served.request(Method::GET, "/").header("origin", SHOP).send().await.unwrap();
    assert_eq!((page.status().as_u16(), header(&page, "access-control-allow-origin")), (200, None));
}

#[tokio::test]
async fn by_default_no_page_of_another_origin_may_ask() {
    let served = serve().await;
    let question = served.request(Method::OPTIONS, "/v1/sql").header("origin", SHOP);
    let refused = question.header("access-control-request-method", "POST").send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 403);
    // Without an origin it is no question of a browser.
    assert_eq!(served.request(Method::OPTIONS, "/v1/sql").send().await.unwrap().status().as_u16(), 405);
    let answer = ask_sql(&served, SQL).header("origin", SHOP).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "access-control-allow-origin")), (200, None));
}

#[tokio::test]
async fn who_takes_no_json_is_told_what_there_is() {
    let served = serve().await;
    for (accept, status) in [
        ("application/json", 200),
        ("*/*", 200),
        ("application/*", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 200),
        ("text/csv, application/json;q=0.1", 200),
        ("", 200),
        ("text/csv", 406),
        ("application/vnd.apache.arrow.stream", 406),
        ("text/csv;q=0.9, application/json;q=0", 406),
        ("nonsense", 406),
    ] {
        let rows = served.request(Method::GET, "/v1/views/by_page/rows?by=page");
        let sql = ask_sql(&served, SQL);
        for request in [rows, sql] {
            let answer = request.header("accept", accept).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{accept}");
            let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            // What is told is what there is.
            assert_eq!(body["known"][0].as_str(), (status == 406).then_some("application/json"), "{accept}: {body}");
        }
    }
}

#[tokio::test]
async fn a_question_in_sql_is_json_and_says_so() {
    let served = serve().await;
    let ask = |content_type: Option<&str>| {
        let request = served.request(Method::POST, "/v1/sql").body(SQL);
        content_type.into_iter().fold(request, |request, value| request.header("content-type", value))
    };
    for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
        assert_eq!(ask(Some(content_type)).send().await.unwrap().status().as_u16(), 200, "{content_type}");
    }
    // What a browser sends for any page without asking.
    for content_type in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data")]
    {
        let refused = ask(content_type).send().await.unwrap();
        assert_eq!(refused.status().as_u16(), 415, "{content_type:?}");
        let told: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
        assert_eq!(told["known"][0], "application/json", "{told}");
    }
}

#[tokio::test]
async fn the_page_runs_its_own_script_and_no_other() {
    let served = serve().await;
    let page = served.request(Method::GET, "/").send().await.unwrap();
    let policy = header(&page, "content-security-policy").unwrap().to_owned();
    let text = page.text().await.unwrap();
    assert_eq!((text.matches("<script>").count(), text.matches("<style>").count()), (1, 1));
    assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
    for part in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // What the policy would stop: handlers and styles in the markup.
    assert!(!text.contains(" onclick=\"") && !text.contains(" style=\""), "nothing inline but script and style");
}
