//! From records to servers.

use super::*;
use crate::outbound::dane::Record;
use crate::outbound::mta_sts::Policy;

struct Us;

impl Ourselves for Us {
    fn is_our_name(&self, host: &str) -> bool {
        host == "us.example"
    }

    fn is_our_address(&self, address: SocketAddr) -> bool {
        address == SocketAddr::from(([192, 0, 2, 99], 25))
    }
}

fn exchanger(preference: u16, host: &str) -> Exchanger {
    Exchanger { preference, host: host.into() }
}

fn found(last: u8) -> Answer<IpAddr> {
    Answer::Found(vec![IpAddr::from([192, 0, 2, last])])
}

fn names(exchangers: Vec<(Exchanger, Answer<IpAddr>)>) -> Result<Vec<String>, Fate> {
    let found = under(&Applied::None, Security::Opportunistic, exchangers)?;
    Ok(found.into_iter().map(|hop| hop.name).collect())
}

fn under(
    policy: &Applied,
    security: Security,
    exchangers: Vec<(Exchanger, Answer<IpAddr>)>,
) -> Result<Vec<Hop>, Fate> {
    publishing(&HashMap::new(), (policy, security), exchangers)
}

fn publishing(
    published: &HashMap<String, Published>,
    (policy, security): (&Applied, Security),
    exchangers: Vec<(Exchanger, Answer<IpAddr>)>,
) -> Result<Vec<Hop>, Fate> {
    let domain = Domain { name: "d.example", port: 25, security, policy, published };
    hops(&domain, exchangers, &Us)
}

/// Allows `*.good.example`.
fn enforced() -> Applied {
    let text = b"version: STSv1\nmode: enforce\nmx: *.good.example\nmax_age: 86400\n";
    Applied::Enforce(Policy::parse(text).expect("a policy").into())
}

