//! Who gets in, what it costs, and who has to wait.

use std::net::Ipv4Addr;
use std::path::Path;

use super::*;
use crate::mail::id::Timestamp;
use crate::sasl::scram::Proof;
use crate::sys::ManualClock;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

struct Rig {
    authenticator: Arc<Authenticator>,
    declare: watch::Sender<Arc<Directory>>,
    clock: Arc<ManualClock>,
}

/// anna's password is "anna's".
fn declared(password: &str) -> Arc<Directory> {
    let hash = password::hash(password.as_bytes()).expect("it can be hashed");
    let text = format!(
        "[[domain]]\nname = \"example.org\"\n[[user]]\nlogin = \"anna\"\npassword = \"{}\"\n\
         addresses = [\"a.beispiel@example.org\"]\n[[inbox]]\nname = \"Support\"\n\
         addresses = [\"support@example.org\"]\n",
        hash.0
    );
    Arc::new(crate::directory::file::parse(&text, Path::new("d.toml")).expect("valid"))
}

fn rig() -> Rig {
    let (declare, directory) = watch::channel(declared("anna's"));
    let clock = Arc::new(ManualClock::default());
    clock.set(Timestamp::from_seconds(1_000_000));
    let authenticator = Arc::new(Authenticator::new(directory, clock.clone()));
    Rig { authenticator, declare, clock }
}

impl Rig {
    async fn attempt(&self, peer: IpAddr, login: &str, password: &str) -> Verified {
        self.authenticator.attempt(peer, login, password.as_bytes()).await
    }

    async fn outcome(
        &self,
        peer: IpAddr,
        login: &str,
        password: &str,
    ) -> Result<Login, LoginError> {
        self.attempt(peer, login, password).await.0
    }
}

#[tokio::test]
async fn the_right_password_logs_in_and_the_login_has_no_case() {
    let rig = rig();
    let anna = Ok(Login::new("anna"));
    assert_eq!(rig.authenticator.login(HERE, "anna", b"anna's").await, anna);
    assert_eq!(rig.outcome(HERE, "ANNA", "anna's").await, anna);
    assert_eq!(rig.outcome(HERE, "anna", "Anna's").await, Err(LoginError::Wrong));
    assert_eq!(rig.outcome(HERE, "bert", "anna's").await, Err(LoginError::Wrong));
    assert_eq!(rig.outcome(HERE, "", "anna's").await, Err(LoginError::Wrong));
    assert_eq!(rig.outcome(HERE, "anna", "").await, Err(LoginError::Wrong));
}

#[tokio::test]
async fn a_users_own_address_is_as_good_as_the_login_and_an_inbox_has_none() {
    let rig = rig();
    let outcome = rig.outcome(HERE, "A.Beispiel@Example.org", "anna's").await;
    assert_eq!(outcome, Ok(Login::new("anna")));
    let refused = Err(LoginError::Wrong);
    assert_eq!(rig.outcome(HERE, "a.beispiel+x@example.org", "anna's").await, refused);
    assert_eq!(rig.outcome(HERE, "support@example.org", "anna's").await, refused);
}

#[tokio::test]
async fn an_unknown_user_costs_one_verification_as_a_wrong_password_does() {
    let rig = rig();
    let mut costs = Vec::new();
    for (login, password) in [("anna", "wrong"), ("bert", "wrong"), ("bert", "anna's")] {
        let before = rig.authenticator.verifications();
        assert_eq!(rig.outcome(HERE, login, password).await, Err(LoginError::Wrong));
        costs.push(rig.authenticator.verifications() - before);
    }
    assert_eq!(costs, [1, 1, 1]);
}

#[tokio::test]
async fn an_unknown_user_costs_a_verification_where_nobody_is_declared() {
    let rig = rig();
    rig.declare.send_replace(Arc::default());
    assert_eq!(rig.outcome(HERE, "bert", "wrong").await, Err(LoginError::Wrong));
    assert_eq!(rig.authenticator.verifications(), 1);
}

