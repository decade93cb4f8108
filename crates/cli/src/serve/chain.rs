//! Several filters on each connection: `--chain`, and the members that are named one after the other.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, FromArgMatches, ValueEnum, value_parser};
use tamis::SocketSpec;
use tamis::chain::{Chain, Member, OnFailure};
use tamis::remote::Milter;
use tamis_examples::filters::{self, Example, Make};

use super::filter::{Settings, Watcher};
use super::units::time;

/// What the command line says of a chain.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    mode: Mode,
    specs: Vec<Spec>,
}

/// How a chain runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// One filter after the other, each with the message as those before it left it, as an MTA with several milters
    /// does.
    #[default]
    Pipeline,
    /// All filters at the same time, about the message as it came.
    Parallel,
}

/// A member as it was named.
#[derive(Clone, Debug)]
struct Spec {
    name: String,
    kind: Kind,
    timeout: Option<Duration>,
    on_failure: OnFailure,
    dry_run: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Milter(SocketSpec),
    Example(Example, Vec<String>),
}

/// A chain that can be made for each connection.
pub(super) struct Plan {
    mode: Mode,
    members: Vec<Planned>,
}

struct Planned {
    name: String,
    source: Source,
    timeout: Option<Duration>,
    on_failure: OnFailure,
    dry_run: bool,
}

enum Source {
    Milter(Milter),
    Example(Make),
    /// The filter of `tamis serve` itself.
    Own(Arc<Settings>),
}

/// The name of the last member: what `tamis serve` does without a chain.
const OWN: &str = "serve";

const HEADING: &str = "Chain";

const CHAIN_HELP: &str = "\
Runs several filters on each connection, in the order in which --filter and --milter name them

The last of them, named \"serve\", is what tamis serve does without a chain: the log line, --add-header and --append-text.
Without --chain, the filters that are named are a pipeline.";

const MILTER_HELP: &str = "\
Consults another milter as one filter of the chain: NAME is for the log, SOCKET is where it listens

Behind the socket, with commas: timeout=TIME, the longest it may take at any stage; on-failure=tempfail, reject, accept
or quarantine, what happens to mail when it fails (tempfail by default); dry-run, to log what it says and do nothing.

A greylist, a signature that may fail, and a virus scanner that is tried out:
  --milter greylist=unix:/run/greylist.sock
  --milter opendkim=inet:8891@localhost,timeout=10s,on-failure=accept
  --milter clamav=unix:/run/clamav.sock,dry-run";

const FILTER_HELP: &str = "\
Runs an example as one filter of the chain

With what can be said of a milter, as=NAME to have it in the log under another name, and its own flags.";

impl Members {
    /// Whether there is a chain at all.
    pub(super) fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// Makes ready what connections share.
    ///
    /// # Errors
    ///
    /// When two have one name, or a filter's own flags are wrong.
    pub(super) fn plan(&self, own: Arc<Settings>, on_failure: OnFailure) -> Result<Plan> {
        let mut members: Vec<Planned> = Vec::with_capacity(self.specs.len() + 1);
        for Spec { name, kind, timeout, on_failure, dry_run } in self.specs.clone() {
            if name == OWN || members.iter().any(|member| member.name == name) {
                return Err(anyhow!("two filters of the chain are named {name:?}: give one another name"));
            }
            let source = match kind {
                Kind::Milter(socket) => {
                    Source::Milter(Milter::with_options(&*name, socket, tamis::remote::RemoteOptions::new()))
                }
                Kind::Example(example, flags) => {
                    let made = example.build(flags);
                    Source::Example(made.map_err(|error| anyhow!("filter {name:?}: {error}"))?)
                }
            };
            members.push(Planned { name, source, timeout, on_failure, dry_run });
        }
        let (name, source) = (OWN.to_owned(), Source::Own(own));
        members.push(Planned { name, source, timeout: None, on_failure, dry_run: false });
        Ok(Plan { mode: self.mode, members })
    }
}

impl Plan {
    /// The chain of one connection.
    pub(super) fn chain(&self) -> Chain {
        let chain = match self.mode {
            Mode::Pipeline => Chain::pipeline(),
            Mode::Parallel => Chain::parallel(),
        };
        self.members.iter().fold(chain, |chain, member| chain.member(member.make()))
    }