/// Status and whether it is for good.
fn fate<T: std::fmt::Debug>(result: Result<T, Fate>) -> (String, bool) {
    match result {
        Err(Fate::Failed(told)) => (told.status, true),
        Err(Fate::Deferred(told)) => (told.status, false),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_most_preferred_server_goes_first_and_equals_at_random() {
    let all = || {
        let hosts = [(20, "c"), (10, "a"), (10, "b"), (5, "first")];
        Answer::Found(hosts.map(|(preference, host)| exchanger(preference, host)).to_vec())
    };
    let order = |entropy| -> Vec<String> {
        let sorted = exchangers("d.example", all(), entropy).expect("servers");
        sorted.into_iter().map(|e| e.host).collect()
    };
    let mut seen = std::collections::BTreeSet::new();
    for entropy in 0..64 {
        let order = order(entropy);
        assert_eq!((order[0].as_str(), order[3].as_str()), ("first", "c"));
        seen.insert(order[1].clone());
    }
    assert_eq!(seen.len(), 2, "both come first now and then");
}

#[test]
fn answers_without_servers_mean_what_the_standards_say() {
    let fate_of = |answer| fate(exchangers("d.example", answer, 0));
    let null = Answer::Found(vec![exchanger(0, "")]);
    assert_eq!(fate_of(null), ("5.1.10".into(), true));
    assert_eq!(fate_of(Answer::NoDomain), ("5.1.2".into(), true));
    assert_eq!(fate_of(Answer::Unknown("SERVFAIL".into())), ("4.4.3".into(), false));
    let implicit = exchangers("d.example", Answer::Nothing, 0).expect("the implicit MX");
    assert_eq!(implicit, [exchanger(0, "d.example")]);
    let beside = Answer::Found(vec![exchanger(0, ""), exchanger(10, "a")]);
    assert_eq!(exchangers("d.example", beside, 0).expect("a server"), [exchanger(10, "a")]);
}

#[test]
fn our_own_name_or_address_cuts_the_list() {
    let by_name = vec![
        (exchanger(5, "a.example"), found(1)),
        (exchanger(10, "b.example"), found(2)),
        (exchanger(10, "us.example"), found(3)),
        (exchanger(20, "c.example"), found(4)),
    ];
    assert_eq!(names(by_name), Ok(vec!["a.example".into()]));
    let by_address =
        vec![(exchanger(5, "a.example"), found(1)), (exchanger(10, "b.example"), found(99))];
    assert_eq!(names(by_address), Ok(vec!["a.example".into()]));
    let best = vec![(exchanger(5, "us.example"), Answer::Nothing), (exchanger(10, "b"), found(1))];
    assert_eq!(fate(names(best)), ("5.4.6".into(), true));
}

#[test]
fn servers_without_addresses_are_passed_over() {
    let one = vec![(exchanger(5, "a"), Answer::NoDomain), (exchanger(6, "b"), found(1))];
    assert_eq!(names(one), Ok(vec!["b".into()]));
    let none = vec![(exchanger(5, "a"), Answer::NoDomain), (exchanger(6, "b"), Answer::Nothing)];
    assert_eq!(fate(names(none)), ("5.4.4".into(), true));
    let unknown = vec![
        (exchanger(5, "a"), Answer::NoDomain),
        (exchanger(6, "b"), Answer::Unknown("timeout".into())),
    ];
    assert_eq!(fate(names(unknown)), ("4.4.3".into(), false));
}

#[test]
fn addresses_of_one_server_end_at_their_limit() {
    let many = |count: usize| {
        Answer::Found((0..count).map(|n| IpAddr::from([10, 0, 0, n as u8])).collect())
    };
    let hop = |count| named_hop(("h", 25), many(count), (Security::Off, Login::None), &Us);
    assert_eq!(hop(ADDRESSES_MAX).expect("a hop").addresses.len(), ADDRESSES_MAX);
    assert_eq!(hop(ADDRESSES_MAX + 1).expect("a hop").addresses.len(), ADDRESSES_MAX);
}

#[test]
fn a_named_server_that_is_ourselves_is_left_alone() {
    let way = (Security::Off, Login::None);
    assert_eq!(fate(named_hop(("old.example", 25), found(99), way, &Us)), ("4.4.6".into(), false));
    assert!(named_hop(("old.example", 26), found(99), way, &Us).is_ok());
}

#[test]
fn a_named_server_that_does_not_exist_gives_nothing_up() {
    for answer in [Answer::NoDomain, Answer::Nothing, Answer::Unknown("x".into())] {
        let hop = named_hop(("relay.example", 25), answer, (Security::Off, Login::None), &Us);
        assert_eq!(fate(hop), ("4.4.3".into(), false));
    }
}

#[test]
fn a_policy_allows_some_servers_and_wants_certificates() {
    let two = || {
        vec![(exchanger(5, "a.bad.example"), found(1)), (exchanger(6, "b.good.example"), found(2))]
    };
    for (security, expected) in
        [(Security::Opportunistic, Security::Verified), (Security::Verified, Security::Verified)]
    {
        let hops = under(&enforced(), security, two()).expect("one is left");
        let hops: Vec<_> = hops.iter().map(|hop| (hop.name.as_str(), hop.security)).collect();
        assert_eq!(hops, [("b.good.example", expected)]);
    }
    for policy in [Applied::Testing, Applied::None] {
        let hops = under(&policy, Security::Opportunistic, two()).expect("both");
        assert!(hops.len() == 2 && hops[0].security == Security::Opportunistic, "{hops:?}");
    }
}

#[test]
fn mail_waits_while_a_policy_allows_no_server() {
    let fate_of = |exchangers| fate(under(&enforced(), Security::Opportunistic, exchangers));
    let waits = ("4.7.0".to_owned(), false);
    assert_eq!(fate_of(vec![(exchanger(5, "a.bad.example"), found(1))]), waits);
    let the_other_has_gone = vec![
        (exchanger(5, "a.bad.example"), found(1)),
        (exchanger(6, "b.good.example"), Answer::NoDomain),
    ];
    assert_eq!(fate_of(the_other_has_gone), waits);
    let implicit = vec![(exchanger(0, "d.example"), Answer::NoDomain)];
    assert_eq!(fate_of(implicit), waits);
    let gone = vec![(exchanger(5, "b.good.example"), Answer::NoDomain)];
    assert_eq!(fate_of(gone), ("5.4.4".into(), true));
    let unknown = vec![
        (exchanger(5, "a.bad.example"), found(1)),
        (exchanger(6, "b.good.example"), Answer::Unknown("timeout".into())),
    ];
    assert_eq!(fate_of(unknown), ("4.4.3".into(), false));
}

#[test]
fn ourselves_cut_the_list_whether_a_policy_allows_us_or_not() {
    let us = vec![
        (exchanger(5, "us.example"), Answer::Nothing),
        (exchanger(6, "b.good.example"), found(1)),
    ];
    assert_eq!(fate(under(&enforced(), Security::Opportunistic, us)), ("5.4.6".into(), true));
}

/// `a.bad.example` with these records; beside it `b.good.example` without any.
fn with_records(found: Published, policy: &Applied, security: Security) -> Result<Vec<Hop>, Fate> {
    let two = vec![
        (exchanger(5, "a.bad.example"), self::found(1)),
        (exchanger(6, "b.good.example"), self::found(2)),
    ];
    let published = HashMap::from([("a.bad.example".to_owned(), found)]);
    publishing(&published, (policy, security), two)
}

fn usable() -> Published {
    let record = Record { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
    Published::of("a.bad.example", &[record])
}

#[test]
fn servers_with_tlsa_records_must_match_them_and_others_need_not() {
    for (policy, security, other) in [
        (Applied::None, Security::Opportunistic, Security::Opportunistic),
        (Applied::None, Security::Verified, Security::Verified),
        (enforced(), Security::Opportunistic, Security::Verified),
    ] {
        let hops = with_records(usable(), &policy, security).expect("both");
        let dane = hops[0].dane.clone().expect("records");
        assert_eq!((hops[0].security, dane.records.len()), (Security::Verified, 1));
        assert_eq!(dane.domain, "d.example");
        assert_eq!((hops[1].security, &hops[1].dane), (other, &None));
    }
    let off = with_records(usable(), &Applied::None, Security::Off).expect("both");
    assert!(off.iter().all(|hop| hop.security == Security::Off && hop.dane.is_none()));
}

#[test]
fn unusable_tlsa_records_ask_for_tls_and_allow_nothing() {
    let unusable = |policy, security| with_records(Published::Unusable, policy, security);
    let hops = unusable(&Applied::None, Security::Opportunistic).expect("both");
    assert_eq!((hops[0].security, &hops[0].dane), (Security::Encrypted, &None));
    let hops = unusable(&Applied::None, Security::Verified).expect("both");
    assert_eq!(hops[0].security, Security::Verified);
    let hops = unusable(&enforced(), Security::Opportunistic).expect("one");
    assert_eq!(hops.len(), 1);
}

#[test]
fn a_server_whose_tlsa_records_are_hidden_is_passed_over() {
    let unknown = Published::Unknown("SERVFAIL".into());
    let opportunistic = Security::Opportunistic;
    let hops = with_records(unknown.clone(), &Applied::None, opportunistic).expect("the other");
    assert_eq!(hops.iter().map(|hop| hop.name.as_str()).collect::<Vec<_>>(), ["b.good.example"]);
    let published = HashMap::from([("a.example".to_owned(), unknown)]);
    let one = vec![(exchanger(5, "a.example"), found(1))];
    let alone = publishing(&published, (&Applied::None, opportunistic), one);
    assert_eq!(fate(alone), ("4.4.3".into(), false));
}

#[test]
fn the_hop_has_the_name_that_its_records_stand_below() {
    let Published::Usable(_, records) = usable() else { panic!("usable") };
    let found = Published::Usable("real.example".into(), records);
    let hops = with_records(found, &Applied::None, Security::Opportunistic).expect("both");
    assert_eq!(hops[0].name, "real.example");
}