#[tokio::test]
async fn many_connections_of_a_user_cost_few_verifications() {
    let rig = rig();
    let attempts: Vec<_> = (0..200)
        .map(|_| {
            let authenticator = rig.authenticator.clone();
            tokio::spawn(async move { authenticator.login(HERE, "anna", b"anna's").await })
        })
        .collect();
    for attempt in attempts {
        assert_eq!(attempt.await.expect("no panic"), Ok(Login::new("anna")));
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    assert!(rig.authenticator.verifications() <= processors);
}

#[tokio::test]
async fn a_success_is_remembered_for_ten_minutes() {
    let rig = rig();
    let anna = Ok(Login::new("anna"));
    for (seconds, verifications) in [(0, 1), (599, 1), (600, 2)] {
        rig.clock.set(Timestamp::from_seconds(1_000_000 + seconds));
        assert_eq!(rig.outcome(HERE, "anna", "anna's").await, anna);
        assert_eq!(rig.authenticator.verifications(), verifications, "after {seconds} s");
    }
}

#[tokio::test]
async fn a_changed_hash_or_a_removed_user_ends_what_was_remembered() {
    let rig = rig();
    assert!(rig.outcome(HERE, "anna", "anna's").await.is_ok());
    rig.declare.send_replace(declared("new"));
    assert_eq!(rig.outcome(HERE, "anna", "anna's").await, Err(LoginError::Wrong));
    assert!(rig.outcome(HERE, "anna", "new").await.is_ok());
    rig.declare.send_replace(Arc::default());
    assert_eq!(rig.outcome(HERE, "anna", "new").await, Err(LoginError::Wrong));
}

#[tokio::test]
async fn guessing_is_slowed_then_refused_and_locks_nobody_out_elsewhere() {
    let rig = rig();
    let mut delays = Vec::new();
    for _ in 0..throttle::PAIR_FAILURES_MAX {
        let (outcome, delay) = rig.attempt(HERE, "anna", "wrong").await;
        assert_eq!(outcome, Err(LoginError::Wrong));
        delays.push(delay.as_secs());
    }
    assert_eq!(delays[..5], [0, 0, 1, 2, 4]);
    let verifications = rig.authenticator.verifications();
    assert_eq!(rig.outcome(HERE, "anna", "anna's").await, Err(LoginError::TryLater));
    assert_eq!(rig.authenticator.verifications(), verifications, "a refusal costs nothing");
    let (outcome, delay) = rig.attempt(THERE, "anna", "anna's").await;
    assert_eq!((outcome, delay), (Ok(Login::new("anna")), Duration::ZERO));
    assert!(rig.outcome(HERE, "anna", "anna's").await.is_ok(), "a success clears the pair");
}

#[tokio::test]
async fn attempts_at_once_cannot_get_past_the_limit() {
    let rig = rig();
    let attempts: Vec<_> = (0..60)
        .map(|n| {
            let authenticator = rig.authenticator.clone();
            let password = format!("guess {n}");
            tokio::spawn(
                async move { authenticator.attempt(HERE, "anna", password.as_bytes()).await },
            )
        })
        .collect();
    for attempt in attempts {
        assert!(attempt.await.expect("no panic").0.is_err());
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let limit = u64::from(throttle::PAIR_FAILURES_MAX) + processors - 1;
    assert!(rig.authenticator.verifications() <= limit);
}

#[tokio::test]
async fn an_attempt_whose_client_went_away_counts() {
    let rig = rig();
    for _ in 0..throttle::PAIR_FAILURES_MAX {
        let attempt = rig.attempt(HERE, "anna", "wrong");
        let _ = tokio::time::timeout(Duration::from_millis(1), attempt).await;
        while rig.authenticator.verifying.available_permits()
            < std::thread::available_parallelism().map_or(1, usize::from)
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(rig.outcome(HERE, "anna", "anna's").await, Err(LoginError::TryLater));
}

#[tokio::test]
async fn what_is_too_long_is_wrong_without_a_verification() {
    let rig = rig();
    let long = "a".repeat(LOGIN_BYTES_MAX + 1);
    assert_eq!(rig.outcome(HERE, &long, "x").await, Err(LoginError::Wrong));
    let long = "a".repeat(password::PASSWORD_BYTES_MAX + 1);
    assert_eq!(rig.outcome(HERE, "anna", &long).await, Err(LoginError::Wrong));
    assert_eq!(rig.authenticator.verifications(), 0);
    let longest = "a".repeat(LOGIN_BYTES_MAX);
    assert_eq!(rig.outcome(HERE, &longest, "x").await, Err(LoginError::Wrong));
    assert_eq!(rig.authenticator.verifications(), 1);
}

/// anna's and ben's keys for SCRAM; carla's hash is of another kind.
fn with_scram() -> Arc<Directory> {
    let keys = |password: &[u8]| crate::directory::scram::hash(password).expect("hashed").0;
    let user = |login: &str, hash: String| {
        format!("[[user]]\nlogin = \"{login}\"\nname = \"{login}\"\npassword = \"{hash}\"\n")
    };
    let text = [user("anna", keys(b"anna's")), user("ben", keys(b"ben's"))].concat()
        + &user("carla", password::hash(b"carla's").expect("hashed").0);
    Arc::new(crate::directory::file::parse(&text, Path::new("d.toml")).expect("valid"))
}

impl Rig {
    async fn keys(&self, login: &str) -> Result<crate::sasl::scram::Keys, Answer> {
        match self.authenticator.answer(HERE, &Question::Keys { login: login.into() }).await {
            Answer::Keys(keys) => Ok(*keys),
            other => Err(other),
        }
    }

    /// Without the wait.
    async fn proven(&self, login: &str, proof: Proof) -> Result<Login, LoginError> {
        self.authenticator.shared.proven(HERE, login, &proof).await.0
    }

    fn stored_key(&self, login: &str) -> Proof {
        let directory = self.declare.borrow();
        let user = directory.users.get(&Login::new(login)).expect("declared");
        Proof::Right(user.password.scram_keys().expect("keys").stored_key)
    }
}

#[tokio::test]
async fn a_right_proof_logs_in_whom_it_belongs_to_and_nobody_else() {
    let rig = rig();
    rig.declare.send_replace(with_scram());
    let anna = rig.stored_key("anna");
    assert_eq!(rig.proven("ANNA", anna.clone()).await, Ok(Login::new("anna")));
    assert_eq!(rig.proven("ben", anna.clone()).await, Err(LoginError::Wrong));
    assert_eq!(rig.proven("bert", anna.clone()).await, Err(LoginError::Wrong));
    assert_eq!(rig.proven("carla", anna.clone()).await, Err(LoginError::Wrong));
    assert_eq!(rig.proven("anna", Proof::Wrong).await, Err(LoginError::Wrong));
    assert!(rig.outcome(HERE, "anna", "anna's").await.is_ok(), "and the password itself fits");
    rig.declare.send_replace(with_scram());
    assert_eq!(
        rig.proven("anna", anna).await,
        Err(LoginError::Wrong),
        "the stored keys are others now"
    );
}

#[tokio::test]
async fn unknown_users_have_a_salt_as_others_have_and_keep_it() {
    let rig = rig();
    rig.declare.send_replace(with_scram());
    let anna = rig.keys("anna").await.expect("keys");
    for login in ["bert", "carla", "postmaster"] {
        let (one, two) = (rig.keys(login).await, rig.keys(login).await);
        let (one, two) = (one.expect("keys"), two.expect("keys"));
        assert_eq!((one.iterations, one.salt.len()), (anna.iterations, anna.salt.len()));
        assert!(one.salt == two.salt && one.nonce != two.nonce && one.salt != anna.salt);
        let guessed = Proof::Right(one.stored_key);
        assert_eq!(rig.proven(login, guessed).await, Err(LoginError::Wrong), "{login}");
    }
    let mut salts = Vec::new();
    for _start in 0..2 {
        let authenticator = Authenticator::new(rig.declare.subscribe(), rig.clock.clone());
        let authenticator = authenticator.with_salts(cache::Key([1; 32]));
        let question = Question::Keys { login: "bert".into() };
        if let Answer::Keys(keys) = authenticator.answer(HERE, &question).await {
            salts.push(keys.salt);
        }
    }
    assert!(salts.len() == 2 && salts[0] == salts[1], "also over a restart");
}

#[tokio::test]
async fn proofs_are_slowed_and_refused_as_passwords_are() {
    let rig = rig();
    rig.declare.send_replace(with_scram());
    for _ in 0..throttle::PAIR_FAILURES_MAX {
        assert_eq!(rig.proven("anna", Proof::Wrong).await, Err(LoginError::Wrong));
    }
    let anna = rig.stored_key("anna");
    assert_eq!(rig.proven("anna", anna).await, Err(LoginError::TryLater));
    assert_eq!(rig.keys("anna").await.err(), Some(Answer::TryLater));
    let refused = rig.outcome(HERE, "anna", "anna's").await;
    assert_eq!(refused, Err(LoginError::TryLater), "the same count");
    let ben = rig.stored_key("ben");
    assert_eq!(rig.proven("ben", ben).await, Ok(Login::new("ben")));
}

#[tokio::test]
async fn a_name_that_is_too_long_has_no_keys() {
    let rig = rig();
    rig.declare.send_replace(with_scram());
    assert!(rig.keys(&"a".repeat(LOGIN_BYTES_MAX)).await.is_ok());
    assert_eq!(rig.keys(&"a".repeat(LOGIN_BYTES_MAX + 1)).await.err(), Some(Answer::Wrong));
}

#[test]
fn scram_is_offered_only_where_every_user_has_keys() {
    let mut directory = Directory::clone(&with_scram());
    assert!(!directory.all_have_scram_keys());
    directory.users.remove(&Login::new("carla"));
    assert!(directory.all_have_scram_keys());
    assert!(!Directory::default().all_have_scram_keys(), "nobody has them");
}
