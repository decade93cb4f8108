//! Chains without filters that edit hand on what was read, not copies of it.

use std::sync::{Arc, Mutex};

use tamis::chain::Chain;
use tamis::{Event, Needs, Verdict};

use crate::common::frames::{body, data, end_of_headers, end_of_message, header, mail as from, rcpt};
use crate::common::{Act, Probe, patient, serve};
use crate::support::BOTH;

const FILTERS: usize = 4;
const VALUE: &str = "where it all begins";

/// Where in memory a filter found the value of the field, and the pieces of the body.
type Places = Arc<Mutex<Vec<Vec<usize>>>>;

fn looks(at: usize, waits: bool, places: &Places) -> Probe {
    let places = places.clone();
    let (probe, _) = Probe::new(Needs::everything(), move |_, event| {
        let bytes = match event {
            Event::Header(field) => &field.value,
            Event::Body(piece) => piece,
            _ => return Act::SayNow(Verdict::Continue),
        };
        places.lock().unwrap()[at].push(bytes.as_ptr() as usize);
        if waits { Act::Say(Verdict::Continue) } else { Act::SayNow(Verdict::Continue) }
    });
    probe
}

#[tokio::test]
async fn no_byte_of_a_body_is_copied_for_filters_that_edit_nothing() {
    for mode in BOTH {
        for waits in [false, true] {
            let places = Places::new(Mutex::new(vec![Vec::new(); FILTERS]));
            let shared = places.clone();
            let server = serve(patient(), move |_| {
                let add = |chain: Chain, at: usize| chain.add(at.to_string(), looks(at, waits, &shared));
                (0..FILTERS).fold(mode.chain(), add)
            });
            let mut mta = server.mta().await;
            mta.go([from("<a@example.net>"), rcpt("<b@example.org>"), data()]).await;
            // At once, so that they are read at once.
            let pieces = [header("Subject", VALUE), end_of_headers(), body(&[b'x'; 900]), body(&[b'y'; 900])];
            mta.write(pieces.concat()).await;
            assert_eq!(mta.codes(4).await, "cccc");
            mta.go([end_of_message()]).await;
            mta.quit().await;
            server.drain().await;

            let places = places.lock().unwrap();
            assert_eq!(places[0].len(), 3);
            assert!(places.iter().all(|of_filter| *of_filter == places[0]), "each sees the same bytes");
            // As far from each other as they came: nothing but the buffer that was read into is like that.
            let [_, end, first, _] = &pieces;
            let from_value = VALUE.len() + 1 + end.len() + 5;
            assert_eq!(places[0][1] - places[0][0], from_value, "{mode:?}, waits: {waits}");
            assert_eq!(places[0][2] - places[0][1], first.len());
        }
    }
}
