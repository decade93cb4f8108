//! What an administrator sets for a program that knows nothing of it: environment variables `TAMIS_LIBMILTER_…`.

use std::num::NonZero;

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Most threads that run callbacks.
    pub(crate) threads: usize,
    /// Most connections at a time.
    pub(crate) connections: usize,
    /// Largest payload that is accepted, whatever the program says.
    pub(crate) frame: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threads: 1024, connections: crate::context::MAX_CONNECTIONS, frame: None }
    }
}

impl Settings {
    /// Reads them; what is wrong with a value, the default of which is used instead, is given to `complain`.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>, mut complain: impl FnMut(String)) -> Self {
        let mut settings = Self::default();
        let mut number = |name: &str, to: &mut dyn FnMut(usize)| {
            if let Some(text) = variable(name) {
                match text.trim().parse::<NonZero<usize>>() {
                    Ok(value) => to(value.get()),
                    Err(_) => {
                        complain(format!("{name}={text:?} is no number from 1 on: the default is used"));
                    }
                }
            }
        };
        number("TAMIS_LIBMILTER_THREADS", &mut |value| settings.threads = value);
        number("TAMIS_LIBMILTER_CONNECTIONS", &mut |value| settings.connections = value);
        number("TAMIS_LIBMILTER_FRAME", &mut |value| settings.frame = Some(value));
        settings
    }
}
