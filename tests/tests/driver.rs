//! Every case of `cases` that needs no special configuration, played by `tamis::testing` in place of both MTAs: what
//! the driver does must be what the MTAs do.

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use tamis_interop::case::Case;
use tamis_interop::driver;
use tamis_interop::mta::Kind;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut trials = Vec::new();
    for (mta, name) in [(Kind::Postfix, "postfix"), (Kind::Sendmail, "sendmail")] {
        let read = Case::read_folder(&folder, mta).and_then(|mut cases| {
            cases.append(&mut Case::read_folder(&folder.join("filters"), mta)?);
            Ok(cases)
        });
        let cases = match read {
            Ok(cases) => cases,
            Err(mistakes) => {
                eprintln!("{mistakes}");
                return ExitCode::FAILURE;
            }
        };
        for case in cases.into_iter().filter(driver::can_play) {
            let test = format!("{name}::{}", case.name());
            trials.push(Trial::test(test, move || driver::play(&case).map_err(Into::into)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
