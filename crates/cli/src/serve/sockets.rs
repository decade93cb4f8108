//! Sockets that MTAs connect to: opened, taken over from systemd, or from the configuration before.

use std::collections::HashMap;

use anyhow::{Result, anyhow};
use listenfd::ListenFd;
use tamis::server::{Listener, bind_with};

use super::setup::Planned;
use crate::config::Place;

/// Sockets that systemd passed, by the names that its units have in `FileDescriptorName=`.
#[derive(Debug, Default)]
pub(super) struct Passed(HashMap<String, Vec<Listener>>);

impl Passed {
    /// Takes them over.
    ///
    /// # Errors
    ///
    /// When one of them is nothing that can be listened on.
    pub(super) fn take() -> Result<Self> {
        let names: Vec<String> = match sd_notify::listen_fds_with_names() {
            Ok(sockets) => sockets.map(|(_, name)| name).collect(),
            Err(error) => return Err(anyhow!("cannot take over the sockets that systemd passed: {error}")),
        };
        let mut sockets = ListenFd::from_env();
        let mut passed: HashMap<String, Vec<Listener>> = HashMap::new();
        for (index, name) in names.into_iter().enumerate() {
            let fail = |error| anyhow!("cannot listen on the socket {name:?} that systemd passed: {error}");
            let listener = match sockets.take_unix_listener(index) {
                Ok(Some(listener)) => Listener::from_unix(listener),
                _ => match sockets.take_tcp_listener(index).map_err(fail)? {
                    Some(listener) => Listener::from_tcp(listener),
                    None => continue,
                },
            };
            let listener = listener.map_err(fail)?;
            passed.entry(name).or_default().push(listener);
        }
        Ok(Self(passed))
    }

    fn of_name(&self, name: &str) -> Result<Vec<Listener>> {
        if let Some(listeners) = self.0.get(name) {
            return Ok(listeners.clone());
        }
        let mut names: Vec<_> = self.0.keys().map(String::as_str).collect();
        names.sort_unstable();
        let there = match &names[..] {
            [] => "none at all; the service needs a socket unit".to_owned(),
            names => format!("only {}", names.join(", ")),
        };
        Err(anyhow!("systemd passed no socket named {name:?}, {there}"))
    }
}

/// The sockets of one configuration.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<(Planned, Vec<Listener>)>);

impl Sockets {
    /// Opens what is planned, but for what is open already.
    ///
    /// # Errors
    ///
    /// The first that cannot be listened on; those that were opened before it are closed again.
    pub(super) fn open(planned: Vec<Planned>, passed: &Passed, before: &Self) -> Result<Self> {
        let mut sockets = Vec::new();
        for plan in planned {
            let kept = before.0.iter().find(|(earlier, _)| earlier.place == plan.place);
            let listeners = match (&plan.place, kept) {
                (Place::Passed(name), _) => passed.of_name(name)?,
                (Place::Spec(spec), None) => bind_with(std::slice::from_ref(spec), plan.options)?,
                (Place::Spec(spec), Some((earlier, listeners))) => {
                    if earlier.options != plan.options {
                        tracing::warn!("{spec} keeps its mode, owner and group until a restart");
                    }
                    listeners.clone()
                }
            };
            sockets.push((plan, listeners));
        }
        Ok(Self(sockets))
    }

    /// Handles of all of them, with who may connect.
    pub(super) fn listeners(&self) -> Vec<Listener> {
        let all = self.0.iter().flat_map(|(plan, listeners)| {
            listeners.iter().map(|listener| listener.clone().allow(plan.allowed.clone()))
        });
        all.collect()
    }
}
