//! Departments: their shape, their heads, and who belongs to them.

use diwan_proto::{
    access::v1::Role,
    team::v1::{
        AssignDepartmentRequest, CreateDepartmentRequest, Department, DepartmentAssigned, DepartmentChanged,
        ListDepartmentMembersRequest, ListDepartmentsRequest, RemoveDepartmentRequest, UpdateDepartmentRequest,
        department_service_client::DepartmentServiceClient,
    },
};
use diwan_runtime::ids;
use diwan_testkit::{Person, reason};
use diwan_transport::Transport;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::Teams;

fn client(teams: &Teams, replica: usize) -> DepartmentServiceClient<Transport> {
    DepartmentServiceClient::new(teams.worlds[replica % 2].to("team"))
}

pub async fn create(teams: &Teams, name: &str, parent: &str) -> Result<Department, Status> {
    create_for(teams, name, parent, teams.owner.user).await
}

async fn create_for(teams: &Teams, name: &str, parent: &str, head: Uuid) -> Result<Department, Status> {
    let message = CreateDepartmentRequest {
        request_id: ids::new_id().to_string(),
        name: name.into(),
        parent_id: parent.into(),
        head_id: head.to_string(),
    };
    let request = teams.from(0, &teams.owner, message);
    Ok(client(teams, 0).create_department(request).await?.into_inner().department.unwrap())
}

pub async fn move_below(teams: &Teams, replica: usize, id: &str, parent: &str) -> Result<Department, Status> {
    let department = Department { id: id.into(), parent_id: parent.into(), ..Department::default() };
    let message = UpdateDepartmentRequest {
        request_id: ids::new_id().to_string(),
        department: Some(department),
        update_mask: Some(prost_types::FieldMask { paths: vec!["parent_id".into()] }),
    };
    let request = teams.from(replica, &teams.owner, message);
    Ok(client(teams, replica).update_department(request).await?.into_inner().department.unwrap())
}

async fn assign(teams: &Teams, replica: usize, user: Uuid, department: &str) -> Result<(), Status> {
    let message = AssignDepartmentRequest {
        request_id: ids::new_id().to_string(),
        user_id: user.to_string(),
        department_id: department.into(),
    };
    client(teams, replica).assign_department(teams.from(replica, &teams.owner, message)).await.map(drop)
}

async fn remove(teams: &Teams, replica: usize, id: &str) -> Result<(), Status> {
    let message = RemoveDepartmentRequest { request_id: ids::new_id().to_string(), department_id: id.into() };
    client(teams, replica).remove_department(teams.from(replica, &teams.owner, message)).await.map(drop)
}

async fn members(teams: &Teams, department: &str) -> Vec<Uuid> {
    let message = ListDepartmentMembersRequest { department_id: department.into(), page: None };
    let request = teams.from(1, &teams.owner, message);
    let answer = client(teams, 1).list_department_members(request).await.unwrap().into_inner();
    answer.user_ids.iter().map(|id| id.parse().unwrap()).collect()
}

async fn all(teams: &Teams) -> Vec<Department> {
    let request = teams.from(0, &teams.owner, ListDepartmentsRequest::default());
    client(teams, 0).list_departments(request).await.unwrap().into_inner().departments
}

