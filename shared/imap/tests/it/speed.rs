//! No command waits for a timer.

use std::time::Duration;

use tokio::time::timeout;

use crate::scripted::{Scripted, options};

/// With Nagle's algorithm and delayed acknowledgements each of these took 40 ms: 8 s in all.
#[tokio::test]
async fn commands_of_several_writes_are_not_held_back() {
    let server = Scripted::start(|_| None).await;
    let mut session = server.connect(&options()).await.unwrap();
    let many = async {
        for _ in 0..200 {
            session.append(&"Sent".into(), &[], b"raw").await.unwrap();
        }
    };
    timeout(Duration::from_secs(4), many).await.expect("200 round trips within 4 s");
}