    /// The members' names, in order.
    pub(super) fn names(&self) -> Vec<String> {
        self.members.iter().map(|member| member.name.clone()).collect()
    }

    /// How it runs.
    pub(super) fn mode(&self) -> &'static str {
        match self.mode {
            Mode::Pipeline => "pipeline",
            Mode::Parallel => "parallel",
        }
    }
}

impl Planned {
    fn make(&self) -> Member {
        let member = match &self.source {
            Source::Milter(milter) => Member::new(&*self.name, milter.connection()),
            Source::Example(make) => Member::new(&*self.name, make()),
            Source::Own(settings) => Member::new(&*self.name, Watcher::new(settings.clone())),
        };
        let member = member.on_failure(self.on_failure);
        let member = if let Some(time) = self.timeout { member.timeout(time) } else { member };
        if self.dry_run { member.dry_run() } else { member }
    }
}

/// The order among two options is not what a derived parser keeps.
impl clap::Args for Members {
    fn augment_args(command: Command) -> Command {
        let examples = filters::ALL.iter().map(|it| format!("\n  {:<18} {}", it.name, it.summary));
        let filter_help =
            format!("{FILTER_HELP}\n\nExamples that can be run:{}", examples.collect::<String>());
        let members = |id: &'static str, value: &'static str| {
            Arg::new(id).long(id).value_name(value).action(ArgAction::Append).help_heading(HEADING)
        };
        let chain =
            Arg::new("chain").long("chain").env("TAMIS_CHAIN").value_name("MODE").help_heading(HEADING);
        let chain = chain.value_parser(value_parser!(Mode)).num_args(0..=1).require_equals(true);
        command
            .arg(chain.default_missing_value("pipeline").requires("members").long_help(CHAIN_HELP))
            .arg(members("filter", "EXAMPLE[,KEY=VALUE…]").value_parser(example).long_help(filter_help))
            .arg(members("milter", "NAME=SOCKET[,KEY=VALUE…]").value_parser(milter).long_help(MILTER_HELP))
            .group(ArgGroup::new("members").args(["filter", "milter"]).multiple(true))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Members {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut specs: Vec<(usize, Spec)> = Vec::new();
        for id in ["filter", "milter"] {
            let places = matches.indices_of(id).into_iter().flatten();
            specs.extend(places.zip(matches.get_many::<Spec>(id).into_iter().flatten().cloned()));
        }
        specs.sort_by_key(|(place, _)| *place);
        let mode = matches.get_one("chain").copied().unwrap_or_default();
        Ok(Self { mode, specs: specs.into_iter().map(|(_, spec)| spec).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Reads the value of `--milter`.
fn milter(text: &str) -> Result<Spec, String> {
    let (first, settings) = split(text);
    let (name, socket) = first.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        format!("{first:?} is no NAME=SOCKET, such as opendkim=inet:8891@localhost or av=unix:/run/av.sock")
    })?;
    let socket = socket.parse::<SocketSpec>().map_err(|error| format!("the socket of {name:?}: {error}"))?;
    let mut spec = Spec::new(name, Kind::Milter(socket));
    for setting in settings {
        if !spec.set(setting)? {
            let known = "timeout=TIME, on-failure=VERDICT and dry-run";
            return Err(format!("milters have no setting {setting:?}: there are {known}"));
        }
    }
    Ok(spec)
}

/// Reads the value of `--filter`.
fn example(text: &str) -> Result<Spec, String> {
    let (name, settings) = split(text);
    let Some(example) = Example::find(name) else {
        let names: Vec<_> = filters::ALL.iter().map(|example| example.name).collect();
        return Err(format!("there is no example {name:?}: there are {}", names.join(", ")));
    };
    let mut spec = Spec::new(name, Kind::Example(example, Vec::new()));
    for setting in settings {
        if let Some(name) = setting.strip_prefix("as=") {
            name.clone_into(&mut spec.name);
        } else if !spec.set(setting)?
            && let Kind::Example(_, flags) = &mut spec.kind
        {
            flags.push(format!("--{setting}"));
        }
    }
    Ok(spec)
}

fn split(text: &str) -> (&str, impl Iterator<Item = &str>) {
    let mut parts = text.split(',').map(str::trim);
    (parts.next().unwrap_or_default(), parts)
}

impl Spec {
    fn new(name: &str, kind: Kind) -> Self {
        let on_failure = OnFailure::default();
        Self { name: name.to_owned(), kind, timeout: None, on_failure, dry_run: false }
    }

    /// Reads a setting that all members have; `false` if it is none.
    fn set(&mut self, setting: &str) -> Result<bool, String> {
        match setting.split_once('=') {
            Some(("timeout", value)) => {
                self.timeout = Some(time(value).map_err(|error| format!("timeout={value}: {error}"))?);
            }
            Some(("on-failure", value)) => {
                let all = [OnFailure::Tempfail, OnFailure::Reject, OnFailure::Accept, OnFailure::Quarantine];
                self.on_failure = all.into_iter().find(|policy| policy.name() == value).ok_or_else(|| {
                    format!("on-failure={value}: it is one of {}", all.map(OnFailure::name).join(", "))
                })?;
            }
            None if setting == "dry-run" => self.dry_run = true,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    fn members(args: &[&str]) -> Result<Members, String> {
        let command = Members::augment_args(Command::new("test")).mut_args(|arg| arg.env(None));
        let matches = command.try_get_matches_from([&["test"], args].concat());
        matches.map_err(|error| error.to_string()).map(|it| Members::from_arg_matches(&it).unwrap())
    }

    fn names(args: &[&str]) -> Vec<String> {
        members(args).unwrap().specs.into_iter().map(|spec| spec.name).collect()
    }

    #[test]
    fn filters_and_milters_run_in_the_order_in_which_they_are_named() {
        let args =
            ["--filter=footer", "--milter=a=inet:1@h", "--filter", "trace,as=last", "--milter=b=unix:/s"];
        assert_eq!(names(&args), ["footer", "a", "last", "b"]);
        assert_eq!(names(&[]), [""; 0]);
    }

    #[test]
    fn members_are_a_pipeline_unless_something_else_is_said() {
        let mode = |args: &[&str]| members(args).unwrap().mode;
        assert_eq!(mode(&["--filter=footer"]), Mode::Pipeline);
        assert_eq!(mode(&["--chain", "--filter=footer"]), Mode::Pipeline);
        assert_eq!(mode(&["--chain=parallel", "--filter=footer"]), Mode::Parallel);
    }

    #[test]
    fn settings_of_a_member_stand_behind_it() {
        let args = ["--milter=name=inet:8892@localhost,timeout=10s,on-failure=accept,dry-run"];
        let spec = members(&args).unwrap().specs.remove(0);
        assert!(matches!(&spec.kind, Kind::Milter(socket) if socket.to_string() == "inet:8892@localhost"));
        assert_eq!(spec.timeout, Some(Duration::from_secs(10)));
        assert_eq!((spec.on_failure, spec.dry_run), (OnFailure::Accept, true));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (args, says) in [
            (&["--chain"][..], "--filter <EXAMPLE"),
            (&["--milter=inet:1@h"], "is no NAME=SOCKET"),
            (&["--milter=a=inet:@h"], "the socket of \"a\""),
            (&["--milter=a=inet:1@h,timeout=never"], "timeout=never: a time is a number"),
            (&["--milter=a=inet:1@h,on-failure=pray"], "on-failure=pray: it is one of tempfail, reject"),
            (&["--milter=a=inet:1@h,colour=red"], "milters have no setting \"colour=red\""),
            (&["--filter=foot"], "there is no example \"foot\": there are client-header, footer"),
        ] {
            let error = members(args).unwrap_err();
            assert!(error.contains(says), "{args:?}: {error}");
        }
        let own = Arc::new(Settings { headers: Vec::new(), appendix: None, on_failure: "tempfail" });
        for (args, says) in [
            (&["--filter=footer", "--filter=footer"][..], "two filters of the chain are named \"footer\""),
            (&["--milter=serve=inet:1@h"], "two filters of the chain are named \"serve\""),
            (
                &["--filter=reject-sender,table=/no/such"],
                "filter \"reject-sender\": cannot read the table /no/such",
            ),
            (&["--filter=footer,colour=red"], "filter \"footer\": unexpected argument '--colour'"),
        ] {
            let planned = members(args).unwrap().plan(own.clone(), OnFailure::Tempfail);
            let error = planned.err().unwrap().to_string();
            assert!(error.contains(says), "{args:?}: {error}");
        }
    }
}
