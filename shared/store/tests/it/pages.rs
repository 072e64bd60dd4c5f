//! A list read page by page.

use diwan_fault::Fields;
use diwan_proto::common::v1::PageRequest;
use diwan_store::Page;

use crate::support::{insert_effect, setup};

type Key = (String, i64);

async fn page(pool: &sqlx::PgPool, size: i32, token: &str) -> (Vec<Key>, String) {
    let mut fields = Fields::new();
    let request = PageRequest { size, token: token.to_owned() };
    let page = Page::<Key>::read(&mut fields, &"ListEffects", Some(&request));
    fields.finish().unwrap();
    let (note, id) = page.after().cloned().unzip();
    let rows: Vec<Key> = sqlx::query_as(
        "select note, id from effects where $1::text is null or (note, id) > ($1, $2) order by note, id limit $3",
    )
    .bind(note)
    .bind(id)
    .bind(page.limit())
    .fetch_all(pool)
    .await
    .unwrap();
    let (rows, info) = page.finish(rows, Clone::clone);
    (rows, info.next_token)
}

#[tokio::test]
async fn pages_show_every_entry_once_while_others_come_and_go() {
    let setup = setup().await;
    let mut connection = setup.test.pool.acquire().await.unwrap();
    for n in 0..25 {
        insert_effect(&mut connection, &format!("n{n:02}")).await.unwrap();
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let (rows, next) = page(&setup.test.pool, 4, &token).await;
        assert!(rows.len() == 4 || next.is_empty(), "a short page in the middle");
        seen.extend(rows.into_iter().map(|(note, _)| note));
        if next.is_empty() {
            break;
        }
        token = next;
        // What was shown goes, and new entries come before it: neither shifts the pages that follow.
        sqlx::query("delete from effects where note = $1").bind(seen.last()).execute(&mut *connection).await.unwrap();
        insert_effect(&mut connection, &format!("a{}", seen.len())).await.unwrap();
    }
    let expected: Vec<_> = (0..25).map(|n| format!("n{n:02}")).collect();
    assert_eq!(seen, expected);
}
