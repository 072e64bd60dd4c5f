//! The fallback team of a new account.

use diwan_proto::team::v1::{BatchGetTeamsRequest, team_service_client::TeamServiceClient};
use diwan_testkit::{Person, bad_fields};
use futures::future::join_all;

use crate::support::Teams;

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_who_make_the_fallback_team_at_once_make_one_with_the_owner_in_it() {
    let teams = Teams::empty().await;
    let made = join_all((0..16).map(|place| teams.ensure_fallback(place, &teams.owner, "en"))).await;
    let first = made[0].as_ref().unwrap();
    assert!(first.fallback && first.name == "General" && first.version == 1, "{first:?}");
    for team in &made {
        assert_eq!(team.as_ref().unwrap(), first);
    }
    assert_eq!(teams.names().await, ["General"]);
    assert_eq!(teams.members(&first.id).await, [teams.owner.user]);
    assert_eq!(teams.events().await.len(), 2, "one team and one membership");
}

#[tokio::test]
async fn the_fallback_team_is_named_in_the_owners_language() {
    let teams = Teams::empty().await;
    for (language, name) in [("ar", "عام"), ("en", "General"), ("es", "General"), ("pt", "Geral")] {
        assert_eq!(teams.ensure_fallback(0, &Person::owner(), language).await.unwrap().name, name);
    }
}

#[tokio::test]
async fn a_late_repetition_neither_renames_the_team_nor_brings_the_owner_back() {
    let (teams, general) = Teams::with_fallback().await;
    let sales = teams.create_named("Sales").await;
    teams.add(&sales.id, teams.owner.user).await.unwrap();
    teams.remove(0, &general.id, teams.owner.user).await.unwrap();
    let again = teams.ensure_fallback(1, &teams.owner, "pt").await.unwrap();
    assert_eq!(again, general);
    assert!(teams.members(&general.id).await.is_empty());
}

#[tokio::test]
async fn bad_fields_of_the_services_methods_are_all_named() {
    let teams = Teams::empty().await;
    let nobody = Person::owner();
    let refusal = teams.ensure_fallback(0, &nobody, "fr").await.unwrap_err();
    assert_eq!(bad_fields(&refusal), ["language"]);
    let mut client = TeamServiceClient::new(teams.worlds[0].to_as("team", "mailbox"));
    let message = BatchGetTeamsRequest { account_id: "a".into(), team_ids: vec!["b".into()] };
    assert_eq!(bad_fields(&client.batch_get_teams(message).await.unwrap_err()), ["account_id", "team_ids[0]"]);
    let message = BatchGetTeamsRequest { account_id: nobody.account.to_string(), team_ids: Vec::new() };
    assert_eq!(bad_fields(&client.batch_get_teams(message).await.unwrap_err()), ["team_ids"]);
    let refusal = teams.join(0, nobody.user, &["", "x"]).await.unwrap_err();
    assert_eq!(bad_fields(&refusal), ["team_ids[0]", "team_ids[1]"]);
}
