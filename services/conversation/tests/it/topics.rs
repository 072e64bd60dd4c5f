//! Topics: their tree, and the topics of conversations.

use std::{collections::HashMap, sync::Arc};

use diwan_fault::reason_of;
use diwan_proto::{
    access::v1::Role,
    common::v1::PageRequest,
    conversation::v1::{
        ArchiveTopicRequest, ConversationState, ListTopicsRequest, RenameTopicRequest, Topic, UnarchiveTopicRequest,
    },
};
use diwan_runtime::ids;
use tonic::{Code, Status};

use crate::support::Office;

fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

async fn archive(office: &Office, id: &str) -> Topic {
    let request = ArchiveTopicRequest { request_id: ids::new_id().to_string(), topic_id: id.to_owned() };
    let answer = office.topics().archive_topic(office.world.request(&office.owner, request)).await.unwrap();
    answer.into_inner().topic.unwrap()
}

async fn unarchive(office: &Office, id: &str) -> Result<Topic, Status> {
    let request = UnarchiveTopicRequest { request_id: ids::new_id().to_string(), topic_id: id.to_owned() };
    let answer = office.topics().unarchive_topic(office.world.request(&office.owner, request)).await?;
    Ok(answer.into_inner().topic.unwrap())
}

async fn rename(office: &Office, id: &str, name: &str) -> Result<Topic, Status> {
    let (topic_id, name) = (id.to_owned(), name.to_owned());
    let request = RenameTopicRequest { request_id: ids::new_id().to_string(), topic_id, name };
    let answer = office.topics().rename_topic(office.world.request(&office.owner, request)).await?;
    Ok(answer.into_inner().topic.unwrap())
}

