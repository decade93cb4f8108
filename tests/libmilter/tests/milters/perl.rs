//! A filter in Perl, on `Sendmail::Milter`.

use tamis_libmilter_tests::library::Library;
use tamis_libmilter_tests::milter::{Milter, perl};

use crate::python::converse;
use crate::{folder, recorded};

#[test]
fn a_filter_in_perl_does_what_it_did_before() {
    recorded("perl", |library| {
        let (folder, socket) = folder();
        let mut command = perl("filter.pl");
        command.arg(&socket);
        let mut milter = Milter::start(library, command, folder.path());
        let text = converse(&mut milter, &socket);
        let output = milter.output();
        if library == Library::Ours {
            assert!(milter.stop().success(), "{output}");
        }
        format!("{text}{output}")
    });
}
