//! The edit compiler judged by the models of Postfix and Sendmail, with random messages and random edits.
//!
//! `PROPTEST_CASES=100000 cargo test -p tamis --test edit_compiler` tries more of them.

use std::collections::HashMap;

use proptest::prelude::*;
use tamis::message::compile::{Mta, Target, Wanted, check, compile};
use tamis::message::{HeaderId, Headers};
use tamis::proto::command;
use tamis::proto::edit::model::{Field, Message, Model, Profile};
use tamis::{Actions, Edit};

/// Fields that Sendmail's usual configuration has a template for, in its order.
const TEMPLATES: [&str; 7] =
    ["Resent-Date", "Date", "Resent-From", "From", "Full-Name", "Resent-Message-Id", "Message-Id"];
const OWN: &str = " the MTA's own";

/// A field; its value gets a number of its own between the two texts.
type NewField = (&'static str, &'static str, &'static str);

#[derive(Clone, Debug)]
enum Step {
    Append(NewField),
    Prepend(NewField),
    Before(usize, bool, NewField),
    After(usize, bool, NewField),
    Replace(usize, NewField),
    Set(NewField),
    Remove(usize),
    RemoveAll(&'static str),
    /// The next field of the message comes only now.
    Receive,
}

/// How the place of an added field was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Outside,
    Near,
    Above(HeaderId),
    Below(HeaderId),
}

fn any_field() -> impl Strategy<Value = NewField> {
    let name = prop_oneof![
        5 => prop::sample::select(&["X-A", "x-a", "X-B", "Subject", "Received"][..]),
        2 => prop::sample::select(&["Date", "message-id", "From", "Resent-From", "Via"][..]),
    ];
    let before = prop::sample::select(&["", "", " ", "\t", "\n ", "a\n\t"][..]);
    let after = prop::sample::select(&["", "", "\n b", " ", "\u{e9}"][..]);
    (name, before, after)
}

fn any_step() -> impl Strategy<Value = Step> {
    let at = || 0_usize..12;
    let exact = || prop::bool::weighted(0.3);
    prop_oneof![
        2 => any_field().prop_map(Step::Append),
        2 => any_field().prop_map(Step::Prepend),
        3 => (at(), exact(), any_field()).prop_map(|(at, exact, field)| Step::Before(at, exact, field)),
        3 => (at(), exact(), any_field()).prop_map(|(at, exact, field)| Step::After(at, exact, field)),
        3 => (at(), any_field()).prop_map(|(at, field)| Step::Replace(at, field)),
        1 => any_field().prop_map(Step::Set),
        3 => at().prop_map(Step::Remove),
        1 => any_field().prop_map(|(name, ..)| Step::RemoveAll(name)),
        1 => Just(Step::Receive),
    ]
}

fn any_target() -> impl Strategy<Value = Target> {
    prop::sample::select(&[Target::Postfix, Target::Sendmail, Target::Portable][..])
}

prop_compose! {
    fn any_case()(
        message in prop::collection::vec(any_field(), 0..8),
        script in prop::collection::vec(any_step(), 0..10),
        leading_space in any::<bool>(),
        change in prop::bool::weighted(0.8),
    ) -> Scripted {
        Scripted::new(&message, &script, leading_space, change)
    }
}

/// A message after a script of edits.
#[derive(Debug)]
struct Scripted {
    headers: Headers,
    leading_space: bool,
    actions: Actions,
    numbers: u32,
    places: HashMap<HeaderId, Place>,
}

impl Scripted {
    fn new(message: &[NewField], script: &[Step], leading_space: bool, change: bool) -> Self {
        let actions = if change { Actions::CURRENT } else { Actions::ADD_HEADERS };
        let mut headers = Headers::new();
        headers.allow(actions);
        headers.own_leading_space(leading_space);
        let mut scripted = Self { headers, leading_space, actions, numbers: 0, places: HashMap::new() };
        let late = script.iter().filter(|step| matches!(step, Step::Receive)).count();
        let (now, later) = message.split_at(message.len().saturating_sub(late));
        let mut later = later.iter();
        for field in now {
            scripted.receive(*field);
        }
        for step in script {
            match step {
                Step::Receive => later.next().into_iter().for_each(|field| scripted.receive(*field)),
                step => scripted.edit(step),
            }
        }
        scripted
    }

    fn receive(&mut self, field: NewField) {
        let value = self.value(field).into();
        self.headers.push(command::Header {
            name: field.0.into(),
            value,
            implied_space: !self.leading_space,
        });
    }

    fn edit(&mut self, step: &Step) {
        let nth =
            |at: usize| self.headers.iter().nth(at % self.headers.len().max(1)).map(|header| header.id());
        let change = self.actions.contains(Actions::CHANGE_HEADERS);
        match *step {
            Step::Append(field) => {
                let value = self.value(field);
                let id = self.headers.append(field.0, value).unwrap();
                self.places.insert(id, Place::Outside);
            }
            Step::Prepend(field) => {
                let value = self.value(field);
                let id = self.headers.prepend(field.0, value).unwrap();
                self.places.insert(id, Place::Outside);
            }
            Step::Before(at, exact, field) => {
                let (Some(anchor), value) = (nth(at), self.value(field)) else { return };
                let exact = exact && change;
                let place = if exact { anchor.exactly() } else { anchor.into() };
                let id = self.headers.insert_before(place, field.0, value).unwrap();
                self.places.insert(id, if exact { Place::Above(anchor) } else { Place::Near });
            }
            Step::After(at, exact, field) => {
                let (Some(anchor), value) = (nth(at), self.value(field)) else { return };
                let exact = exact && change;
                let place = if exact { anchor.exactly() } else { anchor.into() };
                let id = self.headers.insert_after(place, field.0, value).unwrap();
                self.places.insert(id, if exact { Place::Below(anchor) } else { Place::Near });
            }
            Step::Replace(at, field) if change => {
                let (Some(id), value) = (nth(at), self.value(field)) else { return };
                self.headers.replace(id, value).unwrap();
            }
            Step::Set(field) if change => {
                let value = self.value(field);
                let id = self.headers.set(field.0, value).unwrap();
                if self.headers.received().all(|header| header.id() != id) {
                    self.places.entry(id).or_insert(Place::Outside);
                }
            }
            Step::Remove(at) if change => nth(at).into_iter().for_each(|id| self.headers.remove(id).unwrap()),
            Step::RemoveAll(name) if change => drop(self.headers.remove_all(name).unwrap()),
            _ => {}
        }
    }

    fn value(&mut self, (_, before, after): NewField) -> String {
        self.numbers += 1;
        format!("{before}v{}.{after}", self.numbers)
    }

    fn mta(&self, target: Target) -> Mta {
        let mut mta = Mta::new(target, self.actions);
        mta.leading_space = self.leading_space;
        mta
    }

    /// The wanted fields as they are delivered.
    fn wanted(&self) -> Vec<String> {
        self.headers.iter().map(|header| header.to_string()).collect()
    }

    fn place(&self, line: &str) -> Option<Place> {
        let header = self.headers.iter().find(|header| folded(&header.to_string()) == folded(line))?;
        self.places.get(&header.id()).copied()
    }

    /// What an MTA makes of the edits, without its own fields.
    fn delivered(&self, profile: Profile, generated: &[&str], edits: &[Edit<bytes::Bytes>]) -> Vec<String> {
        let received: Vec<Field> = self
            .headers
            .received()
            .map(|header| {
                let space = if self.leading_space { "" } else { " " };
                Field::new(header.name(), [space.as_bytes(), header.value().as_bytes()].concat())
            })
            .collect();
        let there =
            |name: &&&str| received.iter().any(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        let missing = generated.iter().filter(|name| !there(name)).copied();
        let mut headers: Vec<Field> =
            std::iter::once("Received").chain(missing).map(|name| Field::new(name, OWN)).collect();
        let own = headers.len();
        headers.extend(received);
        let mut model = Model::new(profile, Message { headers, ..Message::default() })
            .own_fields(own)
            .blank_defaults(TEMPLATES)
            .leading_space(self.leading_space);
        for edit in edits {
            model.apply(edit).unwrap();
        }
        let shown = |field: &Field| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            format!("{}:{}", text(&field.name), text(&field.value))
        };
        model.finish().headers.iter().filter(|field| field.value != OWN).map(shown).collect()
    }
}

/// All that the two profiles can be, with the fields that Sendmail generates and without.
const MTAS: [(Target, Profile, &[&str]); 6] = [
    (Target::Postfix, Profile::Postfix, &[]),
    (Target::Sendmail, Profile::Sendmail, &[]),
    (Target::Sendmail, Profile::Sendmail, &TEMPLATES),
    (Target::Portable, Profile::Postfix, &[]),
    (Target::Portable, Profile::Sendmail, &[]),
    (Target::Portable, Profile::Sendmail, &TEMPLATES),
];

fn is_template(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    TEMPLATES.iter().any(|template| template.eq_ignore_ascii_case(name))
}

/// Without the spelling of the name, which Sendmail takes from its template.
fn folded(line: &str) -> String {
    let (name, value) = line.split_once(':').unwrap();
    format!("{}:{value}", name.to_ascii_lowercase())
}

fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = lines.iter().map(|line| folded(line)).collect();
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_mta_delivers_the_wanted_fields_each_once(case in any_case()) {
        for (target, profile, generated) in MTAS {
            let edits = compile(&Wanted::new(&case.headers), &case.mta(target)).unwrap();
            let delivered = case.delivered(profile, generated, &edits);
            prop_assert_eq!(sorted(&delivered), sorted(&case.wanted()), "{} {:?} {:#?}", target, profile, edits);
        }
    }

    #[test]
    fn received_fields_and_exact_places_are_in_order_everywhere(case in any_case()) {
        for (target, profile, generated) in MTAS {
            let edits = compile(&Wanted::new(&case.headers), &case.mta(target)).unwrap();
            let delivered = case.delivered(profile, generated, &edits);
            // A new field that may fill a template of Sendmail has no place of its own unless it was exact.
            let has_place = |line: &&String| match case.place(line) {
                Some(Place::Near) => target != Target::Portable && !is_template(line),
                Some(Place::Outside) => target == Target::Postfix || !is_template(line),
                None | Some(Place::Above(_) | Place::Below(_)) => true,
            };
            let wanted = case.wanted();
            let wanted: Vec<_> = wanted.iter().filter(has_place).collect();
            let delivered: Vec<_> = delivered.iter().filter(has_place).collect();
            prop_assert_eq!(delivered, wanted, "{} {:?} {:#?}", target, profile, edits);
        }
    }

    #[test]
    fn postfix_has_every_field_in_its_place(case in any_case()) {
        let edits = compile(&Wanted::new(&case.headers), &case.mta(Target::Postfix)).unwrap();
        prop_assert_eq!(case.delivered(Profile::Postfix, &[], &edits), case.wanted());
    }

    #[test]
    fn nothing_gets_between_a_field_and_its_exact_place(case in any_case()) {
        let wanted = case.wanted();
        for (target, profile, generated) in MTAS {
            let edits = compile(&Wanted::new(&case.headers), &case.mta(target)).unwrap();
            let delivered = case.delivered(profile, generated, &edits);
            let at = |lines: &[String], line: &str| lines.iter().position(|other| other == line);
            for pair in wanted.windows(2) {
                let id = |line: &str| {
                    let found = case.headers.iter().find(|header| header.to_string() == line);
                    found.map(|header| header.id()).unwrap()
                };
                let (above, below) = (id(&pair[0]), id(&pair[1]));
                let asked = case.places.get(&above) == Some(&Place::Above(below))
                    || case.places.get(&below) == Some(&Place::Below(above));
                // The other one may itself have no place of its own.
                let firm = |id| matches!(case.places.get(&id), None | Some(Place::Above(_) | Place::Below(_)));
                if asked && firm(above) && firm(below) {
                    let (above, below) = (at(&delivered, &pair[0]), at(&delivered, &pair[1]));
                    prop_assert_eq!(above.unwrap() + 1, below.unwrap(), "{} {:?} {:#?}", target, profile, edits);
                }
            }
        }
    }

    #[test]
    fn without_exact_places_there_is_one_edit_for_each_field(case in any_case()) {
        let exact = |place: &Place| matches!(place, Place::Above(_) | Place::Below(_));
        if case.places.values().any(exact) {
            return Ok(());
        }
        let changed = |header: &tamis::message::Header<'_>| {
            case.headers.get(header.id()).is_none_or(|now| now.value() != header.value())
        };
        let changes = case.headers.received().filter(changed).count();
        let added = case.headers.iter().filter(|header| case.places.contains_key(&header.id())).count();
        let templates = case.wanted().iter().filter(|line| is_template(line)).count();
        for target in [Target::Postfix, Target::Sendmail, Target::Portable] {
            let edits = compile(&Wanted::new(&case.headers), &case.mta(target)).unwrap();
            // What Sendmail generated may have to be removed.
            let room = if target == Target::Postfix { 0 } else { templates };
            prop_assert!(edits.len() <= changes + added + room, "{edits:#?}");
        }
    }

    #[test]
    fn the_check_agrees(case in any_case(), target in any_target()) {
        let wanted = Wanted::new(&case.headers);
        let mta = case.mta(target);
        let edits = compile(&wanted, &mta).unwrap();
        if let Err(mismatch) = check(&edits, &wanted, &mta) {
            return Err(TestCaseError::fail(format!("{mismatch}\n{edits:#?}")));
        }
    }

    #[test]
    fn the_check_finds_a_lost_edit(case in any_case(), target in any_target(), lost in 0_usize..20) {
        let wanted = Wanted::new(&case.headers);
        let mta = case.mta(target);
        let mut edits = compile(&wanted, &mta).unwrap();
        if edits.is_empty() {
            return Ok(());
        }
        let lost = edits.remove(lost % edits.len());
        // Room that is made for nothing may be left out.
        let clears = |edit: &Edit<bytes::Bytes>| matches!(edit, Edit::ChangeHeader { name, value, .. }
            if value.is_empty() && is_template(std::str::from_utf8(name).unwrap()));
        prop_assert!(clears(&lost) || check(&edits, &wanted, &mta).is_err(), "without {lost:?} {edits:#?}");
    }
}
