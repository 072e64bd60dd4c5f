//! What customers get who write while a team is closed.

use std::time::Duration;

use diwan_proto::{
    conversation::v1::{DeliveryState, IngestMessageRequest, MessageDirection},
    identity::v1::{Account, AccountChanged},
    mailbox::v1::SendMailRequest,
    team::v1::{AutomaticReply, AutomaticReplyText, Shift, Team, Weekday, WorkingDay, WorkingHours},
};
use diwan_runtime::{MockClock, ids};
use diwan_testkit::eventually;

use crate::support::{LIMIT, Office};

const HOUR: Duration = Duration::from_hours(1);

/// A team that works on Mondays from nine to five in Cairo, on a Sunday, and replies.
struct Sunday {
    clock: MockClock,
    office: Office,
}

impl Sunday {
    async fn new() -> Self {
        let clock = MockClock::at("2026-11-22T12:00Z".parse().unwrap());
        let office = Office::open_at(&clock, 0).await;
        let sunday = Self { clock, office };
        let texts = vec![AutomaticReplyText { language: "es".into(), text: "Volvemos el {opens_at}".into() }];
        sunday.set(2, |team| team.automatic_reply = Some(AutomaticReply { enabled: true, texts })).await;
        sunday
    }

    async fn set(&self, version: i64, change: impl FnOnce(&mut Team)) {
        self.office.set_team(self.office.team, version, |team| {
            let shifts = vec![Shift { start_minute: 9 * 60, end_minute: 17 * 60 }];
            let days = vec![WorkingDay { weekday: Weekday::Monday.into(), shifts }];
            team.fallback = true;
            team.working_hours = Some(WorkingHours { days, holidays: vec![] });
            team.time_zone = "Africa/Cairo".into();
            change(team);
        });
        eventually("the settings are known", LIMIT, async || {
            let known = sqlx::query_scalar::<_, i64>("select version from teams where id = $1").bind(self.office.team);
            known.fetch_one(self.office.pool()).await.unwrap() == version
        })
        .await;
    }

    /// Waits until so many mails have gone out in all, and returns the last one.
    async fn sent(&self, count: usize) -> SendMailRequest {
        eventually("the mails are sent", LIMIT, async || self.office.mailbox.sent().len() == count).await;
        self.office.mailbox.sent().pop().unwrap()
    }

    fn saying(&self, text: &str) -> IngestMessageRequest {
        IngestMessageRequest { text: text.into(), ..self.office.mail() }
    }

