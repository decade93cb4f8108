//! What is to be run: made of options, or of a configuration file.

use std::fmt;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use tamis::chain::{Chain, Observer};
use tamis::server::{AllowList, BindOptions};
use tamis::{BoxFilter, Options};

use super::Args;
use super::append::Appendix;
use super::filter::{Settings, Watcher};
use super::header::Template;
use crate::config::{self, Config, Decide, Listener, Mode, Place};

/// One configuration, ready to be run.
pub(super) struct Setup {
    pub(super) listeners: Vec<Planned>,
    pub(super) options: Options,
    pub(super) make: Make,
    pub(super) chain: Option<About>,
}

/// A socket that is to be listened on.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) place: Place,
    pub(super) options: BindOptions,
    pub(super) allowed: AllowList,
}

/// Makes the filter of a connection.
pub(super) type Make = Arc<dyn Fn() -> BoxFilter + Send + Sync>;

/// What there is to say about a chain.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) mode: &'static str,
    pub(super) filters: Vec<String>,
}

impl Setup {
    /// What options say.
    ///
    /// # Errors
    ///
    /// When one of them cannot be had.
    pub(super) fn of_args(args: &Args) -> Result<Self> {
        let headers = args.add_header.iter().filter(|line| !line.trim().is_empty());
        let settings = Arc::new(Settings {
            headers: headers.map(|line| line.parse::<Template>()).collect::<Result<_>>()?,
            appendix: args.append_text.as_deref().map(Appendix::read).transpose()?,
            on_failure: args.on_failure.name(),
        });
        let sockets = args.listen.iter().map(|text| super::spec(text)).collect::<Result<Vec<_>>>()?;
        let planned = |spec| Planned {
            place: Place::Spec(spec),
            options: args.access.sockets(),
            allowed: args.access.allow_list(),
        };
        let mut options = Options::default();
        options.on_failure = args.on_failure.verdict();
        options.flight_recorder = args.flight_recorder;
        args.limits.set(&mut options);
        let (make, chain): (Make, _) = if args.chain.is_empty() {
            (Arc::new(move || BoxFilter::new(Watcher::new(settings.clone()))), None)
        } else {
            let plan = args.chain.plan(settings, args.on_failure.of_member())?;
            let about = About { mode: plan.mode(), filters: plan.names() };
            (Arc::new(move || BoxFilter::new(plan.chain())), Some(about))
        };
        Ok(Self { listeners: sockets.into_iter().map(planned).collect(), options, make, chain })
    }

    /// What a configuration says; `observer` is told about each message.
    ///
    /// # Errors
    ///
    /// When a user or group is gone since it was read.
    pub(super) fn of_config(config: &Config, observer: Arc<dyn Observer>) -> Result<Self> {
        let config::Sections { listener, chain, .. } = &config.sections;
        let default = [Listener::default()];
        let listeners = if listener.is_empty() { &default[..] } else { listener };
        let planned = |listener: &Listener| {
            Ok(Planned {
                place: listener.place()?,
                options: listener.bind_options()?,
                allowed: listener.allow_list()?,
            })
        };
        let listeners = listeners.iter().map(planned).collect::<Result<_, String>>();
        let (mode, decide, members) = (chain.mode, chain.decide, config.members.clone());
        let filters = members.iter().map(|member| member.name.clone()).collect();
        let about = About { mode: mode.name(), filters };
        let make = move || {
            let chain = match (mode, decide) {
                (Mode::Pipeline, _) => Chain::pipeline(),
                (Mode::Parallel, Decide::First) => Chain::parallel(),
                (Mode::Parallel, Decide::All) => Chain::parallel().decide(tamis::chain::Decide::All),
            };
            let chain = chain.observer(observer.clone());
            BoxFilter::new(members.iter().fold(chain, |chain, member| chain.member(member.make())))
        };
        Ok(Self {
            listeners: listeners.map_err(|error| anyhow!(error))?,
            options: config.sections.options(),
            make: Arc::new(make),
            chain: Some(about),
        })
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}
