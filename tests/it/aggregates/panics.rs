//! A panic of the engine is an error of what was asked.

use views::caught;

#[tokio::test]
async fn a_panic_is_an_error_with_its_words() {
    let error = caught(async { panic!("states of {} parts", 3) }).await.map(|(): ()| ()).unwrap_err();
    assert!(error.to_string().contains("it panicked: states of 3 parts"), "{error}");
    let error = caught(async { panic!("plain words") }).await.map(|(): ()| ()).unwrap_err();
    assert!(error.to_string().contains("plain words"), "{error}");
}

#[tokio::test]
async fn what_does_not_panic_comes_through_also_after_waiting() {
    let waited = async {
        tokio::task::yield_now().await;
        7
    };
    assert_eq!(caught(waited).await.unwrap(), 7);
}