fn refused(refusal: Result<impl std::fmt::Debug, Status>) -> (Code, String) {
    let refusal = refusal.unwrap_err();
    (refusal.code(), reason(&refusal))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_departments_that_are_moved_below_each_other_at_once_never_make_a_circle() {
    let (teams, _) = Teams::with_fallback().await;
    for round in 0..20 {
        let one = create(&teams, &format!("One {round}"), "").await.unwrap();
        let other = create(&teams, &format!("Other {round}"), "").await.unwrap();
        let below = create(&teams, &format!("Below {round}"), &one.id).await.unwrap();
        let both = tokio::join!(move_below(&teams, 0, &one.id, &other.id), move_below(&teams, 1, &other.id, &below.id));
        let refusal = match both {
            (Ok(_), Err(refusal)) | (Err(refusal), Ok(_)) => refusal,
            both => unreachable!("exactly one succeeds: {both:?}"),
        };
        assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::FailedPrecondition, "DEPARTMENT_CYCLE"));
    }
    assert_eq!(
        refused(move_below(&teams, 0, &all(&teams).await[0].id, &all(&teams).await[0].id).await).0,
        Code::FailedPrecondition
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_department_that_somebody_comes_into_meanwhile_is_not_removed_from_under_him() {
    let (teams, _) = Teams::with_fallback().await;
    for round in 0..20 {
        let department = create(&teams, &format!("Finance {round}"), "").await.unwrap();
        let both = tokio::join!(assign(&teams, 0, teams.owner.user, &department.id), remove(&teams, 1, &department.id));
        match both {
            (Ok(()), refusal) => {
                assert_eq!(refused(refusal), (Code::FailedPrecondition, "DEPARTMENT_NOT_EMPTY".into()));
                assert_eq!(members(&teams, &department.id).await, [teams.owner.user]);
            }
            (refusal, Ok(())) => assert_eq!(refused(refusal), (Code::NotFound, "DEPARTMENT_NOT_FOUND".into())),
            both @ (Err(_), Err(_)) => unreachable!("one of them succeeds: {both:?}"),
        }
    }
}

#[tokio::test]
async fn departments_lie_at_most_twenty_deep_also_after_a_tree_is_moved() {
    let (teams, _) = Teams::with_fallback().await;
    let mut lowest = String::new();
    for depth in 1..=19 {
        lowest = create(&teams, &format!("Level {depth}"), &lowest).await.unwrap().id;
    }
    let tree = create(&teams, "Tree", "").await.unwrap();
    create(&teams, "Branch", &tree.id).await.unwrap();
    let too_deep = (Code::FailedPrecondition, "DEPARTMENT_TOO_DEEP".to_owned());
    assert_eq!(refused(move_below(&teams, 0, &tree.id, &lowest).await), too_deep);
    let twentieth = create(&teams, "Level 20", &lowest).await.unwrap();
    assert_eq!(refused(create(&teams, "Level 21", &twentieth.id).await), too_deep);
}

#[tokio::test]
async fn a_name_is_taken_only_right_below_the_same_department() {
    let (teams, _) = Teams::with_fallback().await;
    let north = create(&teams, "North", "").await.unwrap();
    let south = create(&teams, "South", "").await.unwrap();
    create(&teams, "Sales", &north.id).await.unwrap();
    let moved = create(&teams, "sales", &south.id).await.unwrap();
    let taken = (Code::AlreadyExists, "DEPARTMENT_NAME_TAKEN".to_owned());
    assert_eq!(refused(move_below(&teams, 0, &moved.id, &north.id).await), taken);
    assert_eq!(refused(create(&teams, "NORTH", "").await), taken);
}

#[tokio::test]
async fn a_user_is_in_one_department_at_a_time_and_others_are_told() {
    let (teams, _) = Teams::with_fallback().await;
    let [north, south] = [create(&teams, "North", "").await.unwrap(), create(&teams, "South", "").await.unwrap()];
    let user = teams.owner.user;
    assign(&teams, 0, user, &north.id).await.unwrap();
    assign(&teams, 0, user, &south.id).await.unwrap();
    assign(&teams, 0, user, &south.id).await.unwrap();
    assert_eq!((members(&teams, &north.id).await, members(&teams, &south.id).await), (vec![], vec![user]));
    assert_eq!(refused(remove(&teams, 0, &south.id).await).1, "DEPARTMENT_NOT_EMPTY");
    assign(&teams, 0, user, "").await.unwrap();
    remove(&teams, 0, &south.id).await.unwrap();
    let events = teams.events().await;
    let told: Vec<_> =
        events.iter().filter_map(|event| event.payload.as_ref()?.to_msg::<DepartmentAssigned>().ok()).collect();
    let told: Vec<_> = told.into_iter().map(|event| event.department_id).collect();
    assert_eq!(told, [north.id, south.id.clone(), String::new()]);
    let removed = events.iter().filter_map(|event| event.payload.as_ref()?.to_msg::<DepartmentChanged>().ok());
    let removed: Vec<_> = removed.filter(|event| event.removed).map(|event| event.department.unwrap().id).collect();
    assert_eq!(removed, [south.id]);
}

#[tokio::test]
async fn a_head_is_a_user_of_the_account_and_a_department_of_another_account_is_unknown() {
    let (teams, _) = Teams::with_fallback().await;
    let stranger = Person::owner();
    teams.ensure_fallback(0, &stranger, "en").await.unwrap();
    let no_user = (Code::NotFound, "USER_NOT_FOUND".to_owned());
    assert_eq!(refused(create_for(&teams, "Finance", "", ids::new_id()).await), no_user);
    assert_eq!(refused(create_for(&teams, "Finance", "", stranger.user).await), no_user);
    let finance = create(&teams, "Finance", "").await.unwrap();
    let message = RemoveDepartmentRequest { request_id: "1".into(), department_id: finance.id.clone() };
    let request = teams.from(0, &stranger, message);
    let foreign = client(&teams, 0).remove_department(request).await.map(drop);
    assert_eq!(refused(foreign), (Code::NotFound, "DEPARTMENT_NOT_FOUND".into()));
    let user = teams.owner.colleague(Role::User);
    let request = teams.from(0, &user, ListDepartmentsRequest::default());
    assert_eq!(client(&teams, 0).list_departments(request).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(all(&teams).await, [finance]);
}
