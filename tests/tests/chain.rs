//! Every case of `cases/chain`: several filters behind a real Postfix, each on a connection of its own and all as one
//! chain, must be the same for the client, for the next hop and for each other.
//!
//! `cargo test -p tamis-interop --test chain -- header` runs those with `header` in their name; with `TAMIS_LOG=warn`
//! Tamis' own warnings and errors are shown.

#[path = "common/log.rs"]
mod log;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Trial};
use tamis_interop::case::{Arrangement, ChainCase, Config};
use tamis_interop::chain::{ChainSite, run_case};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    log::show();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/chain");
    let read = |arrangement| ChainCase::read_folder(&folder, arrangement);
    let (separate, chain) = match (read(Arrangement::Separate), read(Arrangement::Chain)) {
        (Ok(separate), Ok(chain)) => (separate, chain),
        (Err(mistakes), _) | (_, Err(mistakes)) => {
            eprintln!("{mistakes}");
            return ExitCode::FAILURE;
        }
    };
    let sites = Arc::new(Sites::default());
    let trials =
        separate.into_iter().zip(chain).map(|(separate, chain)| trial(separate, chain, sites.clone()));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Instances that are ready for the next case of their configuration.
#[derive(Default)]
struct Sites(Mutex<Vec<(Config, ChainSite)>>);

fn trial(separate: ChainCase, chain: ChainCase, sites: Arc<Sites>) -> Trial {
    Trial::test(chain.name().to_owned(), move || {
        let config = &chain.config;
        let idle = sites.take(config);
        let site = idle.unwrap_or_else(|| ChainSite::start(config));
        let result = run_case(&separate, &chain, &site);
        sites.put_back(config.clone(), site);
        result.map_err(|failure| failure.to_string().into())
    })
}

impl Sites {
    fn take(&self, config: &Config) -> Option<ChainSite> {
        let mut idle = self.0.lock().expect("nobody panics with the list");
        let found = idle.iter().position(|(of, _)| of == config)?;
        Some(idle.swap_remove(found).1)
    }

    fn put_back(&self, config: Config, site: ChainSite) {
        self.0.lock().expect("nobody panics with the list").push((config, site));
    }
}
