//! A test for each case, named as its file.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tamis_interop::case::Case;
use tamis_interop::filter::ConfiguredHost;
use tamis_interop::mta::Kind;
use tamis_interop::runner;
use tamis_interop::site::Sites;

/// Runs all cases behind one MTA.
pub(crate) fn run(mta: Kind) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Most of a case is waiting for the MTA; more at once than this start more instances than they save.
    arguments.test_threads.get_or_insert(2);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let read = Case::read_folder(&folder, mta).and_then(|mut cases| {
        cases.append(&mut Case::read_folder(&folder.join("filters"), mta)?);
        Ok(cases)
    });
    let mut cases = match read {
        Ok(cases) => cases,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::FAILURE;
        }
    };
    // Cases of one configuration in a row use the same instances.
    cases.sort_by(|a, b| a.config.cmp(&b.config));
    let sites = Arc::new(Sites::default());
    let trials = cases.into_iter().map(|case| trial(case, sites.clone())).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(case: Case, sites: Arc<Sites>) -> Trial {
    Trial::test(case.name().to_owned(), move || {
        let site = sites.take(&case.config);
        let result = match &case.configuration {
            Some(configuration) => runner::run_case(&case, &site, &ConfiguredHost::new(configuration)),
            None => runner::run_case(&case, &site, &crate::common::host()),
        };
        sites.put_back(&case.config, site);
        result.map_err(|failure| failure.to_string().into())
    })
}
