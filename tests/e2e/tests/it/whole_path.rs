//! The story of the demo, in both topologies and on the oldest and the newest PostgreSQL there is.

use std::path::PathBuf;

use diwan_e2e::{installation::Topology, report::Report, story};
use diwan_mailhost::{MailHost, Options};
use diwan_runtime::worker::chain;

use crate::support::{postgres_versions, start_on};

async fn tell(topology: Topology, postgres: PathBuf) {
    let folder = tempfile::TempDir::new().unwrap();
    let mail = MailHost::start(Options::new(folder.path())).await.unwrap();
    let settings = [("DIWAN_IDENTITY_SMTP", format!("smtp://{}", mail.smtp()))];
    let fresh = start_on(postgres, topology, &settings).await;
    let told = story::tell(fresh.installation.gateway(), &mail, &mut Report::quiet()).await;
    told.unwrap_or_else(|error| panic!("{}", chain(&error)));
    fresh.installation.stop().await.unwrap();
    mail.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_reaches_an_agent_and_his_answer_the_customer_in_one_process_on_the_newest_postgresql() {
    tell(Topology::Suite, postgres_versions().pop().unwrap().1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_reaches_an_agent_and_his_answer_the_customer_as_six_processes_on_the_newest_postgresql() {
    tell(Topology::Separate, postgres_versions().pop().unwrap().1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_reaches_an_agent_and_his_answer_the_customer_in_one_process_on_the_oldest_postgresql() {
    tell(Topology::Suite, postgres_versions().remove(0).1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_reaches_an_agent_and_his_answer_the_customer_as_six_processes_on_the_oldest_postgresql() {
    tell(Topology::Separate, postgres_versions().remove(0).1).await;
}
