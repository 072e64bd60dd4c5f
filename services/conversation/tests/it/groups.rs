//! Groups of contacts: who sees what of them, and the rules that ask for them.

use diwan_fault::reason_of;
use diwan_proto::conversation::v1::{
    AddContactToGroupRequest, Contact, ContactGroup, CreateContactGroupRequest, CreateRoutingRuleRequest,
    DeleteContactGroupRequest, IngestMessageRequest, ListContactGroupsRequest, ListGroupContactsRequest,
    RemoveContactFromGroupRequest, RenameContactGroupRequest, RoutingConditions,
    contact_group_service_client::ContactGroupServiceClient,
};
use diwan_testkit::Person;
use diwan_transport::Transport;
use tonic::{Code, Status};

use crate::{bot_calls::new, support::Office};

impl Office {
    fn groups(&self) -> ContactGroupServiceClient<Transport> {
        ContactGroupServiceClient::new(self.world.to("conversation"))
    }

    async fn group(&self, name: &str) -> Result<ContactGroup, Status> {
        let request = CreateContactGroupRequest { request_id: new(), name: name.into() };
        let answer = self.groups().create_contact_group(self.world.request(&self.owner, request)).await?;
        Ok(answer.into_inner().group.unwrap())
    }

    async fn group_names(&self, person: &Person) -> Vec<String> {
        let request = self.world.request(person, ListContactGroupsRequest {});
        let groups = self.groups().list_contact_groups(request).await.unwrap().into_inner().groups;
        groups.into_iter().map(|group| group.name).collect()
    }

    async fn add_to(&self, group: &ContactGroup, contact: &str) -> Result<(), Status> {
        let (group_id, contact_id) = (group.id.clone(), contact.to_owned());
        let request = AddContactToGroupRequest { request_id: new(), group_id, contact_id };
        self.groups().add_contact_to_group(self.world.request(&self.owner, request)).await.map(|_| ())
    }

    async fn remove_from(&self, group: &ContactGroup, contact: &str) -> Result<(), Status> {
        let (group_id, contact_id) = (group.id.clone(), contact.to_owned());
        let request = RemoveContactFromGroupRequest { request_id: new(), group_id, contact_id };
        self.groups().remove_contact_from_group(self.world.request(&self.owner, request)).await.map(|_| ())
    }

    async fn members(&self, person: &Person, group: &ContactGroup) -> Result<Vec<Contact>, Status> {
        let request = ListGroupContactsRequest { group_id: group.id.clone(), page: None };
        let answer = self.groups().list_group_contacts(self.world.request(person, request)).await?;
        Ok(answer.into_inner().contacts)
    }

    async fn delete_group(&self, group: &ContactGroup) -> Result<(), Status> {
        let request = DeleteContactGroupRequest { request_id: new(), group_id: group.id.clone() };
        self.groups().delete_contact_group(self.world.request(&self.owner, request)).await.map(|_| ())
    }

    async fn contact(&self, person: &Person, mail: &IngestMessageRequest) -> Contact {
        let id = self.deliver(mail.clone()).await;
        self.get(person, id).await.unwrap().contact.unwrap()
    }
}

fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    reason_of(&answer.unwrap_err()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_for_owner_and_admins_and_names_for_everybody() {
    let office = Office::open(1).await;
    let agent = office.agent().await;
    let mail = office.mail();
    let contact = office.contact(&office.owner, &mail).await;
    let (vip, shops) = (office.group("VIP").await.unwrap(), office.group("shops").await.unwrap());
    assert_eq!(reason(office.group("vip").await), "GROUP_NAME_TAKEN");
    office.add_to(&vip, &contact.id).await.unwrap();
    office.add_to(&vip, &contact.id).await.unwrap();
    assert_eq!(office.group_names(&agent).await, ["shops", "VIP"]);
    assert_eq!(office.contact(&agent, &mail).await.group_ids, std::slice::from_ref(&vip.id), "seen on a contact");
    assert_eq!(office.members(&agent, &vip).await.unwrap_err().code(), Code::PermissionDenied);
    let members = office.members(&office.owner, &vip).await.unwrap();
    assert_eq!((members.len(), members[0].email.as_str()), (1, mail.from_email.as_str()));
    assert_eq!(office.members(&office.owner, &shops).await.unwrap(), []);
    assert_eq!(reason(office.add_to(&vip, &new()).await), "CONTACT_NOT_FOUND");
    let unknown = ContactGroup { id: new(), ..vip.clone() };
    assert_eq!(reason(office.add_to(&unknown, &contact.id).await), "GROUP_NOT_FOUND");
    let request = RenameContactGroupRequest { request_id: new(), group_id: shops.id.clone(), name: "Vip".into() };
    let renamed = office.groups().rename_contact_group(office.world.request(&office.owner, request)).await;
    assert_eq!(reason(renamed), "GROUP_NAME_TAKEN");
    office.remove_from(&vip, &contact.id).await.unwrap();
    assert_eq!(office.members(&office.owner, &vip).await.unwrap(), []);
    office.add_to(&vip, &contact.id).await.unwrap();
    office.delete_group(&vip).await.unwrap();
    assert_eq!(office.contact(&agent, &mail).await.group_ids, Vec::<String>::new());
    assert_eq!(office.group_names(&agent).await, ["shops"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_sends_the_members_of_a_group_to_its_team_and_keeps_the_group() {
    let office = Office::open(1).await;
    let vips = office.second_team(1).await;
    let vip = office.group("VIP").await.unwrap();
    let conditions = RoutingConditions { contact_group_ids: vec![vip.id.clone()], ..Default::default() };
    let rule = office.rule(conditions.clone(), vips).await;
    assert_eq!(rule.conditions.as_ref(), Some(&conditions));
    let mail = office.mail();
    let contact = office.contact(&office.owner, &mail).await;
    office.add_to(&vip, &contact.id).await.unwrap();
    let again = IngestMessageRequest { message_id: new(), rfc_message_id: new(), ..mail.clone() };
    let id = office.deliver(again).await;
    assert_eq!(office.get(&office.owner, id).await.unwrap().team_id, vips.to_string());
    let stranger = office.arrive().await;
    assert_eq!(office.get(&office.owner, stranger).await.unwrap().team_id, office.team.to_string());
    let facts = sqlx::query_scalar::<_, String>(
        "select facts->'groups'->>0 from routings where conversation_id = $1 and via = 'RULE'",
    );
    assert_eq!(facts.bind(id).fetch_one(office.pool()).await.unwrap(), vip.id, "the fact is kept");
    assert_eq!(reason(office.delete_group(&vip).await), "GROUP_IN_USE");
    let unknown = CreateRoutingRuleRequest {
        conditions: Some(RoutingConditions { contact_group_ids: vec![new()], ..Default::default() }),
        team_id: vips.to_string(),
        ..Default::default()
    };
    assert_eq!(reason(office.try_rule(unknown).await), "GROUP_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_group_that_goes_and_a_rule_and_a_member_that_come_one_is_refused() {
    let office = Office::open(1).await;
    let contact = office.contact(&office.owner, &office.mail()).await;
    for round in 0..10 {
        let group = office.group(&format!("Group {round}")).await.unwrap();
        let rule = CreateRoutingRuleRequest {
            conditions: Some(RoutingConditions { contact_group_ids: vec![group.id.clone()], ..Default::default() }),
            team_id: office.team.to_string(),
            ..Default::default()
        };
        let (deleted, ruled, _) =
            tokio::join!(office.delete_group(&group), office.try_rule(rule), office.add_to(&group, &contact.id));
        assert_ne!(deleted.is_ok(), ruled.is_ok(), "{deleted:?} {ruled:?}");
    }
    let dangling = "select count(*) from contacts c, unnest(c.group_ids) g where not exists (select from contact_groups where id = g)";
    assert_eq!(office.count(dangling).await, 0);
}