    fn more_of(&self, first: &IngestMessageRequest) -> IngestMessageRequest {
        IngestMessageRequest {
            from_email: first.from_email.clone(),
            references: vec![first.rfc_message_id.clone()],
            ..self.office.mail()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_writes_at_night_is_told_once_when_the_team_is_back_until_it_has_been() {
    let sunday = Sunday::new().await;
    let mail = sunday.saying("Good morning, the lamp that I have bought from your shop does not work any more.");
    let id = sunday.office.deliver(mail.clone()).await;
    let reply = sunday.sent(1).await;
    assert!(reply.automatic && reply.text.contains("Monday, November 23 at 9:00 AM (GMT+2)"), "{}", reply.text);
    assert_eq!((&reply.to_email, reply.subject.as_str()), (&mail.from_email, "Re: Broken lamp"));
    assert_eq!(reply.in_reply_to, mail.rfc_message_id);
    let messages = sunday.office.messages(&sunday.office.owner, id).await;
    let [_, shown] = messages.as_slice() else { panic!("{messages:?}") };
    assert!(shown.automatic && shown.author_id.is_empty() && shown.bot_id.is_empty(), "{shown:?}");
    assert_eq!((shown.direction(), shown.text.as_str()), (MessageDirection::Out, reply.text.as_str()));
    assert_ne!(shown.delivery(), DeliveryState::Unspecified);

    // The same mail again, and the next one of the same night.
    sunday.office.deliver(mail.clone()).await;
    assert_eq!(sunday.office.deliver(sunday.more_of(&mail)).await, id);
    // While the team works, and in the next night.
    sunday.clock.advance(20 * HOUR);
    sunday.office.deliver(sunday.more_of(&mail)).await;
    assert_eq!(sunday.office.count("select count(*) from messages where automatic").await, 1);
    sunday.clock.advance(10 * HOUR);
    assert_eq!(sunday.office.deliver(sunday.more_of(&mail)).await, id);
    let next = sunday.sent(2).await;
    assert!(next.text.contains("November 30"), "{}", next.text);
    // It is no answer: the customer still waits for a person.
    assert_eq!(sunday.office.count("select count(*) from conversations where unanswered_since is not null").await, 1);
    sunday.office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_in_the_customers_language_or_else_in_the_accounts() {
    let sunday = Sunday::new().await;
    let (office, account) = (&sunday.office, sunday.office.owner.account);
    sunday.office.deliver(sunday.saying("صباح الخير، المصباح الذي اشتريته من متجركم لا يعمل")).await;
    let arabic = sunday.sent(1).await.text;
    assert!(arabic.contains("الاثنين، ٢٣ نوفمبر في ٩:٠٠ ص (غرينتش+٢)"), "{arabic}");
    let spanish = "Buenos días, la lámpara que compré la semana pasada en su tienda ya no funciona, ¿qué hago?";
    office.deliver(IngestMessageRequest { subject: "Lámpara".into(), ..sunday.saying(spanish) }).await;
    assert_eq!(sunday.sent(2).await.text, "Volvemos el lunes, 23 de noviembre, a las 9:00 (GMT+2)");
    let changed = AccountChanged { account: Some(Account { language: "pt".into(), ..Default::default() }) };
    office.users.write(account, account, 1, &changed);
    office.until("select count(*) from account_languages where language = 'pt'", 1).await;
    office.deliver(IngestMessageRequest { subject: "?".into(), ..sunday.saying("??") }).await;
    let portuguese = sunday.sent(3).await.text;
    assert!(portuguese.contains("segunda-feira, 23 de novembro, às 09:00 (GMT+2)"), "{portuguese}");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_get_none_and_neither_does_anybody_where_the_team_is_open_or_wants_none() {
    let sunday = Sunday::new().await;
    let office = &sunday.office;
    office.deliver(IngestMessageRequest { automatic: true, ..office.mail() }).await;
    office.deliver(IngestMessageRequest { from_email: String::new(), broken: true, ..office.mail() }).await;
    sunday.set(3, |team| team.automatic_reply = Some(AutomaticReply::default())).await;
    office.arrive().await;
    let on = || Some(AutomaticReply { enabled: true, texts: vec![] });
    sunday.set(4, |team| (team.automatic_reply, team.working_hours) = (on(), None)).await;
    office.arrive().await;
    sunday.set(5, |team| team.automatic_reply = on()).await;
    sunday.clock.advance(20 * HOUR);
    office.arrive().await;
    assert_eq!(office.count("select count(*) from messages where direction = 'OUT'").await, 0);
    sunday.clock.advance(10 * HOUR);
    office.arrive().await;
    sunday.sent(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_say_so_and_names_no_mail_of_ours_gets_five_a_day() {
    let sunday = Sunday::new().await;
    let loops = || IngestMessageRequest { from_email: "robot@customer.example".into(), ..sunday.office.mail() };
    for _ in 0..8 {
        sunday.office.deliver(loops()).await;
    }
    let replies = "select count(*) from messages where automatic and direction = 'OUT'";
    assert_eq!(sunday.office.count(replies).await, 5);
    sunday.office.arrive().await;
    assert_eq!(sunday.office.count(replies).await, 6, "others are not concerned");
    sunday.clock.advance(50 * HOUR);
    sunday.office.deliver(IngestMessageRequest { message_id: ids::new_id().to_string(), ..loops() }).await;
    assert_eq!(sunday.office.count(replies).await, 7, "it is another day");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_in_a_customers_place_brings_him_none() {
    let sunday = Sunday::new().await;
    let mail = sunday.office.mail();
    let id = sunday.office.deliver(mail.clone()).await;
    let reply = sunday.sent(1).await;
    // The next night.
    sunday.clock.advance(30 * HOUR);
    let colleague = IngestMessageRequest { references: vec![reply.rfc_message_id], ..sunday.office.mail() };
    assert_eq!(sunday.office.deliver(colleague).await, id);
    let replies = "select count(*) from messages where automatic and direction = 'OUT'";
    assert_eq!(sunday.office.count(replies).await, 1, "he has not written");
    let own = IngestMessageRequest { from_email: mail.from_email.to_uppercase(), ..sunday.more_of(&mail) };
    assert_eq!(sunday.office.deliver(own).await, id);
    assert_eq!(sunday.office.count(replies).await, 2);
}