async fn list(office: &Office, archived: bool) -> Vec<Topic> {
    let page = Some(PageRequest { size: 200, token: String::new() });
    let request = office.world.request(&office.owner, ListTopicsRequest { page, archived });
    office.topics().list_topics(request).await.unwrap().into_inner().topics
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_lie_in_a_tree_without_cycles_and_siblings_have_names_of_their_own() {
    let office = Office::open(0).await;
    let owner = &office.owner;
    let sales = office.create_topic(owner, "Sales", "").await.unwrap();
    let offers = office.create_topic(owner, "Offers", &sales.id).await.unwrap();
    let spring = office.create_topic(owner, "Spring", &offers.id).await.unwrap();
    let taken = (Code::AlreadyExists, "TOPIC_NAME_TAKEN".to_owned());
    assert_eq!(refusal(office.create_topic(owner, "OFFERS", &sales.id).await), taken);
    office.create_topic(owner, "Offers", "").await.unwrap();
    assert_eq!(refusal(office.move_topic(&offers.id, "").await), taken);
    let cycle = (Code::FailedPrecondition, "TOPIC_CYCLE".to_owned());
    assert_eq!(refusal(office.move_topic(&sales.id, &spring.id).await), cycle);
    assert_eq!(refusal(office.move_topic(&sales.id, &sales.id).await), cycle);
    let moved = office.move_topic(&spring.id, &sales.id).await.unwrap();
    assert_eq!((moved.parent_id, moved.version), (sales.id.clone(), 2));
    assert_eq!(rename(&office, &offers.id, "offers").await.unwrap().name, "offers", "its own in another case");
    assert_eq!(refusal(rename(&office, &spring.id, "Offers").await), taken);
    let unknown = (Code::NotFound, "TOPIC_NOT_FOUND".to_owned());
    assert_eq!(refusal(office.create_topic(owner, "X", &ids::new_id().to_string()).await), unknown);
    let user = owner.colleague(Role::User);
    assert_eq!(refusal(office.create_topic(&user, "Mine", "").await).0, Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_branch_is_out_of_use_and_comes_back_from_the_top() {
    let office = Office::open(0).await;
    let owner = &office.owner;
    let sales = office.create_topic(owner, "Sales", "").await.unwrap();
    let offers = office.create_topic(owner, "Offers", &sales.id).await.unwrap();
    assert!(archive(&office, &sales.id).await.archived_at.is_some());
    assert_eq!((list(&office, false).await.len(), list(&office, true).await.len()), (0, 2));
    let archived = (Code::FailedPrecondition, "TOPIC_ARCHIVED".to_owned());
    assert_eq!(refusal(unarchive(&office, &offers.id).await), archived);
    assert_eq!(refusal(office.create_topic(owner, "New", &sales.id).await), archived);
    let id = office.arrive().await;
    assert_eq!(refusal(office.label(owner, id, &[&offers]).await), archived);
    // Its name is free meanwhile, and then it is not.
    let second = office.create_topic(owner, "Sales", "").await.unwrap();
    assert_eq!(refusal(unarchive(&office, &sales.id).await), (Code::AlreadyExists, "TOPIC_NAME_TAKEN".into()));
    archive(&office, &second.id).await;
    unarchive(&office, &sales.id).await.unwrap();
    unarchive(&office, &offers.id).await.unwrap();
    office.label(owner, id, &[&offers]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_at_once_that_are_harmless_one_by_one_never_make_a_cycle() {
    let office = Arc::new(Office::open(0).await);
    let mut topics = Vec::new();
    for number in 0..6 {
        topics.push(office.create_topic(&office.owner, &format!("Topic {number}"), "").await.unwrap().id);
    }
    let movers: Vec<_> = (0..6)
        .map(|mover: usize| {
            let (office, topics) = (office.clone(), topics.clone());
            tokio::spawn(async move {
                for turn in 0..12 {
                    let (id, parent) = (&topics[mover], &topics[(mover + turn + 1) % 6]);
                    match office.move_topic(id, parent).await {
                        Ok(_) => {}
                        Err(status) => assert_eq!(reason_of(&status).as_deref(), Some("TOPIC_CYCLE"), "{status:?}"),
                    }
                }
            })
        })
        .collect();
    for mover in movers {
        mover.await.unwrap();
    }
    let parents: HashMap<_, _> =
        list(&office, true).await.into_iter().map(|topic| (topic.id, topic.parent_id)).collect();
    for start in parents.keys() {
        let (mut at, mut steps) = (start, 0);
        while let Some(parent) = parents.get(at).filter(|parent| !parent.is_empty()) {
            (at, steps) = (parent, steps + 1);
            assert!(steps <= parents.len(), "a cycle above {start}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_with_mandatory_topics_closes_nothing_without_one() {
    let office = Office::open(0).await;
    office.set_team(office.team, 2, |team| team.topic_mandatory = true);
    office.until("select count(*) from teams where topic_mandatory", 1).await;
    let (agent, owner) = (office.agent().await, &office.owner);
    let _inbox = office.watch(&agent).await;
    let id = office.arrive().await;
    office.held_by(&agent, id).await;
    let required = (Code::FailedPrecondition, "TOPIC_REQUIRED".to_owned());
    assert_eq!(refusal(office.close(&agent, id).await), required);
    assert_eq!(refusal(office.close(owner, id).await), required);
    let lamps = office.create_topic(owner, "Lamps", "").await.unwrap();
    let labelled = office.label(&agent, id, &[&lamps, &lamps]).await.unwrap();
    assert_eq!(labelled.topic_ids, std::slice::from_ref(&lamps.id));
    assert_eq!(office.transitions(id).await.len(), 2, "no transition");
    archive(&office, &lamps.id).await;
    assert_eq!(office.label(&agent, id, &[&lamps]).await.unwrap().topic_ids.len(), 1, "what it has it keeps");
    assert_eq!(office.close(&agent, id).await.unwrap().state(), ConversationState::Closed);
    assert_eq!(refusal(office.label(&agent, id, &[]).await), required);
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_neither_holds_nor_directs_labels_only_what_is_unassigned() {
    let office = Office::open(0).await;
    let (agent, colleague) = (office.agent().await, office.agent().await);
    office.set_team(office.team, 2, |team| team.visibility_level = 4);
    office.until("select count(*) from teams where visibility = 4", 1).await;
    let topic = office.create_topic(&office.owner, "Lamps", "").await.unwrap();
    let id = office.arrive().await;
    office.label(&colleague, id, &[&topic]).await.unwrap();
    office.take(&agent, id).await.unwrap();
    assert_eq!(refusal(office.label(&colleague, id, &[]).await), (Code::FailedPrecondition, "NOT_HOLDER".into()));
    let unknown = Topic { id: ids::new_id().to_string(), ..Topic::default() };
    assert_eq!(refusal(office.label(&agent, id, &[&unknown]).await), (Code::NotFound, "TOPIC_NOT_FOUND".into()));
}
