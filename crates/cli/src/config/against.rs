//! `tamis config check --mta postfix`: the configuration beside the MTA's own.

use std::time::Duration;

use tamis::SocketSpec;
use tamis_filters::config::{Build, Time};

use super::filters::OnFailure;
use super::listener::{Listener, Place};
use super::read::Config;
use crate::mta::Postfix;

/// Something about a setting of the MTA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beside {
    /// `main.cf: smtpd_milters`.
    pub(super) place: String,
    pub(super) text: String,
}

/// Compares a configuration with Postfix'. What is about the configuration goes to `build`.
pub(super) fn postfix(config: &Config, postfix: &Postfix, build: &mut Build) -> Vec<Beside> {
    let mut beside = Vec::new();
    times(config, postfix, build);
    let default = [Listener::default()];
    let listeners = &config.sections.listener;
    let listeners = if listeners.is_empty() { &default[..] } else { listeners };
    reached(listeners, postfix, build, &mut beside);
    failure(config, postfix, &mut beside);
    macros(config, postfix, &mut beside);
    beside
}

fn warn(beside: &mut Vec<Beside>, name: &str, text: String) {
    beside.push(Beside { place: format!("main.cf: {name}"), text });
}

/// What Postfix gives up after must be longer than what filters may take.
fn times(config: &Config, postfix: &Postfix, build: &mut Build) {
    let limits = &config.sections.limits;
    for (key, ours, name) in [
        ("stage_time", limits.stage_time, "milter_command_timeout"),
        ("end_of_message_time", limits.end_of_message_time, "milter_content_timeout"),
    ] {
        let Some(theirs) = postfix.time(name).filter(|theirs| *theirs <= ours.0) else { continue };
        let theirs = Time(theirs);
        build.within("limits", |build| {
            build.within(key, |build| {
                build.warning(format_args!(
                    "Postfix gives up on the filter after {theirs} ({name}), and this is {ours}: write less here, or more there"
                ));
            });
        });
    }
    let connect = postfix.time("milter_connect_timeout");
    if connect.is_some_and(|time| time < Duration::from_secs(5)) {
        build.within("limits", |build| {
            build.warning("Postfix' milter_connect_timeout is less than the 5s that remote milters may take to negotiate");
        });
    }
}

/// Whether Postfix reaches the listeners, and uses any of them.
fn reached(listeners: &[Listener], postfix: &Postfix, build: &mut Build, beside: &mut Vec<Beside>) {
    let mut ours: Vec<SocketSpec> = Vec::new();
    for (index, listener) in listeners.iter().enumerate() {
        let Ok(Place::Spec(spec)) = listener.place() else { continue };
        if postfix.has_chroot() && postfix.name_of(&spec, true).is_none() {
            let queue = postfix.value("queue_directory");
            build.within("listener", |build| {
                build.within(index, |build| {
                    build.within("socket", |build| {
                        build.warning(format_args!(
                            "Postfix' smtpd runs in a chroot and cannot reach this path: choose one in {queue}, such as \
                             \"unix:{queue}/tamis/milter.sock\", or TCP"
                        ));
                    });
                });
            });
        }
        if let SocketSpec::Unix(_) = spec
            && listener.group.is_empty()
            && listener.mode != "0666"
        {
            let owner = postfix.value("mail_owner");
            build.within("listener", |build| {
                build.within(index, |build| {
                    build.warning(format_args!(
                        "Postfix connects as {owner}, who may not write to this socket: add `group = \"{owner}\"`"
                    ));
                });
            });
        }
        ours.push(spec);
    }
    let uses = |milters: &[String], chroot: bool| {
        milters.iter().any(|milter| {
            postfix.socket(milter, chroot).is_some_and(|spec| ours.iter().any(|our| is_same(our, &spec)))
        })
    };
    let Some(first) = ours.first() else { return };
    for service in &postfix.services {
        let milters = postfix.milters_of(service);
        if uses(&milters, service.chroot) {
            continue;
        }
        let name = postfix.name_of(first, service.chroot).unwrap_or_else(|| first.postfix());
        if service.milters.is_some() {
            let text =
                format!("smtpd_milters of this service is its own and does not name this daemon, {name}");
            beside.push(Beside { place: format!("master.cf: {}", service.name), text });
            continue;
        }
        let mut all = milters;
        all.push(name);
        let text = format!("does not name this daemon: postconf -e 'smtpd_milters = {}'", all.join(", "));
        if !beside.iter().any(|other| other.text == text) {
            warn(beside, "smtpd_milters", text);
        }
    }
    let chroot = postfix.has_chroot();
    if !uses(&postfix.milters("non_smtpd_milters"), chroot) {
        let name = postfix.name_of(first, chroot).unwrap_or_else(|| first.postfix());
        warn(
            beside,
            "non_smtpd_milters",
            format!(
                "mail that comes by sendmail(1) is not filtered; if it should be: postconf -e 'non_smtpd_milters = {name}'"
            ),
        );
    }
}

/// Whether two sockets are one, as far as names tell.
fn is_same(one: &SocketSpec, other: &SocketSpec) -> bool {
    match (one, other) {
        (SocketSpec::Unix(one), SocketSpec::Unix(other)) => one == other,
        (SocketSpec::Inet { port: one, .. }, SocketSpec::Inet { port: other, .. })
        | (SocketSpec::Inet6 { port: one, .. }, SocketSpec::Inet6 { port: other, .. }) => one == other,
        _ => false,
    }
}

/// What Postfix does when the whole daemon is gone, beside what filters do when they fail.
fn failure(config: &Config, postfix: &Postfix, beside: &mut Vec<Beside>) {
    let action = postfix.value("milter_default_action");
    let strict = config
        .members
        .iter()
        .find(|member| matches!(member.on_failure, OnFailure::Tempfail | OnFailure::Reject));
    if action == "accept"
        && let Some(member) = strict
    {
        warn(
            beside,
            "milter_default_action",
            format!(
                "mail passes unfiltered when this daemon is not there, although {:?} holds it up when that one fails",
                member.name
            ),
        );
    }
    let protocol = postfix.value("milter_protocol");
    if protocol.parse().is_ok_and(|version: u32| version < 6) {
        warn(
            beside,
            "milter_protocol",
            format!("version {protocol} cannot do what filters may need: postconf -e 'milter_protocol = 6'"),
        );
    }
}

/// Whether the macros that filters depend on are sent.
fn macros(config: &Config, postfix: &Postfix, beside: &mut Vec<Beside>) {
    let sent = postfix.macros();
    let is_sent = |name: &str| {
        let bare = name.trim_matches(['{', '}']);
        sent.iter().any(|it| it.trim_matches(['{', '}']) == bare)
    };
    for member in &config.members {
        let needed =
            member.plan.nature.macros.iter().map(String::as_str).chain(member.macros.iter().copied());
        for name in needed.filter(|name| !is_sent(name)) {
            warn(
                beside,
                "milter_*_macros",
                format!(
                    "{:?} needs the macro {name}, which no list has: Postfix may not send it",
                    member.name
                ),
            );
        }
    }
}
