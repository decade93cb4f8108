//! `tamis config`: looks at a configuration, and shows what one may say.

use std::path::PathBuf;
use std::process::ExitCode;

use tamis_filters::config::Weight;

use super::read::read_and;
use super::{PATH, Source, against, example, reference, schema};
use crate::exit;
use crate::mta::Postfix;

/// Checks the configuration of the daemon, and shows what it may say
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Check(Check),
    /// Prints a configuration with every key, its help and its default, as comments
    Example,
    /// Prints the JSON schema of the configuration, for editors
    Schema,
    /// Prints the reference of the configuration, as Markdown
    Reference,
}

/// Says all that is wrong with a configuration, and where
///
/// With --mta it is compared with what the MTA of this machine is configured to do: its timeouts, its chroot, the macros
/// that it sends, what it does when a milter is gone, and whether it uses this daemon at all.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tamis config check
  tamis config check --config ./tamis.toml
  tamis config check --mta postfix

Exit codes:
  0  it can be run, perhaps with warnings
  1  it cannot be read, or there is a mistake in it
  2  wrong usage")]
struct Check {
    /// The configuration.
    #[arg(long, env = "TAMIS_CONFIG", value_name = "FILE", default_value = PATH)]
    config: PathBuf,

    /// Compares it with this MTA, which is asked by its own tools.
    #[arg(long, value_name = "MTA")]
    mta: Option<Mta>,

    /// The folder of Postfix' main.cf, if it is not the usual one.
    #[arg(long, value_name = "FOLDER", requires = "mta")]
    mta_config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Mta {
    /// As postconf says.
    Postfix,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let text = match &args.command {
        Command::Check(args) => return check(args),
        Command::Example => example::whole(),
        Command::Schema => format!("{:#}\n", schema::whole()),
        Command::Reference => reference::whole(),
    };
    match exit::print(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::with(exit::FAILED, format_args!("cannot write the result: {error}")),
    }
}

fn check(args: &Check) -> ExitCode {
    let source = match Source::read(&args.config) {
        Ok(source) => source,
        Err(error) => return exit::with(exit::FAILED, error),
    };
    let postfix = match args.mta.map(|Mta::Postfix| Postfix::ask(args.mta_config.as_deref())).transpose() {
        Ok(postfix) => postfix,
        Err(error) => return exit::with(exit::FAILED, error),
    };
    let mut beside = Vec::new();
    let (config, findings) = read_and(&source, &mut |config, build| {
        if let Some(postfix) = &postfix {
            beside = against::postfix(config, postfix, build);
        }
    });
    eprint!("{}", findings.report(&source));
    if let Some(postfix) = &postfix {
        let folder = postfix.folder();
        for it in &beside {
            eprintln!("{}/{}: warning: {}\n", folder.display(), it.place, it.text);
        }
    }
    let path = source.path.display();
    let (mistakes, warnings) =
        (findings.count(Weight::Mistake), findings.count(Weight::Warning) + beside.len());
    match config {
        Some(config) => {
            let filters = config.members.len();
            println!("{path}: sound, with {} and {}", number(filters, "filter"), number(warnings, "warning"));
            ExitCode::SUCCESS
        }
        None => exit::with(
            exit::FAILED,
            format_args!("{path}: {} and {}", number(mistakes, "mistake"), number(warnings, "warning")),
        ),
    }
}

fn number(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
